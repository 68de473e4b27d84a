"""The asynchronous front to nftables: loads the table, sets, queries and watches its elements.

What belongs here: all access to the kernel.  The netlink sockets and libnftables are used in this
room only.  What must never: a decision which subjects are banned, or for how long.

Rules:

* One thread writes.  It owns a socket and calls libnftables, whose contexts are not thread-safe.
  The kernel takes the ruleset lock inside ``send``, and a large transaction of another process may
  hold it for seconds: the event loop never waits there.  A second thread queries: the kernel
  answers queries without that lock, so they are answered while the writer waits.
* Elements never go through libnftables, which reads every interval set of the host before each
  change, and resolves a text that is not an address as a host name.
* The capabilities of the kernel are probed at the start, never concluded from its version.
* Every wait for the kernel ends: after ``ANSWER`` seconds for an answer, after ``PATIENCE`` seconds
  for an operation, the wait for its thread included.
"""

import asyncio
import collections
import contextlib
import errno
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from blocker.errors import BlockerError, FirewallError
from blocker.firewall import netlink, ruleset
from blocker.firewall.elements import (
    absence_allowed,
    answers_for,
    drop_table,
    elements_of,
    in_parts,
    milliseconds,
    of_pair,
    per_set,
    read_set,
    the_only,
    time_left,
)
from blocker.firewall.facts import LONGEST, SHORTEST, BannedTraffic, Capabilities, Drops, Element
from blocker.firewall.libnftables import load_text
from blocker.firewall.monitor import Monitor
from blocker.firewall.netlink_socket import KEYS, NetlinkSocket
from blocker.firewall.probe import probe_kernel
from blocker.firewall.ruleset import Layout
from blocker.firewall.verify import Shape, holds_our_sets, shape_of
from blocker.firewall.worker import Worker
from blocker.model import Subject

_T = TypeVar("_T")

PATIENCE = 60.0
"""Seconds after which an operation fails that has not been finished."""


def delete_table(table: str) -> bool:
    """Delete a table, without a daemon or libnftables; False if there was none.

    Raises:
        ConfigError: ``table`` is not a valid table name.
        NotPermittedError: the process lacks CAP_NET_ADMIN.
        FirewallError: the kernel refused the request.
    """
    with contextlib.closing(NetlinkSocket(ruleset.table_name(table))) as sock:
        return drop_table(sock)


def delete_own_table(table: str) -> bool:
    """Delete a table that holds our sets, as ``delete_table`` does; False if there was none.

    Raises:
        FirewallError: also if the table belongs to another program.
    """
    with contextlib.closing(NetlinkSocket(ruleset.table_name(table))) as sock:
        try:
            ours = holds_our_sets(sock)
        except FirewallError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        if ours:
            return drop_table(sock)
    raise FirewallError(
        f"table inet {table} does not hold the sets of this daemon, so it was left alone;"
        f" if no program needs it: nft delete table inet {table}"
    )


class Firewall:
    """One table in the kernel, and the bans in it.

    Every method that queries or changes the kernel raises ``NotPermittedError`` or
    ``FirewallError``; the latter carries the kernel's ``errno``: ENFILE if a set is full, ENOENT if
    the table is missing, ETIMEDOUT if the kernel does not answer.

    Args:
        layout: the layout to load.
        on_operation: called with the name of each finished operation and its duration in seconds.

    Attributes:
        layout: the layout that was loaded last.
        capabilities: of this kernel, known after ``open``.
        operations: number of operations started, by name.
        failures: number of operations failed, by name.
    """

    def __init__(
        self, layout: Layout, on_operation: Callable[[str, float], None] | None = None
    ) -> None:
        self.layout = layout
        self.capabilities = Capabilities(refresh=False, destroy=False, count=False)
        self.operations: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self._on_operation = on_operation
        self._writer = Worker("firewall-writer", lambda: self.layout.table)
        self._reader = Worker("firewall-reader", lambda: self.layout.table)
        self._monitor: Monitor | None = None
        self._shape: Shape | None = None
        self._thread_pid = 0

    async def open(self) -> Capabilities:
        """Load the table, verify that it works, and probe the capabilities of the kernel."""
        try:
            return await self._run(self._writer, "open", self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close sockets and threads; the table stays in the kernel and goes on blocking."""
        self.unwatch()
        await self._writer.close()
        await self._reader.close()

    async def load(self, layout: Layout | None = None) -> bool:
        """Load the table (again); False if the bans in it could not be kept.

        They are lost if the existing table differs in something that nft can't change in place, or
        if the layout names another table; then the caller has to ban again.
        """
        return await self._run(self._writer, "load", self._load, layout or self.layout)

    async def remove(self) -> bool:
        """Delete the table, which ends all blocking; False if there was none."""
        return await self._run(self._writer, "remove", self._remove)

    async def present(self) -> bool:
        """Return whether the table is as loaded: sets, hook, rules, ports and allowed networks."""
        return await self._run(self._writer, "present", self._present)

    async def ban(self, elements: Sequence[Element], chunk: int = KEYS) -> None:
        """Ban, or refresh active bans; each chunk is one transaction.

        An element with no time left is skipped, since the kernel has no expired elements.

        Raises:
            FirewallError: the kernel refused a transaction.  If the set is full (ENFILE), the
                elements that fit are banned nevertheless.
        """
        step = await self._step(chunk)
        for part in in_parts(elements, step):
            await self._run(self._writer, "ban", self._ban, part)

    async def unban(self, subjects: Iterable[Subject]) -> None:
        """Remove bans; a subject that is not banned is no error."""
        for part in in_parts(list(dict.fromkeys(subjects)), KEYS):
            await self._run(self._writer, "unban", self._unban, part)

    async def flush(self) -> None:
        """Remove all elements of the ban sets; a missing table is no error."""
        await self._run(self._writer, "flush", self._flush)

    async def left(self, subjects: Iterable[Subject]) -> dict[Subject, int]:
        """Return the milliseconds left of each of the subjects that is banned."""
        found: dict[Subject, int] = {}
        for part in in_parts(list(dict.fromkeys(subjects)), KEYS):
            found |= await self._run(self._reader, "left", self._left, part)
        return found

    async def drops(self) -> Drops:
        """Return packets and bytes dropped since the table was created."""
        return await self._run(self._reader, "drops", self._drops)

    async def sizes(self) -> tuple[int, int] | None:
        """Return the number of bans in the kernel, IPv4 and IPv6, or None if it does not report it.

        Bans that ended less than a minute ago may still be counted: the kernel collects expired
        elements once a minute (``gc-interval``).
        """
        if not self.capabilities.count:
            return None
        return await self._run(self._reader, "sizes", self._sizes)

    async def senders(self, subjects: Iterable[Subject]) -> list[BannedTraffic]:
        """Return what these subjects sent while they were banned, as counted by the kernel.

        The kernel drops a counter after a day without packets, and keeps at most ``hits_size``
        counters (see ``Layout``).
        """
        found: list[BannedTraffic] = []
        for part in in_parts(list(dict.fromkeys(subjects)), KEYS):
            found += await self._run(self._reader, "senders", self._senders, part)
        return found

    async def dump(self, limit: int = 65_536) -> list[Element]:
        """Return the bans in the kernel, at most ``limit`` of them, in no order."""
        found = await self._run(self._reader, "dump", self._dump, limit)
        return [Element(e.key, milliseconds(e)) for e in found]

    def watch(self, callback: Callable[[], None]) -> None:
        """Call back, in the running loop, soon after another process changed our table.

        Many changes make few calls; changes of other tables, our own bans and their expiry make
        none.  Lost notifications count as a change.
        """
        self.unwatch()
        ours = (self._writer.portid, self._thread_pid)
        self._monitor = Monitor(lambda: self.layout.table, ours, callback)

    def unwatch(self) -> None:
        """Stop watching."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    async def _run(self, worker: Worker, name: str, job: Callable[..., _T], *args: object) -> _T:
        """Run a job in the thread of a worker; count it, and report its duration."""
        begun = time.perf_counter()
        self.operations[name] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await worker.submit(functools.partial(job, *args))
        except BlockerError:
            self.failures[name] += 1
            raise
        except TimeoutError:
            self.failures[name] += 1
            raise FirewallError(
                f"table inet {self.layout.table}: {name} had no turn within {PATIENCE:.0f} s: "
                "another process holds the kernel's nftables lock, see which one loads large"
                " rulesets",
                errno.ETIMEDOUT,
            ) from None
        finally:
            if self._on_operation is not None:
                self._on_operation(name, time.perf_counter() - begun)

    async def _step(self, chunk: int) -> int:
        """Return the number of elements per transaction: ``chunk``, or as many as can be sent."""
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}: use 1 or more")
        most = self._writer.most_bytes // (52 if self.capabilities.refresh else 40 + 28 + 40)
        return max(1, min(chunk, most))

    # The methods below run in the thread of one of the workers.

    def _open(self) -> Capabilities:
        sock = self._writer.socket
        self._check_kernel(sock)
        self._load(self.layout)
        self._thread_pid, self.capabilities = probe_kernel(sock, self.layout)
        return self.capabilities

    def _check_kernel(self, sock: NetlinkSocket) -> None:
        try:
            sock.ask(netlink.get_generation())
        except FirewallError as error:
            raise FirewallError(
                f"nftables: this kernel does not answer ({error}): "
                "it needs CONFIG_NF_TABLES, try modprobe nf_tables",
                error.errno,
            ) from error

    def _load(self, layout: Layout) -> bool:
        kept = load_text(layout)
        sock = self._writer.socket
        if layout.table != self.layout.table:
            drop_table(sock)
            sock.table = layout.table
            kept = False
        self.layout = layout
        self._shape = shape_of(sock, layout)
        return kept

    def _remove(self) -> bool:
        return drop_table(self._writer.socket)

    def _present(self) -> bool:
        try:
            return shape_of(self._writer.socket, self.layout) == self._shape
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
        """Ban as many of these as a nearly full set has room for; True if all of them."""
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
        """Add or refresh elements in one transaction."""
        sock = self._writer.socket
        if self.capabilities.refresh:
            sock.commit(per_set(sock.table, netlink.upsert, capped, of_pair))
            return
        # Each key only once: deleting it a second time would fail with ENOENT.
        unique = dict(capped)
        pairs = list(unique.items())
        requests = (
            per_set(sock.table, netlink.add, pairs, of_pair)
            + per_set(sock.table, netlink.delete, unique, len)
            + per_set(sock.table, netlink.add, pairs, of_pair)
        )
        try:
            sock.commit(requests)
        except FirewallError as error:
            # Kernels before 6.8 may let an element expire between its addition and deletion.
            if error.errno != errno.ENOENT:
                raise
            sock.commit(requests)

    def _unban(self, subjects: Sequence[Subject]) -> None:
        sock = self._writer.socket
        if self.capabilities.destroy:
            requests = per_set(sock.table, netlink.destroy, subjects, len)
            with absence_allowed():
                sock.commit(requests)
            return
        # A failing deletion costs the kernel milliseconds: query first, then delete one by one.
        for subject in time_left(sock, subjects):
            with absence_allowed():
                sock.commit(per_set(sock.table, netlink.delete, [subject], len))

    def _flush(self) -> None:
        sock = self._writer.socket
        with absence_allowed():
            sock.commit([netlink.flush(sock.table, name) for name in ruleset.BAN_SETS])

    def _left(self, subjects: Sequence[Subject]) -> dict[Subject, int]:
        return time_left(self._reader.socket, subjects)

    def _drops(self) -> Drops:
        sock = self._reader.socket
        counts: list[int] = []
        for name in ruleset.COUNTERS:
            answer = sock.ask(netlink.get_counter(sock.table, name))
            counts += the_only(map(netlink.read_counter, answer), name)
        return Drops(*counts)

    def _sizes(self) -> tuple[int, int]:
        four, six = (read_set(self._reader.socket, name).members for name in ruleset.BAN_SETS)
        return four, six

    def _senders(self, subjects: Sequence[Subject]) -> list[BannedTraffic]:
        found = answers_for(self._reader.socket, ruleset.HIT_SETS, subjects)
        return [BannedTraffic(e.key, max(e.packets, 0), max(e.bytes, 0)) for e in found]

    def _dump(self, limit: int) -> list[netlink.Elem]:
        found: list[netlink.Elem] = []
        for name in ruleset.BAN_SETS:
            found += elements_of(self._reader.socket.table, name, limit - len(found))
        return found
