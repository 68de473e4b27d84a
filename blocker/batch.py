"""What one transaction brings into the store: places, windows, bans, counters and edits.

An *edit* changes bans that exist: an administrator ends one, or makes it longer.  The edits of a
batch come before its bans, and each was applied to the bans that waited when it was made
(``edited``).  So a ban that ended while it waited is stored as ended, and a ban of the same address
that was made later is not touched.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeAlias

from blocker.judge import Window
from blocker.logfile import Position
from blocker.model import Ban, Subject


class Place(NamedTuple):
    """How far a log has been judged.

    Attributes:
        position: identity of the file and offset in it.
        latest: running maximum of its event time, microseconds.
        fresh_end: bytes that were already there when the log was first seen …
        cutoff: … of which those stamped before this are not judged (``lookback``).
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
    """The standing bans of these subjects end now; of all, if there are none.

    Attributes:
        now: the clock, microseconds.
        subjects: whose.
    """

    now: int
    subjects: AbstractSet[Subject] | None

    def of(self, row: NewRow) -> NewRow:
        """Return what becomes of a ban that waits."""
        ban = row.ban
        if self.subjects is not None and ban.subject not in self.subjects:
            return row
        return row._replace(ban=ban._replace(until=max(ban.start, min(ban.until, self.now))))


class Extend(NamedTuple):
    """The standing bans of these subjects last longer, and the kernel is to be told.

    Attributes:
        now: the clock, microseconds.
        ends: when they end from now on, by subject.
        reason: the administrator's; without one, a ban keeps its own.
    """

    now: int
    ends: Mapping[Subject, int]
    reason: str = ""

    def of(self, row: NewRow) -> NewRow:
        """Return what becomes of a ban that waits."""
        until = self.ends.get(row.ban.subject)
        if until is None or row.ban.until <= self.now:
            return row
        ban, reason = row.ban._replace(until=until), self.reason or row.reason
        return NewRow(ban, applied=False, reason=reason)


class Apply(NamedTuple):
    """The kernel has the standing bans of these subjects; of all, if there are none.

    Attributes:
        now: the clock, microseconds.
        subjects: whose.
    """

    now: int
    subjects: AbstractSet[Subject] | None

    def of(self, row: NewRow) -> NewRow:
        """Return what becomes of a ban that waits."""
        told = self.subjects is None or row.ban.subject in self.subjects
        return row._replace(applied=True) if told and row.ban.until > self.now else row


class Forget(NamedTuple):
    """Everything that is stored of a subject is erased."""

    subject: Subject

    def of(self, row: NewRow) -> NewRow | None:
        """Return what becomes of a ban that waits."""
        return None if row.ban.subject == self.subject else row


Edit: TypeAlias = End | Extend | Apply | Forget


class Batch(NamedTuple):
    """Everything that one transaction changes, in the order in which it is written.

    Attributes:
        places: how far each log has been judged.
        windows: pending hits by subject; empty ones are forgotten.
        bans: new bans.
        counters: what to add to the counter of (log, name).
        now: the clock, microseconds.
        edits: of bans that are stored already.
        durable: whether somebody waits for it to survive a power failure.
    """

    places: Sequence[Place]
    windows: Mapping[Subject, Window]
    bans: Sequence[NewRow]
    counters: Mapping[tuple[str, str], int]
    now: int
    edits: Sequence[Edit] = ()
    durable: bool = False


def edited(rows: Iterable[NewRow], edits: Sequence[Edit]) -> list[NewRow]:
    """Return bans that wait as they are after these edits."""
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
    """Return one batch that is both; the bans of the first know the edits of the second."""
    if first is None:
        return second
    places = {place.position[:4]: place for place in (*first.places, *second.places)}
    return Batch(
        list(places.values()),
        {**first.windows, **second.windows},
        [*first.bans, *second.bans],
        Counter(first.counters) + Counter(second.counters),
        second.now,
        [*first.edits, *second.edits],
        first.durable or second.durable,
    )
