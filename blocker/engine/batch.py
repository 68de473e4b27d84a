"""The result of a batch: bans, windows, checkpoints, counts.  Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from blocker.judging.tally import Counts
from blocker.matching.matched import Seen, by_name
from blocker.model import Ban, Hit
from blocker.sources.stream import Stream
from blocker.store.counter_names import (
    BANS_BY_OFFENCE,
    BANS_BY_TRAP,
    BLOCKED,
    EVENTS_BY_NAME,
    FAILURES_BY_NAME,
    FRIENDS,
    HITS,
    LATE,
    LINES,
    NO_LOG,
    OVERSIZE,
    UNPARSED,
    event_label,
    offence_label,
)
from blocker.store.records import Checkpoint, Edit, NewRow, edited


class NewBan(NamedTuple):
    """A ban, the log of its last hit, and when that was read (monotonic seconds)."""

    ban: Ban
    log: str
    read_at: float


class PendingBatch:
    """Everything that was judged since the last commit.

    Attributes:
        met: checkpoints of logs that are new to this run.
        checkpoints: how far each log is judged.
        counters: amounts to add to the counters, in the store and as exported.
        shown: amounts that are exported already, but not stored.
        fresh: bans that were not sent to the kernel yet.
        bans: bans that were, and whether the kernel accepted them.
        edits: changes of bans in earlier batches; already applied to ``bans``.
        durable: whether a caller waits for this batch to survive a power failure.
        judged: hits of the current batch, to be counted by subject.
        hits: number of hits in the current batch.
        bytes: number of bytes that were read for it.
    """

    def __init__(self) -> None:
        self.met: list[Checkpoint] = []
        self.checkpoints: dict[Stream, Checkpoint] = {}
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
            or self.checkpoints
            or self.bans
            or self.edits
            or any(self.counters.values())
            or self.shown
        )

    def edit(self, edit: Edit) -> None:
        """Change pending bans now, and stored ones with the next commit."""
        self.edits.append(edit)
        self.bans = edited(self.bans, [edit])

    def count_lines(self, path: str, lines: int, unparsed: int) -> None:
        """Count lines of a log."""
        self.counters[path, LINES] += lines
        self.counters[path, UNPARSED] += unparsed

    def count_events(self, seen: Iterable[Seen]) -> None:
        """Count what WordPress reports, by the name of the event."""
        for name, (count, failures) in by_name(seen).items():
            label = event_label(name)
            self.counters[NO_LOG, EVENTS_BY_NAME.of(label)] += count
            self.counters[NO_LOG, FAILURES_BY_NAME.of(label)] += failures

    def count_oversize(self, path: str, lines: int) -> None:
        """Count lines that were cut at the size limit; their beginning was judged."""
        if lines:
            self.counters[path, OVERSIZE] += lines

    def count_hits(self, path: str, counts: Counts) -> None:
        """Count hits of a log."""
        self.counters[path, HITS] += counts.hits
        self.counters[path, BLOCKED] += counts.blocked
        self.counters[path, LATE] += counts.late
        self.counters[path, FRIENDS] += counts.friends

    def count_bans(self, bans: Iterable[Ban]) -> None:
        """Count bans by trap and by offence."""
        for (trap, offence), count in Counter((ban.trap, ban.offence) for ban in bans).items():
            self.counters[NO_LOG, BANS_BY_TRAP.of(trap)] += count
            self.counters[NO_LOG, BANS_BY_OFFENCE.of(offence_label(offence))] += count
