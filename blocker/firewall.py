"""The hands on the kernel: the table is loaded, elements are set, asked for and watched here.

What lives here: the netlink sockets and libnftables, the only ones in the house.  What must never:
a decision who is banned, or for how long.

Rules:

* One thread writes.  It owns a socket and calls libnftables, whose contexts bear no second thread.
  The kernel's lock on the ruleset is taken inside ``send``, where somebody else's large transaction
  may hold it for seconds: the event loop never waits there.  A second thread asks: questions take
  no lock in the kernel, and are answered meanwhile.
* Elements never go through libnftables, which reads every interval set of the host before each
  change, and resolves what is no address.
* What a kernel can do is tried out at the start, never concluded from a version.
* Every wait for the kernel ends: ``ANSWER`` seconds for an answer, ``PATIENCE`` for a turn.
"""

import asyncio
import collections
import contextlib
import ctypes
import errno
import functools
import importlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from blocker import netlink, ruleset
from blocker.errors import BlockerError, FirewallError, NotPermittedError
from blocker.model import Subject
from blocker.ruleset import Layout

ANSWER = 10
"""Seconds that the kernel has to answer; it does so within microseconds, once it has the lock."""

PATIENCE = 60.0
"""Seconds until an operation that still waits for its turn is given up."""

DEBOUNCE = 0.01
"""Seconds that foreign changes are gathered before the watcher is told."""

SHORTEST = 20
"""Milliseconds a ban lasts at least: fewer than a jiffy would be none, which means for ever."""

LONGEST = 100 * 366 * 86_400_000
"""Milliseconds a ban lasts at most: a hundred years."""

KEYS = 1000
"""Keys per question, and per deletion."""

_LIBRARY = "libnftables.so.1"
_HOOK_PREROUTING = 0
_POLICY_ACCEPT = 1
_PROBES = {
    "probe4": bytes([192, 0, 2, 1]),  # RFC 5737
    "probe6": bytes([0x20, 0x01, 0x0D, 0xB8]) + bytes(12),  # RFC 3849
}

# linux/netlink.h and asm-generic/socket.h: what the module socket has no names for.
_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_ATTACH_FILTER = 26
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20
_DATAGRAM = 1 << 16  # a dump comes in pieces of 32 KiB at most

_T = TypeVar("_T")


class Element(NamedTuple):
    """A ban as the kernel keeps it: ``left`` are the milliseconds until it ends."""

    subject: Subject
    left: int


class Drops(NamedTuple):
    """What was dropped since the table was made."""

    packets4: int
    bytes4: int
    packets6: int
    bytes6: int


class Sender(NamedTuple):
    """What a banned subject kept sending."""

    subject: Subject
    packets: int
    bytes: int


class Capabilities(NamedTuple):
    """What this kernel can do, found out by trying.

    Attributes:
        refresh: adding a standing element again, with an expiration, refreshes it.
        destroy: an element can be deleted whether it is there or not.
        count: a set tells how many elements it has.
    """

    refresh: bool
    destroy: bool
    count: bool  # type: ignore[assignment]  # no tuple of flags is ever counted


class _Shape(NamedTuple):
    """What a load leaves behind, and nobody else should touch."""

    rules: tuple[tuple[str, int], ...]
    configured: tuple[tuple[str, frozenset[bytes]], ...]


def delete_table(table: str) -> bool:
    """Delete a table, without a daemon or libnftables; False if there was none.

    Raises:
        ConfigError: that is no name for a table.
        NotPermittedError: without CAP_NET_ADMIN.
        FirewallError: the kernel refuses.
    """
    with contextlib.closing(_Channel(ruleset.table_name(table))) as channel:
        return _delete_table(channel)


class Firewall:
    """One table in the kernel, and the bans in it.

    Every method that asks or changes something raises ``NotPermittedError`` or ``FirewallError``;
    the latter carries the kernel's ``errno``: ENFILE for a full set, ENOENT for a table that is
    gone, ETIMEDOUT for a kernel that does not answer.

    Attributes:
        layout: what was loaded last.
        capabilities: of this kernel, known after ``open``.
        operations: how often each operation was begun, by its name.
        failures: how often it failed.
        seconds: how long its last run took.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.capabilities = Capabilities(refresh=False, destroy=False, count=False)
        self.operations: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self.seconds: dict[str, float] = {}
        self._writer = _Hand("firewall-writer", lambda: self.layout.table)
        self._reader = _Hand("firewall-reader", lambda: self.layout.table)
        self._monitor: _Monitor | None = None
        self._shape: _Shape | None = None
        self._thread_pid = 0

    async def open(self) -> Capabilities:
        """Load the table, prove that it works, and find out what the kernel can do."""
        try:
            return await self._run(self._writer, "open", self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of sockets and threads; the table stays, and goes on blocking."""
        self.unwatch()
        await self._writer.close()
        await self._reader.close()

    async def load(self, layout: Layout | None = None) -> bool:
        """Load the table (again); False if the bans in it could not be kept.

        They can't where the standing table differs in what nft can't change in place, or where
        the layout names another table: then the caller sets them again.
        """
        return await self._run(self._writer, "load", self._load, layout or self.layout)

    async def remove(self) -> bool:
        """Delete the table, and thereby end all blocking; False if there was none."""
        return await self._run(self._writer, "remove", self._remove)

    async def present(self) -> bool:
        """Tell whether the table is as it was loaded: sets, hook, rules, ports and friends."""
        return await self._run(self._writer, "present", self._present)

    async def ban(self, elements: Sequence[Element], chunk: int = KEYS) -> None:
        """Ban, or set standing bans anew: each chunk is one transaction.

        An element with nothing left is passed over, since the kernel knows no ban that is over.
        """
        step = await self._step(chunk)
        for part in _parts(elements, step):
            await self._run(self._writer, "ban", self._ban, part)

    async def unban(self, subjects: Iterable[Subject]) -> None:
        """End bans; those who are not banned are no error."""
        for part in _parts(list(dict.fromkeys(subjects)), KEYS):
            await self._run(self._writer, "unban", self._unban, part)

    async def left(self, subjects: Iterable[Subject]) -> dict[Subject, int]:
        """Return the milliseconds left of those among the subjects that are banned."""
        found: dict[Subject, int] = {}
        for part in _parts(list(dict.fromkeys(subjects)), KEYS):
            found |= await self._run(self._reader, "left", self._left, part)
        return found

    async def drops(self) -> Drops:
        """Return what was dropped since the table was made."""
        return await self._run(self._reader, "drops", self._drops)

    async def sizes(self) -> tuple[int, int] | None:
        """Return the number of bans in the kernel, IPv4 and IPv6, or None if it can't say.

        Those that ended less than a minute ago may still be counted: they go when the kernel
        collects them.
        """
        if not self.capabilities.count:
            return None
        return await self._run(self._reader, "sizes", self._sizes)

    async def senders(self, limit: int = 65_536) -> list[Sender]:
        """Return what the banned kept sending, at most ``limit`` of them."""
        found = await self._run(self._reader, "senders", self._dump, ruleset.HIT_SETS, limit)
        return [Sender(e.key, max(e.packets, 0), max(e.bytes, 0)) for e in found]

    async def dump(self, limit: int = 65_536) -> list[Element]:
        """Return the bans in the kernel, at most ``limit`` of them, in no order."""
        found = await self._run(self._reader, "dump", self._dump, ruleset.BAN_SETS, limit)
        return [Element(e.key, _milliseconds(e)) for e in found]

    def watch(self, callback: Callable[[], None]) -> None:
        """Call back, from the running loop, soon after somebody else changed our table.

        Many changes make few calls; changes of other tables, bans of our own and their expiry
        make none.  When notifications were lost, that is told as a change.
        """
        self.unwatch()
        ours = (self._writer.portid, self._thread_pid)
        self._monitor = _Monitor(lambda: self.layout.table, ours, callback)

    def unwatch(self) -> None:
        """End what ``watch`` began."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    async def _run(self, hand: "_Hand", name: str, job: Callable[..., _T], *args: object) -> _T:
        """Run a job in the thread of a hand, and keep the books about it."""
        begun = time.perf_counter()
        self.operations[name] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await hand.submit(functools.partial(job, *args))
        except BlockerError:
            self.failures[name] += 1
            raise
        except TimeoutError:
            self.failures[name] += 1
            raise FirewallError(
                f"table inet {self.layout.table}: {name} had no turn within {PATIENCE:.0f} s: "
                "somebody else holds the kernel's nftables lock, see what loads large rulesets",
                errno.ETIMEDOUT,
            ) from None
        finally:
            self.seconds[name] = time.perf_counter() - begun

    async def _step(self, chunk: int) -> int:
        """Return how many elements make one transaction: the socket may bear fewer than asked."""
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}: use 1 or more")
        most = self._writer.most_bytes // (52 if self.capabilities.refresh else 40 + 28 + 40)
        return max(1, min(chunk, most))

    # What follows runs in the thread of one of the hands.

    def _open(self) -> Capabilities:
        channel = self._writer.channel
        self._check_kernel(channel)
        self._load(self.layout)
        self._thread_pid, self.capabilities = _probe(channel, self.layout)
        return self.capabilities

    def _check_kernel(self, channel: "_Channel") -> None:
        try:
            channel.ask(netlink.get_generation())
        except FirewallError as error:
            raise FirewallError(
                f"nftables: this kernel does not answer ({error}): "
                "it needs CONFIG_NF_TABLES, try modprobe nf_tables",
                error.errno,
            ) from error

    def _load(self, layout: Layout) -> bool:
        kept = _load_text(layout)
        channel = self._writer.channel
        if layout.table != self.layout.table:
            _delete_table(channel)
            channel.table = layout.table
            kept = False
        self.layout = layout
        self._shape = _shape(channel, layout)
        return kept

    def _remove(self) -> bool:
        return _delete_table(self._writer.channel)

    def _present(self) -> bool:
        try:
            return _shape(self._writer.channel, self.layout) == self._shape
        except FirewallError as error:
            if error.errno == errno.ENOENT:
                return False
            raise

    def _ban(self, elements: Sequence[Element]) -> None:
        capped = [(s, min(max(n, SHORTEST), LONGEST)) for s, n in elements if n > 0]
        channel = self._writer.channel
        if self.capabilities.refresh:
            channel.commit(_per_set(channel.table, netlink.upsert, capped, _of_pair))
            return
        # A key may occur once only, or its second deletion would find nothing.
        unique = dict(capped)
        pairs = list(unique.items())
        requests = (
            _per_set(channel.table, netlink.add, pairs, _of_pair)
            + _per_set(channel.table, netlink.delete, unique, len)
            + _per_set(channel.table, netlink.add, pairs, _of_pair)
        )
        try:
            channel.commit(requests)
        except FirewallError as error:
            # Kernels before 6.8 may let an element expire between its addition and deletion.
            if error.errno != errno.ENOENT:
                raise
            channel.commit(requests)

    def _unban(self, subjects: Sequence[Subject]) -> None:
        channel = self._writer.channel
        if self.capabilities.destroy:
            requests = _per_set(channel.table, netlink.destroy, subjects, len)
            with _absence_allowed():
                channel.commit(requests)
            return
        # A deletion that fails costs the kernel milliseconds: ask first, then one by one.
        for subject in _left(channel, subjects):
            with _absence_allowed():
                channel.commit(_per_set(channel.table, netlink.delete, [subject], len))

    def _left(self, subjects: Sequence[Subject]) -> dict[Subject, int]:
        return _left(self._reader.channel, subjects)

    def _drops(self) -> Drops:
        channel = self._reader.channel
        counts: list[int] = []
        for name in ruleset.COUNTERS:
            answer = channel.ask(netlink.get_counter(channel.table, name))
            counts += _only(map(netlink.read_counter, answer), name)
        return Drops(*counts)

    def _sizes(self) -> tuple[int, int]:
        four, six = (_set(self._reader.channel, name).members for name in ruleset.BAN_SETS)
        return four, six

    def _dump(self, names: Iterable[str], limit: int) -> list[netlink.Elem]:
        found: list[netlink.Elem] = []
        for name in names:
            found += _elements(self._reader.channel.table, name, limit - len(found))
        return found


class _Hand:
    """A thread, and the socket that it alone touches."""

    def __init__(self, name: str, table: Callable[[], str]) -> None:
        self._name = name
        self._table = table
        self._thread: ThreadPoolExecutor | None = None
        self._channel: _Channel | None = None

    @property
    def channel(self) -> "_Channel":
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
        return self._channel.most_bytes if self._channel else _DATAGRAM

    async def submit(self, job: Callable[[], _T]) -> _T:
        """Run a job in the thread."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, self._name)
        future = self._thread.submit(self._do, job)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Close the socket when the job at hand is done, and end the thread."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        await asyncio.wrap_future(thread.submit(self._close))
        thread.shutdown(wait=False)

    def _do(self, job: Callable[[], _T]) -> _T:
        if self._channel is None:
            self._channel = _Channel(self._table())
        self._channel.table = self._table()  # a reload may have given it another name
        return job()

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class _Channel:
    """One netlink socket, and one conversation at a time."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._socket = _open_socket(table)
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER, 0)
        )
        self._buffer = bytearray(_DATAGRAM)
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
            raise _error(self.table, fault)

    def ask(self, request: netlink.Request) -> list[netlink.Message]:
        """Return the answers to a question; whatever is refused is an error."""
        answers, refusal = self.converse(request)
        if refusal.errno:
            raise _error(self.table, refusal)
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
                raise _error(self.table, refusal)
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
            raise _error(self.table, netlink.Refusal(error.errno or 0, "on sending", -1)) from error

    def _receive(self, numbers: range) -> Iterator[netlink.Message]:
        """Yield the kernel's messages that answer these numbers; older ones are passed over."""
        while True:
            try:
                size, (sender, _) = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                refusal = netlink.Refusal(errno.ETIMEDOUT, f"no answer within {ANSWER} s", -1)
                raise _error(self.table, refusal) from None
            except OSError as error:
                refusal = netlink.Refusal(error.errno or 0, "on receiving", -1)
                raise _error(self.table, refusal) from error
            if sender == 0:  # the kernel, and nobody who claims to be
                for message in netlink.messages(bytes(memoryview(self._buffer)[:size])):
                    if message.seq in numbers:
                        yield message


class _Monitor:
    """Reads the kernel's notifications in the event loop, and tells of foreign changes."""

    def __init__(
        self, table: Callable[[], str], ours: tuple[int, int], callback: Callable[[], None]
    ) -> None:
        self._table = table
        self._portid, self._thread_pid = ours
        self._callback = callback
        self._touched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = _open_ear(table(), self._portid)
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Stop reading; a change that was not told yet is not told any more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _readable(self) -> None:
        for _ in range(64):  # then it is somebody else's turn in the loop
            try:
                data = self._socket.recv(_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: something was lost, so anything may have happened
                self._touched.clear()
                self._changed()
                return
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Take note of one datagram: all its messages belong to one transaction.

        Who made it is known at its end: the generation names the thread, and libnftables' socket
        has no name that we knew beforehand.
        """
        first = next(netlink.messages(data), None)
        if first is None or first.portid == self._portid:
            return
        generation = netlink.read_generation(first)
        if generation is None:
            if first.portid not in self._touched and netlink.names_table(data, self._table()):
                self._touched.add(first.portid)
        elif first.portid in self._touched:
            self._touched.discard(first.portid)
            if not self._thread_pid or generation.pid != self._thread_pid:
                self._changed()

    def _changed(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(DEBOUNCE, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._callback()


# --- sockets -------------------------------------------------------------------------------------


def _open_socket(table: str) -> socket.socket:
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
            made.setsockopt(_SOL_NETLINK, option, 1)
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
        raise _error(table, netlink.Refusal(error.errno or 0, "on opening", -1)) from error
    return made


def _open_ear(table: str, deaf_to: int) -> socket.socket:
    """Return a socket that hears of all changes but those of one other socket."""
    made = _open_socket(table)
    try:
        _attach_filter(made, deaf_to)
        made.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, netlink.GROUP_NFTABLES)
    except OSError as error:
        made.close()
        raise _error(table, netlink.Refusal(error.errno or 0, "on listening", -1)) from error
    return made


def _attach_filter(ear: socket.socket, portid: int) -> None:
    """Have the kernel drop what the writing socket did.

    Restoring a million bans would fill the buffer otherwise, and that would count as a change.
    The filter loads ``nlmsg_pid`` of the first message, as all in a datagram have the same sender;
    classic BPF loads in network byte order (linux/filter.h).
    """
    load, equal, ret = 0x20, 0x15, 0x06
    swapped = socket.ntohl(portid)
    code = b"".join(
        struct.pack("@HBBI", *instruction)
        for instruction in (
            (load, 0, 0, 12),
            (equal, 0, 1, swapped),
            (ret, 0, 0, 0),
            (ret, 0, 0, 0xFFFFFFFF),
        )
    )
    program = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(code) // 8, ctypes.addressof(program))
    ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)


# --- the text of the ruleset ---------------------------------------------------------------------


def _load_text(layout: Layout) -> bool:
    """Load the table; False if a standing one had to be replaced with all its bans."""
    text = ruleset.render(layout)
    try:
        _run_text(layout.table, text)
    except FirewallError as refused:
        # The type of a set, or the priority of a chain, can't be changed in place (EEXIST,
        # EOPNOTSUPP); one transaction deletes the table and makes it anew.
        try:
            _run_text(layout.table, ruleset.remove(layout) + text)
        except FirewallError:
            raise refused from None
        return False
    return True


def _run_text(table: str, text: str) -> None:
    """Have libnftables run a text as one transaction.

    A context lives as long as its text: it keeps what it has read of the host's ruleset.
    """
    try:
        ctypes.CDLL(_LIBRARY)  # the module, without it, complains from its destructor as well
    except OSError as error:
        raise FirewallError(
            f"{_LIBRARY} can't be loaded ({error}): apt install libnftables1"
        ) from error
    try:
        module = importlib.import_module("nftables")
    except ImportError as error:
        raise FirewallError(
            f"the Python module nftables is missing ({error}): "
            "apt install python3-nftables, or pip install pip-nftables"
        ) from error
    code, _, complaint = module.Nftables().cmd(text)
    if code == 0:
        return
    said = next((line for line in complaint.splitlines() if line.strip()), "no reason given")
    if os.strerror(errno.EPERM) in complaint:
        raise _error(table, netlink.Refusal(errno.EPERM, said, -1))
    raise FirewallError(
        f"table inet {table}: libnftables refuses the ruleset ({said}): "
        "compare nft list table with the configuration, and choose a table name that is no word "
        "of nft's"
    )


# --- questions and changes, each over a channel --------------------------------------------------


def _delete_table(channel: _Channel) -> bool:
    try:
        channel.commit([netlink.delete_table(channel.table)])
    except FirewallError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def _set(channel: _Channel, name: str) -> netlink.SetInfo:
    answer = channel.ask(netlink.get_set(channel.table, name))
    return _only(map(netlink.read_set, answer), name)


def _only(found: Iterable[_T | None], name: str) -> _T:
    """Return the one thing that was asked for."""
    for thing in found:
        if thing is not None:
            return thing
    raise FirewallError(f"{name}: the kernel's answer has none in it", errno.EPROTO)


def _left(channel: _Channel, subjects: Sequence[Subject]) -> dict[Subject, int]:
    found: dict[Subject, int] = {}
    for name, keys in zip(ruleset.BAN_SETS, _by_version(subjects, len), strict=True):
        start = 0
        while start < len(keys):
            part = keys[start : start + channel.most_answers]
            (request,) = netlink.get_elements(channel.table, name, part)
            answers, refusal = channel.converse(request)
            elements = [e for answer in answers for e in netlink.read_elements(answer)]
            found |= {element.key: _milliseconds(element) for element in elements}
            if refusal.errno not in (0, errno.ENOENT):
                raise _error(channel.table, refusal)
            # The first that is missing ends the answer: go on behind it.
            start += len(elements) + 1 if refusal.errno else len(part)
    return found


def _elements(table: str, name: str, limit: int) -> list[netlink.Elem]:
    """Return elements of a set, at most ``limit``, over a channel of their own.

    A dump can't be called off, only left alone: closing its socket ends it.
    """
    found: list[netlink.Elem] = []
    if limit <= 0:
        return found
    with contextlib.closing(_Channel(table)) as channel:
        for message in channel.dump(netlink.list_elements(table, name)):
            found += netlink.read_elements(message)
            if len(found) >= limit:
                return found[:limit]
    return found


def _shape(channel: _Channel, layout: Layout) -> _Shape:
    """Return what stands in the kernel; ENOENT if anything is missing."""
    dormant = _only(
        map(netlink.read_dormant, channel.ask(netlink.get_table(layout.table))), "table"
    )
    chain = channel.ask(netlink.get_chain(layout.table, ruleset.BASE_CHAIN))
    base = _only(map(netlink.read_chain, chain), ruleset.BASE_CHAIN)
    for name in ruleset.BAN_SETS + ruleset.HIT_SETS:
        _set(channel, name)
    for name in ruleset.COUNTERS:
        channel.ask(netlink.get_counter(layout.table, name))
    rules = _rules(channel, layout.table)
    wanted = {name: len(body) for name, body in ruleset.rules(layout).items()}
    as_loaded = (_HOOK_PREROUTING, ruleset.PRIORITY, _POLICY_ACCEPT)
    if dormant or base[2:] != as_loaded or collections.Counter(name for name, _ in rules) != wanted:
        raise FirewallError(
            f"table inet {layout.table}: its chains are not as they were loaded: "
            "see who else changes it with nft monitor",
            errno.ENOENT,
        )
    configured = tuple(
        (name, frozenset(e.key for e in _elements(layout.table, name, 1 << 20)))
        for name in ruleset.CONFIGURED_SETS
    )
    return _Shape(rules, configured)


def _rules(channel: _Channel, table: str) -> tuple[tuple[str, int], ...]:
    """Return chain and handle of each rule; a change in the midst begins the dump anew."""
    for _ in range(10):
        messages = list(channel.dump(netlink.list_rules(table)))
        if not any(map(netlink.interrupted, messages)):
            found = [rule for rule in map(netlink.read_rule, messages) if rule is not None]
            return tuple((rule.chain, rule.handle) for rule in found if rule.table == table)
    raise _error(table, netlink.Refusal(errno.EINTR, "the ruleset changes all the time", -1))


def _probe(channel: _Channel, layout: Layout) -> tuple[int, Capabilities]:
    """Return what the kernel calls this thread, and what it can do.

    The thread's number is taken from a notification, not from the process: in a container the two
    differ.  It tells our own loads of the ruleset from other people's.
    """
    with contextlib.closing(_open_ear(channel.table, 0)) as ear:
        for name, key in _PROBES.items():
            made = netlink.new_set(channel.table, name, len(key), layout.timeout * 1000)
            # One transaction clears away what a killed daemon may have left.
            channel.commit([made, netlink.delete_set(channel.table, name), made])
        pid = _own_pid(ear, channel.portid)
    try:
        found = [_probe_set(channel, name, key) for name, key in _PROBES.items()]
    finally:
        with _absence_allowed():
            channel.commit([netlink.delete_set(channel.table, name) for name in _PROBES])
    return pid, Capabilities(*(all(each) for each in zip(*found, strict=True)))


def _own_pid(ear: socket.socket, portid: int) -> int:
    """Return the number of the thread behind a socket; 0 if the kernel doesn't tell it."""
    with contextlib.suppress(OSError):
        while True:
            for message in netlink.messages(ear.recv(_DATAGRAM, socket.MSG_DONTWAIT)):
                generation = netlink.read_generation(message)
                if generation is not None and message.portid == portid:
                    return max(generation.pid, 0)
    return 0


def _probe_set(channel: _Channel, name: str, key: bytes) -> Capabilities:
    """Add, ask, refresh and delete one documentation address in a set that nothing looks at."""
    where = (channel.table, name)
    channel.commit(netlink.add(*where, [(key, 60_000)]))
    count = _set(channel, name).members == 1
    channel.commit(netlink.upsert(*where, [(key, 600_000)]))
    (request,) = netlink.get_elements(*where, [key])
    answers = channel.ask(request)
    stands = [e for answer in answers for e in netlink.read_elements(answer) if e.key == key]
    if not stands:
        raise FirewallError(
            f"table inet {channel.table}: an element that was just added is not there: "
            "see who else changes the table with nft monitor",
            errno.ENOENT,
        )
    channel.commit(netlink.delete(*where, [key]))
    destroy = True
    try:
        channel.commit(netlink.destroy(*where, [key]))
    except FirewallError:
        destroy = False
    return Capabilities(stands[0].expires > 60_000, destroy, count)


# --- small things --------------------------------------------------------------------------------


def _parts(things: Sequence[_T], step: int) -> Iterator[Sequence[_T]]:
    return (things[start : start + step] for start in range(0, len(things), step))


def _of_pair(pair: tuple[Subject, int]) -> int:
    return len(pair[0])


def _by_version(things: Iterable[_T], length: Callable[[_T], int]) -> tuple[list[_T], list[_T]]:
    """Return IPv4 and IPv6 apart; what is neither goes with IPv6, and is refused by netlink."""
    four: list[_T] = []
    six: list[_T] = []
    for thing in things:
        (four if length(thing) == 4 else six).append(thing)
    return four, six


def _per_set(
    table: str,
    build: Callable[[str, str, Sequence[_T]], list[netlink.Request]],
    things: Iterable[_T],
    length: Callable[[_T], int],
) -> list[netlink.Request]:
    """Return the requests that do something with both ban sets."""
    parts = zip(ruleset.BAN_SETS, _by_version(things, length), strict=True)
    return [request for name, part in parts for request in build(table, name, part)]


def _milliseconds(element: netlink.Elem) -> int:
    """Return what is left of an element; one without an end is somebody else's doing."""
    return max(1, element.expires) if element.expires >= 0 else LONGEST


@contextlib.contextmanager
def _absence_allowed() -> Iterator[None]:
    try:
        yield
    except FirewallError as error:
        if error.errno != errno.ENOENT:
            raise


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


def _error(table: str, refusal: netlink.Refusal) -> BlockerError:
    """Return the error for what the kernel refused: subject, fact, advice."""
    fact = os.strerror(refusal.errno) + (f", {refusal.text}" if refusal.text else "")
    if refusal.errno in (errno.EPERM, errno.EACCES):
        return NotPermittedError(
            f"table inet {table}: the kernel refuses ({fact}): run as root, "
            "or give the service CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN)"
        )
    advice = _ADVICE.get(refusal.errno, "see the kernel's log, and nft list table")
    return FirewallError(f"table inet {table}: {fact}: {advice}", refusal.errno)
