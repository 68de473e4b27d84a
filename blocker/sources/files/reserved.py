"""Files that are never opened as a log: the daemon's own database.

Closing any descriptor of a file drops all POSIX locks that the process has on it, fcntl(2): SQLite
would lose its locks.
"""

import os
from collections.abc import Iterable
from contextlib import suppress

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # a FIFO must not hold us up


_left_alone: list[str] = []


def leave_alone(paths: Iterable[str]) -> None:
    """Never open these files as logs, in this process.

    Closing one of them ends all locks that the process has on it, those of SQLite among
    them; then another program may delete what is open here: fcntl(2), advisory record locking.
    """
    _left_alone[:] = paths


def is_left_alone(path: str) -> bool:
    """Whether a path leads to a file that is never opened."""
    with suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - a path as text, often
        for each in _left_alone:
            with suppress(OSError):
                if os.path.samestat(found, os.stat(each)):  # noqa: PTH116 - the same
                    return True
    return False
