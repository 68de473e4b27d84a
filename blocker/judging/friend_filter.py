"""Which hits are those of friends; they are counted apart and change nothing else.  Pure."""

from collections.abc import Callable, Mapping

from blocker.judging.tally import FriendHits
from blocker.model import Address

MAX_KNOWN = 16384
"""Ceiling of each cache by address; a cache that is full is emptied."""


class FriendFilter:
    """Recognises friends, and counts their hits.

    Args:
        why: returns why an address may not be banned, or None.

    Attributes:
        hits: number of friends' hits since the start, by reason.
    """

    def __init__(self, why: Callable[[Address], str | None]) -> None:
        self._why = why
        self._known: dict[Address, str] = {}
        self.hits: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        """Hits since the last ``take``, by reason."""
        self._seen: dict[str, Address] = {}
        """The friend that was seen last, by reason."""

    def takes(self, address: Address) -> bool:
        """Return whether an address is a friend; count its hit if so."""
        reason = self._known.get(address) or self._why(address)
        if reason is None:
            return False
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[address] = reason
        self._counted[reason] = self._counted.get(reason, 0) + 1
        self._seen[reason] = address
        return True

    def take(self) -> Mapping[str, FriendHits]:
        """Return the hits since the last call, by reason, and add them to the totals."""
        counted, self._counted = self._counted, {}
        for reason, n in counted.items():
            self.hits[reason] = self.hits.get(reason, 0) + n
        return {reason: FriendHits(n, self._seen[reason]) for reason, n in counted.items()}
