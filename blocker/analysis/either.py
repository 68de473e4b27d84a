"""Finds hits in a log whose lines are requests, events of WordPress, or both.

The daemon knows from its configuration which logs may report events.  Old logs are named by hand,
and each line says by its form what it is.
"""

from collections.abc import Iterator

from blocker.matching.event_lines import split_line
from blocker.matching.event_matcher import EventMatcher
from blocker.matching.event_messages import is_wordpress
from blocker.matching.matched import Matched
from blocker.matching.matcher import Matcher
from blocker.matching.verdict import Verdict

LOOKED_AT = 8
"""Lines at the beginning of a block that are looked at, and one at its end: a log of requests costs
no further search."""


class EitherMatcher:
    """Finds requests and events.

    Args:
        requests: finds requests.
        events: finds events.
    """

    def __init__(self, requests: Matcher, events: EventMatcher) -> None:
        self.requests, self._events = requests, events

    def scan(self, block: bytes, now: int = 0) -> Matched:
        """Return the hits of a block of newline-terminated lines, in their order."""
        found = self.requests.scan(block)
        if not has_entries(block):
            return found
        events = self._events.scan(block, now)
        ends = {each.end for each in events.events}
        unparsed = {*(end for end in found.unparsed if end not in ends), *events.unparsed}
        hits = sorted((*found.hits, *events.hits), key=lambda hit: hit.end)
        return Matched(found.lines, sorted(unparsed), hits, events.events)

    def explain(self, line: bytes, now: int = 0) -> Verdict:
        """Return the verdict on one line (without its newline)."""
        return self._of(line).explain(line, now)

    def time_of(self, line: bytes, now: int = 0) -> int | None:
        """Return the time of a line, microseconds since the epoch, or None."""
        return self._of(line).time_of(line, now)

    def is_event(self, line: bytes) -> bool:
        """Return whether a line is one of syslog or the journal, and holds no request."""
        return self._of(line) is self._events

    def _of(self, line: bytes) -> Matcher | EventMatcher:
        entry = split_line(line)
        if entry is None:
            return self.requests
        if is_wordpress(entry.identifier):
            return self._events
        is_request = b"HTTP/" in line or self.requests.explain(line).kind != "unparsed"
        return self.requests if is_request else self._events


def _some(block: bytes) -> Iterator[bytes]:
    """Yield the first lines of a block, and the last."""
    at = 0
    for _ in range(LOOKED_AT):
        end = block.find(b"\n", at)
        if end < 0:
            return
        yield block[at:end]
        at = end + 1
    yield block[block.rfind(b"\n", 0, -1) + 1 : -1]


def has_entries(block: bytes) -> bool:
    """Return whether a block has lines of syslog or the journal, as far as a look at some shows."""
    return any(split_line(line) is not None for line in _some(block))
