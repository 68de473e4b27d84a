"""Receives the lines of one socket or pipe, in a thread of its own, into a bounded buffer.

The thread drains the kernel's buffer without pause: a web server that writes to a full one loses
the line or, with a pipe, waits.  What the daemon can't judge in time is dropped here instead, and
counted.  An inbox outlives a reload, so that a reload loses nothing.

Lines are delivered at most once: what was received and not yet judged is lost if the daemon is
killed.
"""

import asyncio
import os
import select
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import NamedTuple, Protocol

from blocker.sources.line_buffer import LineBuffer
from blocker.sources.senders import Allowed
from blocker.threads import name_thread

RETRY = 5.0
"""Seconds until a source that can't be opened is tried again."""
CHECK = 5.0
"""Seconds after which a quiet source is looked at: another file may be at its path."""
ROUNDS = 1000
"""Calls for what the kernel still holds when a source is closed, however much is being sent."""
REPORTED = 3600.0
"""Seconds that a loss stays in ``status``."""
BUFFER, KERNEL, SENDER, OVERSIZE = "buffer", "kernel", "sender", "oversize"
REASONS = (BUFFER, KERNEL, SENDER, OVERSIZE)
"""Why lines are lost: no room in our buffer or in the kernel's, a sender that is not allowed, a
line that is too long."""
COMMON_ADVICE = {
    BUFFER: "lines were dropped, because more came than could be judged: the host is overloaded",
    OVERSIZE: "lines were dropped, because they were too long to be received whole: limit the"
    " length of requests in the web server",
}
"""What to do about lines that are lost, for any kind of source."""


class Received(NamedTuple):
    """What one call received.

    Attributes:
        lines: whole lines, each with a newline.
        refused: lines of senders that are not allowed.
        oversize: lines that are too long to be received whole.
        dropped: lines that the kernel dropped since the last call, as far as known.
        more: whether there may be more at once.
        ended: whether nothing will ever come again.
    """

    lines: bytes
    refused: int = 0
    oversize: int = 0
    dropped: int = 0
    more: bool = False
    ended: bool = False


class Receiver(Protocol):
    """An open socket or pipe; never waits."""

    def fileno(self) -> int:
        """Return the descriptor, to be polled."""

    def receive(self) -> Received:
        """Return what is there."""

    def gone(self) -> bool:
        """Return whether another file is at the source's path, or none."""

    def close(self) -> None:
        """Close it, and delete what was made for it."""

    def advice(self, reason: str) -> str:
        """Return what to do about lines that are lost for this reason; "" for nothing special."""


Opens = Callable[[Allowed], Receiver]
"""Opens a source; raises OSError, with advice in its text."""


class Losses:
    """Counts lines that were lost.

    Attributes:
        counts: by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._advice: dict[str, tuple[float, str]] = {}

    def note(self, receiver: Receiver, **lost: int) -> None:
        """Count lines by reason, with the receiver's advice."""
        for reason, count in lost.items():
            if count > 0:
                self.counts[reason] += count
                self._advice[reason] = monotonic(), receiver.advice(reason)

    def texts(self) -> list[str]:
        """Return the advice for each reason of the last hour."""
        now = monotonic()
        return [text for at, text in list(self._advice.values()) if now - at < REPORTED and text]


class StopSign:
    """Ends the waits of a thread."""

    def __init__(self) -> None:
        self.given = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def give(self) -> None:
        """End every wait from now on."""
        self.given = True
        if self._fd >= 0:
            os.eventfd_write(self._fd, 1)

    def sleep(self, fd: int, seconds: float) -> bool:
        """Wait until a descriptor can be read or the sign is given; False for a timeout."""
        poll = select.poll()
        for each in (self._fd, fd):
            if each >= 0:
                poll.register(each, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Close it; no thread may wait any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Inbox:
    """Receives lines from one source.

    Args:
        name: of the log.
        opens: opens the source.

    Attributes:
        name: the same.
        allowed: users that may send, where the kernel says who sent a line.
        losses: lines that were lost.
        last_line: when a line was last received, seconds since the epoch; 0.0 for never.
        error: why the source is not open; "" if it is.
        ended: whether nothing will ever come again.
        broken: an exception that ended the thread, or None.
        on_news: called in the event loop when there is something new.
    """

    def __init__(self, name: str, opens: Opens) -> None:
        self.name = name
        self.allowed, self.losses = Allowed(), Losses()
        self.last_line, self.error, self.ended = 0.0, "", False
        self.broken: BaseException | None = None
        self.on_news: Callable[[], None] = nothing
        self._opens = opens
        self._receiver: Receiver | None = None
        self._lines, self._lock = LineBuffer(), threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = StopSign()
        self._thread: threading.Thread | None = None

    # From the event loop -----------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether lines can be received."""
        return self._receiver is not None

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._lines.size

    @property
    def waiting_since(self) -> float:
        """Since when lines wait, monotonic seconds; 0.0 if none do."""
        return self._lines.since

    def start(self) -> None:
        """Open the source, and begin to receive; if it can't be opened, it is tried again."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._open()
            self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
            self._thread.start()

    def take(self, limit: int) -> tuple[int, bytes]:
        """Return the next lines, and their offset in all that was taken."""
        with self._lock:
            return self._lines.take(limit)

    def judged_to(self, offset: int) -> None:
        """Note that everything up to an offset is judged."""
        self._lines.judged_to(offset)

    def take_back(self) -> None:
        """Put the lines in front again that were taken and not judged: another engine goes on."""
        with self._lock:
            self._lines.take_back(monotonic())

    def stop(self) -> None:
        """Receive what the kernel still holds, close the source, and end the thread."""
        self._stop.give()

    async def stopped(self, within: float) -> bool:
        """Wait for the end of the thread; return whether it came in time."""
        deadline = monotonic() + within
        while self._thread is not None and self._thread.is_alive():
            if monotonic() >= deadline:
                return False
            await asyncio.sleep(0.005)
        self._stop.close()
        return True

    # The thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        name_thread("inbox")
        try:
            while not (self._stop.given or self.ended):
                self._step()
            self._leave()
        except BaseException as error:  # noqa: BLE001 - raised again in the event loop
            self.broken = error
        self._tell()

    def _step(self) -> None:
        """Wait for lines and receive them, or try to open the source."""
        receiver = self._receiver
        if receiver is None:
            if not self._stop.sleep(-1, RETRY):
                self._open()
                self._tell()
            return
        try:
            if self._stop.sleep(receiver.fileno(), CHECK):
                while self._receive(receiver) and not self._stop.given:
                    pass
            elif receiver.gone():
                self._leave()
                self._open()
        except OSError as error:
            self._receiver, self.error = None, error.strerror or str(error)
            receiver.close()
            self._tell()

    def _open(self) -> None:
        try:
            self._receiver, self.error = self._opens(self.allowed), ""
        except OSError as error:
            self.error = error.strerror or str(error)

    def _receive(self, receiver: Receiver) -> bool:
        """Receive once; return whether there may be more."""
        got = receiver.receive()
        overflow, empty = 0, False
        if got.lines:
            self.last_line = time()
            with self._lock:
                empty = not self._lines.size
                overflow = self._lines.put(got.lines, monotonic())
        self.losses.note(
            receiver,
            buffer=overflow, kernel=got.dropped, sender=got.refused, oversize=got.oversize,
        )  # fmt: skip
        self.ended |= got.ended
        if empty or got.ended:
            self._tell()
        return got.more and not got.ended

    def _leave(self) -> None:
        """Receive what is there, and close the source."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            try:
                for _ in range(ROUNDS):
                    if not self._receive(receiver):
                        break
            finally:
                receiver.close()

    def _tell(self) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._news)

    def _news(self) -> None:
        self.on_news()


def nothing() -> None:
    """Do nothing about new lines."""


def identity_at(path: str) -> tuple[int, int]:
    """Return device and inode of the file at a path, links not followed; zeros for none."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
