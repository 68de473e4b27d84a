"""Commits, one at a time, in the store's thread; nobody has to wait for one.

A disk may take its time, refuse, or hang, and so may another program that holds the database.
Judging and banning go on meanwhile: a commit is begun when the one before has ended, and carries
everything that came up since.  What the disk refuses is kept, joined with the next batch, and
committed with it.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple, TypeVar

from blocker import events
from blocker.batch import Batch, joined
from blocker.errors import StoreError
from blocker.logs import tell
from blocker.store import Store
from blocker.threads import Threads

HANGS = 1.0
"""Seconds after which a commit that has not ended is said to hang."""

_T = TypeVar("_T")


class _UnderWay(NamedTuple):
    """A commit that has not ended."""

    number: int
    batch: Batch
    began: float
    writing: "asyncio.Future[None]"


class Committer:
    """Writes batches into a store.

    Args:
        store: written to and read in one thread.
        threads: that thread; whoever made it ends it.

    Attributes:
        begun: number of the last batch that was begun.
        ended: number of the last batch that came to an end, stored or not.
        stored: number of the last batch that is stored, with everything before it.
        refusal: why the store refused the last one, or nothing.
        failures: changes and questions that the store refused.
        saved_at: when the last commit began, monotonic seconds.
        unsaved: what the store refused, without windows: those are told anew.
        on_refused: is given a batch that was refused, and returns what of it is kept.
        on_ended: is called when a commit has come to an end, stored or not.
    """

    def __init__(self, store: Store, threads: Threads) -> None:
        self.store = store
        self._threads = threads
        self._under_way: _UnderWay | None = None
        self.begun = self.ended = self.stored = 0
        self.refusal = ""
        self.failures = 0
        self.saved_at = 0.0
        self.unsaved: Batch | None = None
        self._broken: BaseException | None = None
        self._told = False
        self.on_ended: Callable[[], None] = lambda: None
        self.on_refused: Callable[[Batch], Batch] = lambda batch: batch

    @property
    def busy(self) -> bool:
        """Whether a commit is under way."""
        return self._under_way is not None

    @property
    def age(self) -> float:
        """For how many seconds the commit under way has been going on; 0 without one."""
        return monotonic() - self._under_way.began if self._under_way is not None else 0.0

    @property
    def hangs(self) -> bool:
        """Whether the commit under way takes longer than any disk should."""
        return self.age > HANGS

    def patience(self, within: float) -> float:
        """Return how many seconds to wait for a commit: none for one that hangs."""
        return 0.0 if self.hangs else within

    @property
    def trouble(self) -> str:
        """What the store has against being written, or nothing."""
        if self.hangs:
            return (
                f"{self.store.path}: a commit has been going on for {self.age:.0f} s: the disk"
                " does not answer, or another program holds the database; bans go on, and are"
                " stored when it lets go"
            )
        return self.refusal

    async def run(
        self,
        call: Callable[..., _T],
        *args: object,
        within: float | None = None,
        threads: Threads | None = None,
    ) -> _T:
        """Run a call of the store in its thread, behind what was begun before, or in another.

        Raises:
            StoreError: the store refuses, or has not answered within so many seconds.
        """
        where = threads or self._threads
        calling = asyncio.get_running_loop().run_in_executor(where, call, *args)
        try:
            async with asyncio.timeout(within):
                return await calling
        except StoreError:
            self.failures += 1
            raise
        except TimeoutError:
            raise StoreError(
                self.trouble or f"{self.store.path}: no answer within {within} s"
            ) from None

    def begin(self, batch: Batch) -> None:
        """Begin to commit a batch, and what the store refused before; not while one is under way.

        What broke the commit before and was no refusal is raised here, and ends the daemon.
        """
        if self._broken is not None:
            raise self._broken
        batch, self.unsaved = joined(self.unsaved, batch), None
        self.begun += 1
        self.saved_at = monotonic()
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._threads, self.store.commit, batch)
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
            self.failures += 1
            if str(error) != self.refusal:
                tell(events.STORE_REFUSED, REASON=error)
            self.refusal = str(error)
            self.unsaved = self.on_refused(batch)
            return
        if error is not None:
            self._broken = error
            return
        if self.refusal or self._told:
            tell(events.STORE_ACCEPTS)
        self.refusal, self._told, self.stored = "", False, number

    def tell_if_it_hangs(self) -> None:
        """Tell that a commit hangs, once until the store takes changes again."""
        if self.hangs and not self._told:
            self._told = True
            tell(events.STORE_HANGS, REASON=self.trouble)

    async def landed(self, within: float | None = None) -> bool:
        """Wait for the commit under way, so many seconds at most; whether there is none now."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way.writing}, timeout=within)
        return self._under_way is None
