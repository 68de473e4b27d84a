"""Results of ``replay`` and ``explain`` as data: totals, bans and attackers.  Pure.

The shapes are a contract with programs that read them; a change is a new ``version``.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import NotRequired, TypedDict

from blocker.addresses import format_subject
from blocker.judging.judge import Judge
from blocker.judging.tally import Accounts, Counts
from blocker.matching.matched import Matched, by_name
from blocker.model import Ban, Hit, Subject
from blocker.rows import BanRow, Rows, values_of_ban
from blocker.times import format_time

VERSION = 1


class AttackerRow(TypedDict):
    """One attacking address."""

    address: str
    hits: int
    bans: int
    first: str
    last: str


class EventCounts(TypedDict):
    """How often WordPress reported something, and the failures that these reports stand for."""

    events: int
    failures: int


class ReplayReport(TypedDict):
    """The output of ``replay -o json``; ``events`` by name, if there were any."""

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
    events: NotRequired[dict[str, EventCounts]]


class ExplainRow(TypedDict):
    """The verdict of ``explain`` on one line; every field is printable.

    Only events have ``event`` and ``n``, the number of failures; 0: as many as make a ban.
    """

    line: str
    verdict: str
    reason: str
    trap: str
    address: str
    time: str
    request: str
    event: NotRequired[str]
    n: NotRequired[int]


class _Names(dict[Subject, str]):
    """Texts of subjects, each formatted once; functools.cache would keep a tuple for each."""

    def __init__(self, ipv6_prefix: int) -> None:
        self._prefix = ipv6_prefix

    def __missing__(self, subject: Subject) -> str:
        text = self[subject] = format_subject(subject, self._prefix)
        return text


class Replay:
    """Judges hits in order, and collects the contents of a report.

    Hits of event traps are judged with the others, and not counted among them: they are failures
    within requests, and the figures are of requests.

    Args:
        judge: a new judge.
        ipv6_prefix: length of a subject's network, for printing.

    Attributes:
        name: returns the text of a subject.
    """

    def __init__(self, judge: Judge, ipv6_prefix: int = 64) -> None:
        self._judge = judge
        self._events: dict[str, EventCounts] = {}
        self.name = _Names(ipv6_prefix).__getitem__
        self.lines = self.unparsed = 0
        self.bans: list[Ban] = []
        self._counts = Counts()
        self._seen: Accounts = {}

    def count(self, matched: Matched) -> None:
        """Count the lines and events of a block; its hits are judged afterwards."""
        self.lines += matched.lines
        self.unparsed += len(matched.unparsed)
        for name, (count, failures) in by_name(matched.events).items():
            each = self._events.setdefault(name, {"events": 0, "failures": 0})
            each["events"] += count
            each["failures"] += failures

    def consume(self, hits: Iterable[Hit]) -> list[Ban]:
        """Judge hits in the order of events, and return the new bans."""
        if not self._events:
            return self._consume(hits)
        runs = groupby(hits, lambda hit: hit.trap in self._judge.of_events)
        return [ban for of_events, run in runs for ban in self._consume(run, of_events)]

    def _consume(self, hits: Iterable[Hit], of_events: object = False) -> list[Ban]:
        bans, counts, _ = self._judge.judge(hits, None, None if of_events else self._seen)
        self._judge.windows.take_changed()  # no store is there to take the windows
        self.bans += bans
        if not of_events:
            self._counts = self._counts.plus(counts)
        return bans

    def is_of_requests(self, ban: Ban) -> bool:
        """Return whether requests led to a ban."""
        return ban.trap not in self._judge.of_events.values()

    def add_skipped(self, skipped: Iterable[tuple[Subject, int, int]]) -> None:
        """Count hits inside bans that the matcher skipped: (subject, hits, time of the latest)."""
        total = 0
        for subject, hits, last in skipped:
            total += hits
            account = self._seen[subject]
            account[0] += hits
            account[2] = max(account[2], last)
        self._counts = self._counts.plus(Counts(hits=total, blocked=total))

    def report(self, logs: Sequence[str]) -> ReplayReport:
        """Return everything counted so far."""
        counted = self._counts
        counts: dict[Subject, int] = {}
        for ban in self.bans:
            counts[ban.subject] = counts.get(ban.subject, 0) + 1
        report: ReplayReport = {
            "version": VERSION,
            "logs": list(logs),
            "lines": self.lines,
            "requests": self.lines - self.unparsed,
            "unparsed": self.unparsed,
            "friends": counted.friends,
            "hits": counted.hits,
            "addresses": len(self._seen),
            "floor": len(self._seen),
            "blocked": counted.blocked,
            "let_through": counted.hits - counted.blocked,
            "repeat_offenders": sum(count > 1 for count in counts.values()),
            "bans": self._ban_rows(),
            "attackers": self._attacker_rows(counts),
        }
        if self._events:
            report["events"] = self._events
        return report

    def _ban_rows(self) -> Rows[Ban, BanRow]:
        name, when = self.name, cache(format_time)
        # Fast, because the bans are nearly sorted by their start already.
        ordered = sorted(self.bans, key=lambda ban: (ban.start, len(ban.subject), ban.subject))
        return Rows(BanRow, ordered, lambda ban: values_of_ban(ban, name, when))

    def _attacker_rows(
        self, bans: dict[Subject, int]
    ) -> Rows[tuple[Subject, list[int]], AttackerRow]:
        name, when = self.name, cache(format_time)
        # Three sorts with one key each are faster than one sort with all of them.
        ordered = sorted(self._seen.items(), key=itemgetter(0))
        ordered.sort(key=lambda pair: len(pair[0]))
        ordered.sort(key=lambda pair: pair[1][0], reverse=True)

        def values(account: tuple[Subject, list[int]]) -> tuple[str, int, int, str, str]:
            subject, (hits, first, last) = account
            return name(subject), hits, bans.get(subject, 0), when(first), when(last)

        return Rows(AttackerRow, ordered, values)
