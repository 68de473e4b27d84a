"""Blocks of syslog and journal lines in, hits out: the failures that WordPress reports.  Pure.

One event makes a hit in each trap that counts it.  Its weight in a trap:

* an event stands for as many hits as it has failures, at most ``maxretry``: the number is the
  site's word, and memory is ours;
* an event with an attempt (``try=``, which identifies the guessed password) is one hit, and the
  judge counts the same attempt of a subject once within ``findtime``.  ``attempt_time`` puts the
  attempt into the time of the hit.
"""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32

from blocker.matching.candidates import count_lines, lines_with
from blocker.matching.event_lines import Entry, read_line, split_line, time_of
from blocker.matching.event_messages import ALL, OWN, Event, NoEvent
from blocker.matching.matched import Matched, Seen
from blocker.matching.verdict import Verdict, excerpt
from blocker.model import EVENT, Hit, attempt_time

_NEEDLES = (b"wordpress", b"wp(", b"wp[", b"wp:", b'"wp"', OWN)
"""A line with an event has one of these: its identifier, or the beginning of its message."""
_UNTIMED = "its time can't be read"
_CURE = "; a plugin wrote it in another way than this version can read, or another program did"


class Rule(Protocol):
    """The part of a trap's configuration that is read here."""

    @property
    def kind(self) -> str:
        """``EVENT`` for a trap of events."""

    @property
    def events(self) -> Sequence[str]:
        """The names of the events that count."""

    @property
    def maxretry(self) -> int:
        """Number of hits that make a ban."""


class Weighed(NamedTuple):
    """A trap that counts an event: its index, and the most hits that one event stands for."""

    trap: int
    most: int


class EventMatcher:
    """Turns blocks of lines into hits.

    Args:
        rules: all traps; ``Hit.trap`` is an index into them.
        users: ids of the users that are believed, where a line has the journal's word for it.
    """

    is_of_events = True

    def __init__(self, rules: Iterable[Rule], users: Container[int]) -> None:
        self._users = users
        self._traps: dict[str, list[Weighed]] = {}
        for index, rule in enumerate(rules):
            for name in rule.events if rule.kind == EVENT else ():
                self._traps.setdefault(name, []).append(Weighed(index, rule.maxretry))

    def scan(self, block: bytes, now: int = 0) -> Matched:
        """Return the hits and events of a block of newline-terminated lines.

        Args:
            block: the lines.
            now: when they were written at the latest, microseconds: the time of lines without one.
        """
        unparsed: list[int] = []
        hits: list[Hit] = []
        events: list[Seen] = []
        for start, end in sorted({line for each in _NEEDLES for line in lines_with(each, block)}):
            entry = split_line(block[start:end])
            found = self._read(entry, OWN in block[start:end])
            if isinstance(found, Event):
                time = _time(entry, now)
                if time is None:
                    unparsed.append(end + 1)
                    continue
                events.append(Seen(end + 1, found.name, found.failures or 1))
                hits.extend(self._hits(found, time, end + 1))
            elif found.is_broken:
                unparsed.append(end + 1)
        return Matched(count_lines(block), unparsed, hits, events)

    def _read(self, entry: Entry | None, is_ours: bool) -> Event | NoEvent:
        if entry is None:
            return NoEvent("neither a line of syslog nor an entry of the journal", is_ours)
        return read_line(entry, self._users)

    def _hits(self, event: Event, time: int, end: int) -> Iterable[Hit]:
        for trap, most in self._traps.get(event.name, ()):
            hit = Hit(attempt_time(time, _tag(event.attempt)), event.address, trap, 0, end)
            if event.attempt:
                yield hit
            else:
                weight = most if event.failures == ALL else min(event.failures, most)
                yield from [hit] * weight

    def explain(self, line: bytes, now: int = 0) -> Verdict:
        """Return the verdict on one line (without its newline)."""
        entry = split_line(line)
        found = self._read(entry, OWN in line)
        if isinstance(found, NoEvent):
            if found.is_broken:
                return Verdict("unparsed", found.reason + _CURE)
            return Verdict("no event", found.reason)
        if _time(entry, now) is None:
            text = entry.time if entry is not None else b""
            return Verdict("unparsed", f"{_UNTIMED}: {excerpt(text)}{_CURE}")
        traps = self._traps.get(found.name, ())
        words = words_of(found) + ("" if traps else ", which no trap counts")
        return Verdict("event", words, trap=traps[0].trap if traps else -1)

    def time_of(self, line: bytes, now: int = 0) -> int | None:
        """Return the time of a line, microseconds since the epoch, or None."""
        entry = split_line(line)
        return None if entry is None else _time(entry, now)


def _time(entry: Entry | None, now: int) -> int | None:
    if entry is None:
        return None
    return time_of(entry.time, now) if entry.time else now


def _tag(attempt: bytes) -> int | None:
    """Return the number of an attempt, 0 to 255; two hexadecimal digits are the number itself."""
    if not attempt:
        return None
    try:
        return bytes.fromhex(attempt.decode())[0] if len(attempt) == 2 else crc32(attempt) & 255
    except ValueError:
        return crc32(attempt) & 255


def words_of(event: Event) -> str:
    """Return what an event says, for ``explain``."""
    attempt = f" try={event.attempt.decode()}" if event.attempt else ""
    return f"event {event.name} n={event.failures or 'maxretry'}{attempt}"
