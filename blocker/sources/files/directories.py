"""What is in the directories of logs: listed again when they have changed, and once in a minute."""

import heapq
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from blocker.sources.files.disks import Disks
from blocker.sources.files.known import HOUR
from blocker.sources.files.logfile import LogFile
from blocker.sources.files.naming import Listing, rotated_files

MINUTE = 60.0
MAX_ENTRIES = 100_000
"""Names that are looked through for a file that was rotated away under any of them."""
MAX_OPENED = 2000
"""Files of a directory, those changed last, that are opened to see whether they are packed."""
MAX_PACKED = 256
"""Of those that are packed, so many are unpacked up to the end of their first line."""
_T = TypeVar("_T")
_TICK = 50_000_000
"""Nanoseconds after which another change of a directory surely shows in its time."""


class Directories:
    """What is in the directories: read again when they have changed, and once in a minute."""

    def __init__(self, clock: Callable[[], float], disks: Disks | None = None) -> None:
        self.clock, self.disks = clock, disks or Disks()
        self._rotated: dict[str, _Listed[dict[str, Listing]]] = {}
        self._inodes: dict[str, _Listed[tuple[dict[int, str], bool]]] = {}
        self._packed: dict[str, _Listed[tuple[dict[int, tuple[bytes, str]], bool]]] = {}

    def rotated(self, directory: str) -> dict[str, Listing]:
        """Return the rotated files of every log in a directory."""
        return self._listed(self._rotated, directory, directory, rotated_files, _may_be_filled)

    def inodes(self, directory: str) -> tuple[dict[int, str], bool]:
        """Return the paths in a directory and those right under it by inode, and if that is all."""
        return self._listed(self._inodes, directory, directory, _inodes)

    def packed(self, directory: str) -> tuple[dict[int, tuple[bytes, str]], bool]:
        """Return the packed files in a directory and those right under it, and if that is all.

        Each has the digest of its first line and its path, by inode.
        """
        return self._listed(self._packed, directory, directory, _packed)

    def expire(self) -> None:
        """Drop the lists of inodes that are too old: they are long, and wanted after a start."""
        due = self.clock() - MINUTE
        self._inodes = {key: listed for key, listed in self._inodes.items() if listed.taken > due}
        self._packed = {key: listed for key, listed in self._packed.items() if listed.taken > due}

    def _listed(
        self,
        cache: dict[str, "_Listed[_T]"],
        directory: str,
        key: str,
        listed: Callable[[str], _T],
        may_change: Callable[[_T], bool] = lambda _: False,
    ) -> _T:
        modified, now = Path(directory or ".").stat().st_mtime_ns, self.clock()
        known = cache.get(key)
        if known is not None and known.modified == modified and now < known.taken + MINUTE:
            return known.content
        # The clock of a file system has ticks: what has just changed may change again unseen.
        settled = modified + _TICK < time.time_ns()
        content = listed(key)
        settled = settled and not may_change(content)
        cache[key] = _Listed(modified if settled else -1, now, content)
        return content


class _Listed(NamedTuple, Generic[_T]):
    """What a directory held when it was last modified at that time."""

    modified: int
    taken: float
    content: _T


def _may_be_filled(listings: dict[str, Listing]) -> bool:
    """Return whether a rotated file is empty and young.

    A server that does not know of a rotation appends its first line to it, and appending does not
    change the directory.
    """
    young = time.time_ns() - int(HOUR) * 1_000_000_000
    looks = (look for listing in listings.values() for look in listing.values())
    return any(look.size == 0 and look.modified > young for look in looks)


def _inodes(directory: str) -> tuple[dict[int, str], bool]:
    entries, complete = _files(directory)
    return {entry.inode(): entry.path for entry in entries}, complete


def _packed(directory: str) -> tuple[dict[int, tuple[bytes, str]], bool]:
    found: dict[int, tuple[bytes, str]] = {}
    entries, complete = _files(directory)
    for entry in heapq.nlargest(MAX_OPENED, entries, key=_changed):
        if len(found) == MAX_PACKED:
            return found, False
        with suppress(OSError), LogFile(entry.path, by_content=True) as file:
            if file.packed:
                found[entry.inode()] = file.head(), entry.path
    return found, complete and len(entries) <= MAX_OPENED


def _changed(entry: os.DirEntry[str]) -> int:
    """Return when a file was last written, made or renamed, nanoseconds; 0 if it is gone."""
    with suppress(OSError):
        return entry.stat(follow_symlinks=False).st_ctime_ns
    return 0


def _files(directory: str) -> tuple[list[os.DirEntry[str]], bool]:
    """List two levels of directories; links are not followed, and names say nothing."""
    found: list[os.DirEntry[str]] = []
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
                    found.append(entry)
    return found, left > 0
