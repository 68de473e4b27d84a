"""Sockets and pipes as logs: a stream for each inbox, and the inboxes that outlive a reload."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic

from blocker.sources.files.log_status import LogStatus
from blocker.sources.inbox import Inbox, Opens, nothing
from blocker.sources.position import Position
from blocker.sources.stream import Block

MAX_INBOXES = 8
"""Sockets and pipes at once; each may hold 16 MiB that wait and 8 MiB of datagrams."""
LINGER = 0.02
"""Seconds between two looks under load, so that a commit has more than one line."""
PATIENCE = 2.0
"""Seconds that the end of an inbox is waited for."""


class Inboxes:
    """The sockets and pipes that are open, by name of their log; kept over a reload."""

    def __init__(self) -> None:
        self._open: dict[str, Inbox] = {}

    def of(self, name: str, opens: Opens) -> Inbox:
        """Return the inbox of a log, which begins to receive if it is new."""
        if name not in self._open:
            self._open[name] = Inbox(name, opens)
            self._open[name].start()
        return self._open[name]

    def stop(self) -> None:
        """Receive what the kernel still holds, and then nothing more."""
        for inbox in self._open.values():
            inbox.stop()

    async def keep(self, names: Iterable[str] = ()) -> None:
        """Close all inboxes but these."""
        closing = [self._open.pop(name) for name in self._open.keys() - set(names)]
        for inbox in closing:
            inbox.stop()
        for inbox in closing:
            await inbox.stopped(PATIENCE)


class LiveStream:
    """The lines of one inbox, as the engine sees them.

    Args:
        inbox: receives them.

    Attributes:
        path: name of the log.
    """

    head = b""
    fresh_end = cutoff = 0

    def __init__(self, inbox: Inbox) -> None:
        self.path, self._inbox = inbox.name, inbox
        inbox.take_back()

    async def read(self, limit: int) -> Block | None:
        """Return the next lines, or None while there are none."""
        start, lines = self._inbox.take(limit)
        return Block(lines, start) if lines else None

    def position(self, block: Block, end: int) -> Position:
        """Return the position that says: judged up to there.  Nothing can be read from it."""
        self._inbox.judged_to(block.start + end)
        return Position(self.path, 0, 0, b"", block.start + end, b"")


class Live:
    """The sockets and pipes of one configuration.

    Args:
        opens: what opens each, by name of the log, in the order of the configuration.
        senders: by name of the log, users that may send to it, if not the usual ones.
        inboxes: those that are open already, and where new ones stay.
    """

    def __init__(
        self,
        opens: Mapping[str, Opens],
        senders: Mapping[str, Sequence[str]],
        inboxes: Inboxes,
    ) -> None:
        names = list(opens)
        self._left_out = names[MAX_INBOXES:]
        self._inboxes = [inboxes.of(name, opens[name]) for name in names[:MAX_INBOXES]]
        self._streams = [(each, LiveStream(each)) for each in self._inboxes]
        self._wakes = asyncio.Event()
        self._woken_at = 0.0
        for each in self._inboxes:
            each.on_news = self._wakes.set
            each.allowed.name(senders.get(each.name, ()))

    async def begin(self) -> None:
        """Do nothing: everything is open since the start."""

    async def wait(self) -> None:
        """Return when lines wait, or an inbox has ended."""
        while not (self.ready() or self.ended):
            for each in self._inboxes:
                if each.broken is not None:
                    raise each.broken
            await self._wakes.wait()
            self._wakes.clear()
        pause = self._woken_at + LINGER - monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        self._woken_at = monotonic()

    @property
    def ended(self) -> bool:
        """Whether a source has ended for good, and all of it was taken."""
        return any(each.ended and not each.size for each in self._inboxes)

    def ready(self) -> list[LiveStream]:
        """Return the streams with lines that wait."""
        return [stream for inbox, stream in self._streams if inbox.size]

    async def finished(self) -> bool:
        """Return whether nothing more will come, after the inboxes were stopped."""
        ended = [await each.stopped(LINGER) for each in self._inboxes]
        return all(ended)

    def new_positions(self) -> list[Position]:
        """Return nothing: reading begins with what arrives."""
        return []

    @property
    def errors(self) -> dict[str, str]:
        """Why a log can't be opened, by log."""
        found = {
            name: f"{name}: no more than {MAX_INBOXES} sockets and pipes are followed"
            for name in self._left_out
        }
        return found | {
            each.name: f"{each.name}: {each.error}" for each in self._inboxes if each.error
        }

    @property
    def losses(self) -> dict[str, str]:
        """What was lost within the last hour and why, by log."""
        found = {}
        for each in self._inboxes:
            if texts := each.losses.texts():
                found[each.name] = f"{each.name}: {'; '.join(texts)}"
        return found

    def statuses(self) -> Sequence[LogStatus]:
        """Return how each log stands."""
        return [*map(_status, self._inboxes), *map(LogStatus, self._left_out)]

    def close(self) -> None:
        """Leave the inboxes to those who keep them."""
        for each in self._inboxes:
            each.on_news = nothing


def _status(inbox: Inbox) -> LogStatus:
    since = inbox.waiting_since
    lag = monotonic() - since if since else 0.0
    return LogStatus(
        inbox.name, inbox.up, inbox.size, lag, inbox.last_line, lost=dict(inbox.losses.counts)
    )
