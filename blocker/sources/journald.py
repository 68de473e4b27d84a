"""Follows the systemd journal: one stream for each unit or identifier.

Each stream has a thread of its own, in which libsystemd waits, looks and reads: a journal that
hangs holds up neither the loop nor another log.  A block that comes late is kept until it is asked
for again, so none is lost.

Position: the cursor of the last entry that was judged, stored in the transaction of its hits.
After a start reading goes on behind it, also over rotations.  If the entry was
deleted (a vacuum, or a journal in memory after a boot), reading goes on at the oldest entry that
is newer, and that is counted and reported.

A message is one line, with any content: a newline within it becomes a byte that no format takes
for an end.  Only ``_SYSTEMD_UNIT`` is set by journald itself; ``SYSLOG_IDENTIFIER`` is what the
sender says, and any local process may say it.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time
from typing import Any, TypeVar

from blocker.sources.files.disk_threads import HANGS, PATIENCE
from blocker.sources.files.log_status import LogStatus
from blocker.sources.journal_reader import Entries, JournalReader, Mark, time_of
from blocker.sources.position import Position
from blocker.sources.stream import Block
from blocker.threads import Threads

MAX_JOURNALS = 16
"""Streams at once; each has a thread, and a descriptor for each file of the journal."""
RETRY = 5.0
"""Seconds until a journal that can't be read is opened again."""
REPORTED = 3600.0
"""Seconds that deleted entries stay in ``status``."""
_T = TypeVar("_T")


class JournalStream:
    """The entries of one unit or identifier.

    Args:
        name: the log's name, such as ``journal:nginx.service``.
        reader: reads them.
        wake: called when there may be something new.

    Attributes:
        path: the name.
        pending: whether entries may wait.
        lag_since: since when entries wait, monotonic seconds; 0 if none do.
        last_line: when a line was last read, seconds since the epoch.
    """

    head = b""
    fresh_end = cutoff = 0

    def __init__(self, name: str, reader: JournalReader, wake: Callable[[], None]) -> None:
        self.path = name
        self.pending = False
        self.lag_since = self.last_line = 0.0
        self._reader, self._wake = reader, wake
        self._threads = Threads(1, "journal")
        self._looking: asyncio.Future[bool] | None = None
        self._reading: asyncio.Future[Entries] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._error = ""
        self._offset = 0
        self._held: tuple[int, Entries] = 0, Entries(b"", (), (), cut=False, more=False)
        self._gaps, self._gap_at = 0, 0.0

    @property
    def ready(self) -> bool:
        """Whether a read may return lines."""
        reading = self._reading
        return reading.done() if reading is not None else self.pending and self._looking is None

    @property
    def delivered(self) -> bool:
        """Whether any line was handed out."""
        return self._offset > 0

    @property
    def error(self) -> str:
        """What is wrong; "" for nothing."""
        hangs = self._reader.hangs_for
        if hangs >= HANGS:
            return (
                f"the journal has not answered for {hangs:,.0f} s; it is read when it does, and"
                " other logs meanwhile"
            )
        return "" if self._reader.is_open else self._error

    @property
    def note(self) -> str:
        """What was lost of it; "" for nothing."""
        if self._reader.gaps != self._gaps:
            self._gaps, self._gap_at = self._reader.gaps, monotonic()
        found = []
        if self._gaps and monotonic() - self._gap_at < REPORTED:
            found.append(
                "the journal deleted the entry up to which it was judged, and perhaps later ones"
                " that were never read; reading went on at the oldest that is left: let it keep"
                " more, by SystemMaxUse= in journald.conf(5)"
            )
        if self._reader.damaged:
            found.append(f"{self._reader.damaged:,} of its entries could not be read: damaged")
        return "; ".join(found)

    def status(self) -> LogStatus:
        """Return how it stands."""
        lag = monotonic() - self.lag_since if self.pending and self.lag_since else 0.0
        up = self._reader.is_open and not self.error
        return LogStatus(self.path, up, 0, lag, self.last_line, truncations=self._reader.gaps)

    def look(self, *, once: bool = False) -> "asyncio.Future[bool] | None":
        """Wait for an entry in the thread, or look ``once``, unless the thread is busy."""
        busy = self._looking is not None or self._reading is not None
        if not (busy or self.pending or self._retry is not None):
            self._looking = self._begun(self._reader.peek if once else self._reader.wait)
            self._looking.add_done_callback(self._looked)
        return self._looking

    def _begun(self, call: Callable[..., _T], *arguments: Any) -> "asyncio.Future[_T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def _looked(self, looking: "asyncio.Future[bool]") -> None:
        self._looking = None
        if looking.cancelled():
            return
        error = looking.exception()
        if error is not None:
            self._fail(error)
        elif looking.result():
            self._more(more=True)
        self._wake()

    def _more(self, *, more: bool) -> None:
        self.pending = more
        if not more:
            self.lag_since = 0.0
        elif not self.lag_since:
            self.lag_since = monotonic()

    def _fail(self, error: BaseException) -> None:
        """Note an error, and try again later."""
        if not isinstance(error, OSError):
            raise error
        self._error, self._reader.is_open = error.strerror or str(error), False
        self._more(more=False)
        self._retry = asyncio.get_running_loop().call_later(RETRY, self._again)

    def _again(self) -> None:
        self._retry = None
        self._wake()

    async def read(self, limit: int) -> Block | None:
        """Return the next lines, or None while there are none."""
        if self._reading is None:
            if not self.ready:
                return None
            self._reading = self._begun(self._reader.block, limit)
            self._reading.add_done_callback(lambda _: self._wake())
        reading = self._reading
        await asyncio.wait({reading}, timeout=PATIENCE)
        if not reading.done():
            return None
        self._reading = None
        error = reading.exception()
        if error is not None:
            self._fail(error)
            return None
        entries = reading.result()
        self._more(more=entries.more)
        if not entries.ends:
            return None
        self._held, self.last_line = (self._offset, entries), time()
        self._offset += len(entries.data)
        cut = (self._offset, b"") if entries.cut else None
        return Block(entries.data, self._held[0], cut=cut)

    def position(self, block: Block, end: int) -> Position:
        """Return the position that says: judged up to the entry whose line ends there."""
        start, entries = self._held
        if start != block.start:
            raise ValueError("a position of a block that was not read last")
        cursor = entries.cursors[bisect_left(entries.ends, end)]
        return Position(self.path, 0, 0, b"", time_of(cursor), b"", cursor)

    def close(self) -> None:
        """Let the thread close the journal when it is done with it."""
        if self._retry is not None:
            self._retry.cancel()
        self._wake = _nothing
        self._reader.stop()
        self._threads.submit(self._reader.close)
        self._threads.shutdown()


def _nothing() -> None:
    pass


class Journals:
    """The journal's logs of one configuration.

    Args:
        names: of the logs.
        known: how far they were judged in earlier runs.
        since: where to begin in one that is not known: entries received from this time on,
            microseconds.
        directory: of the journal's files; "" for the host's own.

    Attributes:
        streams: one for each log.
    """

    def __init__(
        self, names: Sequence[str], known: Iterable[Position], since: int, directory: str = ""
    ) -> None:
        self._wakes = asyncio.Event()
        marks = {each.path: Mark(each.cursor, each.offset) for each in known}
        self._new = [name for name in names[:MAX_JOURNALS] if name not in marks]
        self._since, self._left_out = since, names[MAX_JOURNALS:]
        self.streams = [
            JournalStream(
                name,
                JournalReader(name, marks.get(name, Mark("", since)), directory),
                self._wakes.set,
            )
            for name in names[:MAX_JOURNALS]
        ]

    async def begin(self) -> None:
        """Open the journal and take a first look, but do not wait long for it."""
        looks = [look for each in self.streams if (look := each.look(once=True)) is not None]
        if looks:
            await asyncio.wait(looks, timeout=HANGS)

    async def wait(self) -> None:
        """Return when some log may have something new."""
        while True:
            for each in self.streams:
                each.look()
            if self.ready():
                return
            await self._wakes.wait()
            self._wakes.clear()

    def ready(self) -> list[JournalStream]:
        """Return the streams that may have something new."""
        return [each for each in self.streams if each.ready]

    def new_positions(self) -> list[Position]:
        """Return where the logs begin that were never seen before, once."""
        delivered = {each.path for each in self.streams if each.delivered}
        new = [name for name in self._new if name not in delivered]
        self._new = []
        return [Position(name, 0, 0, b"", self._since, b"") for name in new]

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by log."""
        found = {
            name: f"{name}: no more than {MAX_JOURNALS} are followed" for name in self._left_out
        }
        for each in self.streams:
            if text := each.error or each.note:
                found[each.path] = f"{each.path}: {text}"
        return found

    def statuses(self) -> list[LogStatus]:
        """Return how each log stands."""
        return [*(each.status() for each in self.streams), *map(LogStatus, self._left_out)]

    def close(self) -> None:
        """Let go of everything."""
        for each in self.streams:
            each.close()
