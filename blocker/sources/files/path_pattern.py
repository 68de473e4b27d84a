"""Patterns of paths: ``*``, ``?``, ``[…]`` and ``**``, matched part by part.  Pure."""

import fnmatch
import glob
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Choice(NamedTuple):
    """What is looked for in a directory.  Parts of the pattern are bits of a mask.

    Attributes:
        deep: the ``**`` that go on in every directory below, with what may follow them.
        wanted: for each part that a name may match: whether it does, the mask below a directory of
            that name, and whether it is the last part.
    """

    deep: int
    wanted: tuple[tuple[Callable[[str], object], int, bool], ...]


class Pattern:
    """A pattern, cut into its parts.

    Attributes:
        start: the mask at the root.
        wild: the mask of the parts that need a listing.
    """

    def __init__(self, text: str) -> None:
        parts = text.split("/")
        parts = [part for part in parts[:-1] if part] + parts[-1:]
        if parts[-1] == "**":
            parts.append("*")
        self.parts = parts
        self.wild = sum(1 << n for n, part in enumerate(parts) if glob.has_magic(part))
        self._deep = sum(1 << n for n, part in enumerate(parts) if part == "**")
        self._matchers = [_matcher(part) for part in parts]
        self._choices: dict[int, Choice] = {}
        self.start = self.mask(0)

    def mask(self, number: int) -> int:
        """Return the mask from a part on: ``**`` stands for no directory, too."""
        found = 1 << number
        while found & self._deep & (1 << number):
            number += 1
            found |= 1 << number
        return found

    def fixed(self, mask: int) -> Iterator[tuple[str, int]]:
        """Yield the fixed names in a mask, each with the mask below it; 0 after the last part."""
        for number, part in enumerate(self.parts):
            if mask & ~self.wild & (1 << number):
                yield part, 0 if number + 1 == len(self.parts) else self.mask(number + 1)

    def fits(self, path: str) -> bool:
        """Return whether the pattern stands for an absolute path, without a look at the disk."""
        *directories, last = path.split("/")
        mask = self.start
        for name in filter(None, directories):
            choice = self.choice(mask)
            below = union(mask for matches, mask, _ in choice.wanted if matches(name))
            mask = below | (choice.deep if name[0] != "." else 0)
        wanted = self.choice(mask).wanted if last else ()
        return any(is_last and bool(matches(last)) for matches, _, is_last in wanted)

    def choice(self, mask: int) -> Choice:
        """Return what a mask looks for."""
        if mask not in self._choices:
            deep = [n for n in range(len(self.parts)) if mask & self._deep & (1 << n)]
            wanted = [n for n in range(len(self.parts)) if mask & ~self._deep & (1 << n)]
            last = len(self.parts) - 1
            self._choices[mask] = Choice(
                union(self.mask(n) for n in deep),
                tuple(
                    (self._matchers[n], 0 if n == last else self.mask(n + 1), n == last)
                    for n in wanted
                ),
            )
        return self._choices[mask]


def union(masks: Iterable[int]) -> int:
    """Return the union of masks."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def _matcher(part: str) -> Callable[[str], object]:
    if not glob.has_magic(part):
        return part.__eq__
    matches = re.compile(fnmatch.translate(part)).match
    if part.startswith("."):
        return matches
    return lambda name: name[0] != "." and matches(name)
