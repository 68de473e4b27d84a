"""Histograms that count many observations of one value in one call."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from blocker.telemetry.catalogue import CATALOGUE, PREFIX

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
OPERATION_BUCKETS = (0.0005, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 60.0)


class Histogram:
    """Counts durations in buckets; prometheus_client can add one observation per call only.

    Args:
        name: name in the catalogue.
        bounds: upper bounds of the buckets, seconds, ascending; longer durations fall into +Inf.
        series: values of the label, if the metric has one.
    """

    def __init__(self, name: str, bounds: Sequence[float], series: Iterable[str] = ("",)) -> None:
        self._entry, self._bounds = CATALOGUE[name], bounds
        self._counts = {each: [0] * (len(bounds) + 1) for each in series}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, seconds: float, count: int, series: str = "") -> None:
        """Add ``count`` observations of the same duration."""
        self._counts[series][bisect_left(self._bounds, seconds)] += count
        self._sums[series] += seconds * count

    def collect(self) -> Iterator[Metric]:
        """Yield the metric family with the current values."""
        entry, bounds = self._entry, [*map(str, self._bounds), "+Inf"]
        family = HistogramMetricFamily(PREFIX + entry.name, entry.text, labels=entry.labels)
        for series, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([series] if series else [], buckets, self._sums[series])
        yield family
