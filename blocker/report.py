"""What the offline commands say: totals, bans and attackers as data, never as text.  Pure.

The shapes are a contract: other tools read them.  A change is a new ``version``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Generic, TypeAlias, TypedDict, TypeVar, cast

from blocker.judge import Accounts, Judge
from blocker.model import Ban, Hit, Subject, format_subject

VERSION = 1
_Item = TypeVar("_Item")
_Row = TypeVar("_Row")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout, and an offset would cost to drop


class BanRow(TypedDict):
    """One ban."""

    address: str
    trap: str
    start: str
    until: str
    hits: int
    offence: int


class AttackerRow(TypedDict):
    """One attacking address."""

    address: str
    hits: int
    bans: int
    first: str
    last: str


_Values: TypeAlias = tuple[str | int, ...]


class Rows(Generic[_Item, _Row]):
    """Rows that are made as they are asked for: a flood has 100,000, and each is printed once.

    Args:
        kind: the TypedDict that a row is.  Its texts are such as JSON takes without an escape:
            addresses, times, names of traps.
        items: what they are made of.
        values: returns what is in the row of one of them, in the order of the kind's keys.
    """

    def __init__(
        self, kind: type[_Row], items: Sequence[_Item], values: Callable[[_Item], _Values]
    ) -> None:
        self.kind = kind
        self._items = items
        self._values = values

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[_Row]:
        return map(self._row, self._items)

    def __getitem__(self, part: slice) -> list[_Row]:
        return [self._row(item) for item in self._items[part]]

    def _row(self, item: _Item) -> _Row:
        return _filled(self.kind, self._values(item))

    def values(self, start: int, end: int) -> Iterator[_Values]:
        """Yield what is in some of the rows, in the order of the kind's keys."""
        return map(self._values, self._items[start:end])


def _filled(kind: type[_Row], values: _Values) -> _Row:
    """Return a row with these values, in the order of its keys."""
    return cast("_Row", dict(zip(kind.__annotations__, values, strict=True)))


class ReplayReport(TypedDict):
    """What ``replay -o json`` prints."""

    version: int
    logs: list[str]
    lines: int
    requests: int
    unparsed: int
    friends: int
    hits: int
    addresses: int
    floor: int
    blocked: int
    let_through: int
    repeat_offenders: int
    bans: Rows[Ban, BanRow]
    attackers: Rows[tuple[Subject, list[int]], AttackerRow]


class ExplainRow(TypedDict):
    """What ``explain`` says of one line; all of it is printable."""

    line: str
    verdict: str
    reason: str
    trap: str
    address: str
    time: str
    request: str


def format_time(micros: int) -> str:
    """Return RFC 3339 in UTC, with a fraction only where there is one.

    >>> format_time(1_427_286_306_000_000)
    '2015-03-25T12:25:06Z'
    """
    text = (_EPOCH + timedelta(microseconds=micros)).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def counted(count: int, thing: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "log")
    '1 log'
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _ban_values(
    ban: Ban, name: Callable[[Subject], str], when: Callable[[int], str]
) -> tuple[str, str, str, str, int, int]:
    subject, trap, start, until, hits, offence = ban
    return name(subject), trap, when(start), when(until), hits, offence


def ban_row(ban: Ban, name: Callable[[Subject], str]) -> BanRow:
    """Return a ban as data, with the text of its subject and its times."""
    return _filled(BanRow, _ban_values(ban, name, format_time))


class _Names(dict[Subject, str]):
    """The texts of subjects, each formed once; functools.cache would keep a tuple with each."""

    def __init__(self, ipv6_prefix: int) -> None:
        self._prefix = ipv6_prefix

    def __missing__(self, subject: Subject) -> str:
        text = self[subject] = format_subject(subject, self._prefix)
        return text


class Replay:
    """Judges hits in order and keeps what a report needs.

    Args:
        judge: a fresh judge; its policy decides.
        ipv6_prefix: for printing.

    Attributes:
        name: returns the text of a subject.
    """

    def __init__(self, judge: Judge, ipv6_prefix: int = 64) -> None:
        self._judge = judge
        self.name = _Names(ipv6_prefix).__getitem__
        self.lines = self.unparsed = 0
        self.bans: list[Ban] = []
        self._seen: Accounts = {}

    def consume(self, hits: Iterable[Hit]) -> list[Ban]:
        """Judge hits in the order of events; return the bans that they make."""
        bans = self._judge.judge(hits, None, self._seen)
        self._judge.changed.clear()  # who would store it is not here
        self.bans += bans
        return bans

    def add_settled(self, settled: Iterable[tuple[Subject, int, int]]) -> None:
        """Count hits inside bans that nobody needed to judge: of whom, how many, the latest."""
        total = 0
        for subject, hits, last in settled:
            total += hits
            account = self._seen[subject]
            account[0] += hits
            account[2] = max(account[2], last)
        self._judge.tally.add(total, total, 0)

    def report(self, logs: Sequence[str]) -> ReplayReport:
        """Return everything counted so far."""
        tally = self._judge.tally
        counts: dict[Subject, int] = {}
        for ban in self.bans:
            counts[ban.subject] = counts.get(ban.subject, 0) + 1
        return {
            "version": VERSION,
            "logs": list(logs),
            "lines": self.lines,
            "requests": self.lines - self.unparsed,
            "unparsed": self.unparsed,
            "friends": tally.friends,
            "hits": tally.hits,
            "addresses": len(self._seen),
            "floor": len(self._seen),
            "blocked": tally.blocked,
            "let_through": tally.hits - tally.blocked,
            "repeat_offenders": sum(count > 1 for count in counts.values()),
            "bans": self._ban_rows(),
            "attackers": self._attacker_rows(counts),
        }

    def _ban_rows(self) -> Rows[Ban, BanRow]:
        name, when = self.name, cache(format_time)
        # Nearly in order by their start already, so that this is soon done.
        ordered = sorted(self.bans, key=lambda ban: (ban.start, len(ban.subject), ban.subject))
        return Rows(BanRow, ordered, lambda ban: _ban_values(ban, name, when))

    def _attacker_rows(
        self, bans: dict[Subject, int]
    ) -> Rows[tuple[Subject, list[int]], AttackerRow]:
        name, when = self.name, cache(format_time)
        # Sorts by one thing each take less than one by all of them.
        ordered = sorted(self._seen.items(), key=itemgetter(0))
        ordered.sort(key=lambda pair: len(pair[0]))
        ordered.sort(key=lambda pair: pair[1][0], reverse=True)

        def values(account: tuple[Subject, list[int]]) -> tuple[str, int, int, str, str]:
            subject, (hits, first, last) = account
            return name(subject), hits, bans.get(subject, 0), when(first), when(last)

        return Rows(AttackerRow, ordered, values)
