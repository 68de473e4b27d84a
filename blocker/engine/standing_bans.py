"""Changes of bans in memory, and their counts.

The judge remembers bans; this keeps the counts of the metrics consistent with it, and knows which
subjects must not be banned.  Nothing is stored here, and nothing is sent to the kernel.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from blocker.engine.enforcer import RESTORE_CHUNK, Due
from blocker.friends.friends import Friends
from blocker.judging.active_ban_count import ActiveBanCount
from blocker.judging.judge import Judge
from blocker.model import Ban, Subject

EXPIRE_SLICE = 10_000
"""Subjects that are processed before other tasks run."""


class StandingBans:
    """Changes and counts bans in memory.

    Args:
        judge: remembers the bans.
        friends: which subjects are never banned.
        clock: returns microseconds since the epoch.
        ipv6_prefix: length of a subject's network.

    Attributes:
        active: how many bans stand; a subject counts once, with its latest ban.
        repeat_offenders: subjects with more than one remembered ban.
        now_friends: subjects whose elements have to be removed from the kernel: they are friends
            now, or have another prefix length.
    """

    def __init__(
        self, judge: Judge, friends: Friends, clock: Callable[[], int], ipv6_prefix: int
    ) -> None:
        self._judge, self._friends, self._clock = judge, friends, clock
        self._prefix = ipv6_prefix
        self.active = ActiveBanCount()
        self.repeat_offenders = 0
        self.now_friends: list[Subject] = []

    def may_be_banned(self, subject: Subject) -> bool:
        """Whether a subject is no friend."""
        return self._friends.covers(subject, self._prefix) is None

    def stands(self, subject: Subject) -> bool:
        """Whether a subject is banned now."""
        return self._judge.bans.active(subject, self._clock()) is not None

    def count(self, bans: Sequence[Ban]) -> None:
        """Count bans that the judge has just made."""
        for ban in bans:
            self.active.add(ban.subject, ban.until)
            self.repeat_offenders += ban.offence == 2

    def add(self, subject: Subject, start: int, until: int) -> None:
        """Remember and count a ban that the judge did not decide; times in microseconds."""
        before = self._judge.bans.count(subject)
        if before:
            self._uncount(subject)
            self.repeat_offenders += before == 1
        self._judge.add_ban(subject, start, until)
        self.active.add(subject, until)

    def extend(self, subject: Subject, until: int) -> None:
        """Extend a standing ban to a later time."""
        self.end(subject, until)
        self.active.add(subject, until)

    def end(self, subject: Subject, until: int) -> None:
        """Set the end of a standing ban, and count it no longer."""
        self._uncount(subject)
        self._judge.bans.set_end(subject, until)

    def forget(self, subject: Subject) -> bool:
        """Forget all bans and hits of a subject; False if the judge has none."""
        self._uncount(subject)
        self.repeat_offenders -= self._judge.bans.count(subject) > 1
        return self._judge.forget(subject)

    def _uncount(self, subject: Subject) -> None:
        standing = self._judge.bans.active(subject, self._clock())
        if standing is not None:
            self.active.remove(subject, standing[1])

    async def recount(self, now: int) -> None:
        """Move bans that begin in the future to now, and count the standing ones."""
        self.active = ActiveBanCount()
        subjects = self._judge.bans.subjects()
        for at in range(0, len(subjects), EXPIRE_SLICE):
            part = subjects[at : at + EXPIRE_SLICE]
            self._judge.bans.set_back(part, now)
            for subject in part:
                standing = self._judge.bans.active(subject, now)
                if standing is not None:
                    self.active.add(subject, standing[1])
            await asyncio.sleep(0)
        self.repeat_offenders = self._judge.bans.repeat_offenders

    async def pages(self) -> AsyncIterator[list[Due]]:
        """Yield every ban that the kernel should hold, page by page."""
        subjects, now = self._judge.bans.subjects(), self._clock()
        for at in range(0, len(subjects), RESTORE_CHUNK):
            page = subjects[at : at + RESTORE_CHUNK]
            standing = ((who, self._judge.bans.active(who, now)) for who in page)
            yield [Due(who, ban[1]) for who, ban in standing if ban is not None]
