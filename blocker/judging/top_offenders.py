"""The subjects with the most hits in the last day: a top-k sketch of fixed size.

Pure: time is an argument.

Hits are counted by the hour of their own time.  When an hour holds too many different subjects,
it keeps those with the most hits and forgets the others.  A count may therefore be too low, never
too high, and a subject with many hits is always kept.  Of a very large batch, as in a flood, every
n-th hit is counted, with weight n.  Memory and time have a ceiling for any log.

The list of members changes slowly, because Prometheus keeps a series for every subject that was
ever on it: the list is computed at most once a minute, and a new subject must exceed the last
member's count by a tenth.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter

from blocker.addresses import subject_of
from blocker.model import Hit, Subject
from blocker.times import HOUR, SECOND

WINDOW = 24
"""Number of hours that count, including the current one."""

ROOM = 1024
"""Subjects that the current hour is reduced to when it holds more than twice as many."""

SAMPLE = 2048
"""Ceiling of the hits that are counted of one batch."""

KEPT = 256
"""Subjects that an hour keeps when it is over."""

AGAIN = 60 * SECOND
"""Shortest time between two computations of the members, microseconds."""

BEATS = 1.1
"""Factor by which a new subject must exceed the last member's count."""

_ADDRESS = itemgetter(1)


class TopOffenders:
    """Counts hits per subject and hour, and returns the subjects with the most.

    Args:
        limit: ceiling of the members; 0 counts nothing.
        ipv6_prefix: length of the IPv6 network that is one subject.

    Attributes:
        members: the top offenders when they were last computed.
    """

    def __init__(self, limit: int = 0, ipv6_prefix: int = 64) -> None:
        self.limit, self._prefix = limit, ipv6_prefix
        self._hours: dict[int, Counter[Subject]] = {}
        self.members: Sequence[Subject] = []
        self._looked = -AGAIN

    def note(self, hits: Sequence[Hit], now: int) -> None:
        """Count the hits of a batch; ``now`` is the clock, microseconds."""
        if not self.limit or not hits:
            return
        weight = -(-len(hits) // SAMPLE)
        if weight > 1:
            hits = hits[now % weight :: weight]
        # Logs are nearly in order: if both ends are in one hour, all hits are counted in it.
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
        hour = min(hour, current)  # a timestamp ahead of the clock counts in the current hour
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
            self._hours[hour] = _most(counts, ROOM)

    def _close_hours(self, current: int) -> None:
        """Drop hours older than a day, and reduce those that are over to ``KEPT`` subjects."""
        self._hours = {
            hour: counts if hour == current or len(counts) <= KEPT else _most(counts, KEPT)
            for hour, counts in self._hours.items()
            if hour > current - WINDOW
        }

    def top(self, now: int, may: Callable[[Subject], bool]) -> dict[Subject, int]:
        """Return the members and their hits, most first; ``may`` says who may be a member."""
        if not 0 <= now - self._looked < AGAIN:
            self._looked = now
            self._choose(now, may)
        current = now // HOUR
        hours = [counts for hour, counts in self._hours.items() if hour > current - WINDOW]
        found = {who: sum(counts[who] for counts in hours) for who in self.members}
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    def _choose(self, now: int, may: Callable[[Subject], bool]) -> None:
        """Compute the members again."""
        self._close_hours(now // HOUR)
        totals: Counter[Subject] = Counter()
        for counts in self._hours.values():
            totals.update(counts)
        ranked = [who for who in self.members if totals[who] and may(who)]
        ranked.sort(key=totals.__getitem__, reverse=True)
        members = set(ranked)
        # Four times the limit: friends may be among the top subjects, and there are few of them.
        for who, count in _most(totals, 4 * self.limit).items():
            if who in members or not may(who):
                continue
            if len(ranked) >= self.limit:
                if count <= totals[ranked[-1]] * BEATS:
                    break
                members.discard(ranked.pop())
            ranked.append(who)
            ranked.sort(key=totals.__getitem__, reverse=True)
        self.members = ranked

    def forget(self, subject: Subject) -> None:
        """Erase a subject and its counts."""
        self.members = [who for who in self.members if who != subject]
        for counts in self._hours.values():
            counts.pop(subject, None)

    def rows(self) -> list[tuple[int, Subject, int]]:
        """Return hour (hours since the epoch), subject and hits of what is kept, for the store."""
        return [
            (hour, who, count)
            for hour, counts in self._hours.items()
            for who, count in _most(counts, KEPT).items()
        ]

    def restore(self, rows: Iterable[tuple[int, Subject, int]]) -> None:
        """Add the counts that the store holds."""
        for hour, who, count in rows:
            self._hours.setdefault(hour, Counter())[who] += count


def _most(counts: Counter[Subject], most: int) -> Counter[Subject]:
    return Counter(dict(counts.most_common(most)))
