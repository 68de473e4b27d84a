"""Results of judging: bans and counts; accounts by subject.  Pure."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from blocker.model import Address, Ban, Subject

Accounts: TypeAlias = dict[Subject, list[int]]
"""By subject: hits, time of the first, time of the last."""


class Counts(NamedTuple):
    """Numbers of hits.

    Attributes:
        hits: hits of attackers.
        blocked: those of them inside a ban.
        late: those of them that were too old for their window.
        friends: hits of friends, which are not part of ``hits``.
    """

    hits: int = 0
    blocked: int = 0
    late: int = 0
    friends: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(*map(int.__add__, self, other))


class FriendHits(NamedTuple):
    """Hits of friends with the same reason.

    Attributes:
        hits: their number.
        seen: the address of the last one.
    """

    hits: int
    seen: Address


class Judgement(NamedTuple):
    """The result of judging a series of hits.

    Attributes:
        bans: the bans that they made, in this order.
        counts: how many hits there were of each kind.
        friends: hits of friends, by the reason of the friendship.
    """

    bans: list[Ban]
    counts: Counts
    friends: Mapping[str, FriendHits]
