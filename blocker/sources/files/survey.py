"""One look at the directories and files of all logs: what is there, and what has to be opened."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import NamedTuple

from blocker.sources.files.admission import Admission
from blocker.sources.files.directories import Directories
from blocker.sources.files.log_watches import LogWatches
from blocker.sources.files.look_thread import LookThread
from blocker.sources.files.naming import MISNAMED, directory_of, rotation_key, shown
from blocker.sources.files.open_files import OpenFiles
from blocker.sources.files.rotation_set import RotationSet
from blocker.sources.files.rounds import Rounds, Seen, is_in
from blocker.sources.files.stuck_paths import StuckPaths
from blocker.sources.files.write_times import WriteTimes
from blocker.sources.position import Position


class Findings(NamedTuple):
    """What a whole look has come to.

    Attributes:
        refusals: why files are no logs, by path.
        over_limit: files that were not opened, because too many are open.
    """

    refusals: Mapping[str, str]
    over_limit: int


class Survey:
    """Compares what is on disk with what is open and known.

    ``run`` touches the disk and is called in a thread, while nothing is read.  When it hangs, its
    thread is left behind, and another one runs it again.

    Args:
        patterns: globs of logs.
        known: how far files were judged in earlier runs.
        max_logs: files that are open at once.
        contents: what is in the directories.
        stuck: paths that threads still ask the disk about.
        watches: of the directories.

    Attributes:
        sets: the logs by path, in the order of the patterns.
        rounds: through the directories.
        seen: what the patterns match.
        thread: the one that looks.
        admission: which new paths are logs, and which are not, in this look or the last one.
        findings: of the last look that came to its end.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        known: Sequence[Position],
        max_logs: int,
        contents: Directories,
        stuck: StuckPaths,
        watches: LogWatches,
    ) -> None:
        self._patterns, self._known, self._max_logs = patterns, known, max_logs
        self._contents, self._stuck, self._watches = contents, stuck, watches
        self.rounds = Rounds(patterns, contents.clock)
        self.seen: Sequence[Seen] = self.rounds.seen()
        self.sets = self._expected()
        self.thread = LookThread()
        self.admission = self._new_admission()
        self.findings = Findings({}, 0)
        self._write_times = WriteTimes(self.thread.at)
        self._open_files = OpenFiles()
        self._dead: Sequence[str] = []

    def _new_admission(self) -> Admission:
        return Admission(self._known, self._contents, lambda: self.sets, lambda: self._open_files)

    def run(self) -> None:
        """Look at the directories and all files, in a thread."""
        self.thread.begin()
        while self.thread.late:
            rotation_set = self.thread.late.pop()
            self.sets = {rotation_set.path: rotation_set, **self.sets}
        self.admission = self._new_admission()
        self.rounds.look()
        self._note_unreachable()
        paths = self._matches()
        self._forget_rotation_sets(paths)
        self._contents.expire()
        strangers = self._strangers(paths)
        resting = self._beyond_limit(paths, strangers)
        self._open_files = self._index()
        for rotation_set in sorted(self.sets.values(), key=self._turn_of):
            if self._stuck.is_out(rotation_set):
                continue
            self.thread.at(rotation_set.path)
            if not rotation_set.rests(resting=rotation_set.path in resting):
                self._look_at(rotation_set)
        self.thread.at("")
        # Again: what was opened just now shows which paths are second names.
        self._open_files = self._index()
        # Of one pattern the links come last: rotated files stand beside the real name.
        new = [each for each in strangers if each not in resting]
        for order, _, path in sorted((paths[each], self._is_link(each), each) for each in new):
            self.thread.at(path)
            admitted = self.admission.admit(path, order)
            if admitted is None:
                continue
            if self.thread.is_left_behind:
                self.thread.late.append(admitted)  # another look takes it in
            self.thread.at(path)
            self.sets = {**self.sets, path: admitted}
            self._look_at(admitted)
        self.thread.at("")
        ordered = sorted(self.sets.values(), key=lambda each: (each.order, each.path))
        self.sets = {rotation_set.path: rotation_set for rotation_set in ordered}
        left_out = sum(each.left_out for each in ordered if not each.resting)
        self.findings = Findings(self.admission.refused, len(resting) + left_out)
        self._watch_directories()

    def _index(self) -> OpenFiles:
        """Return an index of what is open and known now."""
        sets = list(self.sets.values())
        reachable = [each for each in sets if not each.is_unreachable]
        return OpenFiles(
            chain.from_iterable(each.generations for each in reachable),
            lambda: chain(self._known, *(each.known.ends for each in sets)),
        )

    def _beyond_limit(self, paths: dict[str, int], strangers: Iterable[str]) -> set[str]:
        """Return the paths that are not followed now: of too many those written last are."""
        own = [
            path
            for path, each in self.sets.items()
            if (path in paths or each.generations) and not self._stuck.is_out(each)
        ]
        own += strangers
        if len(own) <= self._max_logs:
            return set()
        return self._write_times.beyond(own, self.sets, self._max_logs)

    def _strangers(self, paths: dict[str, int]) -> list[str]:
        """Return the paths of what may be a log that is not followed yet."""
        new = [path for path in paths if path not in self.sets]
        if self._dead or self._stuck.paths():
            new = [path for path in new if not (self._is_dead(path) or self._stuck.is_near(path))]
        lives = [(path, rotation_key(path)) for path in new]
        return sorted(
            path
            for path, live in lives
            if live == path or (live not in paths and live not in self.sets)
        )

    def _turn_of(self, rotation_set: RotationSet) -> tuple[bool, int, bool, str]:
        """Put those first that have files open: of a file with two names they open the successor.

        Nothing is asked about those that are out.
        """
        idle = not rotation_set.generations
        asked = idle and not self._stuck.is_out(rotation_set)
        return (
            idle,
            rotation_set.order,
            asked and self._is_link(rotation_set.path),
            rotation_set.path,
        )

    def _is_link(self, path: str) -> bool:
        self.thread.at(path)
        return Path(path).is_symlink()

    def _forget_rotation_sets(self, paths: Iterable[str]) -> None:
        """Drop the oldest paths that are gone, if there are far too many."""
        gone = [path for path, each in self.sets.items() if not each.generations]
        excess = len(self.sets) - 4 * self._max_logs
        for path in [path for path in gone if path not in paths][: max(0, excess)]:
            del self.sets[path]

    def _look_at(self, rotation_set: RotationSet) -> None:
        live = rotation_key(rotation_set.path)
        try:
            for generation in rotation_set.generations:
                generation.poll()
            if live != rotation_set.path and live in self.sets:
                rotation_set.drain()  # it was followed before its live path was there
                return
            rotation_set.look(self._room, self._open_files)
        except OSError as error:
            rotation_set.fail(f"{rotation_set.path}: {error.strerror or error}")
        finally:
            if not self.thread.is_left_behind:
                self._open_files.add(rotation_set.generations)

    def _room(self) -> int:
        """Return how many files may be opened; the longest quiet old ones make room."""
        if self.thread.is_left_behind:
            return 0  # the look that goes on instead opens files
        sets = self.sets.values()
        room = self._max_logs - sum([len(rotation_set.generations) for rotation_set in sets])
        if room > 0:
            return room
        ended = [
            (
                generation.activity.changed,
                rotation_set.order,
                generation.path,
                rotation_set,
                generation,
            )
            for rotation_set in sets
            for generation in rotation_set.generations
            if generation.state.draining and generation.at_end
        ]
        for *_, rotation_set, generation in sorted(ended, key=lambda each: each[:3])[: 1 - room]:
            rotation_set.release(generation)
        return room + min(len(ended), 1 - room)

    def _expected(self) -> dict[str, RotationSet]:
        """Return the rotation sets of known paths: they may be rotated away just now."""
        paths: dict[str, list[Position]] = {}
        for position in self._known:
            paths.setdefault(position.path, []).append(position)
        found = {}
        for path, known in paths.items():
            live = rotation_key(path)
            orders = [n for n, each in enumerate(self._patterns) if PurePath(path).match(each)]
            if orders and (live == path or (live not in paths and not os.path.lexists(live))):
                found[path] = RotationSet(path, orders[0], self._contents, known)
        return found

    def _matches(self) -> dict[str, int]:
        """Return the paths that the patterns match, with the index of the pattern.

        One that is not UTF-8 is refused: neither the store nor the metrics could name it.
        """
        found: dict[str, int] = {}
        self.seen = self.rounds.seen()
        seen = {each.pattern: each for each in self.seen}
        for order, pattern in enumerate(self._patterns):
            paths = [*seen[pattern].files, *seen[pattern].directories]
            for path in paths if glob.has_magic(pattern) else [pattern]:
                if (name := shown(path)) == path:
                    found.setdefault(path, order)
                else:
                    self.admission.refuse(name, MISNAMED)
        return found

    def _note_unreachable(self) -> None:
        """Leave alone what is in directories that do not answer."""
        self._dead, devices = self.rounds.aside.dead()
        for rotation_set in self.sets.values():
            hidden = self._is_dead(rotation_set.path)
            hidden = hidden or any(
                generation.file.device in devices for generation in rotation_set.generations
            )
            rotation_set.set_reachable(reachable=not hidden)

    def _is_dead(self, path: str) -> bool:
        return any(is_in(path, directory) for directory in self._dead)

    def _watch_directories(self) -> None:
        """Watch the directories of logs, as a step of a look: one may hang."""
        out = set(self._stuck.paths())
        out |= {directory_of(path) for path in out}
        paths = {directory_of(path) for path in [*self.sets, *self._patterns]} - out
        paths = {path for path in paths if not (glob.has_magic(path) or self._is_dead(path))}
        self._watches.ask_for_directories(sorted(paths), self.thread.at)
