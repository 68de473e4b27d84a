"""What was judged and is not stored yet: taken in slices, committed, kept while the disk refuses.

Whoever judges or orders something notes it in ``work`` under the engine's lock; nobody holds that
lock while a commit is written.  While a commit hangs, what comes up waits here: windows as many as
are tracked, bans up to a ceiling, counters as they are.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic

from blocker.batch import Batch, Edit, edited
from blocker.committer import HANGS, Committer
from blocker.intake import Work
from blocker.judge import Judge, Window
from blocker.model import Subject

COMMIT_PAUSE = 2.0
"""Seconds between two commits while there is a backlog."""
MAX_OPEN_WINDOWS = 250_000
"""Changed windows that wait for a commit, at most; then judging waits for it.

More than a flood changes between two commits: those of who is banned meanwhile are never stored.
"""
COMMIT_PATIENCE = 0.05
"""Seconds that the next batch waits for a commit that has just begun."""
ROWS_A_SECOND = 10_000
"""Rows that a slow disk surely takes in a second."""
COMMAND_PATIENCE = 2.0
"""Seconds that an administrator's command waits to be stored; it is carried out before."""
MAX_UNSTORED = 250_000
"""Bans that wait to be stored, at most; beyond that the oldest stand in the kernel alone."""
RETRIED_WINDOWS = 50_000
"""Changed windows for each second that a store which refused is left alone."""
WINDOW_SLICE = 5000
"""… and windows that are handed to the store."""
FORGET = 1000
"""Windows that a batch deletes from the store at least, of those that were pushed out."""


class Ledger:
    """Collects what one engine changes, and has it committed.

    Args:
        judge: knows the windows.
        committer: writes batches.
        lock: of the engine; held by whoever calls a method that does not say otherwise.
        clock: returns microseconds since the epoch.

    Attributes:
        work: what comes into the next batch.
        counters: as they are shown: what is stored, and what waits while the disk hangs.
        torn: whether a batch is being judged, so that ``work`` is not of one moment.
    """

    def __init__(
        self, judge: Judge, committer: Committer, lock: asyncio.Lock, clock: Callable[[], int]
    ) -> None:
        self._judge, self.committer, self._lock, self._clock = judge, committer, lock, clock
        self.committer.on_refused, self.committer.on_ended = self._keep, self._show_taken
        self.work = Work()
        self.counters: Counter[tuple[str, str]] = Counter()
        self.torn = False
        self._taken: Counter[tuple[str, str]] = Counter()
        """Counts of the commit under way that do not show yet."""
        self._owed = asyncio.Event()

    async def commit_in_time(self) -> None:
        """Commit if it is time; judging goes on meanwhile."""
        crowded = len(self._judge.changed) >= MAX_OPEN_WINDOWS
        if crowded and not self.committer.hangs:
            await self.committer.landed(HANGS)
        if crowded or monotonic() - self.committer.saved_at >= COMMIT_PAUSE:
            await self.begin()

    async def commit_now(self) -> None:
        """Commit everything; the next batch waits a moment, but for no commit before this one."""
        if await self.begin() and not await self.committer.landed(COMMIT_PATIENCE):
            self._owed.set()  # somebody else sees to it that it comes to an end

    def may_try_again(self) -> bool:
        """Whether a store that refused is asked again: the more there is to tell, the later."""
        since = monotonic() - self.committer.saved_at
        return since >= len(self._judge.changed) / RETRIED_WINDOWS

    async def begin(self) -> bool:
        """Begin a commit of everything so far; False if the one before has not ended.

        Nothing of a batch that was broken off: its positions and windows are not of one moment.
        """
        if self.committer.busy:
            self._owed.set()
            if self.committer.hangs:
                self._show_counters()
            return False
        if not self.torn and (self.work or self.committer.unsaved or self._judge.changed):
            self.committer.begin(await self._take())
        return True

    async def stored(self, within: float) -> bool:
        """Commit everything, and wait so many seconds at most; whether nothing is left."""
        began = monotonic()
        await self.committer.landed(within)
        if not await self.begin():
            return False
        await self.committer.landed(max(0.0, began + within - monotonic()))
        return not self.committer.busy and self.committer.unsaved is None

    async def keep_committed(self) -> None:
        """Commit what could not be while the commit before hung."""
        while True:
            await self._owed.wait()
            self._owed.clear()
            if not await self.committer.landed(HANGS):
                self._show_counters()
                await self.committer.landed()
            async with self._lock:
                await self.begin()

    async def see_stored(self, number: int, rows: int = 1) -> str:
        """Wait until a batch is stored, but not for long; return what the disk has against it.

        The more rows somebody has changed, the longer it may take.
        """
        deadline = monotonic() + COMMAND_PATIENCE + rows / ROWS_A_SECOND
        while self.committer.ended < number:
            await self.committer.landed(max(0.0, deadline - monotonic()))
            if monotonic() >= deadline:
                self._owed.set()
                return self.committer.trouble or f"no answer within {COMMAND_PATIENCE:.0f} s"
            async with self._lock:
                if self.committer.begun < number:
                    await self.begin()
        return "" if self.committer.stored >= number else self.committer.refusal

    def order(self, *edits: Edit) -> int:
        """Take up what somebody waits for to be stored; return the number of its batch."""
        for edit in edits:
            self.work.edit(edit)
            if self.committer.unsaved is not None:
                kept = edited(self.committer.unsaved.bans, [edit])
                self.committer.unsaved = self.committer.unsaved._replace(bans=kept)
        self.work.durable = True
        self._owed.set()
        return self.committer.begun + 1

    def drop_forgotten(self) -> None:
        """Let bans of subjects that the judge has evicted not wait for the store."""
        unsaved = self.committer.unsaved
        if unsaved is not None:
            kept = [row for row in unsaved.bans if self._judge.bans_of(row.ban.subject)]
            self.committer.unsaved = unsaved._replace(bans=kept)

    async def _take(self) -> Batch:
        """Return what is to be committed, and begin anew."""
        judge, work = self._judge, self.work
        # Twice as many as came in: what was pushed out is gone before the next are.
        forgotten = judge.take_forgotten(2 * len(judge.changed) + FORGET)
        changed = [*judge.changed, *forgotten]
        windows: dict[Subject, Window] = {}
        for at in range(0, len(changed), WINDOW_SLICE):
            windows.update((who, judge.window(who)) for who in changed[at : at + WINDOW_SLICE])
            await asyncio.sleep(0)
        judge.changed.clear()
        self._bound_bans()
        counters = work.shown + work.counters
        self._taken, self.work = work.counters, Work()
        # What was met first: a log that was read since then has moved on.
        places = [*work.met, *work.places.values()]
        return Batch(places, windows, work.bans, counters, self._clock(), work.edits, work.durable)

    def _bound_bans(self) -> None:
        """Let the oldest bans that wait to be stored stand in the kernel alone, if need be."""
        work = self.work
        over = len(work.bans) - MAX_UNSTORED
        if over > 0:
            del work.bans[:over]
            work.counters["", "bans_unstored"] += over

    def _show_taken(self) -> None:
        """Let a commit that has ended show in the metrics."""
        self.counters.update(self._taken)
        self._taken.clear()

    def _show_counters(self) -> None:
        """Let what was judged show in the metrics, although the disk hangs."""
        self._show_taken()
        self._bound_bans()
        work = self.work
        self.counters.update(work.counters)
        work.shown += work.counters
        work.counters.clear()

    def _keep(self, batch: Batch) -> Batch:
        """Return what is kept of a batch that the store refused.

        Windows are told anew, as they are by then: what waits grows with those that are tracked,
        not with the time.  An old one that is not deleted does no harm.
        """
        few = len(batch.windows) < MAX_OPEN_WINDOWS
        self._judge.changed.update(who for who, mine in batch.windows.items() if mine or few)
        bans = edited(batch.bans, self.work.edits)[-MAX_UNSTORED:]
        return batch._replace(windows={}, bans=bans)
