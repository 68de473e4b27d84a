"""How rotated files are named: which log a file belongs to, and the order within its set.

A name is all that is looked at here, except where a directory is listed.  Another naming scheme is
another expression in this module.

Sources: logrotate(8), newsyslog.conf(5), cronolog, and the writers of logs in Go (timberjack,
lumberjack).
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from blocker.sources.files.packed import suffix_of

# Texts, compiled when a name with a number is met: most commands see none.
_NUMBERED = r"(?P<base>.+)\.(?P<number>\d{1,4})(?P<extension>\.log)?"
_DATED = (
    r"(?P<base>.+?)[-._](?P<day>(?:19|20)\d\d-?(?:0[1-9]|1[0-2])-?(?:[0-2]\d|3[01]))"
    r"(?:[-_.T]?(?P<rest>\d{1,10}|\d\d[-:]\d\d[-:]\d\d(?:\.\d{1,9})?))?(?P<extension>\.log)?"
)


class _RotationRank(NamedTuple):
    """Where a file stands in its rotated set, the oldest first."""

    live: str
    rank: tuple[int, int, int] = (2, 0, 0)


def _rank_of(path: str) -> _RotationRank:
    parent, slash, name = path.rpartition("/")
    parent += slash
    name = name.removesuffix(suffix_of(name))
    if not any(map(str.isdigit, name)):
        return _RotationRank(parent + name)
    if found := re.fullmatch(_DATED, name):
        day, rest = (int(re.sub(r"\D", "", found[name] or "0")) for name in ("day", "rest"))
        base = found["base"] + (found["extension"] or "")
        return _RotationRank(parent + base, (1, day, rest))
    found = re.fullmatch(_NUMBERED, name)
    # A log may well be named after an address, and 192.0.2.1 is no rotated 192.0.2.
    if found and not found["base"].rpartition(".")[2].isdigit():
        extension = found["extension"] or ""
        rank = 0, -int(found["number"]), len(extension)
        return _RotationRank(parent + found["base"] + extension, rank)
    return _RotationRank(parent + name)


def rotation_key(path: str) -> str:
    """Return the live path of the rotated set that a file belongs to.

    >>> rotation_key("/var/log/nginx/access.log-20240131.gz")
    '/var/log/nginx/access.log'
    >>> rotation_key("access-2026-03-11T00-00-00.000.log")
    'access.log'
    >>> rotation_key("access.1.log")
    'access.log'
    """
    return path if path == "-" else _rank_of(path).live


def group_rotated(paths: Iterable[str]) -> list[list[str]]:
    """Return rotated sets, each from the oldest file to the newest, in the order given.

    >>> group_rotated(["access.log", "error.log", "access.log.1", "access.log.2.gz"])
    [['access.log.2.gz', 'access.log.1', 'access.log'], ['error.log']]
    """
    groups: dict[str, dict[str, str]] = {}
    for path in paths:
        key = os.path.normpath(path)
        groups.setdefault(rotation_key(key), {}).setdefault(key, path)
    return [
        sorted(group.values(), key=lambda path: _order(path, _rank_of(path)))
        for group in groups.values()
    ]


def _order(path: str, rank: _RotationRank) -> tuple[tuple[int, int, int], bool, str]:
    """Oldest first; of the same file twice, the packed one first."""
    return rank.rank, not suffix_of(path), path


MISNAMED = "its name is not UTF-8; rename it"
"""Why a log is not followed that neither the store nor the metrics could name."""


def shown(path: str) -> str:
    """Return a path in UTF-8: the same, unless its name is not UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


def directory_of(path: str) -> str:
    """Return the directory of a path, as it was given, with its slash."""
    return path[: path.rfind("/") + 1]


class Look(NamedTuple):
    """What a directory says of a file: another file, or another content, looks different."""

    inode: int
    size: int
    modified: int


Listing: TypeAlias = dict[str, Look]
"""The rotated files of one log, from the oldest to the newest."""


_LISTINGS = 10
"""How often a directory is listed again in which files are being renamed."""


def rotated_files(directory: str) -> dict[str, Listing]:
    """Return the rotated files of every log in a directory, by live path.

    Of a file that is just being packed, the plain one is returned.

    A rename during a listing can hide a file from it (readdir(3) says nothing of entries that
    change), and a file that is missing here while newer ones are read is never read.  So the
    directory is listed until two listings in a row have the same names for the same files.
    """
    ranks = _Ranks()
    inodes = _rotated_inodes(directory, ranks)
    for _ in range(_LISTINGS):
        found = _looks(inodes, ranks)
        before, inodes = inodes, _rotated_inodes(directory, ranks)
        if inodes == before:
            break
    return found


class _Ranks(dict[str, _RotationRank]):
    """Ranks by path, each found once however often the directory is listed."""

    def __missing__(self, path: str) -> _RotationRank:
        rank = self[path] = _rank_of(path)
        return rank


def _rotated_inodes(directory: str, ranks: _Ranks) -> dict[str, int]:
    """Return the inode of each rotated file by path, in no order."""
    with os.scandir(directory or ".") as entries:
        inodes = {directory + entry.name: entry.inode() for entry in entries}
    return {path: inode for path, inode in inodes.items() if ranks[path].live != path}


def _looks(paths: Iterable[str], ranks: _Ranks) -> dict[str, Listing]:
    found: dict[str, dict[tuple[int, int, int], tuple[str, Look]]] = {}
    for (rank, _, path), live in sorted(
        (_order(path, ranks[path]), ranks[path].live) for path in paths
    ):
        with suppress(FileNotFoundError):
            info = os.lstat(path)
            look = Look(info.st_ino, info.st_size, info.st_mtime_ns)
            found.setdefault(live, {})[rank] = path, look
    return {live: dict(looks.values()) for live, looks in found.items()}


def siblings(path: str) -> list[str]:
    """Return the rotated files of a live log that are on disk, from the oldest to the newest."""
    return list(rotated_files(directory_of(path)).get(path, ()))
