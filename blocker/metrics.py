"""What Prometheus sees: a view of the truth, read when it is asked for.

No thread, no second bookkeeping: a collector over a snapshot of the figures, in the words of the
catalogue, and its own registry per daemon; ``metricsserver`` serves it.  No label is the
attacker's to choose: ``log`` is a path that the configuration's globs found, ``trap`` a configured
name; ``client_ip`` is who he is, and only so many are told.

The counters are stored with the positions, so that they go on where they were after a restart.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from time import monotonic
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.samples import Sample

from blocker.catalogue import CATALOGUE, PREFIX, Entry
from blocker.figures import Samples, Snapshot
from blocker.firewall import OPERATIONS

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
OPERATION_BUCKETS = (0.0005, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 60.0)
TURN = 0.005
"""Seconds that a scrape may hold the loop before it is somebody else's turn."""
_END = b"# EOF\n"


class HasSnapshot(Protocol):
    """Who can be asked."""

    def snapshot(self) -> Snapshot:
        """Return how everything stands."""


class Collector:
    """Turns a snapshot into metric families, in the order of the catalogue."""

    def __init__(self, source: HasSnapshot) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Promise nothing at registration: a snapshot may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family, fresh."""
        snapshot = self._source.snapshot()
        for name, entry in CATALOGUE.items():
            if name in snapshot:
                yield _family(entry, snapshot[name])


def _family(entry: Entry, samples: Samples) -> Metric:
    """Return one family: what the library's classes would make, without a call per sample."""
    family = Metric(PREFIX + entry.name, entry.text, entry.kind)
    series = entry.series
    family.samples = [
        Sample(series, dict(zip(entry.labels, labels, strict=True)), float(value))
        for labels, value in samples.items()
    ]
    return family


class Histogram:
    """Counts durations in buckets, many of one value at once: the library takes each by itself.

    Args:
        name: in the catalogue.
        bounds: of the buckets, seconds, rising; what is longer has one more.
        series: values of its label, if it has one.
    """

    def __init__(self, name: str, bounds: Sequence[float], series: Iterable[str] = ("",)) -> None:
        self._entry, self._bounds = CATALOGUE[name], bounds
        self._counts = {each: [0] * (len(bounds) + 1) for each in series}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, seconds: float, count: int, series: str = "") -> None:
        """Count so many of that length."""
        self._counts[series][bisect_left(self._bounds, seconds)] += count
        self._sums[series] += seconds * count

    def collect(self) -> Iterator[Metric]:
        """Yield the family, fresh."""
        entry, bounds = self._entry, [*map(str, self._bounds), "+Inf"]
        family = HistogramMetricFamily(PREFIX + entry.name, entry.text, labels=entry.labels)
        for series, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([series] if series else [], buckets, self._sums[series])
        yield family


class Metrics:
    """The registry of one daemon."""

    def __init__(self, source: HasSnapshot) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Collector(source))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._latency = Histogram("ban_latency_seconds", LATENCY_BUCKETS)
        self._operations = Histogram(
            "nft_operation_duration_seconds", OPERATION_BUCKETS, OPERATIONS
        )
        self.registry.register(self._latency)
        self.registry.register(self._operations)

    def observe_latency(self, seconds: float, count: int) -> None:
        """Note how long so many bans took, all at once."""
        self._latency.observe(seconds, count)

    def observe_operation(self, name: str, seconds: float) -> None:
        """Note how long the kernel took."""
        self._operations.observe(seconds, 1, name)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type.

        It is written on the loop, in turns: with a thousand logs it takes a tenth of a second.  Not
        in a thread: while a disk hangs, and the threads with it, somebody has to tell.
        """
        encoder, content_type = _encoder(accept)
        text, pause = b"", monotonic() + TURN
        for family in self.registry.collect():
            text += encoder(_One(family)).removesuffix(_END)
            if monotonic() >= pause:
                await asyncio.sleep(0)
                pause = monotonic() + TURN
        return text + _END * ("openmetrics" in content_type), content_type


def _encoder(accept: str) -> tuple[Callable[..., bytes], str]:
    """Return the encoder and the content type for an ``Accept`` header, whatever it holds.

    The library raises for a version that is no number (0.22 and later) and for parameters without
    a value; such a client gets the plain text format, as a client without the header does.
    """
    try:
        return choose_encoder(accept)
    except Exception:  # noqa: BLE001 - what the library raises differs between its versions
        return choose_encoder("")


class _One(NamedTuple):
    """One family, where the library wants a registry."""

    family: Metric

    def collect(self) -> list[Metric]:
        """Return it."""
        return [self.family]
