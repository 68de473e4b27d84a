"""The generations of one log: which files belong together, in what order, and what is unread.

Files are recognised by content: the digest of their first line and the bytes before a position.
A look compares what is on disk with what is open and known; it touches the disk and is run in a
thread, while nothing is read.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from heapq import merge
from pathlib import Path
from time import time

from blocker.sources.files.directories import MINUTE, Directories
from blocker.sources.files.disks import Disks
from blocker.sources.files.generation import Generation
from blocker.sources.files.known import DAY, HOUR, KnownPositions
from blocker.sources.files.logfile import LogFile
from blocker.sources.files.naming import Listing, directory_of
from blocker.sources.files.nearby import NearbyFiles
from blocker.sources.files.open_files import OpenFiles
from blocker.sources.files.placing import Placing, place_old
from blocker.sources.files.search import Followed, RotatedFile, UnreadSearch
from blocker.sources.position import Position


class RotationSet:
    """All generations of one live path, and what is known of those that are done.

    Args:
        path: the live path.
        order: of the pattern that matches it.
        contents: what is in the directories.
        known: where reading ended in earlier runs.

    Attributes:
        known: where reading ended in files that are not open, from earlier runs or this one.
        generations: the open ones, in the order in which they are to be read.
        left_out: files that the last look did not open, because too many are open.
        dirty: whether the directory has to be looked at before the path's first block is read.
        last_line: when a line was last handed out, seconds since the epoch; 0 before that.
        rotations: how often the path became another file.
        truncations: how often a file of this path was truncated.
        gone: whether nothing is at the path.
        resting: whether it is not followed now, because others of too many were written later.
        is_unreachable: whether its directory does not answer; then nothing of it may be touched.
        alias: whether the path leads to a file that another set has open, and reads.
        error: why the path can't be followed, or None.
        notes: what is wrong with rotated files, by name.
    """

    def __init__(
        self, path: str, order: int, contents: Directories, known: Iterable[Position] = ()
    ) -> None:
        self.path, self.order, self._contents = path, order, contents
        self.known = KnownPositions(known)
        self.generations: list[Generation] = []
        self.error: str | None = None
        self.notes: dict[str, str] = {}
        self.rotations = self.truncations = self.left_out = 0
        self.last_line = 0.0
        self.dirty = self.gone = self.alias = self.resting = self.is_unreachable = False
        self._ended: dict[Position, Generation] = {}
        self._settled: Listing | None = None

    # What a generation needs -------------------------------------------------------------------

    @property
    def disks(self) -> Disks:
        """Which disks do not answer."""
        return self._contents.disks

    def clock(self) -> float:
        """Return monotonic seconds."""
        return self._contents.clock()

    def mark_dirty(self) -> None:
        """Have the directory looked at before the path's first block is read."""
        self.dirty = True

    def note_line(self) -> None:
        """Note that lines were handed out just now."""
        self.last_line = time()

    def is_settled(self) -> bool:
        """Whether the last look saw every rotated file that is there now."""
        return self._without_open(self._listing()) == self._settled

    # What the tailer asks ----------------------------------------------------------------------

    @property
    def live(self) -> Generation | None:
        """The log that the path leads to."""
        return next(
            (generation for generation in self.generations if not generation.state.draining), None
        )

    @property
    def fresh(self) -> list[Generation]:
        """Logs never seen before, or that lost their ends, until it is known where to start."""
        return [generation for generation in self.generations if not generation.state.started]

    def fail(self, error: str) -> None:
        """Note why the path can't be followed."""
        self.error = error

    def set_reachable(self, *, reachable: bool) -> None:
        """Note whether the directory of the path answers."""
        self.is_unreachable = not reachable

    def rests(self, *, resting: bool) -> bool:
        """Note whether others are followed instead; return whether nothing of it is open then."""
        self.resting = resting
        return resting and self._rest()

    def started(self, generation: Generation) -> None:
        """Note for the store where a fresh log was started."""
        self.known.note(generation.delivered)

    def abandon(self) -> list[Generation]:
        """Return the open generations and follow none of them any more."""
        generations, self.generations = self.generations, []
        return generations

    def look(self, room_left: Callable[[], int], open_files: OpenFiles) -> None:
        """Compare the path and its rotated files with what is open, and open what is missing."""
        again, self.left_out, self.dirty = self.left_out > 0, 0, False
        listing = self._listing()
        reborn = self._restart_truncated()
        newcomer = self._newcomer()
        self.alias = newcomer is not None and open_files.is_open(newcomer)
        if newcomer is not None and self.alias:
            newcomer.close()
            self.error, self.notes = None, {}
            return  # the rotated files are those of the other set, or may be
        again = again or self._is_unplaced()
        if newcomer or reborn or again or self._without_open(listing) != self._settled:
            self._settled = None
            try:
                settled = self._find(newcomer, listing, reborn, room_left(), open_files)
            except OSError:
                if newcomer is not None and all(
                    generation.file is not newcomer for generation in self.generations
                ):
                    newcomer.close()
                raise
            if settled:
                self._settled = self._without_open(listing)
                self._ended.clear()

    def _listing(self) -> Listing:
        with suppress(OSError):
            return self._contents.rotated(directory_of(self.path)).get(self.path, {})
        return {}

    def _without_open(self, listing: Listing) -> Listing:
        """Return the rotated files without those that are open, which may grow meanwhile."""
        inodes = {generation.file.inode for generation in self.generations}
        return {path: look for path, look in listing.items() if look.inode not in inodes}

    def _find(
        self,
        newcomer: LogFile | None,
        listing: Listing,
        reborn: Sequence[Generation],
        room: int,
        open_files: OpenFiles,
    ) -> bool:
        """Open what is missing; False if the same look has to be taken again."""
        if newcomer is not None:
            self.known.add(open_files.under_other_names(newcomer, self.path))
        if not self.known.ends and not self.generations:
            return newcomer is not None and self._meet(newcomer, listing, room)
        self.notes = {}
        search = UnreadSearch(self._followed(), newcomer, open_files)
        old = [
            generation
            for generation in self.generations
            if generation.state.draining and generation not in reborn
        ]
        opened = self._take_in(search.run(listing), room)
        room -= len(opened)
        self._put_in_order(old, opened, listing)
        if search.empty is not None:
            self.known.add_empty(search.empty)
        self.dirty = search.unsettled and search.has_moved(listing)
        if newcomer is not None:
            self._follow(newcomer, search, room)
        if not search.unsettled:
            place_old(self.generations)
            self._place(search, listing)
        live = self.live
        same = live is None or live.offset > 0 or search.copies <= {live.head}
        return same and not search.unsettled

    def _followed(self) -> Followed:
        """Return what a search needs to know of the log."""
        return Followed(
            self.path,
            self.known.ends,
            self.known.earlier,
            self.generations,
            self.live,
            self.known.is_marked,
            self.notes,
            NearbyFiles(self.path, self._contents, self.notes),
        )

    def _is_unplaced(self) -> bool:
        live = self.live
        return live is not None and live.unplaced and bool(live.file.stat().st_size)

    def _place(self, search: UnreadSearch, listing: Listing) -> None:
        """Go on behind the last bytes known, if the path's file is an earlier one rewritten."""
        live = self.live
        if live is None or not live.unplaced:
            return
        if not live.offset:
            if not live.file.stat().st_size:
                return
            wanted = [*search.wanted, *search.taken]
            rotated = {look.inode for look in listing.values()}
            placing = Placing(live, self.generations, wanted, rotated)
            if placing.go_on():
                self.known.note(live.delivered)
            elif placing.lost is not None:
                self._note(live, placing.lost)
        live.placed()

    def _restart_truncated(self) -> list[Generation]:
        """End the generations that were truncated; return those that begin in their files."""
        reborn = []
        for index, generation in enumerate(self.generations):
            if generation.state.started and not generation.check():
                self.truncations += 1
                self.known.remember(generation.delivered)
                self._ended[generation.delivered] = generation
                self.generations[index] = generation.reborn()
                reborn.append(self.generations[index])
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
        for generation in self.generations:
            if generation.file.identity == identity:
                self.error = None
                if generation.state.draining:
                    self.drain()
                    generation.state.follow()
                    self.generations.sort(key=lambda each: not each.state.draining)
                return True
        return False

    def drain(self) -> None:
        """Note that the path leads to none of the open files."""
        for generation in self.generations:
            generation.state.drain()

    def _meet(self, newcomer: LogFile, listing: Listing, room: int) -> bool:
        """See the log for the first time; what was rotated before is history."""
        if room < 1:
            return self._leave_out(newcomer)
        known = [Position(self.path, 0, 0, b"", 0, b"")]
        for path in reversed(list(listing)):
            with suppress(OSError), LogFile(path) as file:
                newest = file.end(self.path)
                if newest.head:
                    known.append(newest)
                    break
        self.known.meet(known)
        generation = Generation(self, newcomer)
        generation.await_start()
        self.generations, self.error = [generation], None
        return True

    def _leave_out(self, file: LogFile) -> bool:
        file.close()
        self.left_out += 1
        return False

    def _take_in(self, found: Sequence[RotatedFile], room: int) -> list[Generation]:
        """Open rotated files with something unread."""
        opened: list[Generation] = []
        for rotated_file in found:
            if len(opened) >= room:
                self._leave_out(rotated_file.file)
                continue
            goes_on = rotated_file.goes_on
            generation = Generation(self, rotated_file.file, goes_on)
            generation.state.drain()
            if ended := self._ended.pop(goes_on, None):
                generation.judge_like(ended)
            self.known.forget(rotated_file.positions)
            self._note(generation, rotated_file.lost)
            opened.append(generation)
        return opened

    def _put_in_order(
        self, old: list[Generation], opened: list[Generation], listing: Listing
    ) -> None:
        """Put rotated files between the old logs and the current ones.

        A log that was renamed while the look before it was postponed is newer than they are.
        """
        ranks = {look.inode: rank for rank, look in enumerate(listing.values())}
        rotated = merge(old, opened, key=lambda generation: ranks.get(generation.file.inode, -1))
        self.generations = [
            *rotated,
            *(generation for generation in self.generations if generation not in old),
        ]

    def _follow(self, newcomer: LogFile, search: UnreadSearch, room: int) -> None:
        """Follow the file that the path has become."""
        if room < 1:
            self._leave_out(newcomer)
            return
        self.rotations += bool(self.generations)
        start = search.start or Position(self.path, 0, 0, b"", 0, b"")
        unplaced = not start.offset and search.lost is None
        generation = Generation(self, newcomer, start, unplaced=unplaced)
        for copied in [
            generation for generation in self.generations if generation.delivered == start
        ]:
            copied.close()  # the path is a copy of it now, and goes on where it was
            self.generations.remove(copied)
        self.known.forget(search.taken)
        self._note(generation, search.lost)
        self.generations = [*self.generations, generation]
        self.error = None

    def _note(self, generation: Generation, lost: Position | None) -> None:
        """Note where a log is read on, or have the start found of one that lost its end."""
        if lost is None:
            self.known.note(generation.delivered)
        else:
            self.known.forget([lost])
            generation.await_start(lost)

    def retire(self) -> None:
        """Close the files to which no more will be written."""
        for generation in [
            generation
            for generation in self.generations
            if generation.state.draining and self._is_done(generation)
        ]:
            self.release(generation)

    def _rest(self) -> bool:
        """Close what has been read to its end; return whether nothing is open now."""
        if not self.fresh:
            for generation in [
                generation
                for generation in self.generations
                if generation.at_end and not generation.state.truncated
            ]:
                self.release(generation)
        self._settled = None
        return not self.generations

    def release(self, generation: Generation) -> None:
        """Close a log, and keep in mind how far it was read."""
        self.known.remember(generation.delivered)
        generation.close()
        self.generations = [each for each in self.generations if each is not generation]

    def _is_done(self, generation: Generation) -> bool:
        if not generation.at_end:
            return False
        live, changed = self.live, generation.activity.changed
        quiet = self.clock() - changed
        if generation.file.packed:
            return not generation.errors or quiet >= HOUR
        if generation.state.closed and quiet >= MINUTE:
            return True
        if live is not None and quiet >= HOUR and live.activity.changed - changed >= HOUR:
            return True
        return quiet >= DAY and not generation.file.stat().st_nlink
