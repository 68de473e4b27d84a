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
from blocker.firewall.changes import ban_elements, remove_all, remove_elements
from blocker.firewall.elements import drop_table, in_parts, time_left
from blocker.firewall.facts import BannedTraffic, Capabilities, Drops, Element
from blocker.firewall.libnftables import load_text
from blocker.firewall.monitor import Monitor
from blocker.firewall.netlink_socket import KEYS, NetlinkSocket
from blocker.firewall.probe import probe_kernel
from blocker.firewall.queries import drop_counts, held_elements, set_sizes, traffic_of
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
        return await self._run(self._writer, "remove", drop_table)

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
        change = functools.partial(ban_elements, refresh=self.capabilities.refresh)
        for part in in_parts(elements, step):
            await self._run(self._writer, "ban", change, part)

    async def unban(self, subjects: Iterable[Subject]) -> None:
        """Remove bans; a subject that is not banned is no error."""
        change = functools.partial(remove_elements, destroy=self.capabilities.destroy)
        for part in in_parts(list(dict.fromkeys(subjects)), KEYS):
            await self._run(self._writer, "unban", change, part)

    async def flush(self) -> None:
        """Remove all elements of the ban sets; a missing table is no error."""
        await self._run(self._writer, "flush", remove_all)

    async def left(self, subjects: Iterable[Subject]) -> dict[Subject, int]:
        """Return the milliseconds left of each of the subjects that is banned."""
        found: dict[Subject, int] = {}
        for part in in_parts(list(dict.fromkeys(subjects)), KEYS):
            found |= await self._run(self._reader, "left", time_left, part)
        return found

    async def drops(self) -> Drops:
        """Return packets and bytes dropped since the table was created."""
        return await self._run(self._reader, "drops", drop_counts)

    async def sizes(self) -> tuple[int, int] | None:
        """Return the number of bans in the kernel, IPv4 and IPv6, or None if it does not report it.

        Bans that ended less than a minute ago may still be counted: the kernel collects expired
        elements once a minute (``gc-interval``).
        """
        if not self.capabilities.count:
            return None
        return await self._run(self._reader, "sizes", set_sizes)

    async def senders(self, subjects: Iterable[Subject]) -> list[BannedTraffic]:
        """Return what these subjects sent while they were banned, as counted by the kernel.

        The kernel drops a counter after a day without packets, and keeps at most ``hits_size``
        counters (see ``Layout``).
        """
        found: list[BannedTraffic] = []
        for part in in_parts(list(dict.fromkeys(subjects)), KEYS):
            found += await self._run(self._reader, "senders", traffic_of, part)
        return found

    async def dump(self, limit: int = 65_536) -> list[Element]:
        """Return the bans in the kernel, at most ``limit`` of them, in no order."""
        return await self._run(self._reader, "dump", held_elements, limit)

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
        """Run a job in the thread of a worker; count it, and report its duration.

        The job is called with the worker's socket and the arguments.
        """
        begun = time.perf_counter()
        self.operations[name] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await worker.submit(lambda sock: job(sock, *args))
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

    # The methods below run in the thread of the writer.

    def _open(self, sock: NetlinkSocket) -> Capabilities:
        self._check_kernel(sock)
        self._load(sock, self.layout)
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

    def _load(self, sock: NetlinkSocket, layout: Layout) -> bool:
        kept = load_text(layout)
        if layout.table != self.layout.table:
            drop_table(sock)
            sock.table = layout.table
            kept = False
        self.layout = layout
        self._shape = shape_of(sock, layout)
        return kept

    def _present(self, sock: NetlinkSocket) -> bool:
        try:
            return shape_of(sock, self.layout) == self._shape
        except FirewallError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
