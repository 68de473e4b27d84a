"""The facts that pass between the rooms: small and frozen.  Pure.

Times are integers: microseconds since 1970-01-01T00:00:00Z (event time unless stated otherwise).
Addresses are bytes in network byte order, 4 for IPv4 and 16 for IPv6.  They are the keys of the
kernel's sets and, unlike integers, are hashed with a secret, so that an attacker can't choose
addresses that collide (CPython, ``PYTHONHASHSEED``).
"""

from typing import NamedTuple, TypeAlias

Address: TypeAlias = bytes
"""Address of a client, 4 or 16 bytes; IPv4-mapped IPv6 is converted to IPv4."""

Subject: TypeAlias = bytes
"""The unit of judging and banning: an IPv4 address (4 bytes) or an IPv6 network (16, masked)."""


MANUAL = "manual"
"""The trap of bans by hand; no trap of the configuration may have its name."""


class Proxied(NamedTuple):
    """The format of a log in which a proxy names the client.

    Attributes:
        format: ``format`` of the configuration.
        field: the field in which the proxy names it: a variable, or a member of JSON.
        proxies: addresses, networks and lists by name; those that are believed.
    """

    format: str
    field: str
    proxies: tuple[str, ...]


LogFormat: TypeAlias = str | Proxied
"""How the lines of a log are read; a text is ``format`` of the configuration, or ``EVENTS``."""

EVENTS = "events"
"""The format of logs in which WordPress reports its failures; no access log may have it."""

ACCESS, EVENT = "access", "event"
"""Kinds of traps: what they count are requests in access logs, or failures that WordPress reports.
"""


MILLISECOND = 1000


def attempt_time(time: int, attempt: int | None) -> int:
    """Return a time, down to its millisecond, with an attempt (0 to 255) in its microseconds.

    >>> attempt_time(1_234_567, None), attempt_time(1_234_567, 7)
    (1234000, 1234008)
    """
    return untagged(time) + (0 if attempt is None else 1 + attempt)


def attempt_of(time: int) -> int:
    """Return what ``attempt_time`` added to the milliseconds of a time; 0 for no attempt."""
    return time % MILLISECOND


def untagged(time: int) -> int:
    """Return a time without its microseconds, and so without an attempt."""
    return time - time % MILLISECOND


class Hit(NamedTuple):
    """One request that matched a trap, or one failure that WordPress reported.

    Attributes:
        time: time of the request, microseconds since the epoch; for event traps see
            ``attempt_time``.
        address: address of the client.
        trap: index into the configuration's traps.
        status: HTTP status as logged, 0 if there is none; not used by the judge.
        end: offset of the byte after the line's newline, within its block.
    """

    time: int
    address: Address
    trap: int
    status: int
    end: int


class Ban(NamedTuple):
    """A ban of one subject for ``[start, until)``.

    Attributes:
        subject: the banned subject.
        trap: name of the trap, or ``MANUAL``.
        start: start of the ban, microseconds since the epoch.
        until: end of the ban, microseconds since the epoch, exclusive.
        hits: number of hits in the window that led to the ban.
        offence: 1 + the earlier bans of this subject within ``remember``.
    """

    subject: Subject
    trap: str
    start: int
    until: int
    hits: int
    offence: int
