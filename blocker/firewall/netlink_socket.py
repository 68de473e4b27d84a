"""A netlink socket to nf_tables: transactions, queries and dumps.

Rules:

* One thread owns a socket and sends one request at a time; sequence numbers are checked.
* Every wait for the kernel ends after ``ANSWER`` seconds.
* A refusal of the kernel becomes an error with its errno and with advice.

Sources: netlink(7), linux/netlink.h, linux/netfilter/nfnetlink.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from blocker.errors import BlockerError, FirewallError, NotPermittedError
from blocker.firewall import netlink

ANSWER = 10
"""Timeout for an answer, seconds; the kernel answers in microseconds once it has its lock."""

KEYS = 1000
"""Ceiling of the keys per query and per deletion."""

# linux/netlink.h and asm-generic/socket.h: constants that the module socket lacks.
_NETLINK_NETFILTER = 12
SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20
DATAGRAM = 1 << 16
"""Size of the receive buffer, bytes: a dump comes in datagrams of at most 32 KiB."""


class NetlinkSocket:
    """One netlink socket; one request at a time.

    Attributes:
        table: name of the table, for requests and for messages of errors.
        portid: the netlink port that the kernel assigned.
        most_bytes: ceiling of a transaction, bytes.
        most_answers: ceiling of the keys in one query, so that the answers fit the receive buffer.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self._socket = open_socket(table)
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER, 0)
        )
        self._buffer = bytearray(DATAGRAM)
        self._seq = 0
        self.portid: int = self._socket.getsockname()[0]
        # Without CAP_NET_ADMIN the send buffer can't be enlarged, and limits a transaction.
        sendable = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        receivable = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.most_bytes = sendable - 4096
        self.most_answers = max(1, min(KEYS, receivable // 4096))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def commit(self, requests: Sequence[netlink.Request]) -> None:
        """Run the requests as one transaction: all of them take effect, or none."""
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
            # An error of the transaction itself has the sequence number of its begin message.
            if message.seq == last or (refusal.errno and message.seq == first):
                break
        if fault is not None:
            raise refused(self.table, fault)

    def ask(self, request: netlink.Request) -> list[netlink.Message]:
        """Return the answers to a query; a refusal raises."""
        answers, refusal = self.converse(request)
        if refusal.errno:
            raise refused(self.table, refusal)
        return answers

    def converse(self, request: netlink.Request) -> tuple[list[netlink.Message], netlink.Refusal]:
        """Return the answers to a query, and its outcome (errno 0 for success)."""
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
        """Yield the messages of a dump; a caller that stops early must close the socket."""
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
        """Reserve ``count`` sequence numbers and return the first."""
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
        """Yield the kernel's messages with these sequence numbers; skip older ones."""
        while True:
            try:
                size, (sender, _) = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                refusal = netlink.Refusal(errno.ETIMEDOUT, f"no answer within {ANSWER} s", -1)
                raise refused(self.table, refusal) from None
            except OSError as error:
                refusal = netlink.Refusal(error.errno or 0, "on receiving", -1)
                raise refused(self.table, refusal) from error
            if sender == 0:  # port 0 is the kernel; other processes can send to our port as well
                for message in netlink.messages(bytes(memoryview(self._buffer)[:size])):
                    if message.seq in numbers:
                        yield message


def open_socket(table: str) -> socket.socket:
    """Return a netlink socket with buffers of ``_BUFFER`` bytes, or of the permitted maximum."""
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
            except PermissionError:  # for example in a user namespace
                made.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)
    except OSError as error:
        made.close()
        raise refused(table, netlink.Refusal(error.errno or 0, "on opening", -1)) from error
    return made


_ADVICE = {
    errno.ENOENT: "the table or a part of it is gone, load it again",
    errno.ENFILE: "the set is full, let bans be shorter or fewer",
    errno.EEXIST: "an object of another kind has this name, see nft list table",
    errno.EBUSY: "another process uses it, see nft monitor",
    errno.ENOMEM: "the kernel is out of memory, free some or let bans be fewer",
    errno.ENOBUFS: "the socket's buffer overflowed, try again",
    errno.ETIMEDOUT: "try again, and see the kernel's log",
    errno.EOPNOTSUPP: "this kernel can't do that, it needs nf_tables with the family inet",
}


def refused(table: str, refusal: netlink.Refusal) -> BlockerError:
    """Return the error for a refusal of the kernel: subject, fact, advice."""
    fact = os.strerror(refusal.errno) + (f", {refusal.text}" if refusal.text else "")
    if refusal.errno in (errno.EPERM, errno.EACCES):
        return NotPermittedError(
            f"table inet {table}: the kernel refuses ({fact}): run as root, "
            "or give the service CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN)"
        )
    advice = _ADVICE.get(refusal.errno, "see the kernel's log, and nft list table")
    return FirewallError(f"table inet {table}: {fact}: {advice}", refusal.errno)
