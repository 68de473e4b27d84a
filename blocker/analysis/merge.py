"""Merges the hits of several logs by time.  Pure.

Each log is merged by its own running maximum of time, ties in the order given: a log that is a
little out of order in itself (Apache stamps a request's start and writes at its end) keeps its
own order, and logs interleave as they were written.  ``replay`` and the backfill use this merge;
the engine merges live logs in the same order.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from blocker.model import Hit

Ordered = tuple[int, int, Hit]
"""Running maximum of the log's time (microseconds), index of the log, hit."""


def running(index: int, hits: Iterable[Hit], latest: int = 0) -> Iterator[Ordered]:
    """Yield the hits of one log with the running maximum of its time."""
    for hit in hits:
        latest = max(latest, hit.time)
        yield latest, index, hit


def merged(logs: Sequence[Iterable[Hit]]) -> Iterator[tuple[int, Hit]]:
    """Return pairs of the log's index and a hit, of all logs in the order of events."""
    if len(logs) == 1:
        return ((0, hit) for hit in chain(logs[0]))
    streams = [running(index, hits) for index, hits in enumerate(logs)]
    ordered = heapq.merge(*streams, key=lambda each: each[:2])
    return ((index, hit) for _, index, hit in ordered)
