"""Searches the rotated files of a log for what is unread."""

import heapq
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from blocker.sources.files.generation import Generation
from blocker.sources.files.known import HOUR
from blocker.sources.files.logfile import LogFile
from blocker.sources.files.naming import Listing, directory_of, rotated_files
from blocker.sources.files.nearby import NearbyFiles
from blocker.sources.files.open_files import OpenFiles
from blocker.sources.files.rewritten import has_lost_end, place_behind
from blocker.sources.position import Position
from blocker.sources.stream import HEAD


class Followed(NamedTuple):
    """What a search needs to know of the log, as it stands.

    Attributes:
        path: the live path.
        known: where reading ended in files that are not open.
        earlier: those of them of earlier runs, whose files have not been open in this one.
        generations: the open ones, in the order in which they are to be read.
        live: the one that the path leads to.
        marked: whether the rotated files that were there at first sight are known.
        notes: what is wrong with rotated files is written here, by name.
        nearby: the directories near the log.
    """

    path: str
    known: Sequence[Position]
    earlier: Sequence[Position]
    generations: Sequence[Generation]
    live: Generation | None
    marked: bool
    notes: dict[str, str]
    nearby: NearbyFiles


class RotatedFile(NamedTuple):
    """A rotated file.

    Attributes:
        file: open for the look.
        positions: the known ones that are in it.
        is_new: whether nothing is known of it.
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
        """Where reading goes on: at the start of an unknown file."""
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


def _newest_first(rotated_file: RotatedFile) -> int:
    return -rotated_file.file.stat().st_mtime_ns


class UnreadSearch:
    """Finds what was not read among the rotated files of a path.

    Every known position is given to one file: to the path's own, else to the newest that holds it.
    A rotated file that is a copy of an open one, or of its beginning, holds nothing new.

    Attributes:
        start: where the newcomer goes on, or None.
        lost: how far the newcomer was read, if it has lost its end since then.
        taken: the positions it holds.
        wanted: the positions that no file holds.
        copies: heads of the files that are copies of the path's own file, perhaps unfinished.
        empty: the newest rotated file that is empty after a start: a server that does not
            know of the rotation writes to it.
        unsettled: whether the same look has to be taken again.
    """

    def __init__(self, followed: Followed, newcomer: LogFile | None, open_files: OpenFiles) -> None:
        self._followed, self._newcomer, self._open_files = followed, newcomer, open_files
        live = followed.live
        self._base = newcomer or (live.file if live else None)
        self.wanted = list(followed.known)
        self._inodes: set[int] = set()
        self._examined: set[tuple[int, int]] = set()
        self.unsettled = False
        self.copies: set[bytes] = set()
        self.taken: list[Position] = []
        self.start: Position | None = None
        self.lost: Position | None = None
        self.empty: Position | None = None

    def run(self, listing: Listing) -> list[RotatedFile]:
        """Return the rotated files to be read, from the oldest to the newest."""
        self._inodes = {look.inode for look in listing.values()}
        strays = self._find_strays()
        self._inodes |= strays.keys()
        strays |= self._find_packed([*listing, *strays.values()])
        if self._base is not None:
            self.taken = self._claim(self._base)
        if self._newcomer is not None:
            copied = [
                generation.delivered
                for generation in self._followed.generations
                if self._is_copied(generation)
            ]
            self.start = max(self.taken + copied, key=lambda each: each.offset, default=None)
        rotated: list[RotatedFile] = []
        try:
            rotated.extend(
                each
                for path, look in reversed(list(listing.items()))
                if (each := self._examine(path, look.inode))
            )
            rotated = self._with_strays(rotated, strays)
            return self._unread(self._settle_lost_tails(rotated), listing)
        except OSError:
            for rotated_file in rotated:
                rotated_file.file.close()
            raise

    def _find_strays(self) -> dict[int, str]:
        """Return files that were read and whose name says nothing now, by inode, after a start.

        While the daemon ran they were open; and a log that is still the same has no such file.
        """
        base = self._base
        read = {each.inode: each for each in self.wanted if each.head and each.offset}
        if self._followed.generations or not read:
            return {}
        if base is not None and base.inode in read and base.holds(read[base.inode]):
            return {}
        return self._followed.nearby.strays(
            read.keys() - self._inodes - {base.inode if base else 0}
        )

    def _find_packed(self, others: Iterable[str]) -> dict[int, str]:
        """Return files that may be the log that was read last, packed, by inode, after a start.

        Nothing but the content says so.  A log that is still there, was renamed, or stands among
        the other files that are looked at is none.
        """
        base, read = self._base, [each for each in self.wanted if each.head and each.offset]
        if self._followed.generations or not read:
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
            for inode, path in self._followed.nearby.packed_strays(last.head).items()
            if inode not in self._inodes and _may_be_packed(path, last)
        }
        if found:
            self._inodes |= {last.inode, *found}
        return found

    def _with_strays(
        self, rotated: list[RotatedFile], strays: Mapping[int, str]
    ) -> list[RotatedFile]:
        """Add the strays that hold a position, behind the rotated files that are unknown.

        Their times say only which of those that were read they stand between: a copy is younger
        than its last line, and an old file may be written to while newer ones come and go.
        """
        found: list[RotatedFile] = []
        for path in strays.values():
            if (stray := self._examine(path, by_content=True)) is not None:
                if stray.was_read:
                    found.append(stray)
                else:
                    stray.file.close()
        unseen = len(rotated) if self._followed.marked else 0
        unseen = next((at for at, each in enumerate(rotated) if each.was_read), unseen)
        found.sort(key=_newest_first)
        return [*rotated[:unseen], *heapq.merge(rotated[unseen:], found, key=_newest_first)]

    def _is_copied(self, generation: Generation) -> bool:
        """Whether the newcomer is a copy of an open log; a first line alone does not prove it."""
        newcomer, read = self._newcomer, generation.delivered
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

    def _examine(
        self, path: str, inode: int = 0, *, by_content: bool = False
    ) -> RotatedFile | None:
        """Open a rotated file and say what is known of it; None: it holds nothing of its own.

        If the name was listed for another inode, files were renamed since then, and one of them
        may have a name that is not in the listing.
        """
        try:
            file = LogFile(path, by_content=by_content)
            if inode and os.lstat(path).st_ino != inode:
                file.close()
                self.unsettled = True
                return None
        except FileNotFoundError:
            if os.path.lexists(path):
                self._followed.notes[path] = f"{path}: the link leads nowhere; delete it"
            else:
                self.unsettled = True  # it was renamed during this look
            return None
        except OSError as error:
            self._followed.notes[path] = f"{path}: {error.strerror or error}"
            return None
        try:
            rotated_file = self._judge(file)
        except OSError as error:
            self._followed.notes[path] = str(error)
            rotated_file = None
        if rotated_file is None:
            file.close()
        return rotated_file

    def _judge(self, file: LogFile) -> RotatedFile | None:
        for generation in self._followed.generations:
            if generation.file.identity == file.identity:
                return RotatedFile(file, [], is_new=False, was_read=generation.offset > 0)
        if self._open_files.is_open(file):  # under a second name, by another set, which reads it
            was_read = any(position.offset for position in self._claim(file))
            return RotatedFile(file, [], is_new=False, was_read=was_read)
        if self._is_passing(file):
            return None
        for generation in self._followed.generations:
            if generation.head and self._is_like(file, generation):
                return self._as_copy(file, generation)
        if any(self._is_copy(file, position) for position in self.taken if position.offset):
            self.unsettled = True  # of the path's own file, which was just truncated
            return None
        positions = self._claim(file)
        was_read = any(position.offset for position in positions)
        return RotatedFile(file, positions, is_new=not positions, was_read=was_read)

    def _is_like(self, file: LogFile, generation: Generation) -> bool:
        """Whether a file is a copy of an open log, or what is left of that and goes on.

        One that only begins like it, and is shorter, has to be compared as a whole.
        """
        if file.holds(generation.delivered) or _left_of(generation.delivered, file):
            return True
        is_open = generation is not self._followed.live and not file.packed
        return file.lost_tail_of(generation.delivered) and (
            not is_open or generation.file.covers(file)
        )

    def _as_copy(self, file: LogFile, generation: Generation) -> RotatedFile | None:
        """Say what is known of a file that is like an open log; None: it is a copy of the live."""
        if generation is self._followed.live:
            return None
        left = _left_of(generation.delivered, file)
        positions = [] if left is None else [left]
        return RotatedFile(file, positions, is_new=False, was_read=generation.offset > 0)

    def _is_copy(self, file: LogFile, position: Position) -> bool:
        """Whether a file is a copy of the one that was read up to a position.

        It may lack what copytruncate lost, and the original may be truncated at this moment.
        """
        return file.holds(position) or file.lost_tail_of(position)

    def _is_passing(self, file: LogFile) -> bool:
        """Whether the file is about to become another: it has to be looked at again."""
        if file.identity in self._examined:
            self.unsettled = True  # it was renamed during this look
            return True
        self._examined.add(file.identity)
        if not file.head():
            if self.empty is None and not self._followed.generations and not file.packed:
                self.empty = Position(self._followed.path, *file.identity, b"", 0, b"")
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

    def _settle_lost_tails(self, rotated: Sequence[RotatedFile]) -> list[RotatedFile]:
        """Give positions that no file holds to files that have lost what was behind their end."""
        newcomer = self._newcomer
        begun = self.start is not None and self.start.offset > 0
        if newcomer is not None and not begun and not self._followed.generations:
            # That it was met while it was empty says nothing of what was read since then.
            lost = [each for each in self.wanted if has_lost_end(newcomer, each)]
            self.lost = max(lost, key=lambda each: each.offset, default=None)
            self.taken += lost
        self.wanted = [position for position in self.wanted if position not in self.taken]
        return [self._with_lost_tail(rotated_file) for rotated_file in rotated]

    def _with_lost_tail(self, rotated_file: RotatedFile) -> RotatedFile:
        known = any(position.head for position in rotated_file.positions)
        if known or not (rotated_file.is_new or rotated_file.positions):
            return rotated_file
        # An inode alone is no knowledge: what was empty then may be any other file by now.
        file = rotated_file.file
        for position in self.wanted:
            left = _left_of(position, file)
            if left is not None:
                self.wanted.remove(position)
                return RotatedFile(file, [left], is_new=False, was_read=True)
        grown = [each for each in self.wanted if self._may_have_grown(file, each)]
        lost = grown or [each for each in self.wanted if file.lost_tail_of(each)]
        if not lost:
            return rotated_file
        self.wanted.remove(lost[0])
        return RotatedFile(file, [], is_new=False, was_read=True, lost=grown[0] if grown else None)

    def _may_have_grown(self, file: LogFile, position: Position) -> bool:
        """Whether a rotated file lost its end before the start, and may have grown since then.

        The first look does not find it where it is renamed at that moment; a later one does.
        """
        followed = self._followed
        was_closed = not followed.generations or position in followed.earlier
        return was_closed and position.inode == file.inode and has_lost_end(file, position)

    def _count_new(self, rotated: Sequence[RotatedFile], listing: Listing) -> int:
        """Return how many of the newest files were never seen.

        They are newer than the newest that was read.  Where none of those is left under a name
        that says so, all are newer, if what was there at first sight was noted, and nothing was
        renamed during this look.
        """
        marked = self._followed.marked
        for index, rotated_file in enumerate(rotated):
            if rotated_file.was_read and (rotated_file.file.path in listing or not marked):
                return index
        if not rotated or not marked:
            return 0
        if self.unsettled or self.has_moved(listing):
            self.unsettled = True
            return 0
        return len(rotated)

    def has_moved(self, listing: Listing) -> bool:
        """Whether something was renamed since the rotated files were listed."""
        path = self._followed.path
        return rotated_files(directory_of(path)).get(path, {}) != listing

    def _unread(self, rotated: Sequence[RotatedFile], listing: Listing) -> list[RotatedFile]:
        """Return the files to be read, oldest first, and close the others.

        None while files are being renamed: one that was missed may be older than those that were
        met, and what is older than a file that was read is taken for read.
        """
        chosen: list[RotatedFile] = []
        if self.unsettled and self.has_moved(listing):
            for rotated_file in rotated:
                rotated_file.file.close()
            return chosen
        unseen = self._count_new(rotated, listing)
        newest = {each.file.path in listing: each for each in reversed(rotated)}.values()
        for index, rotated_file in enumerate(rotated):
            if rotated_file.positions:
                may_grow = rotated_file in newest and self._may_grow(rotated_file)
                wanted = may_grow or rotated_file.file.has_more(rotated_file.goes_on)
            else:
                wanted = rotated_file.lost is not None or (index < unseen and rotated_file.is_new)
            if wanted:
                chosen.append(rotated_file)
        for rotated_file in rotated:
            if rotated_file not in chosen:
                rotated_file.file.close()
        return chosen[::-1]

    def _may_grow(self, rotated_file: RotatedFile) -> bool:
        """Whether, after a start, the newest rotated file or stray may still be written to."""
        if self._followed.generations or rotated_file.file.packed:
            return False
        return time.time() - rotated_file.file.stat().st_mtime < HOUR
