"""The lock on a state: one process at a time, from its start to its exit, over all reloads.

It is an advisory lock (flock(2)) on a file beside the database, and not on the database itself:
that may be deleted or replaced, and SQLite has locks of its own on it.  The lock file is never
deleted, because the lock of a deleted file would exclude no other process.  The kernel releases
the lock when the process ends, for any reason.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from blocker.errors import BlockerError, NotPermittedError

ENDING = ".lock"
PAUSE = 0.05
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class StateLockedError(BlockerError):
    """Another process holds the state.

    Attributes:
        holder: its process id, or 0 if it is not known.
    """

    def __init__(self, message: str, holder: int = 0) -> None:
        super().__init__(message)
        self.holder = holder


class StateLock:
    """Holds the state at a path for this process.

    Args:
        state: path of the database; its directory must exist.
        patience: seconds to wait for another process to release it.

    Raises:
        StateLockedError: another process holds it.
        NotPermittedError: this user may not lock it.
        BlockerError: the lock can't be made, and why.
    """

    def __init__(self, state: str | Path, patience: float = 0.0) -> None:
        self.path = f"{state}{ENDING}"
        try:
            self._fd = os.open(self.path, _OPEN, 0o600)
        except PermissionError:
            raise NotPermittedError(
                f"{self.path}: not writable for this user; run as its owner or root"
            ) from None
        except OSError as error:
            raise BlockerError(f"{self.path}: {error.strerror}; is its directory there?") from None
        try:
            self._take(str(state), patience)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take(self, state: str, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = self._holder()
                    who = f"process {holder}" if holder else "another process"
                    raise StateLockedError(
                        f"{state}: {who} works with this state; stop it first", holder
                    ) from None
                time.sleep(PAUSE)
            except OSError as error:
                raise BlockerError(f"{self.path}: {error.strerror}; can't be locked") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def _holder(self) -> int:
        """Return the process id that the holder wrote, or 0."""
        text = os.pread(self._fd, 20, 0).strip()
        return int(text) if text.isdigit() else 0

    def release(self) -> None:
        """Release the lock."""
        os.close(self._fd)


def holders(proc: Path = Path("/proc")) -> Iterator[tuple[int, str]]:
    """Yield the daemons of this network namespace: process id, and path of its state.

    A daemon has its state and the lock file beside it open; /proc/locks lists the processes that
    hold locks (proc(5)).
    """
    for line in _lines(proc / "locks"):
        # 1: FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[4] != "0":
            opened = set(_opened(proc, words[4]))
            states = (path for path in opened if f"{path}{ENDING}" in opened)
            yield from ((int(words[4]), path) for path in states)


def _opened(proc: Path, process: str) -> Iterator[str]:
    """Yield the files that a process of this network namespace has open."""
    # The process may end, close files, or belong to another user.
    with suppress(OSError):
        if (proc / process / "ns/net").samefile(proc / "self/ns/net"):
            for each in (proc / process / "fd").iterdir():
                with suppress(OSError):
                    yield str(each.readlink())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
