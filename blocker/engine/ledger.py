"""Changes that are not stored yet: collected, committed, and kept while the disk fails.

The engine and the administrator's orders add to ``pending`` under the engine's lock, which is not
held while a commit is written.  While a commit hangs, changes wait here: at most as many windows as
are tracked, bans up to a ceiling, and counters, whose number is fixed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from blocker.engine.batch import PendingBatch
from blocker.engine.commits import HANGS, Committer
from blocker.judging.judge import Judge
from blocker.judging.windows import Window
from blocker.model import Ban, Subject
from blocker.store.counter_names import BANS_BY_COUNTRY, BANS_UNSTORED, NO_LOG
from blocker.store.records import Batch, Edit, edited

COMMIT_PAUSE = 2.0
"""Seconds between two commits while there is a backlog."""
MAX_OPEN_WINDOWS = 250_000
"""Changed windows that wait for a commit, at most; then judging waits for it.

More than a flood changes between two commits: a subject that is banned before has no window.
"""
COMMIT_PATIENCE = 0.05
"""Seconds that the next batch waits for a commit that has just begun."""
ROWS_A_SECOND = 10_000
"""Rows that even a slow disk writes in a second."""
COMMAND_PATIENCE = 2.0
"""Seconds that an administrator's command waits to be stored; it is carried out before."""
MAX_UNSTORED = 250_000
"""Bans that wait to be stored, at most; beyond that the oldest are in memory and kernel only."""
RETRIED_WINDOWS = 50_000
"""After a failed commit, one second passes before the next for each so many changed windows."""
WINDOW_SLICE = 5000
"""Windows that are collected for the store before other tasks run."""
FORGET = 1000
"""Evicted windows that one batch deletes from the store, at least."""


class Ledger:
    """Collects what one engine changes, and has it committed.

    Args:
        judge: knows the windows.
        committer: writes batches.
        lock: of the engine; callers hold it, except where a method says otherwise.
        clock: returns microseconds since the epoch.
        country_of: returns the country of a subject; None while no database of countries is open.

    Attributes:
        pending: the changes of the next batch.
        counters: as exported: those that are stored, and while the disk hangs those that wait.
        incomplete: whether a batch is being judged, so that ``pending`` is inconsistent.
    """

    def __init__(
        self,
        judge: Judge,
        committer: Committer,
        lock: asyncio.Lock,
        clock: Callable[[], int],
        country_of: Callable[[Subject], str | None] = lambda _subject: None,
    ) -> None:
        self._judge, self.committer, self._lock, self._clock = judge, committer, lock, clock
        self.committer.on_refused, self.committer.on_ended = self._keep, self._show_taken
        self.pending = PendingBatch()
        self.counters: Counter[tuple[str, str]] = Counter()
        self._country_of = country_of
        self.incomplete = False
        self._taken: Counter[tuple[str, str]] = Counter()
        """Counts of the commit under way that are not exported yet."""
        self._commit_due = asyncio.Event()

    def count_countries(self, bans: Iterable[Ban]) -> None:
        """Count bans by country, if a country database is open."""
        for ban in bans:
            country = self._country_of(ban.subject)
            if country is not None:
                self.pending.counters[NO_LOG, BANS_BY_COUNTRY.of(country)] += 1

    async def commit_in_time(self) -> None:
        """Begin a commit if one is due; judging goes on while it is written."""
        crowded = self._judge.windows.changed >= MAX_OPEN_WINDOWS
        if crowded and not self.committer.hangs:
            await self.committer.wait(HANGS)
        if crowded or monotonic() - self.committer.saved_at >= COMMIT_PAUSE:
            await self.begin()

    async def commit_now(self) -> None:
        """Commit everything; wait a moment for this commit, but for none before it."""
        if await self.begin() and not await self.committer.wait(COMMIT_PATIENCE):
            self._commit_due.set()  # keep_committed waits for its end

    def may_retry(self) -> bool:
        """Whether a failed commit may be retried: the more windows changed, the later."""
        since = monotonic() - self.committer.saved_at
        return since >= self._judge.windows.changed / RETRIED_WINDOWS

    async def begin(self) -> bool:
        """Begin a commit of all pending changes; False if the one before has not ended.

        Nothing is committed while a batch is incomplete: its positions and windows do not match.
        """
        if self.committer.busy:
            self._commit_due.set()
            if self.committer.hangs:
                self._show_counters()
            return False
        if not self.incomplete and (
            self.pending or self.committer.unsaved or self._judge.windows.changed
        ):
            self.committer.begin(await self._take())
        return True

    async def stored(self, within: float) -> bool:
        """Commit everything, and wait at most so many seconds; True if everything is stored."""
        began = monotonic()
        await self.committer.wait(within)
        if not await self.begin():
            return False
        await self.committer.wait(max(0.0, began + within - monotonic()))
        return not self.committer.busy and self.committer.unsaved is None

    async def keep_committed(self) -> None:
        """Run for ever: commit what had to wait for another commit; takes the lock itself."""
        while True:
            await self._commit_due.wait()
            self._commit_due.clear()
            if not await self.committer.wait(HANGS):
                self._show_counters()
                await self.committer.wait()
            async with self._lock:
                await self.begin()

    async def wait_stored(self, number: int, rows: int = 1) -> str:
        """Wait a limited time until a batch is stored; return why it is not, or "".

        The limit grows with the number of rows that changed.  Called without the lock.
        """
        deadline = monotonic() + COMMAND_PATIENCE + rows / ROWS_A_SECOND
        while self.committer.ended < number:
            await self.committer.wait(max(0.0, deadline - monotonic()))
            if monotonic() >= deadline:
                self._commit_due.set()
                return self.committer.trouble or f"no answer within {COMMAND_PATIENCE:.0f} s"
            async with self._lock:
                if self.committer.begun < number:
                    await self.begin()
        return "" if self.committer.stored >= number else self.committer.last_error

    def order(self, *edits: Edit) -> int:
        """Add edits whose caller waits until they are durable; return the number of their batch."""
        for edit in edits:
            self.pending.edit(edit)
            if self.committer.unsaved is not None:
                kept = edited(self.committer.unsaved.bans, [edit])
                self.committer.unsaved = self.committer.unsaved._replace(bans=kept)
        self.pending.durable = True
        self._commit_due.set()
        return self.committer.begun + 1

    def drop_forgotten(self) -> None:
        """Drop unsaved bans of subjects that the judge has evicted."""
        unsaved = self.committer.unsaved
        if unsaved is not None:
            kept = [row for row in unsaved.bans if self._judge.bans.count(row.ban.subject)]
            self.committer.unsaved = unsaved._replace(bans=kept)

    async def _take(self) -> Batch:
        """Return everything pending as a batch, and start an empty one."""
        judge, pending = self._judge, self.pending
        # Twice as many as were changed, so that evicted windows do not accumulate.
        taken = list(judge.windows.take_changed())
        taken += judge.windows.take_forgotten(2 * len(taken) + FORGET)
        try:
            windows = await self._windows(taken)
        except asyncio.CancelledError:
            judge.windows.put_back(taken)
            raise
        self._bound_bans()
        counters = pending.shown + pending.counters
        self._taken, self.pending = pending.counters, PendingBatch()
        # New logs first: the checkpoint of one that was read since then is later.
        checkpoints = [*pending.met, *pending.checkpoints.values()]
        return Batch(
            checkpoints,
            windows,
            pending.bans,
            counters,
            self._clock(),
            pending.edits,
            pending.durable,
        )

    async def _windows(self, subjects: Sequence[Subject]) -> dict[Subject, Window]:
        """Return the windows of subjects; other tasks run between two slices."""
        windows: dict[Subject, Window] = {}
        for at in range(0, len(subjects), WINDOW_SLICE):
            part = subjects[at : at + WINDOW_SLICE]
            windows.update((who, self._judge.windows.get(who)) for who in part)
            await asyncio.sleep(0)
        return windows

    def _bound_bans(self) -> None:
        """Drop the oldest bans beyond ``MAX_UNSTORED``: they stay in memory and kernel."""
        pending = self.pending
        over = len(pending.bans) - MAX_UNSTORED
        if over > 0:
            del pending.bans[:over]
            pending.counters[NO_LOG, BANS_UNSTORED] += over

    def _show_taken(self) -> None:
        """Export the counts of a commit that has ended."""
        self.counters.update(self._taken)
        self._taken.clear()

    def _show_counters(self) -> None:
        """Export the counts of everything judged, although the disk hangs."""
        self._show_taken()
        self._bound_bans()
        pending = self.pending
        self.counters.update(pending.counters)
        pending.shown += pending.counters
        pending.counters.clear()

    def _keep(self, batch: Batch) -> Batch:
        """Return what is kept of a batch that could not be stored.

        Subjects are marked as changed again, and their windows not kept: what waits is bounded by
        the number of tracked subjects, not by the length of the outage.  An old window that is not
        deleted does no harm.
        """
        few = len(batch.windows) < MAX_OPEN_WINDOWS
        self._judge.windows.put_back(who for who, mine in batch.windows.items() if mine or few)
        bans = edited(batch.bans, self.pending.edits)[-MAX_UNSTORED:]
        return batch._replace(windows={}, bans=bans)
