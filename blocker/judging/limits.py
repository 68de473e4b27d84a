"""A trap's policy: how many hits make a ban, and how long; the judge's ceilings.  Pure."""

from typing import NamedTuple, Protocol

from blocker.times import SECOND

AHEAD = 300 * SECOND
"""Live, a hit stamped further ahead of the clock than this is judged at the clock."""


class Policy(Protocol):
    """The part of a trap's configuration that the judge reads; durations in microseconds."""

    @property
    def kind(self) -> str:
        """What it counts: ``ACCESS`` or ``EVENT``."""

    @property
    def maxretry(self) -> int:
        """Number of hits that make a ban."""

    @property
    def findtime(self) -> int:
        """Length of the window."""

    @property
    def bantime(self) -> int:
        """Length of a first ban."""

    @property
    def bantime_factor(self) -> float:
        """Factor by which each further offence multiplies the length of the ban."""

    @property
    def max_bantime(self) -> int:
        """Ceiling of a ban's length."""


class Limits(NamedTuple):
    """Limits that apply to all traps.

    Attributes:
        remember: how long an offence is remembered, microseconds.
        max_tracked: ceiling of pending windows.
        ipv6_prefix: length of the IPv6 network that is judged as one subject.
        max_remembered: ceiling of remembered bans; active bans may exceed it.
    """

    remember: int
    max_tracked: int = 1_000_000
    ipv6_prefix: int = 64
    max_remembered: int = 1_000_000


def whole_second(time: int) -> int:
    """Return a time without its fraction of a second: logs and printed times have none."""
    return time - time % SECOND
