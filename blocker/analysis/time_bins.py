"""Counts per time bin, and their export as OpenMetrics with time stamps.  Pure.

A hit and a line are counted in the bin of their own time, but only few lines are parsed.  A log is
nearly sorted: if two lines are in the same bin, so are the lines between them, and each line is
parsed only near the edges of a bin.  The counts are exact as long as no line is more than ``SLACK``
out of order; such a line may be counted in the bin of its neighbours.

Memory is bounded by the number of bins that a log spans, not by its lines.

The samples are placed so that ``increase(…[1d])`` at the end of a day is exact: it compares the
last sample of the window with the first one, so there is a sample at the end of each bin.
Prometheus 3.0 and later leave out the sample on the left edge of the window, so a second one
follows two milliseconds later.  (Two, because promtool sometimes truncates ``.001``.)
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from blocker.telemetry.catalogue import CATALOGUE, PREFIX
from blocker.times import DAY, SECOND

SLACK = 60 * SECOND
BEYOND = 1 << 62
"""The bin of everything that is too late to be exported."""
UNKNOWN = -1
"""The bin of lines before the first line that has a time."""
_MIXED = -2
_NOT_READ = -1

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Name of a counter in the catalogue, and its labels."""


class TimeBins(NamedTuple):
    """Bins of equal width, numbered from the epoch.

    Attributes:
        width: width of a bin, microseconds.
        until: nothing from this time on is exported; microseconds since the epoch.
    """

    width: int
    until: int

    def of(self, time: int) -> int:
        """Return the number of the bin that a time is in.

        >>> TimeBins(3600 * SECOND, BEYOND).of(7200 * SECOND)
        2
        """
        return time // self.width if time < self.until else BEYOND


class LineBins:
    """Counts the lines of one log per bin.

    Attributes:
        lines: number of lines, by bin.
        unparsed: number of candidate lines that could not be parsed, by bin.

    Args:
        bins: the bins.
        time_of: returns the time of a line (without its newline), or None.
    """

    def __init__(self, bins: TimeBins, time_of: Callable[[bytes], int | None]) -> None:
        self._bins = bins
        self._time_of = time_of
        self._latest: int | None = None
        self.lines: Counter[int] = Counter()
        self.unparsed: Counter[int] = Counter()

    def block(self, data: bytes, count: int, unparsed: Sequence[int]) -> None:
        """Count the lines of a block.

        Args:
            data: whole lines with their newlines.
            count: number of these lines.
            unparsed: end offsets of the candidate lines that could not be parsed.
        """
        if not data:
            return
        first = self._time_of(data[: data.find(b"\n")])
        last = self._time_of(data[data.rfind(b"\n", 0, -1) + 1 : -1])
        number = _MIXED if first is None else self._common(first, last)
        if number == _MIXED:
            self._each(data, unparsed)
        else:
            self.lines[number] += count
            self.unparsed[number] += len(unparsed)
            self._latest = last

    def _each(self, data: bytes, unparsed: Sequence[int]) -> None:
        """Halve a block until each part is in one bin."""
        lines = data.split(b"\n")[:-1]
        stamp = _Stamps(lines, self._time_of, self._latest)
        parts = [(0, len(lines) - 1)]
        while parts:
            low, high = parts.pop()
            first, last = stamp.of(low), stamp.of(high)
            number = self._bin(first) if low == high else self._common(first, last)
            if number == _MIXED:
                middle = (low + high) // 2
                parts += (low, middle), (middle + 1, high)
            else:
                self.lines[number] += high - low + 1
        ends = list(accumulate(len(line) + 1 for line in lines)) if unparsed else []
        for end in unparsed:
            self.unparsed[self._bin(stamp.of(bisect_left(ends, end)))] += 1
        self._latest = stamp.of(len(lines) - 1)

    def _bin(self, time: int | None) -> int:
        return UNKNOWN if time is None else self._bins.of(time)

    def _common(self, first: int | None, last: int | None) -> int:
        """Return the bin of two lines and of the lines between them, or ``_MIXED``."""
        if first is None or last is None:
            return UNKNOWN if first is last else _MIXED
        number = self._bins.of(min(first, last) - SLACK)
        return number if number == self._bins.of(max(first, last) + SLACK) else _MIXED


class _Stamps:
    """Times of lines.  A line without a time has that of the line before; each is parsed once."""

    def __init__(
        self, lines: Sequence[bytes], time_of: Callable[[bytes], int | None], before: int | None
    ) -> None:
        self._lines = lines
        self._time_of = time_of
        self._before = before
        self._known: list[int | None] = [_NOT_READ] * len(lines)

    def of(self, index: int) -> int | None:
        """Return the time of a line, or None if neither it nor a line before it has one."""
        known, at = self._known, index
        while at >= 0 and known[at] == _NOT_READ:
            known[at] = self._time_of(self._lines[at])
            if known[at] is not None:
                break
            at -= 1
        time = known[at] if at >= 0 else self._before
        known[at + 1 : index + 1] = [time] * (index - at)
        return time


# Export ----------------------------------------------------------------------------------------


def sample_times(active: Iterable[int], bins: TimeBins) -> Iterator[tuple[int, int]]:
    """Yield the samples of a counter as (number of the first bin not included, time).

    There is one at the beginning, and one at the end of each bin that is within a day of an active
    bin; a longer gap in the log is a gap in the samples.
    """
    day, edge = DAY // bins.width, -1
    for number in sorted(active):
        start = number if edge < 0 else max(edge, number - day)
        edge = max(edge, number + day + 2)
        for each in range(start, edge):
            if each * bins.width >= bins.until:
                yield each, bins.until
                return
            yield each, each * bins.width


def exposition(counts: Mapping[Series, Mapping[int, int]], bins: TimeBins) -> Iterator[str]:
    """Yield the lines of an OpenMetrics text; the last sample of each counter is 0.

    The next process that exports the same series begins at 0 too, or has counted already when it is
    first scraped: after a sample of 0, Prometheus adds its whole value.
    """
    active = {number for series in counts.values() for number in series}
    times = list(sample_times(active, bins))
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
