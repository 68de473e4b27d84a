"""Rows of JSON and CSV that more than one room prints.  Pure.

The values of a row are formatted texts and numbers that need no escape.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeAlias, TypedDict, TypeVar, cast

from blocker.model import Ban, Subject
from blocker.times import format_time

_Item = TypeVar("_Item")
_Row = TypeVar("_Row")


class BanRow(TypedDict):
    """One ban."""

    address: str
    trap: str
    start: str
    until: str
    hits: int
    offence: int


_Values: TypeAlias = tuple[str | int, ...]


class Rows(Generic[_Item, _Row]):
    """A sequence of rows that are built on access: a flood has 100,000, each printed once.

    Args:
        kind: the TypedDict of a row.  Its texts must need no escape in JSON: addresses, times,
            names of traps.
        items: the items from which rows are built.
        values: returns the values of an item's row, in the order of the keys of ``kind``.
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
        """Yield the values of a slice of the rows, in the order of the keys of ``kind``."""
        return map(self._values, self._items[start:end])


def _filled(kind: type[_Row], values: _Values) -> _Row:
    """Return a row with these values, in the order of its keys."""
    return cast("_Row", dict(zip(kind.__annotations__, values, strict=True)))


def counted(count: int, thing: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "log")
    '1 log'
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def values_of_ban(
    ban: Ban, name: Callable[[Subject], str], when: Callable[[int], str]
) -> tuple[str, str, str, str, int, int]:
    """Return the values of a ban's row."""
    subject, trap, start, until, hits, offence = ban
    return name(subject), trap, when(start), when(until), hits, offence


def ban_row(ban: Ban, name: Callable[[Subject], str]) -> BanRow:
    """Return a ban as a row, with its subject and its times as text."""
    return _filled(BanRow, values_of_ban(ban, name, format_time))
