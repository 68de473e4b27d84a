"""The logs that are being read: a cursor for each with a block in hand, in the order of time.

Several logs with a backlog are merged by their own running maxima of time, exactly as ``replay``
does: a log whose next hit is not known yet is read further before any later hit is judged.  All
blocks in hand together stay below a ceiling.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from blocker.engine.announce import Announcer
from blocker.engine.batch import PendingBatch
from blocker.engine.cursor import Cursor
from blocker.matching.matched import Matched
from blocker.matching.matchers import Matchers
from blocker.matching.parse_health import ParseWatch
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK, Stream
from blocker.store.records import Checkpoint

MAX_BATCH_BYTES = 8 << 20
MAX_HELD = 32 << 20
"""Bytes of blocks that are held in memory while logs are merged, for all logs together."""
MIN_BLOCK = 64 << 10

Turn: TypeAlias = tuple[int, int, Cursor]
"""When a cursor's next hit is judged: running time of its log, order of the log, cursor."""


class LogCursors:
    """Reads blocks of logs, finds the hits in them, and knows how far each log is.

    Args:
        matchers: find hits; one matcher for each log format.
        announcer: logs that lines are not understood.
        clock: returns microseconds since the epoch.

    Attributes:
        matchers: as given.
        parsing: counts lines that could not be parsed, by log.
    """

    def __init__(self, matchers: Matchers, announcer: Announcer, clock: Callable[[], int]) -> None:
        self.matchers, self._announcer, self._clock = matchers, announcer, clock
        self.parsing = ParseWatch()
        self._cursors: dict[Stream, Cursor] = {}
        self._latest: dict[str, int] = {}
        self._fresh: dict[tuple[str, bytes], tuple[int, int]] = {}

    def resume(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Continue each log at its stored checkpoint."""
        self.note_latest(checkpoints)
        self._fresh = {
            (checkpoint.position.path, checkpoint.position.head): (
                checkpoint.fresh_end,
                checkpoint.cutoff,
            )
            for checkpoint in checkpoints
            if checkpoint.cutoff
        }

    def met(self, position: Position) -> Checkpoint:
        """Return the checkpoint of a log that is new to this run, with its stored times."""
        fresh = self._fresh.get((position.path, position.head), (0, 0))
        return Checkpoint(position, self.latest(position.path), *fresh)

    # Reading -----------------------------------------------------------------------------------

    async def gather(self, logs: Sequence[Stream], pending: PendingBatch) -> list[Turn]:
        """Return the cursors that hold a hit, as a heap; ``logs`` are those with new lines."""
        for log in logs:
            if log not in self._cursors:
                fresh = self._fresh.get((log.path, log.head), (0, 0))
                is_of_events = self.matchers.of(log.path).is_of_events
                self._cursors[log] = Cursor(log, self.latest(log.path), fresh, is_of_events)
        heap = []
        for order, cursor in enumerate(list(self._cursors.values())):
            if not cursor.empty or await self.refill(cursor, pending):
                heap.append((cursor.key, order, cursor))
        heapq.heapify(heap)
        return heap

    async def refill(self, cursor: Cursor, pending: PendingBatch) -> bool:
        """Read blocks until the cursor has a hit; False at the end of the log, or of the batch."""
        while True:
            cursor.record_progress(pending)
            size = cursor.read_size(MIN_BLOCK, self._share())
            block = await cursor.log.read(size) if pending.bytes < MAX_BATCH_BYTES else None
            if block is None:
                del self._cursors[cursor.log]
                return False
            pending.bytes += len(block.data)
            matcher, now = self.matchers.of(cursor.log.path), self._clock()
            matched = matcher.scan(block.data, now)
            cursor.take(block, matched)
            self._watch_parsing(cursor.log.path, block.data, matched, now)
            await asyncio.sleep(0)
            if not cursor.empty:
                return True

    def _watch_parsing(self, path: str, block: bytes, matched: Matched, now: int) -> None:
        matcher = self.matchers.of(path)
        trouble = self.parsing.look(
            path, now, block, matched, lambda line: matcher.explain(line, now)
        )
        if trouble is not None:
            self._announcer.not_understood(path, trouble)

    def _share(self) -> int:
        """Return how many bytes one log may hold, so that all logs together keep ``MAX_HELD``."""
        return max(MIN_BLOCK, min(BLOCK, MAX_HELD // max(len(self._cursors), 1)))

    # Times -------------------------------------------------------------------------------------

    def latest(self, path: str) -> int:
        """Return the latest event time of a log, microseconds; 0 before its first hit."""
        return self._latest.get(path, 0)

    def note_latest(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Note the latest event times of logs that were judged."""
        for checkpoint in checkpoints:
            path = checkpoint.position.path
            self._latest[path] = max(self._latest.get(path, 0), checkpoint.latest)

    def forget(self, paths: Iterable[str]) -> None:
        """Forget the event times of logs that are no longer followed."""
        for path in paths:
            self._latest.pop(path, None)

    def clock_set_to(self, now: int) -> None:
        """Limit event times to the clock, after it was set; the caller holds the lock."""
        self._latest = {path: min(time, now) for path, time in self._latest.items()}
        for cursor in self._cursors.values():
            cursor.latest = min(cursor.latest, now)
