"""Pipes as logs: a FIFO that a web server opens as its log file, and standard input.

A FIFO is held open for reading and writing.  So its writers can come and go without an end of the
stream, and a server that opens it never waits for a reader while the daemon runs.  Writers wait
when a pipe is full: so it is drained without pause, and lines are dropped instead.

Writes of at most PIPE_BUF (4,096) bytes are atomic, pipe(7); a longer line can be torn by the
lines of other processes if the pipe is full.
"""

import errno
import fcntl
import os
import select
import stat
import sys
from contextlib import suppress

from blocker.sources.inbox import COMMON_ADVICE, Received, identity_at
from blocker.sources.line_splitter import LineSplitter
from blocker.sources.schemes import STDIN, path_of
from blocker.sources.senders import Allowed

CAPACITY = 1 << 20
"""Bytes that a pipe is asked to hold; more needs CAP_SYS_RESOURCE, see pipe(7)."""
FIFO_MODE = 0o600
"""Of a FIFO that the daemon makes: root and its own user may write, so that only they can have an
address banned.  Web servers open their logs as root."""
_DEV_NULL = os.makedev(1, 3)


class Pipe:
    """An open FIFO, or standard input.

    Args:
        log: name of the log.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, log: str, _: Allowed) -> None:
        self._path = "" if log == STDIN else path_of(log)
        self._fd = _open_fifo(self._path) if self._path else _standard_input()
        found = os.fstat(self._fd)
        self._identity = found.st_dev, found.st_ino
        self._splitter = LineSplitter()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        with suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, CAPACITY)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def receive(self) -> Received:
        """Return the lines that are there."""
        # Standard input is not set to non-blocking: that would hold for its other users, too.
        if not self._poll.poll(0):
            return Received(b"")
        data = os.read(self._fd, CAPACITY)
        if not data:
            return Received(self._splitter.end(), ended=True)
        lines, oversize = self._splitter.lines(data)
        return Received(lines, oversize=oversize, more=True)

    def gone(self) -> bool:
        """Return whether the FIFO is no longer at its path."""
        return bool(self._path) and identity_at(self._path) != self._identity

    def close(self) -> None:
        """Close a FIFO; its file stays, for those who write to it."""
        if self._path:
            os.close(self._fd)

    def advice(self, reason: str) -> str:
        """Return what to do about lines that are lost for this reason."""
        return COMMON_ADVICE.get(reason, "")


def _open_fifo(path: str) -> int:
    """Open a FIFO, and make it if it is missing.

    Raises:
        OSError: that is not possible, or another file is there.
    """
    advice = "make its directory, writable for the daemon's user, or the FIFO by mkfifo(1)"
    try:
        with suppress(FileExistsError):
            os.mkfifo(path, FIFO_MODE)
        is_fifo = stat.S_ISFIFO(os.lstat(path).st_mode)
        advice = "the daemon's user has to read and write it"
        if is_fifo:
            return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; {advice}") from None
    raise OSError(errno.EEXIST, "is not a FIFO; name another path, or move that file away")


def _standard_input() -> int:
    """Return the descriptor of standard input.

    Raises:
        OSError: nothing will ever come from it.
    """
    found = os.fstat(0) if sys.stdin is not None else None
    if found is None or (stat.S_ISCHR(found.st_mode) and found.st_rdev == _DEV_NULL):
        raise OSError(
            errno.EINVAL,
            "standard input is closed or /dev/null: this log is for a daemon that is started with"
            " a pipe, not for a service; name a socket instead",
        )
    return 0
