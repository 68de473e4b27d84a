"""Orders of an administrator: ban, unban, forget.

An order is carried out in memory and kernel at once, and stored with the next commit.  The time
that an order waits for the disk is limited: the answer says what could not be stored in time.
"""

import asyncio
from collections.abc import Sequence

from blocker.engine.enforcer import Due
from blocker.engine.ledger import COMMAND_PATIENCE, WINDOW_SLICE
from blocker.engine.orders import Order, Outcome
from blocker.engine.parts import Parts
from blocker.engine.targets import Target
from blocker.errors import StoreError, UnchangedError
from blocker.model import Subject
from blocker.store.counter_names import NO_LOG, RENEWALS, UNBANS
from blocker.store.records import Apply, Edit, End, Extend, Forget, NewRow
from blocker.store.store import StoredBan
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.times import SECOND

MAX_HELD_ASKED = 1000
"""Addresses of an unban without a ban in memory that are looked up in the kernel, at most; bans
of further addresses end in the kernel as well, but are not counted."""
_UNSTORED = ", but that is not stored yet: {}; it is retried, and lost if the daemon ends before"


class Admin:
    """Carries out orders; has no state of its own.

    Args:
        parts: shared with the engine.
    """

    def __init__(self, parts: Parts) -> None:
        self._judge, self._enforcer, self._store = parts.judge, parts.enforcer, parts.store
        self._calls, self._ledger, self._bans = parts.calls, parts.ledger, parts.bans
        self._ceiling, self._offenders = parts.ceiling, parts.offenders
        self._announcer = parts.announcer
        self._lock, self._clock, self._prefix = parts.lock, parts.clock, parts.ipv6_prefix

    async def ban(self, subject: Subject, length: int) -> None:
        """Ban one subject by hand for a length in microseconds; see ``ban_targets``."""
        (outcome,) = await self.ban_targets(
            [Target(self._announcer.text(subject), (subject,))], length
        )
        if outcome.error is not None:
            raise outcome.error

    async def ban_targets(
        self, targets: Sequence[Target], length: int, reason: str = ""
    ) -> list[Outcome]:
        """Ban by hand for a length in microseconds; a standing ban is extended, never shortened.

        All targets are one transaction; a target that is refused does not prevent the others.

        Returns:
            one outcome for each target; an error is a ``FriendError``, an ``UnchangedError``
            if the target is already banned for at least as long, or a ``StoreError`` if the bans
            are in force but could not be stored in time.
        """
        async with self._lock:
            now = self._clock()
            order = Order(self._judge.bans, self._enforcer.friends, self._prefix, now, length)
            outcomes = []
            for target in targets:
                outcomes.append(order.add(target))
                await asyncio.sleep(0)
            number = await self._ban_by_hand(order, reason, now)
            self._announcer.bans_by_hand(outcomes, order, reason)
            self._ceiling.look()
        return await self._with_refusal(outcomes, number, "banned")

    async def _ban_by_hand(self, order: Order, reason: str, now: int) -> int:
        """Make the bans in memory and kernel; return the number of their batch."""
        pending, longer = self._ledger.pending, order.longer
        for at in range(0, len(order.new), WINDOW_SLICE):
            for ban in order.new[at : at + WINDOW_SLICE]:
                self._bans.add(ban.subject, ban.start, ban.until)
            await asyncio.sleep(0)
        pending.count_bans(order.new)
        self._ledger.count_countries(order.new)
        for ban in longer:
            self._bans.extend(ban.subject, ban.until)
        pending.counters[NO_LOG, RENEWALS] += len(longer)
        bans = order.new + longer
        if not bans:
            return 0
        applied = await self._enforcer.apply([Due(ban.subject, ban.until) for ban in bans])
        edits: list[Edit] = []
        if longer:
            edits.append(Extend(now, {ban.subject: ban.until for ban in longer}, reason))
            if applied:
                edits.append(Apply(now, frozenset(ban.subject for ban in longer)))
        number = self._ledger.order(*edits)
        self._ledger.pending.bans += [NewRow(ban, applied, reason) for ban in order.new]
        return number

    async def _with_refusal(self, outcomes: list[Outcome], number: int, done: str) -> list[Outcome]:
        """Wait for an order to be stored; if it is not, add the error to what was changed."""
        refusal = await self._ledger.wait_stored(number, sum(each.changed for each in outcomes))
        if not refusal:
            return outcomes
        return [
            each._replace(error=StoreError(f"{each.name} is {done}{_UNSTORED.format(refusal)}"))
            if each.changed
            else each
            for each in outcomes
        ]

    async def unban(self, subject: Subject) -> None:
        """End the ban of one subject; see ``unban_targets``."""
        (outcome,) = await self.unban_targets([Target(self._announcer.text(subject), (subject,))])
        if outcome.error is not None:
            raise outcome.error

    async def unban_targets(self, targets: Sequence[Target]) -> list[Outcome]:
        """End bans in memory and kernel, then in one transaction; a failing disk prevents nothing.

        Returns:
            one outcome for each target; an error is an ``UnchangedError`` if neither memory nor
            kernel has a ban, or a ``StoreError`` if the unban could not be stored in time.
        """
        async with self._lock:
            now = self._clock() // SECOND * SECOND  # hits are stamped in seconds: end before this
            asked = list(dict.fromkeys(who for target in targets for who in target.subjects))
            standing = [who for who in asked if self._judge.bans.active(who, now) is not None]
            known = set(standing)
            unknown = [who for who in asked if who not in known]
            known |= await self._enforcer.held(unknown[:MAX_HELD_ASKED])
            named = [[who for who in target.subjects if who in known] for target in targets]
            for subject in standing:
                self._end(subject, now)
            number = self._ledger.order(End(now, frozenset(standing))) if standing else 0
            outcomes = [
                _unbanned(target, len(banned))
                for target, banned in zip(targets, named, strict=True)
            ]
            await self._enforcer.unban(asked)
            self._announcer.unbans(outcomes)
        return await self._with_refusal(outcomes, number, "unbanned")

    async def unban_all(self) -> int:
        """End every ban, even if the disk fails; return how many there were.

        Raises:
            StoreError: all bans have ended, but that could not be stored in time.
        """
        async with self._lock:
            now = self._clock() // SECOND * SECOND
            bans = self._judge.bans
            standing = [who for who in bans.subjects() if bans.active(who, now)]
            for subject in standing:
                self._end(subject, now)
            number = self._ledger.order(End(now, None))
            await self._enforcer.unban_all()
            emit(events.UNBAN_ALL, COUNT=len(standing))
        if refusal := await self._ledger.wait_stored(number, len(standing)):
            done = f"every subject is unbanned ({len(standing)})"
            raise StoreError(f"{done}{_UNSTORED.format(refusal)}")
        return len(standing)

    async def forget(self, subject: Subject) -> None:
        """Erase a subject everywhere, its ban included.

        Raises:
            UnchangedError: nothing is known of it.
            StoreError: it could not be erased from the disk in time.
        """
        name = self._announcer.text(subject)
        stored = await self._calls.look_up(self._store.knows, subject, within=COMMAND_PATIENCE)
        async with self._lock:
            self._offenders.forget(subject)
            if not self._bans.forget(subject) and not stored:
                raise UnchangedError(f"nothing is known of {name}")
            number = self._ledger.order(Forget(subject))
            await self._enforcer.unban([subject])
            emit(events.FORGET, CLIENT_IP=name)
        if refusal := await self._ledger.wait_stored(number):
            raise StoreError(f"{name} is forgotten in memory{_UNSTORED.format(refusal)}")

    def _end(self, subject: Subject, now: int) -> None:
        self._bans.end(subject, now)
        self._ledger.pending.counters[NO_LOG, UNBANS] += 1

    async def standing(self, after: int = 0) -> list[StoredBan]:
        """Return a page of the standing bans, from the row behind ``after``."""
        return await self._calls.look_up(
            self._store.standing, self._clock(), after, within=COMMAND_PATIENCE
        )


def _unbanned(target: Target, count: int) -> Outcome:
    error = None if count else UnchangedError(f"{target.name} is not banned")
    return Outcome(target.name, count, error=error)
