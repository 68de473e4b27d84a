"""Follows logs that grow, are rotated, truncated, packed and deleted, and loses no line of them.

Pull, not push: ``FileTailer`` returns the generations that may have something new, and the consumer
reads a block from one when it has room for it.  Nothing is read ahead, so a slow kernel or disk
makes the logs wait where they are.  There is one consumer; only the steps that touch the disk run
in threads.

What is followed:

* A ``Generation`` is one file up to its truncation; what is written after that is another
  ``Generation``.  Reading does not move the durable position: that is the ``position`` which the
  consumer last committed.
* All generations of one live path are a ``RotationSet``, in order: a successor's blocks are
  handed out only while its predecessors have nothing new.
* A file is renamed: its descriptor is read on until the writer has closed it and it has been quiet
  for a minute, or has been quiet for an hour while the successor grew.
* A file of two names is read under one: where it is open, or was followed before, else under the
  name that is no link.  The other is no log until it leads to another file.
* A file is truncated: what was not read is in a rotated copy, or nowhere.  It is found by content.
* A file is trimmed at its head, cut off at its end, or rewritten under its name: it is read on
  behind the last bytes known, wherever they stand in it now, else behind the last time known.
* Of more logs than may be open those written last are followed; the others go on where they were
  when they are written again.
* After a start: a file that was read and now has a name that says nothing is found by its inode
  and its content, in the directories near the log.
* After a start, a rotation or a truncation: rotated files newer than the newest one that is known
  were never read, and are read whole, oldest first.  At the first sight of a log the newest
  rotated file is noted as known, so that history is never read.

What is lost: lines that copytruncate itself loses, and those of files that were rotated away into
another directory, or deleted, or whose name became a second one of another log, between two
looks.
"""

import asyncio
import glob
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from time import monotonic

from blocker.sources.files.directories import Directories
from blocker.sources.files.disk_threads import HANGS, PATIENCE, begun_in_thread, in_thread
from blocker.sources.files.disks import Disks
from blocker.sources.files.generation import Generation, StartOf
from blocker.sources.files.known import furthest, under_last_device
from blocker.sources.files.log_status import LogStatus, status_of
from blocker.sources.files.log_watches import LogWatches
from blocker.sources.files.rotation_set import RotationSet
from blocker.sources.files.rounds import Rounds, Seen
from blocker.sources.files.stuck_paths import StuckPaths
from blocker.sources.files.survey import Survey
from blocker.sources.position import Position


class FileTailer:
    """Follows all files that match the patterns.

    Args:
        patterns: globs; ``**`` stands for any directories.
        known: how far files were judged in earlier runs.
        start_of: where to start in a log never seen before, and where to go on in one that lost
            its end.
        poll: seconds between two looks at everything, in case inotify events are lost.
        max_logs: files that are open at once.
        clock: monotonic seconds.

    Attributes:
        generations: the open ones.
        watches: what the kernel says of files and directories.
        looked_at: when the last look was done, monotonic seconds.
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
        self._start_of, self._poll, self._max_logs = start_of, poll, max_logs
        self._look = True
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self.watches = LogWatches(clock, self._wake.set, self._look_again)
        contents = Directories(clock, Disks(self._look_again))
        self._stuck = StuckPaths(contents.disks)
        read = furthest(under_last_device(known))
        self._survey = Survey(self._patterns, read, max_logs, contents, self._stuck, self.watches)
        self.looked_at = monotonic()
        self.generations: list[Generation] = []
        self._lives: list[tuple[RotationSet, Generation | None]] = []
        self._second_names: set[str] = set()

    @property
    def over_limit(self) -> int:
        """How many files the last look did not open, because too many are open."""
        return self._survey.findings.over_limit

    @property
    def rounds(self) -> Rounds:
        """The rounds through the directories."""
        return self._survey.rounds

    @property
    def seen(self) -> Sequence[Seen]:
        """What the patterns match."""
        return self._survey.seen

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
        sets = self._survey.sets.values()
        return any(each.dirty for each in sets) or any(
            generation.state.truncated for generation in self.generations
        )

    def ready(self) -> list[Generation]:
        """Return the logs that may have something new, in the order of the patterns.

        Of a rotated set only the oldest such file is returned: its lines come first.
        """
        found = (self._first(rotation_set) for rotation_set in self._survey.sets.values())
        return [generation for generation in found if generation is not None]

    def _first(self, rotation_set: RotationSet) -> Generation | None:
        if self._stuck.is_out(rotation_set):
            return None
        for generation in rotation_set.generations:
            if generation.state.truncated or (rotation_set.dirty and not generation.offset):
                return None
            if generation.state.is_ready:
                return generation
        return None

    def new_positions(self) -> list[Position]:
        """Return the positions since the last call that no block brings, to be stored as well.

        They say that a log was met, with what was there before, and where a new file begins.
        Without them a file that was rotated away before anything in it was judged can't be found
        after a restart.
        """
        new = (rotation_set.known.take_new() for rotation_set in self._survey.sets.values())
        return [position for positions in new for position in positions]

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by path."""
        out = self._stuck.seconds() | {
            generation.file.path: generation.reading.hangs_for
            for generation in self.generations
            if generation.reading.hangs
        }
        found = dict(self._survey.findings.refusals)
        found |= {path: _hangs(path, seconds) for path, seconds in out.items() if seconds >= HANGS}
        if self.watches.error is not None:
            found["inotify"] = self.watches.error
        for rotation_set in self._survey.sets.values():
            found |= rotation_set.notes
            if rotation_set.error is not None:
                found[rotation_set.path] = rotation_set.error
        found |= {
            generation.file.path: generation.errors
            for generation in self.generations
            if generation.errors is not None
        }
        return found

    def statuses(self) -> list[LogStatus]:
        """Return how each log stands; those that could not be opened are there, too.

        A log that is gone is none any more, unless it was asked for by its name; a second name is
        none at all, for what it leads to is read under the first.
        """
        generations: dict[str, list[Generation]] = {}
        for generation in self.generations:
            generations.setdefault(generation.path, []).append(generation)
        found = {
            rotation_set.path: status_of(rotation_set, live, generations.get(rotation_set.path, []))
            for rotation_set, live in self._lives
            if rotation_set.path in generations
            or not (
                rotation_set.gone or rotation_set.resting or rotation_set.path in self._second_names
            )
        }
        for rotation_set, _ in self._lives:
            if rotation_set.path in found and self._stuck.is_down(rotation_set):
                found[rotation_set.path] = found[rotation_set.path]._replace(up=False)
        named = (path for path in self._patterns if not glob.has_magic(path))
        missing = [path for path in named if path not in self._second_names]
        for path in (*missing, *self._survey.findings.refusals):
            found.setdefault(path, LogStatus(path))
        return list(islice(found.values(), self._max_logs))

    def close(self) -> None:
        """Let go of everything; nothing may be reading any more."""
        for timer in filter(None, (self._timer, self._again)):
            timer.cancel()
        self.watches.close()
        for rotation_set in self._survey.sets.values():
            generations = rotation_set.abandon()
            if rotation_set.path not in self._stuck:
                for generation in generations:
                    generation.close()
        self.generations, self._lives = [], []

    # Looking -----------------------------------------------------------------------------------

    async def scan(self) -> None:
        """Take one look at the directories and all files."""
        self._look = False
        while not await self._survey_in_time():
            pass
        for rotation_set in self._survey.sets.values():
            for generation in rotation_set.fresh if not self._stuck.is_out(rotation_set) else ():
                await self._begin(rotation_set, generation)
        for rotation_set in self._survey.sets.values():
            if not self._stuck.is_out(rotation_set):
                rotation_set.retire()
        self.generations = [
            generation
            for rotation_set in self._survey.sets.values()
            for generation in rotation_set.generations
        ]
        # Noted here, between two looks, so that a rotation half seen is not reported.
        sets = self._survey.sets.values()
        self._lives = [(rotation_set, rotation_set.live) for rotation_set in sets]
        aliases = {rotation_set.path for rotation_set in sets if rotation_set.alias}
        self._second_names = self._survey.admission.doubles | aliases
        self.watches.update(self.generations)
        if self._survey.rounds.owed is not None:
            self._later(self._survey.rounds.owed)
        self.looked_at = monotonic()

    def _later(self, seconds: float) -> None:
        """Look again after so many seconds: not every directory has been looked at."""
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._look = True
        self._wake.set()

    async def _survey_in_time(self) -> bool:
        """Take a look in a thread; False if it hangs at some path.

        Then that thread is left behind with it, and the next look passes it by.
        """
        survey = self._survey
        survey.thread.prepare()
        looking = begun_in_thread(survey.run)
        while not looking.done():
            try:
                await asyncio.wait({looking}, timeout=PATIENCE)
            except asyncio.CancelledError:
                await asyncio.wait({looking}, timeout=PATIENCE)
                if not looking.done():
                    self._leave(survey.thread.step[0], looking)
                raise
            path, since = survey.thread.step
            late = path and monotonic() - since >= PATIENCE
            if not looking.done() and late and not self._stuck.are_many:
                self._leave(path, looking)
                return False
        looking.result()
        return True

    def _leave(self, path: str, asking: "asyncio.Future[None]") -> None:
        """Leave a path to the thread that asks the disk about it."""
        self._survey.thread.leave()
        self._stuck.leave(path, self._survey.sets.get(path), asking)

    async def _begin(self, rotation_set: RotationSet, generation: Generation) -> None:
        beginning = asyncio.ensure_future(self._begin_patiently(rotation_set, generation))
        await asyncio.wait({beginning}, timeout=PATIENCE)
        if not beginning.done():
            self._leave(rotation_set.path, beginning)

    async def _begin_patiently(self, rotation_set: RotationSet, generation: Generation) -> None:
        try:
            await in_thread(generation.begin, await self._start_of(generation))
        except OSError as error:
            rotation_set.fail(f"{generation.file.path}: {error.strerror or error}")
            return
        rotation_set.started(generation)

    # What the kernel says ----------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at everything once in a while: word may get lost, and some disks say nothing."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._poll, self._tick)
        self._look_again()
        self.watches.open()


def _hangs(path: str, seconds: float) -> str:
    return (
        f"{path}: its disk or file system has not answered for {seconds:,.0f} s; it is read when it"
        " does, and other logs meanwhile; `findmnt` shows what is mounted there"
    )
