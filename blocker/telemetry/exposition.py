"""Metrics in the text formats of Prometheus, from a snapshot that is taken at each scrape.

There is one registry per daemon; ``server`` serves it.  No thread is needed, and no value is kept
twice, except for the histograms.  An attacker can't choose a label: ``log`` is a path that a
configured pattern matched, ``trap`` is a configured name, and ``client_ip`` is the address of a
top offender, of which there is a configured number.

Counters are stored together with the positions, so they continue after a restart.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from blocker.telemetry.catalogue import CATALOGUE, PREFIX, Entry, Samples, Snapshot
from blocker.telemetry.histogram import LATENCY_BUCKETS, OPERATION_BUCKETS, Histogram

TURN = 0.005
"""Seconds that a scrape may hold the loop before other tasks have their turn."""
_END = b"# EOF\n"


class HasSnapshot(Protocol):
    """Anything that returns a snapshot of the metrics."""

    def snapshot(self) -> Snapshot:
        """Return the current values of all metrics."""


class Collector:
    """Turns a snapshot into metric families, in the order of the catalogue."""

    def __init__(self, source: HasSnapshot) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Describe nothing at registration, because there may be no snapshot yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its current values."""
        snapshot = self._source.snapshot()
        for name, entry in CATALOGUE.items():
            if name in snapshot:
                yield _family(entry, snapshot[name])


def _family(entry: Entry, samples: Samples) -> Metric:
    """Return a family as the library's classes would make it, without one call per sample."""
    family = Metric(PREFIX + entry.name, entry.text, entry.kind)
    series = entry.series
    family.samples = [
        Sample(series, dict(zip(entry.labels, labels, strict=True)), float(value))
        for labels, value in samples.items()
    ]
    return family


class Durations:
    """The histograms of durations, which are observed when they occur.

    Args:
        operations: every value of the label ``operation``.
    """

    def __init__(self, operations: Iterable[str]) -> None:
        self.latency = Histogram("ban_latency_seconds", LATENCY_BUCKETS)
        self.operations = Histogram("nft_operation_duration_seconds", OPERATION_BUCKETS, operations)

    def observe_latency(self, seconds: float, count: int) -> None:
        """Count a number of bans by the time from reading the line to the kernel's answer."""
        self.latency.observe(seconds, count)

    def observe_operation(self, name: str, seconds: float) -> None:
        """Count an operation of the kernel by its duration."""
        self.operations.observe(seconds, 1, name)


class Metrics:
    """The registry of one daemon.

    Args:
        source: returns the snapshot for each scrape.
        durations: the histograms.
    """

    def __init__(self, source: HasSnapshot, durations: Durations) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Collector(source))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(durations.latency)
        self.registry.register(durations.operations)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type for an ``Accept`` header.

        The text is written on the loop, in slices: with a thousand logs it takes a tenth of a
        second.  It is not written in a thread, because all threads may be blocked by a disk that
        hangs, and the metrics must report that.
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
    """Return the encoder and the content type for an ``Accept`` header, valid or not.

    The library raises for a version that is no number (0.22 and later) and for parameters without
    a value; such a client gets the plain text format, as a client without the header does.
    """
    try:
        return choose_encoder(accept)
    except Exception:  # noqa: BLE001 - what the library raises differs between its versions
        return choose_encoder("")


class _One(NamedTuple):
    """A single family, in place of the registry that the library's encoders expect."""

    family: Metric

    def collect(self) -> list[Metric]:
        """Return it."""
        return [self.family]
