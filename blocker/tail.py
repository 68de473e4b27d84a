"""Follows logs that grow, are rotated, truncated, packed and deleted, and loses no line of them.

Pull, not push: ``Tails`` says which logs may have something new, and whoever judges asks a log for
a block when there is room for it.  Nothing is read ahead, so a slow kernel or disk makes the logs
wait where they are.  There is one consumer; only the steps that touch the disk run in threads.

What is followed:

* A ``Log`` is one generation of one file.  It ends when the file is truncated; the next
  generation is another ``Log``.  Reading does not move the durable position: that is whatever
  ``position`` the consumer last committed.
* All generations of one live path are a family, in order: a successor's blocks are handed out
  only while its predecessors have nothing new.
* A file is renamed: its descriptor is read on until the writer has closed it and it has been quiet
  for a minute, or has been quiet for an hour while the successor grew.
* A file is truncated: what was not read is in a rotated copy, or nowhere.  It is found by content.
* After a start, a rotation or a truncation: rotated files newer than the newest one that is known
  were never read, and are read whole, oldest first.  At the first sight of a log the newest
  rotated file is noted as known, so that history is never read.

What is lost: lines that copytruncate itself loses, and those of files that were rotated away into
another directory, or deleted, while nobody looked.
"""

import asyncio
import glob
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path, PurePath
from time import monotonic
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from blocker import inotify
from blocker.logfile import (
    BLOCK,
    TAIL,
    Block,
    Listing,
    LogFile,
    Position,
    directory_of,
    head_of,
    in_thread,
    rotated_files,
    rotation_key,
)

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KNOWN = 64
"""Finished files that are remembered of each log: more than any rotated set holds by default."""

_T = TypeVar("_T")
_TICK = 50_000_000
"""Nanoseconds after which another change of a directory surely shows in its time."""
_FILE_EVENTS = inotify.MODIFY | inotify.CLOSE_WRITE
_DIRECTORY_EVENTS = (
    inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.ONLYDIR
)

StartOf: TypeAlias = Callable[["Log"], Awaitable[int]]
"""Says where to start in a log never seen before: the offset of a line.  It may set the log's
``cutoff``; ``fd`` and ``size`` are there to be looked at."""


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
        last_read: monotonic seconds of the last reading.
        changed: monotonic seconds of the last sign that somebody wrote.
    """

    def __init__(
        self, family: "_Family", file: LogFile, offset: int = 0, before: bytes | None = None
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
        self.last_read = self.changed = family.clock()
        self.watch = -1
        self._seen = (-1, -1)

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
        if self.fd < 0 or (self.file.packed and self._source.at_end):
            return 0
        size = self.file.stat().st_size
        return size if self.file.packed else max(0, size - self.offset)

    @property
    def rotations(self) -> int:
        """How often the path became another file."""
        return self._family.rotations

    @property
    def truncations(self) -> int:
        """How often a file of this path was truncated."""
        return self._family.truncations

    @property
    def at_end(self) -> bool:
        """Whether everything has been handed out, as far as anybody knows."""
        return not self.pending and self._source.at_end

    def position(self, block: Block, end: int) -> Position:
        """Return the position that says: judged up to byte ``end`` of this block, a line's end."""
        tail = (block.before + block.data[max(0, end - TAIL) : end])[-TAIL:]
        return Position(self.path, self.device, self.inode, self.head, block.start + end, tail)

    async def read(self, limit: int = BLOCK) -> Block | None:
        """Return the next whole lines, or None if there are none, as far as anybody knows.

        The disk is asked only if an event or a look at the directory said that there may be more.
        """
        if not self.pending or self.truncated:
            return None
        self.pending = False
        try:
            block: Block | None = await in_thread(self.look_up, limit)
        except OSError as error:
            self.errors = f"{self.name}: {error.strerror or error}"
            return None
        except asyncio.CancelledError:
            self.pending = True
            raise
        self.last_read = self._family.clock()
        if not self.file.packed:
            self.errors = None
        if block is not None:
            self._source.advance(block)
        return block

    def look_up(self, limit: int) -> Block | None:
        """Do what ``read`` does, in a thread; the state moves on only afterwards."""
        info = self.file.stat()
        block = self._source.block(limit)
        if not self.check() or not self._is_first_of_all(block):
            return None
        self.size, self._seen = info.st_size, (info.st_size, info.st_mtime_ns)
        if block is not None:
            if not self.head:
                self.head = head_of(block.data) if not block.start else self.file.head()
            if not self._source.at_end:
                self.pending = True
        return block

    def _is_first_of_all(self, block: Block | None) -> bool:
        """Whether nothing was in this file before its first block.

        Before anything was read there are no bytes to notice a truncation by.  But the copy that
        is made before a truncation is in the directory, and has to be looked at first.
        """
        if block is None or self.offset or self.draining or self._family.is_settled():
            return True
        self.pending = self._family.dirty = True
        return False

    def poll(self) -> None:
        """Compare the file with what it was at the last reading."""
        info = self.file.stat()
        self.head = self.head or self.file.head()
        if self._seen != (info.st_size, info.st_mtime_ns):
            self.pending, self.changed = True, self._family.clock()
        elif self.errors is not None:
            self.pending = True

    def check(self) -> bool:
        """Whether this is still the generation that was read; asked after every reading."""
        same = self._source.is_intact()
        if same and self.head and not self.offset:
            same = self.file.head() == self.head
        self.truncated = self.truncated or not same
        return same

    def begin(self, offset: int) -> None:
        """Start a log never seen before at an offset."""
        self._source = self.file.source(min(offset, self.file.stat().st_size))
        self.begun = self.pending = True

    def reborn(self) -> "Log":
        """Return the next generation, which begins in the same file."""
        log = Log(self._family, self.file)
        log.draining, log.watch = self.draining, self.watch
        self.truncated, self.pending, self.fd = True, False, -1
        return log

    def close(self) -> None:
        """Let go of the file."""
        self.pending, self.fd = False, -1
        self.file.close()


class _Family:
    """All generations of one live path, and what is known of those that are done.

    Attributes:
        known: where reading ended in files that are not open, from earlier runs or this one.
        logs: the open generations, in the order in which they are to be read.
        news: positions that no block brings, for the store.
        fresh: a log never seen before, until somebody has said where to start.
        left_out: files that the last look did not open, because too many are open.
        dirty: whether the directory has to be looked at before the path's first block is read.
        error: why the path can't be followed, or None.
        notes: what is wrong with rotated files, by name.
    """

    def __init__(
        self, path: str, order: int, contents: "_Directories", known: Iterable[Position] = ()
    ) -> None:
        self.path, self.order, self.clock = path, order, contents.clock
        self.known = _without_stale(known)
        self.logs: list[Log] = []
        self.news: list[Position] = []
        self.fresh: Log | None = None
        self.error: str | None = None
        self.notes: dict[str, str] = {}
        self.rotations = self.truncations = self.left_out = 0
        self.dirty = False
        self._contents = contents
        self._ended: dict[Position, Log] = {}
        self._settled: Listing | None = None

    @property
    def live(self) -> Log | None:
        """The log that the path leads to."""
        return next((log for log in self.logs if not log.draining), None)

    @property
    def marked(self) -> bool:
        """Whether the rotated files that were there at first sight are known."""
        return any(not position.head for position in self.known)

    def look(self, room_left: Callable[[], int]) -> None:
        """Compare the path and its rotated files with what is open, and open what is missing."""
        again, self.left_out, self.dirty = self.left_out > 0, 0, False
        listing = self._listing()
        reborn = self._restart_truncated()
        newcomer = self._newcomer()
        if newcomer or reborn or again or self._without_open(listing) != self._settled:
            self._settled = None
            try:
                settled = self._find(newcomer, listing, reborn, room_left())
            except OSError:
                if newcomer is not None and all(log.file is not newcomer for log in self.logs):
                    newcomer.close()
                raise
            if settled:
                self._settled = self._without_open(listing)
                self._ended.clear()

    def is_settled(self) -> bool:
        """Whether the last look saw every rotated file that is there now."""
        return self._without_open(self._listing()) == self._settled

    def _listing(self) -> Listing:
        with suppress(OSError):
            return self._contents.rotated(directory_of(self.path)).get(self.path, {})
        return {}

    def _without_open(self, listing: Listing) -> Listing:
        """Return the rotated files without those that are open, which may grow meanwhile."""
        inodes = {log.inode for log in self.logs}
        return {path: look for path, look in listing.items() if look.inode not in inodes}

    def _find(
        self, newcomer: LogFile | None, listing: Listing, reborn: Sequence[Log], room: int
    ) -> bool:
        """Open what is missing; False if the same look has to be taken again."""
        if not self.known and not self.logs:
            return newcomer is not None and self._meet(newcomer, listing, room)
        self.notes = {}
        search = _Search(self, newcomer)
        room -= self._take_in(search.run(listing), reborn, room)
        if newcomer is not None:
            self._follow(newcomer, search, room)
        live = self.live
        same = live is None or live.offset > 0 or search.copies <= {live.head}
        return same and not search.unsettled

    def _restart_truncated(self) -> list[Log]:
        """End the generations that were truncated; return those that begin in their files."""
        reborn = []
        for index, log in enumerate(self.logs):
            if log.begun and not log.check():
                self.truncations += 1
                self._remember(log)
                self._ended[log.delivered] = log
                self.logs[index] = log.reborn()
                reborn.append(self.logs[index])
        return reborn

    def _newcomer(self) -> LogFile | None:
        """Open the path if it leads to another file than before."""
        try:
            info = Path(self.path).stat()
            if self._is_held((info.st_dev, info.st_ino)):
                return None
            file = LogFile(self.path)
        except OSError as error:
            self.error = f"{self.path}: {error.strerror or error}"
            if not isinstance(error, PermissionError):
                self.drain()
            return None
        if self._is_held(file.identity):
            file.close()
            return None
        self.drain()
        return file

    def _is_held(self, identity: tuple[int, int]) -> bool:
        """Whether the path leads to a file that is open; if so, that is the live one."""
        for log in self.logs:
            if log.identity == identity:
                self.error = None
                if log.draining:
                    self.drain()
                    log.draining = False
                    self.logs.sort(key=lambda each: not each.draining)
                return True
        return False

    def drain(self) -> None:
        """Note that the path leads to none of the open files."""
        for log in self.logs:
            log.draining = True

    def _meet(self, newcomer: LogFile, listing: Listing, room: int) -> bool:
        """See the log for the first time; what was rotated before is history."""
        if room < 1:
            return self._leave_out(newcomer)
        self.known = [Position(self.path, 0, 0, b"", 0, b"")]
        for path in reversed(list(listing)):
            with suppress(OSError), LogFile(path) as file:
                newest = file.end(self.path)
                if newest.head:
                    self.known.append(newest)
                    break
        self.news += self.known
        self.fresh = log = Log(self, newcomer)
        log.fresh_end, log.begun, log.pending = log.size, False, False
        self.logs, self.error = [log], None
        return True

    def _leave_out(self, file: LogFile) -> bool:
        file.close()
        self.left_out += 1
        return False

    def _take_in(self, found: "Sequence[_Sibling]", reborn: Sequence[Log], room: int) -> int:
        """Open rotated files with something unread, between the old logs and the current ones."""
        opened: list[Log] = []
        for sibling in found:
            if len(opened) >= room:
                self._leave_out(sibling.file)
                continue
            goes_on = sibling.goes_on
            log = Log(self, sibling.file, goes_on.offset, goes_on.tail)
            log.head = goes_on.head or log.head
            log.draining = True
            if ended := self._ended.pop(goes_on, None):
                log.fresh_end, log.cutoff = ended.fresh_end, ended.cutoff
            self._forget(sibling.positions)
            self.news.append(log.delivered)
            opened.append(log)
        old = [log for log in self.logs if log.draining and log not in reborn]
        self.logs = old + opened + [log for log in self.logs if log not in old]
        return len(opened)

    def _follow(self, newcomer: LogFile, search: "_Search", room: int) -> None:
        """Follow the file that the path has become."""
        if room < 1:
            self._leave_out(newcomer)
            return
        self.rotations += bool(self.logs)
        start = search.start or Position(self.path, 0, 0, b"", 0, b"")
        log = Log(self, newcomer, start.offset, start.tail)
        log.head = start.head or log.head  # it may have been truncated since it was recognised
        for copied in [log for log in self.logs if log.delivered == start]:
            copied.close()  # the path is a copy of it now, and goes on where it was
            self.logs.remove(copied)
        self._forget(search.taken)
        self.news.append(log.delivered)
        self.logs = [*self.logs, log]
        self.error = None

    def _remember(self, log: Log) -> None:
        """Keep in mind how far a file was read that will not be open any more."""
        if log.head:
            self.known.append(log.delivered)
        self.known = _without_stale(self.known)
        while sum(bool(position.head) for position in self.known) > KNOWN:
            self.known.remove(next(position for position in self.known if position.head))

    def _forget(self, positions: Iterable[Position]) -> None:
        """Drop positions of files that are open; that the log was met is never forgotten."""
        gone = {position for position in positions if position.head}
        self.known = [position for position in self.known if position not in gone]

    def retire(self) -> None:
        """Let go of the logs that nobody will write any more."""
        for log in [log for log in self.logs if log.draining and self._is_done(log)]:
            self.release(log)

    def release(self, log: Log) -> None:
        """Close a log, and keep in mind how far it was read."""
        self._remember(log)
        log.close()
        self.logs = [each for each in self.logs if each is not log]

    def _is_done(self, log: Log) -> bool:
        if not log.at_end:
            return False
        live, quiet = self.live, self.clock() - log.changed
        if log.file.packed:
            return not log.errors or quiet >= HOUR
        if log.closed and quiet >= MINUTE:
            return True
        if live is not None and quiet >= HOUR and live.changed - log.changed >= HOUR:
            return True
        return quiet >= DAY and not log.file.stat().st_nlink


def _without_stale(known: Iterable[Position]) -> list[Position]:
    """Return positions without those of empty files that were written later, or replaced.

    Nothing but the inode says which file was empty, and inodes are used again.
    """
    known = list(known)
    written = {(position.device, position.inode) for position in known if position.head}
    empty = [position for position in known if not position.head]
    kept = [each for each in empty[-1:] if (each.device, each.inode) not in written]
    if empty and not kept:
        kept = [empty[-1]._replace(device=0, inode=0)]  # the log was met; that is still true
    return kept + [position for position in known if position.head]


class _Sibling(NamedTuple):
    """A rotated file.

    Attributes:
        file: open for the look.
        positions: the known ones that are in it.
        is_new: whether nobody knows anything of it.
        was_read: whether something in it was read, and so all files that are older.
    """

    file: LogFile
    positions: list[Position]
    is_new: bool
    was_read: bool

    @property
    def goes_on(self) -> Position:
        """Where reading goes on: at the start of a file that nobody knows."""
        nothing = Position("", 0, 0, b"", 0, b"")
        return max(self.positions, key=lambda each: each.offset, default=nothing)


class _Search:
    """Finds what was not read among the rotated files of a path.

    Every known position is given to one file: to the path's own, else to the newest that holds it.
    A rotated file that is a copy of an open one, or of its beginning, holds nothing new.

    Attributes:
        start: where the newcomer goes on, or None.
        taken: the positions it holds.
        copies: heads of the files that are copies of the path's own file, perhaps unfinished.
        unsettled: whether the same look has to be taken again.
    """

    def __init__(self, family: _Family, newcomer: LogFile | None) -> None:
        self._family, self._newcomer = family, newcomer
        live = family.live
        self._base = newcomer or (live.file if live else None)
        self._wanted = list(family.known)
        self._examined: set[tuple[int, int]] = set()
        self.unsettled = False
        self.copies: set[bytes] = set()
        self.taken: list[Position] = []
        self.start: Position | None = None

    def run(self, listing: Listing) -> list[_Sibling]:
        """Return the rotated files to be read, from the oldest to the newest."""
        if self._base is not None:
            self.taken = self._claim(self._base)
        if self._newcomer is not None:
            copied = [log.delivered for log in self._family.logs if self._is_copied(log)]
            self.start = max(self.taken + copied, key=lambda each: each.offset, default=None)
        siblings: list[_Sibling] = []
        try:
            siblings.extend(
                each for path in reversed(list(listing)) if (each := self._examine(path))
            )
            return self._unread(self._settle_lost_tails(siblings), listing)
        except OSError:
            for sibling in siblings:
                sibling.file.close()
            raise

    def _is_copied(self, log: Log) -> bool:
        """Whether the newcomer is a copy of an open log; a first line alone does not prove it."""
        newcomer = self._newcomer
        return newcomer is not None and log.offset > 0 and newcomer.holds(log.delivered)

    def _claim(self, file: LogFile) -> list[Position]:
        """Take all wanted positions that a file holds."""
        held = [position for position in self._wanted if file.holds(position)]
        self._wanted = [position for position in self._wanted if position not in held]
        return held

    def _examine(self, path: str) -> _Sibling | None:
        """Open a rotated file and say what is known of it; None: it holds nothing of its own."""
        try:
            file = LogFile(path)
        except FileNotFoundError:
            self.unsettled = True  # it was renamed under our eyes
            return None
        except OSError as error:
            self._family.notes[path] = f"{path}: {error.strerror or error}"
            return None
        try:
            sibling = self._judge(file)
        except OSError as error:
            self._family.notes[path] = str(error)
            sibling = None
        if sibling is None:
            file.close()
        return sibling

    def _judge(self, file: LogFile) -> _Sibling | None:
        live = self._family.live
        for log in self._family.logs:
            if log.identity == file.identity:
                return _Sibling(file, [], is_new=False, was_read=log.offset > 0)
        if self._is_passing(file):
            return None
        for log in self._family.logs:
            if log.head and self._is_copy(file, log.delivered):
                read = log.offset > 0
                return None if log is live else _Sibling(file, [], is_new=False, was_read=read)
        if any(self._is_copy(file, position) for position in self.taken if position.offset):
            self.unsettled = True  # of the path's own file, which was just truncated
            return None
        positions = self._claim(file)
        was_read = any(position.offset for position in positions)
        return _Sibling(file, positions, is_new=not positions, was_read=was_read)

    def _is_copy(self, file: LogFile, position: Position) -> bool:
        """Whether a file is a copy of the one that was read up to a position.

        It may lack what copytruncate lost, and the original may be truncated at this moment.
        """
        return file.holds(position) or file.lost_tail_of(position)

    def _is_passing(self, file: LogFile) -> bool:
        """Whether the file is about to become another: it has to be looked at again."""
        if file.identity in self._examined:
            self.unsettled = True  # it was renamed under our eyes
            return True
        self._examined.add(file.identity)
        if not file.head():
            return True
        if self._base is not None and self._base.covers(file):
            self.copies.add(file.head())
            return True
        return False

    def _settle_lost_tails(self, siblings: Sequence[_Sibling]) -> list[_Sibling]:
        """Give positions that no file holds to files that have lost what was behind their end."""
        newcomer = self._newcomer
        begun = self.start is not None and self.start.offset > 0
        if newcomer is not None and not begun and not self._family.logs:
            # That it was met while it was empty says nothing of what was read since then.
            lost = [position for position in self._wanted if newcomer.lost_tail_of(position)]
            if lost:
                self.taken += lost
                self.start = newcomer.end(self._family.path)
        self._wanted = [position for position in self._wanted if position not in self.taken]
        return [self._with_lost_tail(sibling) for sibling in siblings]

    def _with_lost_tail(self, sibling: _Sibling) -> _Sibling:
        known = any(position.head for position in sibling.positions)
        if known or not (sibling.is_new or sibling.positions):
            return sibling
        # An inode alone is no knowledge: what was empty then may be any other file by now.
        lost = [position for position in self._wanted if sibling.file.lost_tail_of(position)]
        if not lost:
            return sibling
        self._wanted.remove(lost[0])
        return _Sibling(sibling.file, [], is_new=False, was_read=True)

    def _count_new(self, siblings: Sequence[_Sibling], listing: Listing) -> int:
        """Return how many of the newest files nobody ever saw.

        They are newer than the newest that was read.  Where none of those is left, all are newer,
        if what was there at first sight was noted, and nothing was renamed under our eyes.
        """
        for index, sibling in enumerate(siblings):
            if sibling.was_read:
                return index
        if not siblings or not self._family.marked:
            return 0
        path = self._family.path
        if self.unsettled or rotated_files(directory_of(path)).get(path) != listing:
            self.unsettled = True
            return 0
        return len(siblings)

    def _unread(self, siblings: Sequence[_Sibling], listing: Listing) -> list[_Sibling]:
        """Return the files to be read, oldest first, and close the others."""
        unseen = self._count_new(siblings, listing)
        chosen = []
        for index, sibling in enumerate(siblings):
            if sibling.positions:
                wanted = sibling.file.has_more(sibling.goes_on) or self._may_grow(index, sibling)
            else:
                wanted = index < unseen and sibling.is_new
            if wanted:
                chosen.append(sibling)
        for sibling in siblings:
            if sibling not in chosen:
                sibling.file.close()
        return chosen[::-1]

    def _may_grow(self, index: int, sibling: _Sibling) -> bool:
        """Whether, after a start, somebody may still be writing the newest rotated file."""
        if index or self._family.logs or sibling.file.packed:
            return False
        return time.time() - sibling.file.stat().st_mtime < HOUR


class _Index:
    """Finds what is open and what is known by the first line, among very many."""

    def __init__(self, known: Iterable[Position], families: Collection[_Family]) -> None:
        self._logs: dict[bytes, list[Log]] = {}
        self._identities: set[tuple[int, int]] = set()
        self._known: dict[bytes, list[Position]] = {}
        for family in families:
            self.add(family.logs)
        every = chain(known, *(family.known for family in families))
        for position in every:
            self._known.setdefault(position.head, []).append(position)

    def add(self, logs: Iterable[Log]) -> None:
        """Add logs that were opened."""
        for log in logs:
            self._logs.setdefault(log.head, []).append(log)
            self._identities.add(log.identity)

    def has_copied(self, file: LogFile) -> bool:
        """Whether a file is an open one, or a copy of the beginning of one."""
        logs = self._logs.get(file.head(), ())
        return file.identity in self._identities or any(log.file.covers(file) for log in logs)

    def positions(self, file: LogFile) -> list[Position]:
        """Return the positions behind something that was read of a file, under any path."""
        known = self._known.get(file.head(), ())
        return [position for position in known if position.offset and file.holds(position)]


class _Directories:
    """What is in the directories: read again when they have changed, and once in a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._matches: dict[str, _Listed[list[str]]] = {}
        self._rotated: dict[str, _Listed[dict[str, Listing]]] = {}

    def matches(self, pattern: str) -> list[str]:
        """Return the paths that match; a pattern without wildcards matches in any case."""
        if not glob.has_magic(pattern):
            return [pattern]
        directory = directory_of(pattern)
        if glob.has_magic(directory):
            return _globbed(pattern)
        return self._listed(self._matches, directory, pattern, _globbed)

    def rotated(self, directory: str) -> dict[str, Listing]:
        """Return the rotated files of every log in a directory."""
        return self._listed(self._rotated, directory, directory, rotated_files)

    def _listed(
        self,
        cache: dict[str, "_Listed[_T]"],
        directory: str,
        key: str,
        listed: Callable[[str], _T],
    ) -> _T:
        modified, now = Path(directory or ".").stat().st_mtime_ns, self.clock()
        known = cache.get(key)
        if known is not None and known.modified == modified and now < known.taken + MINUTE:
            return known.content
        # The clock of a file system has ticks: what has just changed may change again unseen.
        settled = modified + _TICK < time.time_ns()
        cache[key] = _Listed(modified if settled else -1, now, listed(key))
        return cache[key].content


class _Listed(NamedTuple, Generic[_T]):
    """What a directory held when it was last modified at that time."""

    modified: int
    taken: float
    content: _T


def _globbed(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - of any root


class Tails:
    """Follows all files that match the patterns.

    Args:
        patterns: globs; ``**`` stands for any directories.
        known: how far files were judged in earlier runs.
        start_of: where to start in a log never seen before.
        poll: seconds between two looks at everything, should the kernel's word get lost.
        max_logs: files that are open at once.
        clock: monotonic seconds.

    Attributes:
        logs: the open ones.
        over_limit: files that the last look did not open, because too many are open.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        known: Iterable[Position] = (),
        *,
        start_of: StartOf,
        poll: float = 5.0,
        max_logs: int = 1024,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._patterns = list(patterns)
        self._start_of, self._poll, self._max_logs, self._clock = start_of, poll, max_logs, clock
        self._known = list(known)
        self._contents = _Directories(clock)
        self._families = self._expected()
        self._refusals: dict[str, str] = {}
        self._index = _Index((), ())
        self._deaf: str | None = None
        self._wake = asyncio.Event()
        self._look = True
        self._timer: asyncio.TimerHandle | None = None
        self._notify: inotify.Inotify | None = None
        self._directories: set[int] = set()
        self._watched: dict[int, Log] = {}
        self.logs: list[Log] = []
        self.over_limit = 0

    # What the consumer asks --------------------------------------------------------------------

    async def wait(self) -> None:
        """Return when some log may have something new."""
        if self._timer is None:
            self._tick()
        while True:
            if self._look or self._has_to_look():
                await self.scan()
            if self.ready():
                return
            await self._wake.wait()
            self._wake.clear()

    def _has_to_look(self) -> bool:
        families = self._families.values()
        return any(each.dirty for each in families) or any(log.truncated for log in self.logs)

    def ready(self) -> list[Log]:
        """Return the logs that may have something new, in the order of the patterns.

        Of a rotated set only the oldest such file is returned: its lines come first.
        """
        found = (self._first(family) for family in self._families.values())
        return [log for log in found if log is not None]

    def _first(self, family: _Family) -> Log | None:
        for log in family.logs:
            if log.truncated or (family.dirty and not log.offset):
                return None
            if log.pending and log.begun:
                return log
        return None

    def news(self) -> list[Position]:
        """Return the positions since the last call that no block brings, to be stored as well.

        They say that a log was met, with what was there before, and where a new file begins.
        Without them a file that was rotated away before anything in it was judged can't be found
        after a restart.
        """
        news = [position for family in self._families.values() for position in family.news]
        for family in self._families.values():
            family.news.clear()
        return news

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by path."""
        found = dict(self._refusals)
        if self._deaf is not None:
            found["inotify"] = self._deaf
        for family in self._families.values():
            found |= family.notes
            if family.error is not None:
                found[family.path] = family.error
        found |= {log.name: log.errors for log in self.logs if log.errors is not None}
        return found

    def close(self) -> None:
        """Let go of everything; nothing may be reading any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._notify is not None:
            self._notify.close()
        for family in self._families.values():
            for log in family.logs:
                log.close()
            family.logs = []
        self.logs = []

    # Looking -----------------------------------------------------------------------------------

    async def scan(self) -> None:
        """Take one look at the directories and all files."""
        self._look = False
        await in_thread(self.survey)
        for family in self._families.values():
            if family.fresh is not None:
                await self._begin(family, family.fresh)
        for family in self._families.values():
            family.retire()
        self.logs = [log for family in self._families.values() for log in family.logs]
        self._watch()

    async def _begin(self, family: _Family, log: Log) -> None:
        try:
            await in_thread(log.begin, await self._start_of(log))
        except OSError as error:
            family.error = f"{log.name}: {error.strerror or error}"
            return
        family.fresh = None
        family.news.append(log.delivered)

    def survey(self) -> None:
        """Do the part of ``scan`` that touches the disk, in a thread."""
        self._refusals = {}
        paths = self._matches()
        self._forget_families(paths)
        self._index = _Index(self._known, self._families.values())
        for family in self._families.values():
            self._look_at(family)
        for path, order in paths.items():
            admitted = self._admit(path, order, paths)
            if admitted is not None:
                self._families = {**self._families, path: admitted}
                self._look_at(admitted)
                self._index.add(admitted.logs)
        ordered = sorted(self._families.values(), key=lambda each: (each.order, each.path))
        self._families = {family.path: family for family in ordered}
        self.over_limit = sum(family.left_out for family in ordered)

    def _forget_families(self, paths: Iterable[str]) -> None:
        """Drop the oldest paths that are gone, if there are far too many."""
        gone = [path for path, each in self._families.items() if not each.logs]
        excess = len(self._families) - 4 * self._max_logs
        for path in [path for path in gone if path not in paths][: max(0, excess)]:
            del self._families[path]

    def _look_at(self, family: _Family) -> None:
        live = rotation_key(family.path)
        try:
            for log in family.logs:
                log.poll()
            if live != family.path and live in self._families:
                family.drain()  # it was followed before the log that it was rotated from was there
                return
            family.look(self._room)
        except OSError as error:
            family.error = f"{family.path}: {error.strerror or error}"

    def _room(self) -> int:
        """Return how many files may be opened; the longest quiet old ones make room."""
        families = self._families.values()
        room = self._max_logs - sum(len(family.logs) for family in families)
        if room > 0:
            return room
        ended = [
            (log.changed, family.order, log.path, family, log)
            for family in families
            for log in family.logs
            if log.draining and log.at_end
        ]
        for *_, family, log in sorted(ended, key=lambda each: each[:3])[: 1 - room]:
            family.release(log)
        return room + min(len(ended), 1 - room)

    def _expected(self) -> dict[str, _Family]:
        """Return the families of known paths: they may be rotated away just now."""
        paths: dict[str, list[Position]] = {}
        for position in self._known:
            paths.setdefault(position.path, []).append(position)
        found = {}
        for path, known in paths.items():
            live = rotation_key(path)
            orders = [n for n, each in enumerate(self._patterns) if PurePath(path).match(each)]
            if orders and (live == path or (live not in paths and not os.path.lexists(live))):
                found[path] = _Family(path, orders[0], self._contents, known)
        return found

    def _admit(self, path: str, order: int, paths: Iterable[str]) -> _Family | None:
        """Return a family for a path that is not followed yet and is a log of its own."""
        live = rotation_key(path)
        if path in self._families or (live != path and (live in paths or live in self._families)):
            return None
        try:
            known = self._met(path)
        except OSError as error:
            self._refusals[path] = f"{path}: {error.strerror or error}"
            return None
        return None if known is None else _Family(path, order, self._contents, known)

    def _met(self, path: str) -> list[Position] | None:
        """Return what is known of a path not followed yet; None: it is no log of its own."""
        with LogFile(path) as file:
            if file.packed or self._index.has_copied(file):
                return None
            own = [position for position in self._known if position.path == path]
            return own or [each._replace(path=path) for each in self._index.positions(file)]

    def _matches(self) -> dict[str, int]:
        """Return the paths that the patterns match, with the index of the pattern."""
        found: dict[str, int] = {}
        for order, pattern in enumerate(self._patterns):
            with suppress(OSError):
                for path in self._contents.matches(pattern):
                    found.setdefault(path, order)
        return found

    # What the kernel says ----------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at everything once in a while: word may get lost, and some disks say nothing."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._poll, self._tick)
        self._look = True
        self._wake.set()
        if self._notify is None:
            try:
                self._notify = inotify.Inotify(self.take_events)
            except OSError as error:
                self._deaf = f"inotify: {error.strerror}; new lines are noticed by polling only"

    def _watch(self) -> None:
        """Ask the kernel for word of what is followed by now."""
        if self._notify is None:
            return
        for log in self.logs:
            if log.watch >= 0:
                self._watched[log.watch] = log  # perhaps the next generation of the same file
        for watch in [watch for watch, log in self._watched.items() if log.fd < 0]:
            self._notify.remove(watch)
            del self._watched[watch]
        try:
            for log in self.logs:
                if log.watch < 0 and not log.file.packed:
                    log.watch = self._notify.add(f"/proc/self/fd/{log.fd}", _FILE_EVENTS)
                    self._watched[log.watch] = log
            self._watch_directories(self._notify)
            self._deaf = None
        except OSError as error:
            self._deaf = (
                f"inotify: {error.strerror}; raise fs.inotify.max_user_watches: "
                "new lines of some logs are noticed by polling only"
            )

    def _watch_directories(self, notify: inotify.Inotify) -> None:
        paths = {directory_of(path) for path in [*self._families, *self._patterns]}
        watches = set()
        for path in sorted(path for path in paths if not glob.has_magic(path)):
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                watches.add(notify.add(path or ".", _DIRECTORY_EVENTS))
        for watch in self._directories - watches:
            notify.remove(watch)
        if watches - self._directories:
            self._look = True  # what happened before the first watch was not said
            self._wake.set()
        self._directories = watches

    def take_events(self, events: set[tuple[int, int, str]]) -> None:
        """Note what the kernel says, and wake the consumer."""
        now = self._clock()
        for watch, mask, _ in sorted(events, key=lambda event: event[1]):
            log = self._watched.get(watch)
            if log is None:
                self._look |= watch in self._directories or bool(mask & inotify.OVERFLOW)
            elif mask & inotify.IGNORED:
                log.watch = -1
                del self._watched[watch]
            else:
                log.changed, log.closed = now, bool(mask & inotify.CLOSE_WRITE)
                log.pending |= bool(mask & inotify.MODIFY)
        self._wake.set()
