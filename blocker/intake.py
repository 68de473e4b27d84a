"""What the engine holds in hand: a block of each log, and what one batch has come to.

A log's position moves with its hits: whatever was judged of a block, and not a byte more, is what
the next commit says.
"""

from bisect import bisect_right
from collections import Counter
from time import monotonic
from typing import NamedTuple

from blocker.batch import Edit, NewRow, Place, edited
from blocker.generation import Log
from blocker.logfile import Block
from blocker.match import Matched, count_lines
from blocker.model import Ban, Hit

HITS_AT_ONCE = 1000
"""Hits that a block should have, about, going by the one before."""


class NewBan(NamedTuple):
    """A ban, the log of its last hit, and when that was read (monotonic seconds)."""

    ban: Ban
    log: str
    read_at: float


class Work:
    """What was judged, until it is committed.

    Attributes:
        met: logs that are new.
        places: how far each log is judged.
        counters: what to add to them …
        shown: … and what was added in memory already, but not in the store.
        fresh: bans that the kernel was not told of yet.
        bans: those that it was, and whether it took them.
        edits: of bans that are stored, or about to be; none of ``bans``, which know them.
        durable: whether somebody waits for all this to survive a power failure.
        judged: hits of the batch at hand, to be counted by who sent them.
        hits: those of the batch at hand.
        bytes: those that were read for it.
    """

    def __init__(self) -> None:
        self.met: list[Place] = []
        self.places: dict[Log, Place] = {}
        self.counters: Counter[tuple[str, str]] = Counter()
        self.shown: Counter[tuple[str, str]] = Counter()
        self.fresh: list[NewBan] = []
        self.bans: list[NewRow] = []
        self.edits: list[Edit] = []
        self.durable = False
        self.judged: list[Hit] = []
        self.hits = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        """Whether there is something to commit."""
        return bool(
            self.met
            or self.places
            or self.bans
            or self.edits
            or any(self.counters.values())
            or self.shown
        )

    def edit(self, edit: Edit) -> None:
        """Change bans: those that are stored with the next commit, those that wait at once."""
        self.edits.append(edit)
        self.bans = edited(self.bans, [edit])

    def count_lines(self, path: str, lines: int, unparsed: int) -> None:
        """Count lines of a log."""
        self.counters[path, "lines"] += lines
        self.counters[path, "unparsed"] += unparsed

    def count_oversize(self, path: str, lines: int) -> None:
        """Count lines beyond the ceiling; they were judged by their beginning like any other."""
        if lines:
            self.counters[path, "oversize"] += lines


class Source:
    """One log with a block in hand: how far it is judged, and what comes next."""

    def __init__(self, file: Log, latest: int, fresh: tuple[int, int] = (0, 0)) -> None:
        self.log = file
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
        """Whether every hit of the block in hand has been judged."""
        return self._next >= len(self._matched.hits)

    def appetite(self, least: int, most: int) -> int:
        """Return how many bytes to read next, between two bounds.

        The loop stands still while a block is matched, as long as it has hits: in a flood the
        blocks are smaller.
        """
        hits = len(self._matched.hits)
        return max(least, min(self._size * HITS_AT_ONCE // hits, most)) if hits else most

    def take(self, block: Block, matched: Matched) -> None:
        """Hold the next block."""
        self._block, self._matched, self._next, self._done = block, matched, 0, 0
        self._size, self.read_at = len(block.data), monotonic()

    def pop(self) -> Hit:
        """Return the next hit and move past it."""
        hit = self._matched.hits[self._next]
        self._next += 1
        self.latest = max(self.latest, hit.time)
        return hit

    def rest(self, most: int) -> list[Hit]:
        """Return the next hits in hand, so many at most, and move past them."""
        hits = self._matched.hits[self._next : self._next + most]
        self._next += len(hits)
        self.latest = max(self.latest, *(hit.time for hit in hits))
        return hits

    def without_stale(self, hits: list[Hit]) -> list[Hit]:
        """Leave out what was already there, too old to matter, when the log was first seen."""
        fresh_end, cutoff = self._fresh()
        block = self._block
        if block is None or block.start >= fresh_end:
            return hits
        return [hit for hit in hits if hit.time >= cutoff or block.start + hit.end > fresh_end]

    def _fresh(self) -> tuple[int, int]:
        """What the log says, or, after a restart, what was stored."""
        if self.log.cutoff:
            return self.log.fresh_end, self.log.cutoff
        return self._fresh_end, self._cutoff

    def settle(self, work: Work) -> None:
        """Note in the work how far this log is judged, and the lines up to there."""
        block = self._block
        if block is None:
            return
        hits = self._matched.hits
        end = len(block.data) if self.empty else hits[self._next - 1].end if self._next else 0
        if end <= self._done:
            return
        work.count_lines(self.log.path, self._lines(block, end), self._unparsed(end))
        self._done = end
        position = self.log.position(block, end)
        work.places[self.log] = Place(position, self.latest, *self._fresh())
        if self.empty:
            work.count_oversize(self.log.path, block.lines_cut)
            self._block = None

    def _lines(self, block: Block, end: int) -> int:
        if not self._done and end == len(block.data):
            return self._matched.lines
        return count_lines(block.data[self._done : end])

    def _unparsed(self, end: int) -> int:
        ends = self._matched.unparsed
        return bisect_right(ends, end) - bisect_right(ends, self._done)
