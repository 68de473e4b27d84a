"""What is in the directories of logs: listed again when they have changed, and once in a minute."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from blocker.disks import Disks
from blocker.naming import Listing, rotated_files

MINUTE = 60.0
MAX_ENTRIES = 100_000
"""Names that are looked through for a file that was rotated away under any of them."""
_T = TypeVar("_T")
_TICK = 50_000_000
"""Nanoseconds after which another change of a directory surely shows in its time."""


class Directories:
    """What is in the directories: read again when they have changed, and once in a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.disks = clock, Disks()
        self._rotated: dict[str, _Listed[dict[str, Listing]]] = {}
        self._inodes: dict[str, _Listed[tuple[dict[int, str], bool]]] = {}

    def rotated(self, directory: str) -> dict[str, Listing]:
        """Return the rotated files of every log in a directory."""
        return self._listed(self._rotated, directory, directory, rotated_files)

    def inodes(self, directory: str) -> tuple[dict[int, str], bool]:
        """Return the paths in a directory and those right under it by inode, and if that is all."""
        return self._listed(self._inodes, directory, directory, _inodes)

    def expire(self) -> None:
        """Drop the lists of inodes that are too old: they are long, and wanted after a start."""
        due = self.clock() - MINUTE
        self._inodes = {key: listed for key, listed in self._inodes.items() if listed.taken > due}

    def _listed(
        self,
        cache: dict[str, "_Listed[_T]"],
        directory: str,
        key: str,
        listed: Callable[[str], _T],
    ) -> _T:
        modified, now = Path(directory or ".").stat().st_mtime_ns, self.clock()
        known = cache.get(key)
        if known is not None and known.modified == modified and now < known.taken + MINUTE:
            return known.content
        # The clock of a file system has ticks: what has just changed may change again unseen.
        settled = modified + _TICK < time.time_ns()
        cache[key] = _Listed(modified if settled else -1, now, listed(key))
        return cache[key].content


class _Listed(NamedTuple, Generic[_T]):
    """What a directory held when it was last modified at that time."""

    modified: int
    taken: float
    content: _T


def _inodes(directory: str) -> tuple[dict[int, str], bool]:
    """List two levels of directories; links are not followed, and names say nothing."""
    found: dict[int, str] = {}
    pending = [(directory, True)]
    left = MAX_ENTRIES
    while pending:
        path, is_top = pending.pop()
        with suppress(OSError), os.scandir(path) as entries:
            for entry in islice(entries, left):
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    if is_top:
                        pending.append((entry.path, False))
                elif entry.is_file(follow_symlinks=False):
                    found[entry.inode()] = entry.path
    return found, left > 0
