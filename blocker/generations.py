"""The generations of one log: which files belong together, in what order, and what is unread.

Files are recognised by content: the digest of their first line and the bytes before a position.
A look compares what is on disk with what is open and known; it touches the disk and is run in a
thread, while nobody reads.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

from blocker.directories import MINUTE, Directories
from blocker.generation import Log
from blocker.logfile import (
    HEAD,
    LogFile,
    Position,
)
from blocker.naming import Listing, directory_of, rotated_files
from blocker.rewritten import has_lost_end, place_behind

HOUR, DAY = 3600.0, 86400.0
_T = TypeVar("_T")
SEARCHED = 8
"""Positions that are searched in a file that may be an earlier one rewritten."""
KNOWN = 64
"""Finished files that are remembered of each log: more than any rotated set holds by default."""


class Family:
    """All generations of one live path, and what is known of those that are done.

    Attributes:
        known: where reading ended in files that are not open, from earlier runs or this one.
        logs: the open generations, in the order in which they are to be read.
        news: positions that no block brings, for the store.
        left_out: files that the last look did not open, because too many are open.
        dirty: whether the directory has to be looked at before the path's first block is read.
        last_line: when a line was last handed out, seconds since the epoch; 0 before that.
        rotations: how often the path became another file.
        truncations: how often a file of this path was truncated.
        gone: whether nothing is at the path.
        resting: whether it is not followed now, because others of too many were written later.
        unreachable: whether its directory does not answer; then nothing of it may be touched.
        alias: whether the path leads to a file that another family has open, and reads.
        error: why the path can't be followed, or None.
        notes: what is wrong with rotated files, by name.
    """

    def __init__(
        self, path: str, order: int, contents: "Directories", known: Iterable[Position] = ()
    ) -> None:
        self.path, self.order, self.clock = path, order, contents.clock
        self.disks = contents.disks
        self.known = _without_stale(known)
        self.logs: list[Log] = []
        self.news: list[Position] = []
        self.error: str | None = None
        self.notes: dict[str, str] = {}
        self.rotations = self.truncations = self.left_out = 0
        self.last_line = 0.0
        self.dirty = self.gone = self.alias = self.resting = self.unreachable = False
        self._contents = contents
        self._ended: dict[Position, Log] = {}
        self._settled: Listing | None = None

    @property
    def live(self) -> Log | None:
        """The log that the path leads to."""
        return next((log for log in self.logs if not log.draining), None)

    @property
    def fresh(self) -> list[Log]:
        """Logs never seen before, or that lost their ends, until they are told where to start."""
        return [log for log in self.logs if not log.begun]

    @property
    def marked(self) -> bool:
        """Whether the rotated files that were there at first sight are known."""
        return any(not position.head for position in self.known)

    def look(self, room_left: Callable[[], int], index: "Index") -> None:
        """Compare the path and its rotated files with what is open, and open what is missing."""
        again, self.left_out, self.dirty = self.left_out > 0, 0, False
        listing = self._listing()
        reborn = self._restart_truncated()
        newcomer = self._newcomer()
        self.alias = newcomer is not None and index.is_open(newcomer)
        if newcomer is not None and self.alias:
            newcomer.close()
            self.error, self.notes = None, {}
            return  # the rotated files are those of the other family, or may be
        again = again or self._is_unplaced()
        if newcomer or reborn or again or self._without_open(listing) != self._settled:
            self._settled = None
            try:
                settled = self._find(newcomer, listing, reborn, room_left(), index)
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

    def strays(self, inodes: AbstractSet[int]) -> dict[int, str]:
        """Return the files with one of these inodes that are near the log."""
        found: dict[int, str] = {}
        for directory, (paths, complete) in self._near(self._contents.inodes):
            if not complete:
                self.notes[directory] = (
                    f"{directory}: too many files to find one that was rotated into it"
                )
            found |= {inode: paths[inode] for inode in inodes & paths.keys()}
        return found

    def packed_strays(self, head: bytes) -> dict[int, str]:
        """Return the packed files near the log that begin with its first line, by inode."""
        found: dict[int, str] = {}
        for directory, (files, complete) in self._near(self._contents.packed):
            same = {inode: path for inode, (start, path) in files.items() if start == head}
            if not complete and not same:
                self.notes[directory] = (
                    f"{directory}: too many packed files to find one that was rotated into it"
                )
            found |= same
        return found

    def _near(self, listed: Callable[[str], _T]) -> Iterator[tuple[str, _T]]:
        """Yield what is in the directories near the log, those that can't be read left out."""
        for directory in _near(self.path):
            with suppress(OSError):
                yield directory, listed(directory)

    def _listing(self) -> Listing:
        with suppress(OSError):
            return self._contents.rotated(directory_of(self.path)).get(self.path, {})
        return {}

    def _without_open(self, listing: Listing) -> Listing:
        """Return the rotated files without those that are open, which may grow meanwhile."""
        inodes = {log.inode for log in self.logs}
        return {path: look for path, look in listing.items() if look.inode not in inodes}

    def _find(
        self,
        newcomer: LogFile | None,
        listing: Listing,
        reborn: Sequence[Log],
        room: int,
        index: "Index",
    ) -> bool:
        """Open what is missing; False if the same look has to be taken again."""
        if newcomer is not None:
            self.known += index.under_other_names(newcomer, self.path)
        if not self.known and not self.logs:
            return newcomer is not None and self._meet(newcomer, listing, room)
        self.notes = {}
        search = Search(self, newcomer, index)
        room -= self._take_in(search.run(listing), reborn, room)
        if newcomer is not None:
            self._follow(newcomer, search, room)
        if not search.unsettled:
            self._place_old()
            self._place(search, listing)
        live = self.live
        same = live is None or live.offset > 0 or search.copies <= {live.head}
        return same and not search.unsettled

    def _is_unplaced(self) -> bool:
        live = self.live
        return live is not None and live.unplaced and bool(live.file.stat().st_size)

    def _place(self, search: "Search", listing: Listing) -> None:
        """Go on behind the last bytes known, if the path's file is an earlier one rewritten.

        That is neither the case where the earlier file stands among the rotated ones, nor where a
        rotated file holds what was read.
        """
        live = self.live
        if live is None or not live.unplaced:
            return
        if live.offset:
            live.unplaced, live.before = False, None
            return
        if not live.file.stat().st_size:
            return
        self._go_on(live, search, {look.inode for look in listing.values()})
        live.unplaced, live.before = False, None

    def _go_on(self, live: Log, search: "Search", rotated: AbstractSet[int]) -> None:
        """Start the path's file behind what was read of it, or of the file that it replaced."""
        wanted = [each for each in (*search.wanted, *search.taken) if each.head and each.offset]
        earlier = [log for log in self.logs if log.draining and log.inode not in rotated]
        if live.before is not None and live.before.delivered in wanted:
            earlier.append(live.before)
        spots = [
            (place_behind(live.file, log.delivered), number, log)
            for number, log in enumerate(earlier)
        ]
        place, _, before = max(spots, default=(0, 0, None), key=lambda spot: spot[:2])
        known = [log.delivered for log in earlier]
        if not known:
            known = wanted[-SEARCHED:]
            place = max((place_behind(live.file, each) for each in known), default=0)
        if place:
            live.go_on_behind(place, before)
            self.news.append(live.delivered)
            return
        if known and has_lost_end(live.file, known[-1]):
            self._note(live, known[-1])

    def _place_old(self) -> None:
        """Do the same for files that were cut off and renamed before anybody looked."""
        for log in self.logs:
            if log.draining and log.before is not None and not log.offset:
                log.go_on_behind(place_behind(log.file, log.before.delivered), None)
                log.unplaced, log.before = False, None

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
            self.gone = False
            if self._is_held((info.st_dev, info.st_ino)):
                return None
            file = LogFile(self.path)
        except OSError as error:
            self.error = f"{self.path}: {error.strerror or error}"
            self.gone = isinstance(error, FileNotFoundError | NotADirectoryError)
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
        log = Log(self, newcomer)
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
            self._note(log, sibling.lost)
            opened.append(log)
        old = [log for log in self.logs if log.draining and log not in reborn]
        self.logs = old + opened + [log for log in self.logs if log not in old]
        return len(opened)

    def _follow(self, newcomer: LogFile, search: "Search", room: int) -> None:
        """Follow the file that the path has become."""
        if room < 1:
            self._leave_out(newcomer)
            return
        self.rotations += bool(self.logs)
        start = search.start or Position(self.path, 0, 0, b"", 0, b"")
        log = Log(self, newcomer, start.offset, start.tail)
        log.head = start.head or log.head  # it may have been truncated since it was recognised
        log.unplaced = not log.offset and search.lost is None
        for copied in [log for log in self.logs if log.delivered == start]:
            copied.close()  # the path is a copy of it now, and goes on where it was
            self.logs.remove(copied)
        self._forget(search.taken)
        self._note(log, search.lost)
        self.logs = [*self.logs, log]
        self.error = None

    def _note(self, log: Log, lost: Position | None) -> None:
        """Note where a log is read on, or that somebody has to say so, as it lost its end."""
        if lost is None:
            self.news.append(log.delivered)
        else:
            self._forget([lost])
            log.lost, log.begun, log.pending = lost, False, False

    def _remember(self, log: Log) -> None:
        """Keep in mind how far a file was read that will not be open any more."""
        if log.head:
            self.known.append(log.delivered)
        known = _without_stale(self.known)
        self.known = [each.shortened() for each in known[:-SEARCHED]] + known[-SEARCHED:]
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

    def rest(self) -> bool:
        """Close what has been read to its end; whether nothing is open now."""
        if not self.fresh:
            for log in [log for log in self.logs if log.at_end and not log.truncated]:
                self.release(log)
        self._settled = None
        return not self.logs

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


def _near(path: str) -> list[str]:
    """Return the directories into which a log is rotated as a rule, with their subdirectories.

    Those of its name and of the file that a link leads to, and the directories above them.
    """
    names = dict.fromkeys(directory_of(name) for name in (path, os.path.realpath(path)))
    above = [directory_of(name.rstrip("/")) for name in names]
    return [name for name in dict.fromkeys((*names, *above)) if name not in ("", "/")]


def _without_stale(known: Iterable[Position]) -> list[Position]:
    """Return positions without those of empty files that were written later, or replaced.

    Nothing but the inode says which file was empty, and inodes are used again.
    """
    known = list(known)
    written = {position.identity for position in known if position.head}
    empty = [position for position in known if not position.head]
    kept = [each for each in empty[-1:] if each.identity not in written]
    if empty and not kept:
        kept = [empty[-1]._replace(device=0, inode=0)]  # the log was met; that is still true
    return kept + [position for position in known if position.head]


def furthest(known: Iterable[Position]) -> list[Position]:
    """Return the positions, each as far as its file was read under any of its names."""
    known = list(known)
    ends: dict[tuple[int, int, bytes], Position] = {}
    for each in sorted(known, key=lambda position: position.offset):
        ends[each.device, each.inode, each.head] = each
    return [ends[each.device, each.inode, each.head]._replace(path=each.path) for each in known]


def is_copy_likely(path: str, other: str, size: int) -> bool:
    """Whether two files that begin with so many equal bytes are one log and its copy.

    The logs of two sites may begin with the same requests, but not with 4 KiB of them, and the
    name of neither begins with the other's.
    """
    return size >= HEAD or path.startswith(other) or other.startswith(path)


class _Sibling(NamedTuple):
    """A rotated file.

    Attributes:
        file: open for the look.
        positions: the known ones that are in it.
        is_new: whether nobody knows anything of it.
        was_read: whether something in it was read, and so all files that are older.
        lost: how far it was read, if it has lost its end since then.
    """

    file: LogFile
    positions: list[Position]
    is_new: bool
    was_read: bool
    lost: Position | None = None

    @property
    def goes_on(self) -> Position:
        """Where reading goes on: at the start of a file that nobody knows."""
        nothing = Position("", 0, 0, b"", 0, b"")
        return max(self.positions, key=lambda each: each.offset, default=nothing)


def _may_be_packed(path: str, position: Position) -> bool:
    """Whether a packed file that begins with the same line may be the log of a position.

    Logs of two sites may begin with the same requests, but not with 4 KiB of them; a shorter one
    has to stand in the directory of the log or below, and its name has to begin alike.
    """
    directory = directory_of(position.path)
    stem = directory_of(path) + position.path.removeprefix(directory).partition(".")[0]
    return position.offset >= HEAD or (path.startswith(directory) and path.startswith(stem))


def _is_in(path: str, position: Position) -> bool:
    """Whether a rotated file is the one that was read up to a position, if it can be read."""
    with suppress(OSError), LogFile(path, by_content=True) as file:
        return file.holds(position)
    return False


def _left_of(position: Position, file: LogFile) -> Position | None:
    """Return where reading goes on in a file that was cut off before a position, if it is one."""
    if not position.offset or position.head != file.head() or file.holds(position):
        return None
    place = place_behind(file, position)
    return position._replace(offset=place, tail=file.tail_at(place)) if place else None


class Search:
    """Finds what was not read among the rotated files of a path.

    Every known position is given to one file: to the path's own, else to the newest that holds it.
    A rotated file that is a copy of an open one, or of its beginning, holds nothing new.

    Attributes:
        start: where the newcomer goes on, or None.
        lost: how far the newcomer was read, if it has lost its end since then.
        taken: the positions it holds.
        wanted: the positions that no file holds.
        copies: heads of the files that are copies of the path's own file, perhaps unfinished.
        unsettled: whether the same look has to be taken again.
    """

    def __init__(self, family: Family, newcomer: LogFile | None, index: "Index") -> None:
        self._family, self._newcomer, self._index = family, newcomer, index
        live = family.live
        self._base = newcomer or (live.file if live else None)
        self.wanted = list(family.known)
        self._inodes: set[int] = set()
        self._examined: set[tuple[int, int]] = set()
        self.unsettled = False
        self.copies: set[bytes] = set()
        self.taken: list[Position] = []
        self.start: Position | None = None
        self.lost: Position | None = None

    def run(self, listing: Listing) -> list[_Sibling]:
        """Return the rotated files to be read, from the oldest to the newest."""
        self._inodes = {look.inode for look in listing.values()}
        strays = self._find_strays()
        self._inodes |= strays.keys()
        strays |= self._find_packed([*listing, *strays.values()])
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
            siblings = self._with_strays(siblings, strays)
            return self._unread(self._settle_lost_tails(siblings), listing)
        except OSError:
            for sibling in siblings:
                sibling.file.close()
            raise

    def _find_strays(self) -> dict[int, str]:
        """Return files that were read and whose name says nothing now, by inode, after a start.

        While the daemon ran they were open; and a log that is still the same has no such file.
        """
        base = self._base
        read = {each.inode: each for each in self.wanted if each.head and each.offset}
        if self._family.logs or not read:
            return {}
        if base is not None and base.inode in read and base.holds(read[base.inode]):
            return {}
        return self._family.strays(read.keys() - self._inodes - {base.inode if base else 0})

    def _find_packed(self, others: Iterable[str]) -> dict[int, str]:
        """Return files that may be the log that was read last, packed, by inode, after a start.

        Nothing but the content says so.  A log that is still there, was renamed, or stands among
        the other files that are looked at is none.
        """
        base, read = self._base, [each for each in self.wanted if each.head and each.offset]
        if self._family.logs or not read:
            return {}
        last = read[-1]
        if base is not None and base.identity == last.identity and base.holds(last):
            return {}
        if base is not None and last.offset >= HEAD and base.holds(last):
            return {}
        if any(_is_in(path, last) for path in others):
            return {}
        found = {
            inode: path
            for inode, path in self._family.packed_strays(last.head).items()
            if inode not in self._inodes and _may_be_packed(path, last)
        }
        if found:
            self._inodes |= {last.inode, *found}
        return found

    def _with_strays(self, siblings: list[_Sibling], strays: Mapping[int, str]) -> list[_Sibling]:
        """Add the strays that hold a position, each at the place that its last line gives it."""
        if not strays:
            return siblings
        for path in strays.values():
            if (stray := self._examine(path, by_content=True)) is not None:
                if stray.was_read:
                    siblings.append(stray)
                else:
                    stray.file.close()
        return sorted(siblings, key=lambda each: -each.file.stat().st_mtime_ns)

    def _is_copied(self, log: Log) -> bool:
        """Whether the newcomer is a copy of an open log; a first line alone does not prove it."""
        newcomer, read = self._newcomer, log.delivered
        if newcomer is None or not read.offset or self._is_renamed(read, newcomer):
            return False
        return newcomer.holds(read)

    def _is_renamed(self, position: Position, file: LogFile) -> bool:
        """Whether a file of the rotated ones was read, and this one only begins like it."""
        if position.offset >= HEAD or position.inode not in self._inodes or not position.head:
            return False
        return position.identity != file.identity

    def _claim(self, file: LogFile) -> list[Position]:
        """Take all wanted positions that a file holds."""
        held = [
            position
            for position in self.wanted
            if not (file is self._base and self._is_renamed(position, file))
            and file.holds(position)
        ]
        self.wanted = [position for position in self.wanted if position not in held]
        return held

    def _examine(self, path: str, *, by_content: bool = False) -> _Sibling | None:
        """Open a rotated file and say what is known of it; None: it holds nothing of its own."""
        try:
            file = LogFile(path, by_content=by_content)
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
        for log in self._family.logs:
            if log.identity == file.identity:
                return _Sibling(file, [], is_new=False, was_read=log.offset > 0)
        if self._index.is_open(file):  # under a second name, by another family, which reads it
            was_read = any(position.offset for position in self._claim(file))
            return _Sibling(file, [], is_new=False, was_read=was_read)
        if self._is_passing(file):
            return None
        for log in self._family.logs:
            if log.head and self._is_like(file, log):
                return self._as_copy(file, log)
        if any(self._is_copy(file, position) for position in self.taken if position.offset):
            self.unsettled = True  # of the path's own file, which was just truncated
            return None
        positions = self._claim(file)
        was_read = any(position.offset for position in positions)
        return _Sibling(file, positions, is_new=not positions, was_read=was_read)

    def _is_like(self, file: LogFile, log: Log) -> bool:
        """Whether a file is a copy of an open log, or what is left of that and goes on.

        One that only begins like it, and is shorter, has to be compared as a whole.
        """
        if file.holds(log.delivered) or _left_of(log.delivered, file):
            return True
        is_open = log is not self._family.live and not file.packed
        return file.lost_tail_of(log.delivered) and (not is_open or log.file.covers(file))

    def _as_copy(self, file: LogFile, log: Log) -> _Sibling | None:
        """Say what is known of a file that is like an open log; None: it is a copy of the live."""
        if log is self._family.live:
            return None
        left = _left_of(log.delivered, file)
        positions = [] if left is None else [left]
        return _Sibling(file, positions, is_new=False, was_read=log.offset > 0)

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
        if self._base is None or self._was_read(file):
            return False
        if self._base.covers(file):
            self.copies.add(file.head())
            return True
        return False

    def _was_read(self, file: LogFile) -> bool:
        """Whether something of this very file was read: it is no copy of another."""
        return any(
            each.offset and each.identity == file.identity and file.holds(each)
            for each in self.wanted
        )

    def _settle_lost_tails(self, siblings: Sequence[_Sibling]) -> list[_Sibling]:
        """Give positions that no file holds to files that have lost what was behind their end."""
        newcomer = self._newcomer
        begun = self.start is not None and self.start.offset > 0
        if newcomer is not None and not begun and not self._family.logs:
            # That it was met while it was empty says nothing of what was read since then.
            lost = [each for each in self.wanted if has_lost_end(newcomer, each)]
            self.lost = max(lost, key=lambda each: each.offset, default=None)
            self.taken += lost
        self.wanted = [position for position in self.wanted if position not in self.taken]
        return [self._with_lost_tail(sibling) for sibling in siblings]

    def _with_lost_tail(self, sibling: _Sibling) -> _Sibling:
        known = any(position.head for position in sibling.positions)
        if known or not (sibling.is_new or sibling.positions):
            return sibling
        # An inode alone is no knowledge: what was empty then may be any other file by now.
        file = sibling.file
        for position in self.wanted:
            left = _left_of(position, file)
            if left is not None:
                self.wanted.remove(position)
                return _Sibling(file, [left], is_new=False, was_read=True)
        grown = [each for each in self.wanted if self._may_have_grown(file, each)]
        lost = grown or [each for each in self.wanted if file.lost_tail_of(each)]
        if not lost:
            return sibling
        self.wanted.remove(lost[0])
        return _Sibling(file, [], is_new=False, was_read=True, lost=grown[0] if grown else None)

    def _may_have_grown(self, file: LogFile, position: Position) -> bool:
        """Whether a rotated file lost its end before the start, and may have grown until then."""
        is_same = position.inode == file.inode and not self._family.logs
        return is_same and has_lost_end(file, position)

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
        if self.unsettled or self._has_moved(listing):
            self.unsettled = True
            return 0
        return len(siblings)

    def _has_moved(self, listing: Listing) -> bool:
        """Whether something was renamed since the rotated files were listed."""
        path = self._family.path
        return rotated_files(directory_of(path)).get(path, {}) != listing

    def _unread(self, siblings: Sequence[_Sibling], listing: Listing) -> list[_Sibling]:
        """Return the files to be read, oldest first, and close the others.

        None while files are being renamed: one that was missed may be older than those that were
        met, and what is older than a file that was read is taken for read.
        """
        chosen: list[_Sibling] = []
        if self.unsettled and self._has_moved(listing):
            for sibling in siblings:
                sibling.file.close()
            return chosen
        unseen = self._count_new(siblings, listing)
        for index, sibling in enumerate(siblings):
            if sibling.positions:
                wanted = sibling.file.has_more(sibling.goes_on) or self._may_grow(index, sibling)
            else:
                wanted = sibling.lost is not None or (index < unseen and sibling.is_new)
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


class Index:
    """Finds what is open and what is known by the first line, among very many."""

    def __init__(self, known: Iterable[Position], families: Iterable[Family]) -> None:
        self._given, self._families = known, list(families)
        self._logs: dict[bytes, list[Log]] = {}
        self._open: dict[tuple[int, int], Log] = {}
        for family in self._families:
            if not family.unreachable:
                self.add(family.logs)

    @cached_property
    def _known(self) -> dict[bytes, list[Position]]:
        """What is known, by first line; gathered late, for most looks find no new file."""
        found: dict[bytes, list[Position]] = {}
        for position in chain(self._given, *(family.known for family in self._families)):
            found.setdefault(position.head, []).append(position)
        return found

    def add(self, logs: Iterable[Log]) -> None:
        """Add logs that were opened."""
        for log in logs:
            self._logs.setdefault(log.head, []).append(log)
            self._open[log.identity] = log

    def is_open(self, file: LogFile) -> bool:
        """Whether a file is an open one, under whatever name."""
        log = self._open.get(file.identity)
        return log is not None and log.fd >= 0

    def has_copied(self, file: LogFile) -> bool:
        """Whether a file is an open one, or a copy of the beginning of one."""
        if self.is_open(file):
            return True
        logs = [log for log in self._logs.get(file.head(), ()) if log.fd >= 0]
        size = file.stat().st_size
        return any(
            is_copy_likely(file.path, log.path, size) and log.file.covers(file) for log in logs
        )

    def positions(self, file: LogFile) -> list[Position]:
        """Return the positions behind something that was read of a file, under any path."""
        return [
            position
            for position in self._known.get(file.head(), ())
            if position.offset
            and (
                position.identity == file.identity
                or is_copy_likely(file.path, position.path, position.offset)
            )
            and file.holds(position)
        ]

    def under_other_names(self, file: LogFile, path: str) -> list[Position]:
        """Return how far this very file was read under other paths, as positions of this one.

        Its content alone is no proof here: logs of two sites may begin with the same request.
        """
        known = [each for each in self.positions(file) if each.path != path]
        same = [each for each in known if each.identity == file.identity]
        return [each._replace(path=path) for each in same]
