"""Questions to the disk about directories, and its answers."""

import os
import stat
import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

from blocker.sources.files.path_pattern import Choice, union

MAX_MATCHES = 100_000
"""Names that one listing keeps, and paths in directories whose listing is not kept."""
BATCH = 256
"""Directories whose times are looked at in one go."""
_TICK = 50_000_000
"""Nanoseconds after which another change of a directory surely shows in its times."""

Stamp: TypeAlias = tuple[int, ...]
"""Device, inode, times of modification and change in ns; empty if the path is not there."""
THERE: Stamp = (0, 0)
"""The stamp of a path that is only looked up, and is there: its later changes do not matter."""


class Listing(NamedTuple):
    """What was found in a directory.

    Attributes:
        stamp: of the directory; it equals no other if the directory may change again unseen.
        files: names that match, without directories.
        directories: names of directories that match.
        below: names of directories to be walked, with their mask, and whether they are links.
        looked_at: how many names there were.
        left_out: how many of them were too many.
        refused: the error, if the directory may not be listed, or not be searched.
    """

    stamp: Stamp
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    below: tuple[tuple[str, int, bool], ...] = ()
    looked_at: int = 1
    left_out: int = 0
    refused: str = ""


_ABSENT = Listing(())
_AGAIN: Stamp = (-1,)
"""The stamp of a path that is asked about at each look: it equals no other, nor that of no path."""
UNKNOWN = Listing(_AGAIN)
"""Of a directory that does not answer."""


class Ask(NamedTuple):
    """A question about one path.

    Attributes:
        path: what it is about.
        choice: what is looked for in the directory; None: whether the path is there.
        known: the last listing, which is returned if the directory has not changed.
        resolved: whether the path without any links is wanted, as the name of a directory.
    """

    path: str
    choice: Choice | None
    known: Listing | None = None
    resolved: bool = False

    @property
    def at(self) -> int:
        """How far the answer has come."""
        return 0

    @property
    def current(self) -> "Ask":
        """What is asked just now."""
        return self

    @property
    def entries(self) -> int:
        """How many directories are looked at, at least."""
        return 1

    def put(self) -> Listing:
        """Ask the disk."""
        try:
            return self._answer()
        except PermissionError as error:
            return Listing((), refused=error.strerror or "Permission denied")
        except OSError:
            return _ABSENT

    def _answer(self) -> Listing:
        if self.resolved:
            return Listing((), directories=(os.path.realpath(self.path),))
        if self.choice is None:
            return _looked_up(self.path)
        stamp = stamp_of(self.path)
        if self.known is not None and self.known.stamp == stamp:
            return self.known
        # The clock of a file system has ticks: what has just changed may change again unseen.
        settled = max(stamp[2:]) + _TICK < time.time_ns()
        stamp = stamp if settled else (*stamp[:2], -1, -1)
        try:
            return _listed(self.path, self.choice, stamp)
        except PermissionError as error:
            return Listing(stamp, refused=error.strerror or "Permission denied")
        except OSError:
            return Listing(stamp)


class Check:
    """The question which of many directories have changed.

    Attributes:
        paths: of them, with their last stamps.
        at: which of them is looked at just now.
        changed: numbers of those that have changed.
        spared: says which of them must not be looked at; they count as unchanged.
        given_up: whether no thread waits for the answer any more.
    """

    def __init__(self, paths: Sequence[tuple[str, Stamp]]) -> None:
        self.paths = paths
        self.at = 0
        self.changed: list[int] = []
        self.spared: Callable[[str, Stamp], bool] | None = None
        self.given_up = False

    @property
    def entries(self) -> int:
        """How many directories are looked at."""
        return len(self.paths)

    @property
    def current(self) -> Ask:
        """The directory that is looked at just now."""
        path, stamp = self.paths[self.at]
        return Ask(path, None, Listing(stamp))

    def put(self) -> Listing:
        """Ask the disk."""
        look = os.stat
        for number, (path, stamp) in enumerate(self.paths):
            self.at = number
            if self.spared is not None and self.spared(path, stamp):
                continue
            try:
                info = look(path)
                now: Stamp = (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns)
            except OSError:
                now = ()
            if self.given_up:
                break
            if now != stamp and not (now and stamp == THERE):
                self.changed.append(number)
        return _ABSENT


Question: TypeAlias = Ask | Check
Questions: TypeAlias = Generator[Question, Listing | None, None]
"""An answer of None: the disk does not answer."""


def stamp_of(path: str) -> Stamp:
    """Return the stamp of what a path leads to."""
    info = os.stat(path)  # noqa: PTH116 - of very many paths
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns


def _looked_up(path: str) -> Listing:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - of very many paths
        except OSError:  # it leads nowhere: opening it will say so
            return Listing(_AGAIN, files=(path,))
    if stat.S_ISDIR(mode):
        return Listing(_AGAIN, directories=(path,))  # a file may take its place
    return Listing(THERE, files=(path,))


def _listed(path: str, choice: Choice, stamp: Stamp) -> Listing:
    files: list[str] = []
    directories: list[str] = []
    below: list[tuple[str, int, bool]] = []
    looked_at, left_out = 1, 0
    with os.scandir(path) as entries:
        for entry in entries:
            looked_at += 1
            name = entry.name
            chosen = [(mask, last) for matches, mask, last in choice.wanted if matches(name)]
            if not chosen and not choice.deep:
                continue
            is_real, leads = _kind(entry)
            if not is_real and not chosen:
                continue
            if len(files) + len(directories) + len(below) >= MAX_MATCHES:
                left_out += 1
                continue
            if any(last for _, last in chosen):
                (directories if leads else files).append(name)
            mask = union(mask for mask, _ in chosen)
            mask |= choice.deep if is_real and name[0] != "." else 0
            if leads and mask:
                below.append((name, mask, not is_real))
    return Listing(stamp, tuple(files), tuple(directories), tuple(below), looked_at, left_out)


def _kind(entry: "os.DirEntry[str]") -> tuple[bool, bool]:
    """Return whether an entry is a directory, and whether it is one or a link to one."""
    try:
        is_real = entry.is_dir(follow_symlinks=False)
        return is_real, is_real or (entry.is_symlink() and entry.is_dir())
    except OSError:
        return False, False  # any other kind of file: opening it will say so
