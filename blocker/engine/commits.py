"""Commits, one at a time, in the store's thread; no caller has to wait for one.

A commit may be slow, fail, or hang, because of the disk or because another program has locked the
database.  Judging and banning continue: the next commit begins when the one before has ended, and
contains everything since.  A batch that could not be committed is kept and joined with the next.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from blocker.engine.store_calls import StoreCalls
from blocker.errors import StoreError
from blocker.store.records import Batch, joined
from blocker.store.store import Store
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit

HANGS = 1.0
"""Seconds after which a commit that has not ended is reported as hanging."""


class _UnderWay(NamedTuple):
    """A commit that has not ended."""

    number: int
    batch: Batch
    began: float
    writing: "asyncio.Future[None]"


class Committer:
    """Writes batches into a store.

    Args:
        store: the database.

    Attributes:
        calls: runs calls of the store.
        begun: number of the last batch that was begun.
        ended: number of the last batch that came to an end, stored or not.
        stored: number of the last batch that is stored, with everything before it.
        last_error: why the last commit failed; empty if it succeeded.
        damage: damage that was found in the file; empty if none.
        saved_at: when the last commit began, monotonic seconds.
        unsaved: the batch that failed, without windows: those are taken from the judge again.
        on_refused: called with a batch that failed; returns what to keep of it.
        on_ended: called when a commit has ended, stored or not.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls = StoreCalls(store)
        self.calls.trouble = lambda: self.trouble
        self._under_way: _UnderWay | None = None
        self.begun = self.ended = self.stored = 0
        self.last_error = ""
        self.damage = ""
        self._refusals = 0
        self.saved_at = 0.0
        self.unsaved: Batch | None = None
        self._broken: BaseException | None = None
        self._hang_logged = False
        self.on_ended: Callable[[], None] = lambda: None
        self.on_refused: Callable[[Batch], Batch] = lambda batch: batch

    @property
    def busy(self) -> bool:
        """Whether a commit is under way."""
        return self._under_way is not None

    @property
    def age(self) -> float:
        """Seconds since the commit under way began; 0 without one."""
        return monotonic() - self._under_way.began if self._under_way is not None else 0.0

    @property
    def hangs(self) -> bool:
        """Whether the commit under way has taken longer than ``HANGS``."""
        return self.age > HANGS

    def patience(self, within: float) -> float:
        """Return how many seconds to wait for a commit: none for one that hangs."""
        return 0.0 if self.hangs else within

    @property
    def trouble(self) -> str:
        """Why the store can't be written; empty if it can."""
        if self.hangs:
            return (
                f"{self.store.path}: a commit has been going on for {self.age:.0f} s: the disk"
                " does not answer, or another program has locked the database; bans go on, and are"
                " stored when it is free again"
            )
        return self.last_error or self.damage

    @property
    def failures(self) -> int:
        """Number of failed writes and reads, and of damage that was found."""
        return self.calls.failures + self._refusals

    def note_damage(self, damage: str) -> None:
        """Set the damage of the file; log it if it is new."""
        if damage and damage != self.damage:
            self._refusals += 1
            emit(events.CHORE_REFUSED, REASON=damage)
        self.damage = damage

    def begin(self, batch: Batch) -> None:
        """Begin to commit a batch, joined with one that failed before; not while one is under way.

        An unexpected exception of the commit before is raised here, and ends the daemon.
        """
        if self._broken is not None:
            raise self._broken
        batch, self.unsaved = joined(self.unsaved, batch), None
        self.begun += 1
        self.saved_at = monotonic()
        writing = self.calls.start(self.store.commit, batch)
        self._under_way = _UnderWay(self.begun, batch, self.saved_at, writing)
        writing.add_done_callback(self._end)

    def _end(self, writing: "asyncio.Future[None]") -> None:
        if self._under_way is None:
            return
        number, batch, *_ = self._under_way
        self._under_way, self.ended = None, number
        self.on_ended()
        error = writing.exception()
        if isinstance(error, StoreError):
            self._refusals += 1
            if str(error) != self.last_error:
                emit(events.STORE_REFUSED, REASON=error)
            self.last_error = str(error)
            self.unsaved = self.on_refused(batch)
            return
        if error is not None:
            self._broken = error
            return
        if self.last_error or self._hang_logged:
            emit(events.STORE_ACCEPTS)
        self.last_error, self._hang_logged, self.stored = "", False, number

    def log_if_hanging(self) -> None:
        """Log that a commit hangs, once until a commit succeeds again."""
        if self.hangs and not self._hang_logged:
            self._hang_logged = True
            emit(events.STORE_HANGS, REASON=self.trouble)

    async def wait(self, within: float | None = None) -> bool:
        """Wait for the commit under way, at most so many seconds; True if it has ended."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way.writing}, timeout=within)
        return self._under_way is None
