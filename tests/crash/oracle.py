"""What should have come of the lines that stand in the files, computed apart from the product.

Nothing of ``blocker`` is imported here: own parsing, own windows, own masks.  The price of being
independent is paid in speed: every hit looks at all earlier hits of its network since its ban.
"""

import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

SECOND = 1_000_000
LINE = re.compile(
    rb'(\S+) \S+ \S+ \[([^\]]+)\] "([A-Z]+) ([^ "]+) HTTP/[0-9.]+" \d{3} (?:\d+|-) .*\n'
)
FRIENDS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "127.0.0.0/8")]


class Policy(NamedTuple):
    """One trap; durations in seconds."""

    name: str
    path: bytes
    maxretry: int
    findtime: int
    bantime: int
    factor: int = 1
    max_bantime: int = 30 * 86400


class Sentence(NamedTuple):
    """One ban, as it stands in the store."""

    subject: bytes
    trap: str
    start: int
    until: int
    hits: int
    offence: int


class Person:
    """What is remembered of one address or network."""

    def __init__(self) -> None:
        self.pending: list[tuple[int, int]] = []
        self.bans: list[Sentence] = []


class Oracle:
    """Reads lines, log by log, and knows what has to come of them."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = list(policies)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.people: defaultdict[bytes, Person] = defaultdict(Person)

    def read(self, log: str, lines: Iterable[bytes]) -> None:
        """Read all lines of a log, in the order in which they were written."""
        for line in lines:
            self.counts[log, "lines"] += 1
            found = LINE.fullmatch(line)
            if found:
                self._request(log, found)

    def _request(self, log: str, found: "re.Match[bytes]") -> None:
        client, stamp, method, target = found.groups()
        path = target.partition(b"?")[0]
        traps = [n for n, policy in enumerate(self.policies) if path.endswith(policy.path)]
        if method != b"POST" or not traps:
            return
        who = subject(client.decode())
        if who is None:
            self.counts[log, "friends"] += 1
            return
        self.counts[log, "hits"] += 1
        self.counts[log, self._judge(who, seconds(stamp) * SECOND, traps[0])] += 1

    def _judge(self, who: bytes, at: int, trap: int) -> str:
        person, policy = self.people[who], self.policies[trap]
        if person.bans and at < person.bans[-1].until:
            return "blocked" if at >= person.bans[-1].start else "late"
        person.pending.append((at, trap))
        latest = max(time for time, _ in person.pending)
        person.pending = [
            (time, each)
            for time, each in person.pending
            if latest - self.policies[each].findtime * SECOND < time
        ]
        if (at, trap) not in person.pending:
            return "late"
        counted = [time for time, each in person.pending if each == trap]
        if len(counted) >= policy.maxretry:
            self._ban(who, person, policy, latest, len(counted))
        return "let through"

    def _ban(self, who: bytes, person: Person, policy: Policy, start: int, hits: int) -> None:
        offence = 1 + sum(1 for ban in person.bans if ban.start < start)
        length = min(policy.bantime * policy.factor ** (offence - 1), policy.max_bantime)
        until = start + length * SECOND
        person.bans.append(Sentence(who, policy.name, start, until, hits, offence))
        person.pending = []

    @property
    def windows(self) -> dict[bytes, list[tuple[int, int]]]:
        """Pending hits: time and trap, in order."""
        return {who: sorted(p.pending) for who, p in self.people.items() if p.pending}

    @property
    def bans(self) -> Counter[Sentence]:
        """All bans ever made."""
        return Counter(ban for person in self.people.values() for ban in person.bans)

    def standing(self, now: int) -> dict[bytes, int]:
        """Who is banned at a time, and until when."""
        return {
            who: person.bans[-1].until
            for who, person in self.people.items()
            if person.bans and person.bans[-1].until > now
        }


@lru_cache(100_000)
def subject(client: str) -> bytes | None:
    """Return four bytes, or the sixteen of a /64; None for a friend."""
    address = ipaddress.ip_address(client)
    address = getattr(address, "ipv4_mapped", None) or address
    if any(address.version == net.version and address in net for net in FRIENDS):
        return None
    if address.version == 4:
        return address.packed
    return address.packed[:8] + bytes(8)


@lru_cache(100_000)
def seconds(stamp: bytes) -> int:
    """Return the seconds since 1970 of a stamp."""
    moment = datetime.strptime(stamp.decode(), "%d/%b/%Y:%H:%M:%S %z")
    return int(moment.astimezone(UTC).timestamp())
