"""One netlink socket to nf_tables, and the thread that owns it.

Rules:

* A socket has one owner and one conversation at a time; sequence numbers are checked.
* Every wait for the kernel ends after ``ANSWER`` seconds.
* A refusal of the kernel becomes an error with its number and with advice.

Sources: netlink(7), linux/netlink.h, linux/netfilter/nfnetlink.h.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from blocker import netlink
from blocker.errors import BlockerError, FirewallError, NotPermittedError
from blocker.threads import Threads

ANSWER = 10
"""Seconds that the kernel has to answer; it does so within microseconds, once it has the lock."""

KEYS = 1000
"""Keys per question, and per deletion."""

# linux/netlink.h and asm-generic/socket.h: what the module socket has no names for.
_NETLINK_NETFILTER = 12
SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20
DATAGRAM = 1 << 16
"""Bytes of a buffer for one datagram: a dump comes in pieces of 32 KiB at most."""

_T = TypeVar("_T")


class Channel:
    """One netlink socket, and one conversation at a time."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._socket = open_socket(table)
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER, 0)
        )
        self._buffer = bytearray(DATAGRAM)
        self._seq = 0
        self.portid: int = self._socket.getsockname()[0]
        # Without the privilege to force it, the send buffer is small, and bounds a transaction.
        sendable = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        receivable = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.most_bytes = sendable - 4096
        self.most_answers = max(1, min(KEYS, receivable // 4096))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def commit(self, requests: Sequence[netlink.Request]) -> None:
        """Make one transaction of the requests: all of them, or none."""
        if not requests:
            return
        first = self._numbers(len(requests) + 2)
        last = first + len(requests)
        self._send(netlink.encode_batch(requests, first))
        fault: netlink.Refusal | None = None
        for message in self._receive(range(first, last + 1)):
            refusal = netlink.read_refusal(message)
            if refusal is None:
                continue
            if refusal.errno and fault is None:
                fault = refusal
            # What goes wrong with the transaction itself is told about its beginning.
            if message.seq == last or (refusal.errno and message.seq == first):
                break
        if fault is not None:
            raise refused(self.table, fault)

    def ask(self, request: netlink.Request) -> list[netlink.Message]:
        """Return the answers to a question; whatever is refused is an error."""
        answers, refusal = self.converse(request)
        if refusal.errno:
            raise refused(self.table, refusal)
        return answers

    def converse(self, request: netlink.Request) -> tuple[list[netlink.Message], netlink.Refusal]:
        """Return the answers to a question, and how it ended."""
        seq = self._numbers(1)
        self._send(netlink.encode(request, seq))
        answers: list[netlink.Message] = []
        for message in self._receive(range(seq, seq + 1)):
            refusal = netlink.read_refusal(message)
            if refusal is not None:
                return answers, refusal
            answers.append(message)
        raise AssertionError("unreachable: _receive ends by raising only")

    def dump(self, request: netlink.Request) -> Iterator[netlink.Message]:
        """Yield what a dump holds; whoever stops early closes the channel."""
        seq = self._numbers(1)
        self._send(netlink.encode(request, seq))
        for message in self._receive(range(seq, seq + 1)):
            refusal = netlink.read_refusal(message)
            if refusal is None:
                yield message
            elif refusal.errno:
                raise refused(self.table, refusal)
            else:
                return

    def _numbers(self, count: int) -> int:
        """Return the first of so many sequence numbers not used before."""
        if self._seq + count > 0x7FFFFFFF:
            self._seq = 0
        first = self._seq + 1
        self._seq += count
        return first

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise refused(
                self.table, netlink.Refusal(error.errno or 0, "on sending", -1)
            ) from error

    def _receive(self, numbers: range) -> Iterator[netlink.Message]:
        """Yield the kernel's messages that answer these numbers; older ones are passed over."""
        while True:
            try:
                size, (sender, _) = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                refusal = netlink.Refusal(errno.ETIMEDOUT, f"no answer within {ANSWER} s", -1)
                raise refused(self.table, refusal) from None
            except OSError as error:
                refusal = netlink.Refusal(error.errno or 0, "on receiving", -1)
                raise refused(self.table, refusal) from error
            if sender == 0:  # the kernel, and nobody who claims to be
                for message in netlink.messages(bytes(memoryview(self._buffer)[:size])):
                    if message.seq in numbers:
                        yield message


class Hand:
    """A thread, and the socket that it alone touches."""

    def __init__(self, name: str, table: Callable[[], str]) -> None:
        self._name = name
        self._table = table
        self._thread: Threads | None = None
        self._channel: Channel | None = None

    @property
    def channel(self) -> Channel:
        """The socket; to be used inside the thread."""
        assert self._channel is not None  # noqa: S101 - opened by _do before any job runs
        return self._channel

    @property
    def portid(self) -> int:
        """The kernel's name for the socket, 0 while there is none."""
        return self._channel.portid if self._channel else 0

    @property
    def most_bytes(self) -> int:
        """How large a transaction may be."""
        return self._channel.most_bytes if self._channel else DATAGRAM

    async def submit(self, job: Callable[[], _T]) -> _T:
        """Run a job in the thread."""
        if self._thread is None:
            self._thread = Threads(1, self._name)
        future = self._thread.submit(self._do, job)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Close the socket when the job at hand is done, and end the thread."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        await asyncio.wrap_future(thread.submit(self._close))
        thread.shutdown()

    def _do(self, job: Callable[[], _T]) -> _T:
        if self._channel is None:
            self._channel = Channel(self._table())
        self._channel.table = self._table()  # a reload may have given it another name
        return job()

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def open_socket(table: str) -> socket.socket:
    """Return a netlink socket with buffers as large as this process may have."""
    try:
        made = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
    except OSError as error:
        raise FirewallError(
            f"table inet {table}: no netlink socket ({error}): the kernel needs "
            "CONFIG_NETFILTER_NETLINK, and the service AF_NETLINK in RestrictAddressFamilies",
            error.errno or 0,
        ) from error
    try:
        made.bind((0, 0))
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
            made.setsockopt(SOL_NETLINK, option, 1)
        for forced, plain in (
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
        ):
            try:
                made.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:  # inside a user namespace, say
                made.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)
    except OSError as error:
        made.close()
        raise refused(table, netlink.Refusal(error.errno or 0, "on opening", -1)) from error
    return made


_ADVICE = {
    errno.ENOENT: "the table or a part of it is gone, load it again",
    errno.ENFILE: "the set is full, let bans be shorter or fewer",
    errno.EEXIST: "something else stands in its place, see nft list table",
    errno.EBUSY: "somebody else holds on to it, see nft monitor",
    errno.ENOMEM: "the kernel is out of memory, free some or let bans be fewer",
    errno.ENOBUFS: "the socket's buffer overflowed, try again",
    errno.ETIMEDOUT: "try again, and see the kernel's log",
    errno.EOPNOTSUPP: "this kernel can't do that, it needs nf_tables with the family inet",
}


def refused(table: str, refusal: netlink.Refusal) -> BlockerError:
    """Return the error for what the kernel refused: subject, fact, advice."""
    fact = os.strerror(refusal.errno) + (f", {refusal.text}" if refusal.text else "")
    if refusal.errno in (errno.EPERM, errno.EACCES):
        return NotPermittedError(
            f"table inet {table}: the kernel refuses ({fact}): run as root, "
            "or give the service CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN)"
        )
    advice = _ADVICE.get(refusal.errno, "see the kernel's log, and nft list table")
    return FirewallError(f"table inet {table}: {fact}: {advice}", refusal.errno)
