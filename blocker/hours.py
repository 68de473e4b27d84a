"""What happened in which hour, and its telling as OpenMetrics with time stamps.  Pure.

A hit is counted in the hour of its own stamp, and so is a line; but of the lines only few are
parsed.  A log is nearly sorted: where two lines stand in the same hour, those between them do so
as well, and only round the ends of an hour each line is looked at.  The figures are exact while
no line is more than ``SLACK`` out of order; a line that is may be counted in its neighbours' hour.

Memory is bounded by the hours that a log spans, not by its lines.

The samples are placed so that ``increase(…[1d])`` at the end of a day is exact: it compares the
last sample of the window with the first, so there is one at the end of each hour.  Prometheus
from 3.0 on leaves out the sample on the window's left edge, so another follows two milliseconds
later.  (Two, for promtool cuts ``.001`` down to nothing now and then.)
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from blocker.catalogue import CATALOGUE, PREFIX
from blocker.model import SECOND

DAY = 86400 * SECOND
SLACK = 60 * SECOND
BEYOND = 1 << 62
"""The hour of whatever is too late to be told."""
UNKNOWN = -1
"""The hour of lines before the first that has a time."""
_MIXED = -2
_NOT_READ = -1

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Name of a counter in the catalogue, and its labels."""


class Hours(NamedTuple):
    """How time is cut: hours, unless somebody wants them shorter or longer.

    Attributes:
        width: of an hour, microseconds.
        until: what is stamped then or later is not told; microseconds since the epoch.
    """

    width: int
    until: int

    def of(self, time: int) -> int:
        """Return the number of the hour that a time is in.

        >>> Hours(3600 * SECOND, BEYOND).of(7200 * SECOND)
        2
        """
        return time // self.width if time < self.until else BEYOND


class Spread:
    """Counts the lines of one log by their hours.

    Attributes:
        lines: by hour.
        unparsed: candidate lines that could not be parsed, by hour.

    Args:
        hours: how time is cut.
        time_of: returns the time of a line (without its newline), or None.
    """

    def __init__(self, hours: Hours, time_of: Callable[[bytes], int | None]) -> None:
        self._hours = hours
        self._time_of = time_of
        self._latest: int | None = None
        self.lines: Counter[int] = Counter()
        self.unparsed: Counter[int] = Counter()

    def block(self, data: bytes, count: int, unparsed: Sequence[int]) -> None:
        """Count the lines of a block.

        Args:
            data: whole lines with their newlines.
            count: how many those are.
            unparsed: where candidate lines that do not parse end.
        """
        if not data:
            return
        first = self._time_of(data[: data.find(b"\n")])
        last = self._time_of(data[data.rfind(b"\n", 0, -1) + 1 : -1])
        hour = _MIXED if first is None or last is None else self._common(first, last)
        if hour == _MIXED:
            self._each(data, unparsed)
        else:
            self.lines[hour] += count
            self.unparsed[hour] += len(unparsed)
            self._latest = last

    def _each(self, data: bytes, unparsed: Sequence[int]) -> None:
        """Halve a block until each part is in one hour."""
        lines = data.split(b"\n")[:-1]
        stamp = _Stamps(lines, self._time_of, self._latest)
        parts = [(0, len(lines) - 1)]
        while parts:
            low, high = parts.pop()
            hour = self._hour(stamp.of(low)) if low == high else _MIXED
            if low != high:
                hour = self._common(stamp.of(low), stamp.of(high))
            if hour == _MIXED:
                middle = (low + high) // 2
                parts += (low, middle), (middle + 1, high)
            else:
                self.lines[hour] += high - low + 1
        ends = list(accumulate(len(line) + 1 for line in lines)) if unparsed else []
        for end in unparsed:
            self.unparsed[self._hour(stamp.of(bisect_left(ends, end)))] += 1
        self._latest = stamp.of(len(lines) - 1)

    def _hour(self, time: int | None) -> int:
        return UNKNOWN if time is None else self._hours.of(time)

    def _common(self, first: int | None, last: int | None) -> int:
        """Return the hour of two lines and of those between them."""
        if first is None or last is None:
            return UNKNOWN if first is last else _MIXED
        hour = self._hours.of(min(first, last) - SLACK)
        return hour if hour == self._hours.of(max(first, last) + SLACK) else _MIXED


class _Stamps:
    """The times of lines: a line without one has that of the line before.  Each is parsed once."""

    def __init__(
        self, lines: Sequence[bytes], time_of: Callable[[bytes], int | None], before: int | None
    ) -> None:
        self._lines = lines
        self._time_of = time_of
        self._before = before
        self._known: list[int | None] = [_NOT_READ] * len(lines)

    def of(self, index: int) -> int | None:
        """Return the time of a line, None if neither it nor any before has one."""
        known, at = self._known, index
        while at >= 0 and known[at] == _NOT_READ:
            known[at] = self._time_of(self._lines[at])
            if known[at] is not None:
                break
            at -= 1
        time = known[at] if at >= 0 else self._before
        known[at + 1 : index + 1] = [time] * (index - at)
        return time


# Telling ---------------------------------------------------------------------------------------


def moments(active: Iterable[int], hours: Hours) -> Iterator[tuple[int, int]]:
    """Yield when counters are told: (number of the first hour not in them, time).

    That is at the beginning, and at the end of each hour that is within a day of one in which
    something happened; where a log has a longer gap, the samples have one.
    """
    day, edge = DAY // hours.width, -1
    for hour in sorted(active):
        start = hour if edge < 0 else max(edge, hour - day)
        edge = max(edge, hour + day + 2)
        for each in range(start, edge):
            if each * hours.width >= hours.until:
                yield each, hours.until
                return
            yield each, each * hours.width


def exposition(counts: Mapping[Series, Mapping[int, int]], hours: Hours) -> Iterator[str]:
    """Yield the lines of an OpenMetrics text; a counter is 0 at last.

    Whatever counts next under the same labels begins at 0 as well, or has counted on before it is
    first asked: behind a 0, Prometheus adds the whole of it.
    """
    active = {hour for series in counts.values() for hour in series}
    times = list(moments(active, hours))
    family = ""
    for (name, labels), counted in sorted(counts.items()):
        if name != family:
            family = name
            yield f"# TYPE {PREFIX}{name} counter\n"
        words = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
        yield from _samples(f"{CATALOGUE[name].series}{{{words}}}", counted, times)
    yield "# EOF\n"


def _samples(
    series: str, counted: Mapping[int, int], times: Sequence[tuple[int, int]]
) -> Iterator[str]:
    remaining = sorted(counted, reverse=True)
    total = 0
    for edge, time in times:
        while remaining and remaining[-1] < edge:
            total += counted[remaining.pop()]
        second = time // SECOND
        after = 0 if time == times[-1][1] else total
        yield f"{series} {total} {second}\n{series} {after} {second}.002\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
