"""The block of a log that is being judged, and how far it is.

A log's position moves with its hits: the next commit contains the position behind the last judged
hit, and not a byte more.
"""

from bisect import bisect_right
from time import monotonic

from blocker.engine.batch import PendingBatch
from blocker.matching.candidates import count_lines
from blocker.matching.matched import Matched
from blocker.model import Hit
from blocker.sources.stream import Block, Stream
from blocker.store.records import Checkpoint

HITS_AT_ONCE = 1000
"""Approximate number of hits that a block should have, estimated from the block before."""


class Cursor:
    """One log and its current block: how far it is judged, and the next hit.

    Args:
        log: the log.
        latest: its latest event time, microseconds.
        fresh: ``fresh_end`` and ``cutoff`` of the log, as stored.
        is_of_events: whether its hits are failures that WordPress reports, else requests.
    """

    def __init__(
        self,
        log: Stream,
        latest: int,
        fresh: tuple[int, int] = (0, 0),
        is_of_events: bool = False,
    ) -> None:
        self.log, self.is_of_events = log, is_of_events
        self.latest = latest
        self._fresh_end, self._cutoff = fresh
        self.read_at = 0.0
        self._block: Block | None = None
        self._size = 0
        self._matched = Matched(0, [], [])
        self._next = 0
        self._done = 0

    @property
    def key(self) -> int:
        """Running maximum of the log's time, the next hit included."""
        return max(self.latest, self._matched.hits[self._next].time)

    @property
    def empty(self) -> bool:
        """Whether every hit of the current block has been judged."""
        return self._next >= len(self._matched.hits)

    def read_size(self, least: int, most: int) -> int:
        """Return how many bytes to read next, between two bounds.

        The event loop is blocked while a block is matched, for a time that grows with its hits:
        in a flood blocks are smaller.
        """
        hits = len(self._matched.hits)
        return max(least, min(self._size * HITS_AT_ONCE // hits, most)) if hits else most

    def take(self, block: Block, matched: Matched) -> None:
        """Set the next block and its hits."""
        self._block, self._matched, self._next, self._done = block, matched, 0, 0
        self._size, self.read_at = len(block.data), monotonic()

    def take_hits(self, most: int = 1) -> list[Hit]:
        """Return about so many next hits, and move past them; those of one line are together.

        A commit between two hits of one line would have the first counted twice.
        """
        all_hits, begin = self._matched.hits, self._next
        end = min(begin + most, len(all_hits))
        while end < len(all_hits) and all_hits[end].end == all_hits[end - 1].end:
            end += 1
        hits, self._next = all_hits[begin:end], end
        self.latest = max(self.latest, *(hit.time for hit in hits))
        return hits

    def without_stale(self, hits: list[Hit]) -> list[Hit]:
        """Return the hits without those that were already too old when the log was first seen."""
        fresh_end, cutoff = self._fresh()
        block = self._block
        if block is None or block.start >= fresh_end:
            return hits
        return [hit for hit in hits if hit.time >= cutoff or block.start + hit.end > fresh_end]

    def _fresh(self) -> tuple[int, int]:
        """Return ``fresh_end`` and ``cutoff`` of the log, or the stored ones after a restart."""
        if self.log.cutoff:
            return self.log.fresh_end, self.log.cutoff
        return self._fresh_end, self._cutoff

    def record_progress(self, pending: PendingBatch) -> None:
        """Add to the batch how far this log is judged, and the number of lines up to there."""
        block = self._block
        if block is None:
            return
        hits = self._matched.hits
        end = len(block.data) if self.empty else hits[self._next - 1].end if self._next else 0
        if end <= self._done:
            return
        pending.count_lines(self.log.path, self._lines(block, end), self._unparsed(end))
        pending.count_events(each for each in self._matched.events if self._done < each.end <= end)
        self._done = end
        position = self.log.position(block, end)
        pending.checkpoints[self.log] = Checkpoint(position, self.latest, *self._fresh())
        if self.empty:
            pending.count_oversize(self.log.path, block.lines_cut)
            self._block = None

    def _lines(self, block: Block, end: int) -> int:
        if not self._done and end == len(block.data):
            return self._matched.lines
        return count_lines(block.data[self._done : end])

    def _unparsed(self, end: int) -> int:
        ends = self._matched.unparsed
        return bisect_right(ends, end) - bisect_right(ends, self._done)
