"""How many bans stand, counted without looking at them.  Pure.

A ban ends by itself, in the kernel, without a word; so the book counts ends by the second, and
forgets the seconds that have passed.  Memory grows with the different seconds in which bans end,
never with the bans.
"""

import heapq

from blocker.model import SECOND, Subject


class ActiveBans:
    """Counts standing bans by family, exact to the second."""

    def __init__(self) -> None:
        self._ends: dict[int, list[int]] = {}
        self._order: list[int] = []
        self._counts = [0, 0]

    def add(self, subject: Subject, until: int) -> None:
        """Count a ban that ends then (microseconds)."""
        second = -(-until // SECOND)
        counts = self._ends.get(second)
        if counts is None:
            counts = self._ends[second] = [0, 0]
            heapq.heappush(self._order, second)
        family = len(subject) != 4
        counts[family] += 1
        self._counts[family] += 1

    def remove(self, subject: Subject, until: int) -> None:
        """Take back a ban that was counted with that end."""
        counts = self._ends.get(-(-until // SECOND))
        family = len(subject) != 4
        if counts is not None and counts[family] > 0:
            counts[family] -= 1
            self._counts[family] -= 1

    def count(self, now: int) -> tuple[int, int]:
        """Return how many stand now: IPv4, IPv6."""
        while self._order and self._order[0] * SECOND <= now:
            ended = self._ends.pop(heapq.heappop(self._order))
            for family in (0, 1):
                self._counts[family] -= ended[family]
        return self._counts[0], self._counts[1]
