"""Parses an administrator's arguments: an address or a network, and its subjects.  Pure.

A network is expanded into its subjects, so that the kernel's sets stay sets of addresses and a
packet costs one look-up (docs/decisions/016).
"""

import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import NamedTuple

from blocker.addresses import format_subject, parse_address, subject_of
from blocker.errors import UsageError
from blocker.model import Address, Subject
from blocker.times import duration

MAX_SUBJECTS = 65_536
"""Subjects of one network, and of one transaction."""
WIDEST = {4: 24, 16: 48}
"""Shortest prefix length by hand, by the bytes of an address."""
MAX_SHOWN = 60
"""Characters of a refused argument that are shown in the message."""
MAX_ROW = 2**63 - 1
"""The largest number of a row in SQLite."""
MAX_REASON = 200
"""Characters of a reason."""


class Target(NamedTuple):
    """An address or network.

    Attributes:
        name: as it is printed, such as ``203.0.113.7``, ``2001:db8::/64`` or ``198.51.100.0/24``.
        subjects: what is banned for it.
    """

    name: str
    subjects: Sequence[Subject]


def requested_target(text: str, ipv6_prefix: int) -> Target:
    """Return the target of an argument: an address, a network as printed, or a wider one.

    Raises:
        UsageError: it is none of these, or too wide.
    """
    host, slash, length = text.strip().partition("/")
    address = parse_address(host.encode("utf-8", "replace"))
    if address is None:
        raise UsageError(
            f"{_shown(text)} is not a client address; use for example 203.0.113.7 or"
            " 2001:db8::7, or a network such as 198.51.100.0/24"
        )
    whole = 32 if len(address) == 4 else ipv6_prefix
    if not slash or length == str(whole):
        subject = subject_of(address, ipv6_prefix)
        return Target(format_subject(subject, ipv6_prefix), (subject,))
    size = int(length) if re.fullmatch("[0-9]{1,3}", length) else 129
    if size > 8 * len(address):
        raise UsageError(
            f"{_shown(text)}: a network is written as address/length, such as {host}/{whole}"
        )
    _check_width(text, address, size, whole)
    return _expanded(text, address, size, whole)


def _check_width(text: str, address: Address, size: int, whole: int) -> None:
    if size > whole:
        raise UsageError(f"{text}: bans are made for /{whole} here; name an address")
    widest = max(WIDEST[len(address)], whole - MAX_SUBJECTS.bit_length() + 1)
    if size < widest:
        raise UsageError(
            f"{text}: too wide to be banned by hand, /{widest} is the widest; name its parts, or "
            "drop it in a table of your own"
        )


def _expanded(text: str, address: Address, size: int, whole: int) -> Target:
    bits = 8 * len(address)
    network = ip_network((address, size), strict=False)
    value = int.from_bytes(address)
    if int(network.network_address) != value:
        raise UsageError(f"{text}: has bits set behind its length; the network is {network}")
    step = 1 << (bits - whole)
    firsts = range(value, value + (1 << (bits - size)), step)
    return Target(str(network), tuple(each.to_bytes(len(address)) for each in firsts))


def requested_length(text: str) -> int:
    """Return the microseconds of a duration.

    Raises:
        UsageError: it is not a duration.
    """
    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f"{_shown(text)}: {error}") from None


def requested_row(value: object) -> int:
    """Return the row behind which a page of bans begins.

    Raises:
        UsageError: it is not a row number.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ROW:
        return value
    raise UsageError("after: expected 0, or the number in `next` of the previous page")


def _shown(text: str) -> str:
    """Return a text in quotes, cut if it is long."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


def requested_reason(value: object) -> str:
    """Return the reason of an order, or an empty text.

    Raises:
        UsageError: it is not a short, printable text.
    """
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_REASON:
        raise UsageError(f"a reason is a printable text of at most {MAX_REASON} characters")
    return value.strip()
