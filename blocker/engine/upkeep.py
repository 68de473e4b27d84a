"""Work between the batches: reconciling the kernel, and removing old state.

Each call takes the lock while it changes the engine's objects, in slices if there may be much to
do, so that batches run in between.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from time import monotonic

from blocker.engine.ceiling import fold_gone
from blocker.engine.enforcer import Expected
from blocker.engine.engine import Engine
from blocker.engine.ledger import COMMIT_PATIENCE
from blocker.engine.restore import read_back
from blocker.engine.standing_bans import EXPIRE_SLICE
from blocker.errors import ConfigError, FirewallError, NotPermittedError
from blocker.firewall.ruleset import table_name
from blocker.judging.limits import AHEAD
from blocker.store.counter_names import GONE
from blocker.store.records import Apply
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds between two attempts to reconcile while the kernel refuses."""
CHECK_PAUSE, CHECK_RARELY = 60.0, 1800.0
"""Seconds between two checks of the database for damage, at least and at most."""
CHECK_SHARE = 1000
"""Within these bounds, the multiple of the last check's duration: 0.6 s with a million bans."""


class Upkeep:
    """Maintains the state of one engine.

    Args:
        engine: whose lock and objects are used.
    """

    def __init__(self, engine: Engine) -> None:
        parts = engine.parts
        self._engine = engine
        self._judge, self._enforcer, self._store = parts.judge, parts.enforcer, parts.store
        self._committer, self._ledger, self._bans = parts.committer, parts.ledger, parts.bans
        self._ceiling, self._announcer = parts.ceiling, parts.announcer
        self._lock, self._clock, self._ask = parts.lock, parts.clock, parts.calls.run
        self._caught_up = False
        """Whether the logs have been read to their ends since the start."""
        self._check_at = monotonic() + CHECK_PAUSE
        """When the database is checked next, monotonic seconds."""

    async def keep_in_step(self, every: float) -> None:
        """Reconcile when the ruleset was changed, and at least every so many seconds.

        After a refusal of the kernel, reconciling is retried after pauses that grow from
        ``FIRST_PAUSE`` to ``LAST_PAUSE``; a change of the ruleset ends each of them.
        """
        enforcer, pause = self._enforcer, FIRST_PAUSE
        while True:
            refused = enforcer.last_error
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if refused else every):
                    await enforcer.wake.wait()
            pause = min(pause * 2, LAST_PAUSE) if refused else FIRST_PAUSE
            enforcer.wake.clear()
            try:
                await self.reconcile()
            except (FirewallError, NotPermittedError) as error:
                enforcer.note_refusal(error)
            else:
                if refused:
                    emit(events.KERNEL_ACCEPTS)

    async def reconcile(self) -> None:
        """Make the kernel hold the standing bans, and nothing else.

        Raises:
            FirewallError: the kernel refuses.
        """
        async with self._lock:
            waiting = frozenset(self._enforcer.waiting)
            sizes = self._bans.active.count(self._clock())
            known = self._bans.stands if self._caught_up else None
            await self._enforcer.reconcile(Expected(self._bans.pages(), sizes, known))
            if waiting:
                self._ledger.pending.edit(Apply(self._clock(), waiting))
            await self._ledger.begin()

    async def enforce_all(self) -> None:
        """Put every standing ban into the kernel, with its remaining time."""
        async with self._lock:
            now_friends, self._bans.now_friends = self._bans.now_friends, []
            await self._enforcer.unban_later(now_friends)
            await self._enforcer.enforce(self._bans.pages())
            if self._enforcer.enforcing and not self._enforcer.last_error:
                self._ledger.pending.edit(Apply(self._clock(), None))
            await self._ledger.begin()

    async def resync(self, remember: int) -> None:
        """Correct all times that are ahead of the clock, after the clock was set.

        The store is not changed before the daily tidying: the clock may be set again.  Bans are
        read from it again, those that begin in the future begin now, standing bans are counted
        again, and the kernel's sets are filled again.
        """
        async with self._lock:
            await self._ledger.stored(self._committer.patience(COMMIT_PATIENCE))
            now = self._clock()
            self._engine.logs.clock_set_to(now)
            self._announcer.forget_acknowledged()
            if not self._committer.busy and self._committer.unsaved is None:
                await read_back(self._engine.parts, remember, now)
            await self._bans.recount(now)
            self._ceiling.look()
        await self.enforce_all()

    async def former_table(self, table: str) -> str:
        """Return the table that held the bans before, if it was a different one; else ""."""
        noted = await self._ask(self._store.noted, "table")
        try:
            return "" if noted == table else table_name(noted)
        except ConfigError:  # nothing was noted, or another program changed it
            return ""

    async def note_table(self, table: str) -> None:
        """Note which table holds the bans from now on."""
        await self._ask(self._store.note, "table", table)

    async def keep_store(self) -> None:
        """Write the database again if it was deleted, replaced or damaged while it was open.

        Raises:
            StoreError: it can't be read or written; the next call retries.
        """
        if await self._ask(self._store.in_place):
            if monotonic() >= self._check_at:
                await self.check_store()
            return
        text = (
            f"{self._store.path} was deleted or replaced by another program and is written again"
            " from what is open here; stop the daemon before you move or restore it"
        )
        emit(events.STORE_GONE, REASON=text)
        self._announcer.conditions.see("state", text, self._clock())
        await self._ask(self._store.rewrite)

    async def check_store(self) -> None:
        """Check for damage; rewrite the file from memory if possible, else report a problem.

        Raises:
            StoreError: the database can't be read or written.
        """
        began = monotonic()
        try:
            damage = await self._engine.parts.calls.look_for_damage()
            if damage and await self._written_again():
                text = (
                    f"{self._store.path} was damaged, by another program or by the disk, and is"
                    f" written again from what is open here; it was: {damage}"
                )
                emit(events.STORE_GONE, REASON=text)
                self._announcer.conditions.see("state", text, self._clock())
                damage = ""
            self._committer.note_damage(damage)
        finally:
            took = monotonic() - began
            self._check_at = monotonic() + min(max(took * CHECK_SHARE, CHECK_PAUSE), CHECK_RARELY)

    async def _written_again(self) -> bool:
        return await self._ask(partial(self._store.rewrite, if_whole=True))

    async def caught_up(self) -> None:
        """From now on detect bans without effect, and remove unknown elements from the kernel."""
        async with self._lock:
            now = self._clock()
            if self._enforcer.enforcing:
                self._judge.reach_since = now
            self._caught_up = True
            await self._enforcer.remove_unknown(self._bans.stands)

    async def tidy(self, remember: int) -> None:
        """Remove expired state, in slices that do not block the loop."""
        now = self._clock()
        subjects = self._judge.subjects()
        for at in range(0, len(subjects), EXPIRE_SLICE):
            async with self._lock:
                self._judge.expire(subjects[at : at + EXPIRE_SLICE], now)
            await asyncio.sleep(0)
        async with self._lock:
            self._bans.repeat_offenders = self._judge.bans.repeat_offenders
            self._judge.bans.look_again()
            self._ceiling.look()
            await self._ledger.begin()
        await self._ask(self._store.set_back, now, now + AHEAD)
        await self._ask(self._store.tidy, now - remember, now)
        await self._ceiling.give_back()

    async def fold_gone(self, followed: Iterable[str]) -> None:
        """Sum the counters of logs that are gone under one name, if those are too many."""
        gone = fold_gone(self._ledger.counters, followed)
        self._engine.logs.forget(gone)
        if gone:
            await self._ask(self._store.fold_counters, gone, GONE)

    async def evict(self) -> None:
        """Remove ended bans beyond the ceiling, from memory and store."""
        self._ceiling.reached.clear()
        now, before = self._clock(), self._judge.bans.evicted
        self._bans.repeat_offenders -= await self._ceiling.evict(now)
        # Unsaved bans of evicted subjects are dropped as well.
        self._ledger.drop_forgotten()
        if evicted := self._judge.bans.evicted - before:
            self._announcer.evicted(evicted)
        await self._ceiling.sweep(now)
