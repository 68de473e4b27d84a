"""What scanning a block returns.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from blocker.model import Hit


class Seen(NamedTuple):
    """An event in a block.

    Attributes:
        end: offset of the byte after its line's newline.
        name: of the event.
        failures: how many it stands for.
    """

    end: int
    name: str
    failures: int


class Matched(NamedTuple):
    """The result of scanning one block.

    Attributes:
        lines: number of newline-terminated lines.
        unparsed: ends of candidate lines that can't be parsed, offsets within the block.
        hits: in the order of the lines.
        events: in the order of the lines; none in an access log.
    """

    lines: int
    unparsed: list[int]
    hits: list[Hit]
    events: Sequence[Seen] = ()


def by_name(seen: Iterable[Seen]) -> Mapping[str, tuple[int, int]]:
    """Return how many events there are and how many failures they stand for, by name."""
    found: dict[str, tuple[int, int]] = {}
    for each in seen:
        count, failures = found.get(each.name, (0, 0))
        found[each.name] = (count + 1, failures + each.failures)
    return found
