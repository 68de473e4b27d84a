"""One generation of one followed log: a file, from where it is read on, up to its truncation.

What is read is handed out in blocks; whether the bytes before the next block are still those that
were read is asked after every reading, in the same thread.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from blocker.logfile import (
    BLOCK,
    PATIENCE,
    Block,
    LogFile,
    Position,
    begun_in_thread,
    head_of,
)
from blocker.rewritten import common_lines

if TYPE_CHECKING:
    from blocker.generations import Family

StartOf: TypeAlias = Callable[["Log"], Awaitable[int]]
"""Says where to start in a log never seen before, or in one that ``lost`` its end: the offset of a
line.  It may set the log's ``cutoff``; ``fd`` and ``size`` are there to be looked at."""


async def at_end_if_shorter(log: "Log") -> int:
    """Say where to go on in a log that lost its end, if nothing tells old lines from new.

    Any other log is read from its start.
    """
    return log.size if log.lost is not None and log.size < log.lost.offset else 0


class Log:
    """One generation of one followed file.

    Attributes:
        path: the live path it belongs to.
        name: where the file was when it was opened.
        head: digest of the first line, empty while there is none.
        draining: whether the path is another file's by now.
        pending: whether there may be something new.
        truncated: whether this generation has ended; what comes next is another ``Log``.
        closed: whether a writer has closed the file, and none has written since.
        size: of the file, at the last look.
        fresh_end: size at the first sight of a log never seen before, else 0 …
        cutoff: … of whose lines those stamped before this (microseconds) are not to be judged.
        errors: what went wrong last, or None.
        written: when somebody last wrote, seconds since the epoch, at the last look.
        unread_since: since when something has been unread (monotonic seconds), as far as anybody
            knows; None while everything has been handed out.
        changed: monotonic seconds of the last sign that somebody wrote.
        when_back: is called when a reading comes back that was not waited for.
        before: the generation that was in the same file before this one, until that is settled.
        lost: of a file that lost its end in a power failure, how far it was read.
        unplaced: whether the file may be an earlier one that was rewritten: before its first block
            is read, the last bytes known are searched in it.
    """

    def __init__(
        self, family: "Family", file: LogFile, offset: int = 0, before: bytes | None = None
    ) -> None:
        self._family, self.file = family, file
        self.path, self.name = family.path, file.path
        self.device, self.inode, self.fd = file.device, file.inode, file.fd
        self.head, self.size = file.head(), file.stat().st_size
        self._source = file.source(offset, before)
        self.draining = self.truncated = self.closed = False
        self.pending = self.begun = True
        self.fresh_end = self.cutoff = 0
        self.errors: str | None = None
        self.changed = family.clock()
        self.unread_since: float | None = self.changed
        self.watch = -1
        self.before: Log | None = None
        self.lost: Position | None = None
        self.unplaced = False
        self._seen = (-1, -1)
        self.written = file.stat().st_mtime
        self._reading: asyncio.Task[Block | None] | None = None
        self._asked = 0.0
        self._hangs_since = 0.0
        self._is_left = False
        self.when_back: Callable[[], None] = lambda: None

    @property
    def offset(self) -> int:
        """Where the next block starts."""
        return self._source.offset

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode; as long as the file is open, nobody else has them."""
        return self.device, self.inode

    @property
    def delivered(self) -> Position:
        """The position behind all blocks that were handed out."""
        source = self._source
        return Position(self.path, self.device, self.inode, self.head, source.offset, source.before)

    @property
    def behind(self) -> int:
        """Bytes that were not handed out; of a packed file, its size until it has been read."""
        if self.fd < 0 or self._family.unreachable or (self.file.packed and self._source.at_end):
            return 0
        return self.size if self.file.packed else max(0, self.size - self.offset)

    @property
    def lag(self) -> tuple[int, float]:
        """Bytes that were not handed out, and since how many seconds there have been any.

        The size is that of the last look or reading: the disk is not asked, for it may hang.
        """
        behind, since = self.behind, self.unread_since
        if self.hangs:
            behind = max(behind, 1)
            since = self._asked if since is None else min(since, self._asked)
        return behind, self._family.clock() - since if behind and since is not None else 0.0

    @property
    def at_end(self) -> bool:
        """Whether everything has been handed out, as far as anybody knows."""
        return not self.pending and self._source.at_end

    def position(self, block: Block, end: int) -> Position:
        """Return the position that says: judged up to byte ``end`` of this block, a line's end."""
        return Position(self.path, self.device, self.inode, self.head, *block.place(end))

    async def read(self, limit: int = BLOCK) -> Block | None:
        """Return the next whole lines, or None if there are none, as far as anybody knows.

        The disk is asked only if an event or a look at the directory said that there may be more.
        """
        if self._reading is None:
            if not self.pending or self.truncated or self._family.disks.is_dead(self.device):
                return None
            self.pending, self._asked = False, self._family.clock()
            self._reading = begun_in_thread(self.look_up, limit)
            self._hangs_since = time.monotonic()
        reading = self._reading
        if not await self._is_back(reading):
            return None
        try:
            block = reading.result()
        except OSError as error:
            self.errors = f"{self.name}: {error.strerror or error}"
            return None
        begun = self._asked
        if not self.file.packed:
            self.errors = None
        if block is not None:
            self._source.advance(block)
            self._family.last_line = time.time()
        if self._source.at_end:
            self.unread_since = begun if self.pending else None
        elif self.unread_since is None:
            self.unread_since = begun
        return block

    async def _is_back(self, reading: "asyncio.Task[Block | None]") -> bool:
        """Whether a reading comes back in time; one that hangs is left to its thread."""
        try:
            await asyncio.wait({reading}, timeout=PATIENCE)
        except asyncio.CancelledError:
            # Whoever cancels closes the file next, and a thread must not find another there.
            await asyncio.wait({reading}, timeout=PATIENCE)
            if reading.done():
                self._reading, self.pending = None, True
                reading.exception()  # has been looked at: the cancellation is the news
            raise
        for _ in range(2):
            if not reading.done():
                await asyncio.sleep(0)  # it may be back, and the loop too busy to say so
        if reading.done():
            self._reading = None
            return True
        if not self._is_left:
            self._is_left = self.pending = True
            self._family.disks.leave(self.device)
            reading.add_done_callback(self._come_back)
        return False

    def _come_back(self, _reading: "asyncio.Task[Block | None]") -> None:
        self._is_left = False
        self._family.disks.take_back(self.device)
        self.when_back()

    @property
    def hangs(self) -> bool:
        """Whether a reading has not come back: nobody else may touch the file meanwhile."""
        return self._reading is not None and not self._reading.done()

    @property
    def hangs_for(self) -> float:
        """Seconds since when a reading has not come back; 0 while there is none."""
        return time.monotonic() - self._hangs_since if self.hangs else 0.0

    def note_more(self) -> None:
        """Note that there may be something new."""
        self.pending = True
        if self.unread_since is None:
            self.unread_since = self._family.clock()

    def look_up(self, limit: int) -> Block | None:
        """Do what ``read`` does, in a thread; the state moves on only afterwards."""
        info = self.file.stat()
        block = self._source.block(limit)
        if not self.check() or not self._is_first_of_all(block):
            return None
        self._note(info)
        self._seen = (info.st_size, info.st_mtime_ns)
        if block is not None and not self.head:
            self.head = head_of(block.data) if not block.start else self.file.head()
        if not self._source.at_end:
            self.pending = True
        return block

    def _is_first_of_all(self, block: Block | None) -> bool:
        """Whether nothing was in this file before its first block.

        Before anything was read there are no bytes to notice a truncation by.  But the copy that
        is made before a truncation is in the directory, and has to be looked at first.
        """
        if block is None or self.offset or self.draining:
            return True
        if not self.unplaced and self._family.is_settled():
            return True
        self.pending = self._family.dirty = True
        return False

    def poll(self) -> None:
        """Compare the file with what it was at the last reading."""
        info = self.file.stat()
        self._note(info)
        if info.st_size and not self.head:
            self.head = self.file.head()
        if self._seen != (info.st_size, info.st_mtime_ns):
            self.note_more()
            self.changed = self._family.clock()
        elif self.errors is not None:
            self.pending = True

    def _note(self, info: os.stat_result) -> None:
        self.size, self.written = info.st_size, info.st_mtime

    def check(self) -> bool:
        """Whether this is still the generation that was read; asked after every reading."""
        same = self._source.is_intact()
        if same and self.head and not self.offset:
            same = self.file.head() == self.head
        self.truncated = self.truncated or not same
        return same

    def begin(self, offset: int) -> None:
        """Start at an offset, in a log never seen before or one that lost its end."""
        self._source = self.file.source(min(offset, self.file.stat().st_size))
        self.begun = self.pending = True

    def reborn(self) -> "Log":
        """Return the next generation, which begins in the same file."""
        log = Log(self._family, self.file)
        log.draining, log.watch = self.draining, self.watch
        log.unplaced, log.before = True, self if self.offset else self.before
        self.before = None
        self.truncated, self.pending, self.fd = True, False, -1
        return log

    def go_on_behind(self, place: int, before: "Log | None") -> None:
        """Start behind what was read of an earlier generation, which stands before a place.

        What the earlier one has not read yet is read here, where a restart finds it again; what is
        still written to the earlier file is read there.
        """
        self._source = self.file.source(place)
        if before is None:
            return
        if before.cutoff:
            self.fresh_end = max(0, before.fresh_end - before.offset + place)
            self.cutoff = before.cutoff
        if before.fd >= 0:
            both = common_lines(self.file.fd, place, before.file.fd, before.offset)
            before.move_on(both)

    def move_on(self, count: int) -> None:
        """Leave out bytes that are read elsewhere."""
        if count:
            self._source = self.file.source(self.offset + count)
            self.note_more()

    def close(self) -> None:
        """Let go of the file, or have the thread do so that still reads in it."""
        self.pending, self.fd = False, -1
        if self._reading is not None and not self._reading.done():
            self._reading.add_done_callback(lambda _reading: self.file.close())
        else:
            self.file.close()
