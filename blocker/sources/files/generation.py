"""One generation of one followed log: a file, from where it is read on, up to its truncation.

What is read is handed out in blocks; whether the bytes before the next block are still those that
were read is checked after every reading, in the same thread.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from blocker.sources.files.disks import Disks
from blocker.sources.files.logfile import LogFile
from blocker.sources.files.patient_read import PatientRead
from blocker.sources.files.rewritten import common_lines
from blocker.sources.files.state import Activity, State
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK, Block, head_of

StartOf: TypeAlias = Callable[["Generation"], Awaitable[int]]
"""Returns where to start in a log never seen before, or in one that ``lost`` its end: the offset of
a line.  It may call the log's ``judge_since``, and look at its ``file`` and ``size``."""


async def at_end_if_shorter(generation: "Generation") -> int:
    """Return where to go on in a log that lost its end, if old lines look like new ones.

    Any other log is read from its start.
    """
    return (
        generation.size
        if generation.lost is not None and generation.size < generation.lost.offset
        else 0
    )


class Owner(Protocol):
    """What a generation needs of the set that it belongs to."""

    @property
    def path(self) -> str:
        """The live path."""

    @property
    def disks(self) -> Disks:
        """Which disks do not answer."""

    @property
    def is_unreachable(self) -> bool:
        """Whether the directory of the path does not answer."""

    def clock(self) -> float:
        """Return monotonic seconds."""

    def is_settled(self) -> bool:
        """Whether the last look saw every rotated file that is there now."""

    def mark_dirty(self) -> None:
        """Have the directory looked at before the path's first block is read."""

    def note_line(self) -> None:
        """Note that lines were handed out just now."""


class Generation:
    """One generation of one followed file.

    Args:
        owner: the set that it belongs to.
        file: open; it is the generation's from now on.
        start: where it is read on, if it was read before.
        unplaced: whether the file may be an earlier one that was rewritten.

    Attributes:
        path: the live path it belongs to.
        file: the open file, under the name that it had when it was opened.
        head: digest of the first line, empty while there is none.
        state: whether it may be read.
        activity: what is known of its writer.
        reading: the one that is under way.
        size: of the file, at the last look.
        fresh_end: size at the first sight of a log never seen before, else 0 …
        cutoff: … of whose lines those stamped before this (microseconds) are not to be judged.
        errors: what went wrong last, or None.
        before: the generation that was in the same file before this one, until that is settled.
        lost: of a file that lost its end in a power failure, how far it was read.
        unplaced: as given: before its first block is read, the last bytes known are searched in it.
    """

    def __init__(
        self, owner: Owner, file: LogFile, start: Position | None = None, *, unplaced: bool = False
    ) -> None:
        self._owner, self.file = owner, file
        self.path, self.head, info = owner.path, file.head(), file.stat()
        self.size = info.st_size
        if start is None:
            self._source = file.source(0)
        else:
            self._source = file.source(start.offset, start.tail)
            # The file may have been truncated since it was recognised.
            self.head = start.head or self.head
        now = owner.clock()
        self.state, self.activity = State(), Activity(now, info.st_mtime, unread_since=now)
        self.reading = PatientRead[Block | None](owner.disks, file.device)
        self.fresh_end = self.cutoff = 0
        self.errors: str | None = None
        self.before: Generation | None = None
        self.lost: Position | None = None
        self.unplaced = unplaced

    @property
    def offset(self) -> int:
        """Where the next block starts."""
        return self._source.offset

    @property
    def delivered(self) -> Position:
        """The position behind all blocks that were handed out."""
        source = self._source
        return Position(self.path, *self.file.identity, self.head, source.offset, source.before)

    @property
    def behind(self) -> int:
        """Bytes that were not handed out; of a packed file, its size until it has been read."""
        if (
            self.state.released
            or self._owner.is_unreachable
            or (self.file.packed and self._source.at_end)
        ):
            return 0
        return self.size if self.file.packed else max(0, self.size - self.offset)

    @property
    def lag(self) -> tuple[int, float]:
        """Bytes that were not handed out, and since how many seconds there have been any.

        The size is that of the last look or reading: the disk is not asked, for it may hang.
        """
        behind, since = self.behind, self.activity.unread_since
        if self.reading.hangs:
            behind, asked = max(behind, 1), self.reading.asked
            since = asked if since is None else min(since, asked)
        return behind, self._owner.clock() - since if behind and since is not None else 0.0

    @property
    def at_end(self) -> bool:
        """Whether everything has been handed out, as far as is known."""
        return not self.state.pending and self._source.at_end

    def position(self, block: Block, end: int) -> Position:
        """Return the position that says: judged up to byte ``end`` of this block, a line's end."""
        return Position(self.path, *self.file.identity, self.head, *block.place(end))

    async def read(self, limit: int = BLOCK) -> Block | None:
        """Return the next whole lines, or None if there are none, as far as is known.

        The disk is asked only if an event or a look at the directory said that there may be more.
        """
        state, reading = self.state, self.reading
        if not reading.is_under_way:
            is_dead = self._owner.disks.is_dead
            if not state.pending or state.truncated or is_dead(self.file.device):
                return None
            state.await_more()
            reading.begin(self.look_up, limit, self._owner.clock())
        try:
            ended = await reading.result()
        except asyncio.CancelledError:
            if not reading.is_under_way:
                state.expect_more()  # the block was dropped
            raise
        if ended is None:
            state.expect_more()
            return None
        try:
            block = ended.result()
        except OSError as error:
            self.errors = f"{self.file.path}: {error.strerror or error}"
            return None
        if not self.file.packed:
            self.errors = None
        if block is not None:
            self._source.advance(block)
            self._owner.note_line()
        if not self._source.at_end:
            self.activity.expect_unread(reading.asked)
        else:
            self.activity.unread_since = reading.asked if state.pending else None
        return block

    def note_more(self) -> None:
        """Note that there may be something new."""
        self.state.expect_more()
        self.activity.expect_unread(self._owner.clock())

    def note_writer(self, now: float, *, modified: bool, closed: bool) -> None:
        """Note that a writer modified the file, closed it, or both."""
        self.activity.changed, self.state.closed = now, closed
        if modified:
            self.note_more()

    def look_up(self, limit: int) -> Block | None:
        """Do what ``read`` does, in a thread; the offset moves on only afterwards."""
        info = self.file.stat()
        block = self._source.block(limit)
        if not self.check() or not self._is_first_of_all(block):
            return None
        self._note(info)
        self.activity.seen = (info.st_size, info.st_mtime_ns)
        if block is not None and not self.head:
            self.head = head_of(block.data) if not block.start else self.file.head()
        if not self._source.at_end:
            self.state.expect_more()
        return block

    def _is_first_of_all(self, block: Block | None) -> bool:
        """Whether nothing was in this file before its first block.

        Before anything was read there are no bytes to notice a truncation by.  But the copy that
        is made before a truncation is in the directory, and has to be looked at first.
        """
        if block is None or self.offset or self.state.draining:
            return True
        if not self.unplaced and self._owner.is_settled():
            return True
        self.state.expect_more()
        self._owner.mark_dirty()
        return False

    def poll(self) -> None:
        """Compare the file with what it was at the last reading."""
        info = self.file.stat()
        self._note(info)
        if info.st_size and not self.head:
            self.head = self.file.head()
        if self.activity.seen != (info.st_size, info.st_mtime_ns):
            self.note_more()
            self.activity.changed = self._owner.clock()
        elif self.errors is not None:
            self.state.expect_more()

    def _note(self, info: os.stat_result) -> None:
        self.size, self.activity.written = info.st_size, info.st_mtime

    def check(self) -> bool:
        """Whether this is still the generation that was read; checked after every reading."""
        same = self._source.is_intact()
        if same and self.head and not self.offset:
            same = self.file.head() == self.head
        if not same:
            self.state.end()
        return same

    def await_start(self, lost: Position | None = None) -> None:
        """Wait for ``begin``: the log was never seen before, or lost its end, read so far."""
        self.lost = lost
        if lost is None:
            self.fresh_end = self.size
        self.state.await_start()

    def judge_since(self, cutoff: int) -> None:
        """Have lines that were there at first sight, and are older, not judged."""
        self.cutoff = cutoff

    def judge_like(self, earlier: "Generation") -> None:
        """Have those lines not judged that were not to be judged in an earlier generation."""
        self.fresh_end, self.cutoff = earlier.fresh_end, earlier.cutoff

    def begin(self, offset: int) -> None:
        """Start at an offset, in a log never seen before or one that lost its end."""
        self._source = self.file.source(min(offset, self.file.stat().st_size))
        self.state.start()

    def reborn(self) -> "Generation":
        """Return the next generation, which begins in the same file."""
        generation = Generation(self._owner, self.file, unplaced=True)
        generation.state.draining = self.state.draining
        generation.before = self if self.offset else self.before
        self.before = None
        self.state.end()
        self.state.release()
        return generation

    def go_on_behind(self, place: int, before: "Generation | None") -> None:
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
        if not before.state.released:
            both = common_lines(self.file.fd, place, before.file.fd, before.offset)
            before.move_on(both)

    def move_on(self, count: int) -> None:
        """Leave out bytes that are read elsewhere."""
        if count:
            self._source = self.file.source(self.offset + count)
            self.note_more()

    def placed(self) -> None:
        """Note that it is known which part of the file was read before."""
        self.unplaced, self.before = False, None

    def close(self) -> None:
        """Close the file, or have the thread do so that still reads in it."""
        self.state.release()
        self.reading.when_ended(self.file.close)
