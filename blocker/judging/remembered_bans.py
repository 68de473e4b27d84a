"""The bans of each subject within ``remember``: offences, the latest ban, and their ceiling.  Pure.

Remembered bans have a ceiling, ``max_remembered``.  Beyond it subjects whose latest ban has ended
are evicted, those with the fewest bans first, and of equal ones those whose ban ended first, until
a sixteenth of the ceiling is free again.  An active ban is never evicted.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from blocker.judging.limits import AHEAD, Limits, whole_second
from blocker.model import Subject

ROOM = 16
"""An eviction frees 1/16 of ``max_remembered``: it has to look at every remembered ban, so it
must not be due again soon."""

EVICTION_SLICE = 10_000
"""Subjects that one step of an eviction looks at."""

Bans: TypeAlias = dict[Subject, tuple[int, ...]]
"""By subject: the end of the latest ban, then the starts of all within ``remember``."""


class _Rank(NamedTuple):
    """Order of eviction: number of bans, end of the latest (microseconds), subject."""

    bans: int
    until: int
    subject: Subject


class RememberedBans:
    """Holds the bans of all subjects; times are microseconds.

    Args:
        limits: how long a ban is remembered, and how many.

    Attributes:
        by_subject: the bans; the judge's loop looks into it, everything else calls methods.
        total: number of remembered bans, the earlier ones of each subject included.
        evicted: number of bans that were evicted since the start.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.by_subject: Bans = {}
        self.total = 0
        self.evicted = 0
        self._full_at = limits.max_remembered

    def offence(self, subject: Subject, start: int) -> int:
        """Return the offence number of a ban starting at ``start``: 1 + the remembered bans."""
        bans = self.by_subject.get(subject)
        if bans is None:
            return 1
        return 1 + sum(start - self._limits.remember < time <= start for time in bans[1:])

    def add(self, subject: Subject, start: int, until: int) -> None:
        """Remember a ban; the subject's earlier bans beyond ``remember`` are dropped."""
        before = self.by_subject.get(subject)
        if before is None:
            self.by_subject[subject] = (until, start)
            self.total += 1
        else:
            oldest = start - self._limits.remember
            bans = (until, *(each for each in before[1:] if each > oldest), start)
            self.by_subject[subject] = bans
            self.total += len(bans) - len(before)

    def exchange(self, bans: Bans) -> Bans:
        """Replace all remembered bans; return those that were remembered."""
        before, self.by_subject = self.by_subject, bans
        self.total = sum(map(len, bans.values())) - len(bans)
        return before

    def set_end(self, subject: Subject, until: int) -> None:
        """Set the end of the latest ban of a subject."""
        self.by_subject[subject] = (until, *self.by_subject[subject][1:])

    def set_back(self, subjects: Iterable[Subject], now: int) -> None:
        """Set latest bans that begin ahead of the clock back to it; their length stays."""
        for subject in subjects:
            self.set_back_one(subject, now)

    def set_back_one(self, subject: Subject, now: int) -> bool:
        """Set the latest ban of a subject back to the clock; False if it begins in time."""
        bans = self.by_subject.get(subject)
        if bans is None or bans[-1] <= now + AHEAD:
            return False
        (until, *starts), clock = bans, whole_second(now)
        self.by_subject[subject] = (until - starts[-1] + clock, *(min(s, clock) for s in starts))
        return True

    def active(self, subject: Subject, at: int) -> tuple[int, int] | None:
        """Return start and end of the latest ban, or None if it has ended at ``at``.

        The ban may start after ``at``: timestamps can be ahead of the clock.
        """
        bans = self.by_subject.get(subject)
        return None if bans is None or at >= bans[0] else (bans[-1], bans[0])

    def forget(self, subject: Subject) -> int:
        """Forget the bans of a subject; return their number."""
        count = len(self.by_subject.pop(subject, (0,))) - 1
        self.total -= count
        return count

    def expire(self, subject: Subject, now: int) -> None:
        """Forget the bans of a subject if all began longer than ``remember`` ago and have ended."""
        bans = self.by_subject.get(subject)
        if bans is not None and bans[-1] <= now - self._limits.remember and bans[0] <= now:
            self.forget(subject)

    # Eviction ----------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether an eviction is due: more bans are remembered than the ceiling allows."""
        return self.total > self._full_at

    def evict(self, now: int) -> Iterator[int]:
        """Evict bans down to the target, in steps; bans may be changed between two steps.

        Yields:
            the number of subjects with two or more bans that the step evicted.
        """
        ceiling = self._limits.max_remembered
        target = ceiling - ceiling // ROOM
        excess = max(0, self.total - target)
        subjects, ranked = self.subjects(), list[_Rank]()
        for at in range(0, len(subjects), EVICTION_SLICE):
            ranked += self._ended(subjects[at : at + EVICTION_SLICE], now)
            if len(ranked) > 2 * excess + EVICTION_SLICE:
                ranked = sorted(ranked)[:excess]  # enough, as each subject has at least one ban
            yield 0
        ranked.sort()
        for at in range(0, len(ranked), EVICTION_SLICE):
            yield self._evict(ranked[at : at + EVICTION_SLICE], target)
        # If most bans are active, few can be evicted: wait for 1/16 more before the next attempt.
        self._full_at = max(ceiling, self.total + ceiling // ROOM)

    def look_again(self) -> None:
        """Make the next eviction due at the ceiling again, as before the first one."""
        self._full_at = self._limits.max_remembered

    def _ended(self, subjects: Iterable[Subject], now: int) -> Iterator[_Rank]:
        """Yield the ranks of those subjects whose latest ban has ended."""
        for subject in subjects:
            bans = self.by_subject.get(subject)
            if bans is not None and bans[0] <= now:
                yield _Rank(len(bans) - 1, bans[0], subject)

    def _evict(self, ranked: Iterable[_Rank], target: int) -> int:
        """Evict in this order until ``target`` bans remain; skip subjects that were banned again.

        Returns:
            the number of evicted subjects with two or more bans.
        """
        repeat_offenders = 0
        for bans, until, subject in ranked:
            if self.total <= target:
                break
            if self.by_subject.get(subject, (0,))[0] == until and self.count(subject) == bans:
                self.evicted += self.forget(subject)
                repeat_offenders += bans > 1
        return repeat_offenders

    # Queries -----------------------------------------------------------------------------------

    @property
    def offenders(self) -> int:
        """Number of subjects with at least one remembered ban."""
        return len(self.by_subject)

    @property
    def repeat_offenders(self) -> int:
        """Number of subjects with at least two remembered bans; walks over all of them."""
        return sum(len(bans) > 2 for bans in self.by_subject.values())

    def subjects(self) -> list[Subject]:
        """Return every subject with a remembered ban."""
        return list(self.by_subject)

    def count(self, subject: Subject) -> int:
        """Return the number of remembered bans of a subject."""
        return len(self.by_subject.get(subject, (0,))) - 1

    def count_since(self, subject: Subject, since: int) -> int:
        """Return the number of them that began after ``since``."""
        return sum(start > since for start in self.by_subject.get(subject, (0,))[1:])
