"""Files near a log that may be what was rotated away from it, under any name."""

import os
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TypeVar

from blocker.sources.files.directories import Directories
from blocker.sources.files.naming import directory_of

_T = TypeVar("_T")


class NearbyFiles:
    """The directories into which a log is rotated as a rule.

    Args:
        path: of the log.
        contents: what is in the directories.
        notes: what is wrong with a directory is written here, by its name.
    """

    def __init__(self, path: str, contents: Directories, notes: dict[str, str]) -> None:
        self._path, self._contents, self._notes = path, contents, notes

    def strays(self, inodes: AbstractSet[int]) -> dict[int, str]:
        """Return the files with one of these inodes."""
        found: dict[int, str] = {}
        for directory, (paths, complete) in self._near(self._contents.inodes):
            if not complete:
                self._notes[directory] = (
                    f"{directory}: too many files to find one that was rotated into it"
                )
            found |= {inode: paths[inode] for inode in inodes & paths.keys()}
        return found

    def packed_strays(self, head: bytes) -> dict[int, str]:
        """Return the packed files that begin with this first line, by inode."""
        found: dict[int, str] = {}
        for directory, (files, complete) in self._near(self._contents.packed):
            same = {inode: path for inode, (start, path) in files.items() if start == head}
            if not complete and not same:
                self._notes[directory] = (
                    f"{directory}: too many packed files to find one that was rotated into it"
                )
            found |= same
        return found

    def _near(self, listed: Callable[[str], _T]) -> Iterator[tuple[str, _T]]:
        """Yield what is in the directories, those that can't be read left out."""
        for directory in _near(self._path):
            with suppress(OSError):
                yield directory, listed(directory)


def _near(path: str) -> list[str]:
    """Return the directories into which a log is rotated as a rule, with their subdirectories.

    Those of its name and of the file that a link leads to, and the directories above them.
    """
    names = dict.fromkeys(directory_of(name) for name in (path, os.path.realpath(path)))
    above = [directory_of(name.rstrip("/")) for name in names]
    return [name for name in dict.fromkeys((*names, *above)) if name not in ("", "/")]
