"""The content of one transaction: checkpoints, windows, bans, counters and edits.

An *edit* changes existing bans: an administrator ends or extends one.  The edits of a batch are
written before its bans, and each was already applied to the pending bans when it was made
(``edited``).  So a ban that ended while it was pending is stored as ended, and a later ban of the
same address is not changed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeAlias

from blocker.judging.windows import Window
from blocker.model import Ban, Subject
from blocker.sources.position import Position


class Checkpoint(NamedTuple):
    """How far a log has been judged.

    Attributes:
        position: identity of the file and offset in it.
        latest: running maximum of its event time, microseconds.
        fresh_end: size of the file when the log was first seen, bytes.
        cutoff: lines before ``fresh_end`` with an earlier time (microseconds) are not judged
            (``lookback``).
    """

    position: Position
    latest: int = 0
    fresh_end: int = 0
    cutoff: int = 0


class NewRow(NamedTuple):
    """A ban to be stored, whether the kernel has it, and the administrator's reason."""

    ban: Ban
    applied: bool
    reason: str = ""


class End(NamedTuple):
    """The standing bans of these subjects end now.

    Attributes:
        now: the clock, microseconds.
        subjects: whose bans; None for all.
    """

    now: int
    subjects: AbstractSet[Subject] | None

    def of(self, row: NewRow) -> NewRow:
        """Return a pending ban after the edit."""
        ban = row.ban
        if self.subjects is not None and ban.subject not in self.subjects:
            return row
        return row._replace(ban=ban._replace(until=max(ban.start, min(ban.until, self.now))))


class Extend(NamedTuple):
    """The standing bans of these subjects are extended, and not applied in the kernel yet.

    Attributes:
        now: the clock, microseconds.
        ends: new ends by subject, microseconds.
        reason: the administrator's; if empty, a ban keeps its own.
    """

    now: int
    ends: Mapping[Subject, int]
    reason: str = ""

    def of(self, row: NewRow) -> NewRow:
        """Return a pending ban after the edit."""
        until = self.ends.get(row.ban.subject)
        if until is None or row.ban.until <= self.now:
            return row
        ban, reason = row.ban._replace(until=until), self.reason or row.reason
        return NewRow(ban, applied=False, reason=reason)


class Apply(NamedTuple):
    """The standing bans of these subjects are applied in the kernel.

    Attributes:
        now: the clock, microseconds.
        subjects: whose bans; None for all.
    """

    now: int
    subjects: AbstractSet[Subject] | None

    def of(self, row: NewRow) -> NewRow:
        """Return a pending ban after the edit."""
        concerned = self.subjects is None or row.ban.subject in self.subjects
        return row._replace(applied=True) if concerned and row.ban.until > self.now else row


class Forget(NamedTuple):
    """All rows of a subject are erased."""

    subject: Subject

    def of(self, row: NewRow) -> NewRow | None:
        """Return a pending ban after the edit; None if it is erased."""
        return None if row.ban.subject == self.subject else row


Edit: TypeAlias = End | Extend | Apply | Forget


class Batch(NamedTuple):
    """Everything that one transaction changes, in the order in which it is written.

    Attributes:
        checkpoints: how far each log has been judged.
        windows: pending hits by subject; the row of an empty one is deleted.
        bans: new bans.
        counters: amounts to add to the counters, by (log, name).
        now: the clock, microseconds.
        edits: changes of stored bans.
        durable: whether the batch must survive a power failure when ``commit`` returns.
    """

    checkpoints: Sequence[Checkpoint]
    windows: Mapping[Subject, Window]
    bans: Sequence[NewRow]
    counters: Mapping[tuple[str, str], int]
    now: int
    edits: Sequence[Edit] = ()
    durable: bool = False


def edited(rows: Iterable[NewRow], edits: Sequence[Edit]) -> list[NewRow]:
    """Return pending bans after these edits."""
    if not edits:
        return list(rows)
    kept = []
    for each in rows:
        row: NewRow | None = each
        for edit in edits:
            row = edit.of(row) if row is not None else None
        if row is not None:
            kept.append(row)
    return kept


def joined(first: Batch | None, second: Batch) -> Batch:
    """Return both batches as one; the second's edits are applied to the first's bans already."""
    if first is None:
        return second
    checkpoints = {
        checkpoint.position[:4]: checkpoint
        for checkpoint in (*first.checkpoints, *second.checkpoints)
    }
    return Batch(
        list(checkpoints.values()),
        {**first.windows, **second.windows},
        [*first.bans, *second.bans],
        Counter(first.counters) + Counter(second.counters),
        second.now,
        [*first.edits, *second.edits],
        first.durable or second.durable,
    )
