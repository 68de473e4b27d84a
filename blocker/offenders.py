"""Who hits most, in the last day: a sketch of fixed size.  Pure: time is an argument.

Hits are counted by the hour of their own time.  An hour that has too many different subjects keeps
those who hit most and forgets the others, so that a count may be too low, and never too high; who
hits much is always among those kept.  Of a batch of very many hits, as a flood makes them, a
sample is counted, and counted so many times.  Memory and time have a ceiling, whatever the log
holds.

The list itself is slow to change, for every name on it is a series that Prometheus keeps: it is
looked at again at most once a minute, and a newcomer has to beat the last member by a tenth.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter

from blocker.model import SECOND, Hit, Subject, subject_of

HOUR = 3600 * SECOND
WINDOW = 24
"""Hours that count, the one that has begun among them."""

ROOM = 1024
"""Subjects that the hour in hand keeps; twice as many at most."""

SAMPLE = 2048
"""Hits of one batch that are looked at, at most."""

KEPT = 256
"""Subjects that an hour keeps when it is over."""

AGAIN = 60 * SECOND
BEATS = 1.1

_ADDRESS = itemgetter(1)


class Offenders:
    """Counts, and knows the foremost.

    Args:
        limit: how many are listed; 0 counts nothing.
        ipv6_prefix: length of the network that is one subject.

    Attributes:
        listed: who was, at the last look.
    """

    def __init__(self, limit: int = 0, ipv6_prefix: int = 64) -> None:
        self.limit, self._prefix = limit, ipv6_prefix
        self._hours: dict[int, Counter[Subject]] = {}
        self.listed: Sequence[Subject] = []
        self._looked = -AGAIN

    def note(self, hits: Sequence[Hit], now: int) -> None:
        """Count the hits of a batch."""
        if not self.limit or not hits:
            return
        weight = -(-len(hits) // SAMPLE)
        if weight > 1:
            hits = hits[now % weight :: weight]
        # Logs are nearly in order: a straggler among the others counts in their hour.
        first, last = hits[0].time // HOUR, hits[-1].time // HOUR
        if first == last:
            self._note_hour(first, map(_ADDRESS, hits), weight, now)
            return
        by_hour: dict[int, list[bytes]] = {}
        for hit in hits:
            by_hour.setdefault(hit.time // HOUR, []).append(hit.address)
        for hour, addresses in by_hour.items():
            self._note_hour(hour, addresses, weight, now)

    def _note_hour(self, hour: int, addresses: Iterable[bytes], weight: int, now: int) -> None:
        current = now // HOUR
        hour = min(hour, current)  # a stamp that is ahead of the clock
        if hour <= current - WINDOW:
            return
        if hour not in self._hours:
            self._hours[hour] = Counter()
            self._close_hours(current)
        counts = self._hours[hour]
        for address, count in Counter(addresses).items():
            who = address if len(address) == 4 else subject_of(address, self._prefix)
            counts[who] += count * weight
        if len(counts) > 2 * ROOM:
            self._hours[hour] = _foremost(counts, ROOM)

    def _close_hours(self, current: int) -> None:
        """Drop what is a day old, and of the hours that are over what is not much."""
        self._hours = {
            hour: counts if hour == current or len(counts) <= KEPT else _foremost(counts, KEPT)
            for hour, counts in self._hours.items()
            if hour > current - WINDOW
        }

    def foremost(self, now: int, may: Callable[[Subject], bool]) -> dict[Subject, int]:
        """Return who hit most and how often, most first, of those who may be listed."""
        if not 0 <= now - self._looked < AGAIN:
            self._looked = now
            self._look(now, may)
        current = now // HOUR
        hours = [counts for hour, counts in self._hours.items() if hour > current - WINDOW]
        found = {who: sum(counts[who] for counts in hours) for who in self.listed}
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    def _look(self, now: int, may: Callable[[Subject], bool]) -> None:
        """Decide anew who is listed."""
        self._close_hours(now // HOUR)
        totals: Counter[Subject] = Counter()
        for counts in self._hours.values():
            totals.update(counts)
        listed = [who for who in self.listed if totals[who] and may(who)]
        listed.sort(key=totals.__getitem__, reverse=True)
        members = set(listed)
        # Friends may be among the foremost, and there are few of them.
        for who, count in _foremost(totals, 4 * self.limit).items():
            if who in members or not may(who):
                continue
            if len(listed) >= self.limit:
                if count <= totals[listed[-1]] * BEATS:
                    break
                members.discard(listed.pop())
            listed.append(who)
            listed.sort(key=totals.__getitem__, reverse=True)
        self.listed = listed

    def forget(self, subject: Subject) -> None:
        """Erase a subject."""
        self.listed = [who for who in self.listed if who != subject]
        for counts in self._hours.values():
            counts.pop(subject, None)

    # The store ---------------------------------------------------------------------------------

    def rows(self) -> list[tuple[int, Subject, int]]:
        """Return hour, subject and hits of what is kept, to be stored."""
        return [
            (hour, who, count)
            for hour, counts in self._hours.items()
            for who, count in _foremost(counts, KEPT).items()
        ]

    def restore(self, rows: Iterable[tuple[int, Subject, int]]) -> None:
        """Put back what was stored."""
        for hour, who, count in rows:
            self._hours.setdefault(hour, Counter())[who] += count


def _foremost(counts: Counter[Subject], most: int) -> Counter[Subject]:
    return Counter(dict(counts.most_common(most)))
