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
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from blocker import netlink, ruleset
from blocker.channel import DATAGRAM, KEYS, Channel, Hand, refused
from blocker.errors import BlockerError, FirewallError
from blocker.model import Subject
from blocker.monitor import Monitor, open_ear
from blocker.ruleset import Layout

PATIENCE = 60.0
"""Seconds until an operation that still waits for its turn is given up."""

SHORTEST = 20
"""Milliseconds a ban lasts at least: fewer than a jiffy would be none, which means for ever."""

LONGEST = 100 * 366 * 86_400_000
"""Milliseconds a ban lasts at most: a hundred years."""

_LIBRARY = "libnftables.so.1"
_HOOK_PREROUTING = 0
_POLICY_ACCEPT = 1
_PROBES = {
    "probe4": bytes([192, 0, 2, 1]),  # RFC 5737
    "probe6": bytes([0x20, 0x01, 0x0D, 0xB8]) + bytes(12),  # RFC 3849
}

OPERATIONS = (
    *("open", "load", "remove", "present", "ban", "unban", "flush"),
    *("left", "drops", "senders", "sizes", "dump"),
)
"""What is asked of the kernel; each is counted, and the daemon's own are there from the start."""

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
    with contextlib.closing(Channel(ruleset.table_name(table))) as channel:
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
        on_operation: is told the name of each operation and how many seconds it took.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.capabilities = Capabilities(refresh=False, destroy=False, count=False)
        self.operations: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self.on_operation: Callable[[str, float], None] = lambda _name, _seconds: None
        self._writer = Hand("firewall-writer", lambda: self.layout.table)
        self._reader = Hand("firewall-reader", lambda: self.layout.table)
        self._monitor: Monitor | None = None
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

        Raises:
            FirewallError: the kernel refuses a transaction; if the set is full (ENFILE), as many of
                it as there is room for are banned all the same.
        """
        step = await self._step(chunk)
        for part in _parts(elements, step):
            await self._run(self._writer, "ban", self._ban, part)

    async def unban(self, subjects: Iterable[Subject]) -> None:
        """End bans; those who are not banned are no error."""
        for part in _parts(list(dict.fromkeys(subjects)), KEYS):
            await self._run(self._writer, "unban", self._unban, part)

    async def flush(self) -> None:
        """End all bans, known ones and others; a table that is gone has none."""
        await self._run(self._writer, "flush", self._flush)

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

    async def senders(self, subjects: Iterable[Subject]) -> list[Sender]:
        """Return what these kept sending while they were banned, as far as the kernel knows.

        It forgets who has been quiet for a day, and counts one by one as many as its set holds.
        """
        found: list[Sender] = []
        for part in _parts(list(dict.fromkeys(subjects)), KEYS):
            found += await self._run(self._reader, "senders", self._senders, part)
        return found

    async def dump(self, limit: int = 65_536) -> list[Element]:
        """Return the bans in the kernel, at most ``limit`` of them, in no order."""
        found = await self._run(self._reader, "dump", self._dump, limit)
        return [Element(e.key, _milliseconds(e)) for e in found]

    def watch(self, callback: Callable[[], None]) -> None:
        """Call back, from the running loop, soon after somebody else changed our table.

        Many changes make few calls; changes of other tables, bans of our own and their expiry
        make none.  When notifications were lost, that is told as a change.
        """
        self.unwatch()
        ours = (self._writer.portid, self._thread_pid)
        self._monitor = Monitor(lambda: self.layout.table, ours, callback)

    def unwatch(self) -> None:
        """End what ``watch`` began."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    async def _run(self, hand: Hand, name: str, job: Callable[..., _T], *args: object) -> _T:
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
            self.on_operation(name, time.perf_counter() - begun)

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

    def _check_kernel(self, channel: Channel) -> None:
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
        capped = [Element(s, min(max(n, SHORTEST), LONGEST)) for s, n in elements if n > 0]
        try:
            self._set(capped)
        except FirewallError as error:
            if error.errno == errno.ENFILE:
                for family in (4, 16):
                    self._fill([each for each in capped if len(each.subject) == family])
            raise

    def _fill(self, elements: Sequence[Element]) -> bool:
        """Ban the first of these, up to what a nearly full set has room for; True if all were."""
        try:
            self._set(elements)
        except FirewallError as error:
            if error.errno != errno.ENFILE:
                raise
        else:
            return True
        half = len(elements) // 2
        return half > 0 and self._fill(elements[:half]) and self._fill(elements[half:])

    def _set(self, capped: Sequence[Element]) -> None:
        """Set these in one transaction."""
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

    def _flush(self) -> None:
        channel = self._writer.channel
        with _absence_allowed():
            channel.commit([netlink.flush(channel.table, name) for name in ruleset.BAN_SETS])

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

    def _senders(self, subjects: Sequence[Subject]) -> list[Sender]:
        found = _asked(self._reader.channel, ruleset.HIT_SETS, subjects)
        return [Sender(e.key, max(e.packets, 0), max(e.bytes, 0)) for e in found]

    def _dump(self, limit: int) -> list[netlink.Elem]:
        found: list[netlink.Elem] = []
        for name in ruleset.BAN_SETS:
            found += _elements(self._reader.channel.table, name, limit - len(found))
        return found


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
        raise refused(table, netlink.Refusal(errno.EPERM, said, -1))
    raise FirewallError(
        f"table inet {table}: libnftables refuses the ruleset ({said}): "
        "compare nft list table with the configuration, and choose a table name that is no word "
        "of nft's"
    )


# --- questions and changes, each over a channel --------------------------------------------------


def _delete_table(channel: Channel) -> bool:
    try:
        channel.commit([netlink.delete_table(channel.table)])
    except FirewallError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def _set(channel: Channel, name: str) -> netlink.SetInfo:
    answer = channel.ask(netlink.get_set(channel.table, name))
    return _only(map(netlink.read_set, answer), name)


def _only(found: Iterable[_T | None], name: str) -> _T:
    """Return the one thing that was asked for."""
    for thing in found:
        if thing is not None:
            return thing
    raise FirewallError(f"{name}: the kernel's answer has none in it", errno.EPROTO)


def _left(channel: Channel, subjects: Sequence[Subject]) -> dict[Subject, int]:
    found = _asked(channel, ruleset.BAN_SETS, subjects)
    return {element.key: _milliseconds(element) for element in found}


def _asked(
    channel: Channel, names: Sequence[str], subjects: Sequence[Subject]
) -> list[netlink.Elem]:
    """Return those elements of a pair of sets that these subjects have there."""
    found: list[netlink.Elem] = []
    for name, keys in zip(names, _by_version(subjects, len), strict=True):
        start = 0
        while start < len(keys):
            part = keys[start : start + channel.most_answers]
            (request,) = netlink.get_elements(channel.table, name, part)
            answers, refusal = channel.converse(request)
            elements = [e for answer in answers for e in netlink.read_elements(answer)]
            found += elements
            if refusal.errno not in (0, errno.ENOENT):
                raise refused(channel.table, refusal)
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
    with contextlib.closing(Channel(table)) as channel:
        for message in channel.dump(netlink.list_elements(table, name)):
            found += netlink.read_elements(message)
            if len(found) >= limit:
                return found[:limit]
    return found


def _shape(channel: Channel, layout: Layout) -> _Shape:
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


def _rules(channel: Channel, table: str) -> tuple[tuple[str, int], ...]:
    """Return chain and handle of each rule; a change in the midst begins the dump anew."""
    for _ in range(10):
        messages = list(channel.dump(netlink.list_rules(table)))
        if not any(map(netlink.interrupted, messages)):
            found = [rule for rule in map(netlink.read_rule, messages) if rule is not None]
            return tuple((rule.chain, rule.handle) for rule in found if rule.table == table)
    raise refused(table, netlink.Refusal(errno.EINTR, "the ruleset changes all the time", -1))


def _probe(channel: Channel, layout: Layout) -> tuple[int, Capabilities]:
    """Return what the kernel calls this thread, and what it can do.

    The thread's number is taken from a notification, not from the process: in a container the two
    differ.  It tells our own loads of the ruleset from other people's.
    """
    with contextlib.closing(open_ear(channel.table, 0)) as ear:
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
            for message in netlink.messages(ear.recv(DATAGRAM, socket.MSG_DONTWAIT)):
                generation = netlink.read_generation(message)
                if generation is not None and message.portid == portid:
                    return max(generation.pid, 0)
    return 0


def _probe_set(channel: Channel, name: str, key: bytes) -> Capabilities:
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
