"""Where one generation stands: whether it may be read, and what is known of its writer."""

from dataclasses import dataclass


@dataclass(slots=True)
class State:
    """Whether a generation may be read.

    Each step assigns one flag, so the event loop and a thread that reads can't undo each other's.

    Attributes:
        draining: whether the path leads to another file.
        started: whether it is known where reading starts.
        pending: whether there may be something new.
        truncated: whether this generation has ended; what comes next is another ``Generation``.
        closed: whether a writer has closed the file, and none has written since.
        released: whether the file is closed, or is when the thread that reads in it comes back.
    """

    draining: bool = False
    started: bool = True
    pending: bool = True
    truncated: bool = False
    closed: bool = False
    released: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a reading may bring a block."""
        return self.pending and self.started

    def drain(self) -> None:
        """Note that the path leads to another file."""
        self.draining = True

    def follow(self) -> None:
        """Note that the path leads to this file again."""
        self.draining = False

    def await_start(self) -> None:
        """Note that reading has to wait until it is known where to start."""
        self.started = self.pending = False

    def start(self) -> None:
        """Note that it is known where to start."""
        self.started = self.pending = True

    def await_more(self) -> None:
        """Note that a reading begins, and that nothing is known of what comes behind it."""
        self.pending = False

    def expect_more(self) -> None:
        """Note that there may be something new."""
        self.pending = True

    def end(self) -> None:
        """Note that the file was truncated."""
        self.truncated = True

    def release(self) -> None:
        """Note that the file is not read any more."""
        self.pending, self.released = False, True


@dataclass(slots=True)
class Activity:
    """What is known of the writer of a file.

    Attributes:
        changed: monotonic seconds of the last sign that something was written.
        written: when something was last written, seconds since the epoch, at the last look.
        unread_since: since when something has been unread (monotonic seconds), as far as is
            known; None while everything has been handed out.
        seen: size and time of modification (ns) at the last reading.
    """

    changed: float
    written: float
    unread_since: float | None
    seen: tuple[int, int] = (-1, -1)

    def expect_unread(self, now: float) -> None:
        """Note that something may be unread since now, unless it has been for longer."""
        if self.unread_since is None:
            self.unread_since = now
