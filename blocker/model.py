"""The facts that pass between the stages: frozen, small, and the same everywhere.

Times are integers: microseconds since 1970-01-01T00:00:00Z (event time unless said otherwise).
Addresses are bytes in network byte order, 4 for IPv4 and 16 for IPv6: the very keys of the
kernel's sets, and, unlike integers, hashed with a secret, so that nobody can choose addresses
that collide (CPython, ``PYTHONHASHSEED``).
"""

import ipaddress
from typing import NamedTuple, TypeAlias

Address: TypeAlias = bytes
"""A client, exactly as logged: 4 bytes, or 16.  IPv4-mapped IPv6 has become IPv4."""

Subject: TypeAlias = bytes
"""What is judged and banned: an IPv4 address (4 bytes) or the IPv6 network (16 bytes, masked)."""

SECOND = 1_000_000
"""Microseconds in a second."""


class Hit(NamedTuple):
    """One request that matched a trap.

    Attributes:
        time: of the request, microseconds since the epoch.
        address: who sent it.
        trap: index into the configuration's traps.
        status: HTTP status as logged, 0 where there was none; recorded, never decisive.
        end: offset just behind the line's newline, within the block that held it.
    """

    time: int
    address: Address
    trap: int
    status: int
    end: int


class Ban(NamedTuple):
    """One address, one sentence: ``[start, until)``.

    Attributes:
        subject: who.
        trap: name of the trap, or ``manual``.
        start: microseconds since the epoch.
        until: the same; exclusive.
        hits: how many were in the window that led to it.
        offence: 1 + the earlier bans of this subject within ``remember``.
    """

    subject: Subject
    trap: str
    start: int
    until: int
    hits: int
    offence: int


def subject_of(address: Address, ipv6_prefix: int = 64) -> Subject:
    """Return the subject that an address is judged by.

    >>> subject_of(bytes([192, 0, 2, 1])).hex()
    'c0000201'
    """
    if len(address) == 4 or ipv6_prefix == 128:
        return address
    whole, bits = divmod(ipv6_prefix, 8)
    if not bits:
        return address[:whole] + bytes(16 - whole)
    edge = address[whole] & (0xFF00 >> bits) & 0xFF
    return address[:whole] + bytes([edge]) + bytes(15 - whole)


def format_subject(subject: Subject, ipv6_prefix: int = 64) -> str:
    """Return the text of a subject: an IPv6 network always carries its prefix length.

    >>> format_subject(bytes([192, 0, 2, 1]))
    '192.0.2.1'
    """
    if len(subject) == 4:
        a, b, c, d = subject
        return f"{a}.{b}.{c}.{d}"
    return f"{ipaddress.IPv6Address(subject)}/{ipv6_prefix}"
