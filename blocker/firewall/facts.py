"""Facts about the kernel's table: elements, counters, capabilities.  Pure."""

from typing import NamedTuple

from blocker.model import Subject

SHORTEST = 20
"""Shortest ban, milliseconds: the kernel rounds less than a jiffy to 0, which means no timeout."""

LONGEST = 100 * 366 * 86_400_000
"""Longest ban, milliseconds: a hundred years."""

OPERATIONS = (
    *("open", "load", "remove", "present", "ban", "unban", "flush"),
    *("left", "drops", "senders", "sizes", "dump"),
)
"""Names of the operations of ``Firewall``; the metrics export each of them from the start."""


class Element(NamedTuple):
    """A ban as an element of a set; ``left`` is the time until it expires, milliseconds."""

    subject: Subject
    left: int


class Drops(NamedTuple):
    """Packets and bytes dropped since the table was created, by address family."""

    packets4: int
    bytes4: int
    packets6: int
    bytes6: int


class BannedTraffic(NamedTuple):
    """Packets and bytes that a subject sent while it was banned."""

    subject: Subject
    packets: int
    bytes: int


class Capabilities(NamedTuple):
    """Capabilities of the running kernel, as probed.

    Attributes:
        refresh: adding an existing element again, with an expiration, refreshes it.
        destroy: an element can be deleted whether it exists or not.
        count: the kernel reports the number of elements of a set.
    """

    refresh: bool
    destroy: bool
    count: bool  # type: ignore[assignment]  # no tuple of flags is ever counted
