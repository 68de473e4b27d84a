"""The number of active bans, kept without a walk over the bans.  Pure.

The kernel expires a ban without a notification.  The ends are therefore counted per second, and a
second that has passed is dropped.  Memory grows with the number of different seconds in which bans
end, never with the number of bans.
"""

import heapq

from blocker.model import Subject
from blocker.times import SECOND


class ActiveBanCount:
    """Counts active bans by address family, exact to the second."""

    def __init__(self) -> None:
        self._ends: dict[int, list[int]] = {}
        self._order: list[int] = []
        self._counts = [0, 0]

    def add(self, subject: Subject, until: int) -> None:
        """Count a ban that ends at ``until`` (microseconds since the epoch)."""
        second = -(-until // SECOND)
        counts = self._ends.get(second)
        if counts is None:
            counts = self._ends[second] = [0, 0]
            heapq.heappush(self._order, second)
        family = len(subject) != 4
        counts[family] += 1
        self._counts[family] += 1

    def remove(self, subject: Subject, until: int) -> None:
        """Remove a ban that was added with the same ``until``."""
        counts = self._ends.get(-(-until // SECOND))
        family = len(subject) != 4
        if counts is not None and counts[family] > 0:
            counts[family] -= 1
            self._counts[family] -= 1

    def count(self, now: int) -> tuple[int, int]:
        """Return the number of active bans at ``now`` (microseconds): IPv4, IPv6."""
        while self._order and self._order[0] * SECOND <= now:
            ended = self._ends.pop(heapq.heappop(self._order))
            for family in (0, 1):
                self._counts[family] -= ended[family]
        return self._counts[0], self._counts[1]
