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
another directory, or deleted, or whose name became a second one of another log, while nobody
looked.
"""

import asyncio
import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from threading import get_ident
from time import monotonic
from typing import NamedTuple

from blocker import inotify
from blocker.directories import Directories
from blocker.disks import FEW
from blocker.generation import Log, StartOf
from blocker.generations import Family, Index, furthest
from blocker.logfile import HANGS, PATIENCE, LogFile, Position, begun_in_thread, in_thread
from blocker.naming import MISNAMED, directory_of, rotation_key, shown
from blocker.rounds import Rounds, Seen, is_in

MAX_OUT = 8
"""Paths that may be left to a thread each; a further one that hangs is waited for."""
_FILE_EVENTS = inotify.MODIFY | inotify.CLOSE_WRITE
_DIRECTORY_EVENTS = (
    inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.ONLYDIR
)
MANY = 5000
"""Beyond so many logs that are not followed, as too many match, …"""
SHARE = 6
"""… one in so many is asked at each look when it was written."""


class _LeftBehindError(Exception):
    """Another look goes on instead of this one."""


class Standing(NamedTuple):
    """How one log stands.

    Attributes:
        path: of the log.
        up: whether it is there and can be read.
        lag_bytes: that were not read yet, those of rotated files included.
        lag_seconds: since which there have been any.
        last_line: when a line was last read, or else the file written; seconds since the epoch.
        rotations: how often the path became another file.
        truncations: how often a file of this path was truncated.
    """

    path: str
    up: bool = False
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    last_line: float = 0.0
    rotations: int = 0
    truncations: int = 0


class Tails:
    """Follows all files that match the patterns.

    Args:
        patterns: globs; ``**`` stands for any directories.
        known: how far files were judged in earlier runs.
        start_of: where to start in a log never seen before, and where to go on in one that lost
            its end.
        poll: seconds between two looks at everything, should the kernel's word get lost.
        max_logs: files that are open at once.
        clock: monotonic seconds.

    Attributes:
        logs: the open ones.
        over_limit: files that the last look did not open, because too many are open.
        overflows: how often the kernel's word got lost.
        looked_at: when the last look was done, monotonic seconds.
        rounds: through the directories.
        seen: what the patterns match.
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
        self._known = furthest(known)
        self._contents = Directories(clock)
        self.rounds = Rounds(self._patterns, clock)
        self.seen: Sequence[Seen] = self.rounds.seen()
        self._families = self._expected()
        self._out: dict[str, float] = {}
        """Paths about which a thread still asks the disk, and since when: nobody else touches what
        is there."""
        self.looked_at = monotonic()
        self._step: tuple[str, float] = "", 0.0
        """The path that the look is at, and since when."""
        self._looker = 0  # the thread that looks; one that was left behind is another
        self._late: list[Family] = []  # what a look that was left behind has admitted at last
        self._refusals: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        """The same of the look that is going on."""
        self._files: dict[str, tuple[tuple[int, int], int]] = {}
        self._turn = 0
        self._doubles: set[str] = set()
        self._second_names: set[str] = set()
        self._index = Index((), ())
        self._dead: Sequence[str] = []
        self._deaf: str | None = None
        self._wake = asyncio.Event()
        self._look = True
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._notify: inotify.Inotify | None = None
        self._directories: set[int] = set()
        self._watched: dict[int, Log] = {}
        self.logs: list[Log] = []
        self._lives: list[tuple[Family, Log | None]] = []
        self.over_limit = self.overflows = 0

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

    def _first(self, family: Family) -> Log | None:
        if self._is_out(family):
            return None
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

    def _is_out(self, family: Family) -> bool:
        """Whether threads still ask the disk about a family, or about some on the same disk."""
        dead = self._contents.disks.is_dead
        if family.unreachable or any(log.hangs or dead(log.device) for log in family.logs):
            return True
        return bool(self._out) and self._is_near(family.path)

    def _is_down(self, family: Family) -> bool:
        """Whether that has lasted long enough to be told."""
        if family.unreachable or any(log.hangs_for >= HANGS for log in family.logs):
            return True
        since = self._out.get(family.path)
        return since is not None and monotonic() - since >= HANGS

    def _is_near(self, path: str) -> bool:
        """Whether threads still ask about a path, or about some in its directory."""
        places = Counter(map(directory_of, self._out))
        return path in self._out or places[directory_of(path)] >= FEW

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by path."""
        now = monotonic()
        out = {path: now - since for path, since in self._out.items()}
        out |= {log.name: log.hangs_for for log in self.logs if log.hangs}
        found = dict(self._refusals)
        found |= {path: _hangs(path, seconds) for path, seconds in out.items() if seconds >= HANGS}
        if self._deaf is not None:
            found["inotify"] = self._deaf
        for family in self._families.values():
            found |= family.notes
            if family.error is not None:
                found[family.path] = family.error
        found |= {log.name: log.errors for log in self.logs if log.errors is not None}
        return found

    def standings(self) -> list[Standing]:
        """Return how each log stands; those that could not be opened are there, too.

        A log that is gone is none any more, unless it was asked for by its name; a second name is
        none at all, for what it leads to is read under the first.
        """
        logs: dict[str, list[Log]] = {}
        for log in self.logs:
            logs.setdefault(log.path, []).append(log)
        found = {
            family.path: _standing(family, live, logs.get(family.path, []))
            for family, live in self._lives
            if family.path in logs
            or not (family.gone or family.resting or family.path in self._second_names)
        }
        for family, _ in self._lives:
            if family.path in found and self._is_down(family):
                found[family.path] = found[family.path]._replace(up=False)
        named = (path for path in self._patterns if not glob.has_magic(path))
        missing = [path for path in named if path not in self._second_names]
        for path in (*missing, *self._refusals):
            found.setdefault(path, Standing(path))
        return list(islice(found.values(), self._max_logs))

    def close(self) -> None:
        """Let go of everything; nothing may be reading any more."""
        for timer in filter(None, (self._timer, self._again)):
            timer.cancel()
        if self._notify is not None:
            self._notify.close()
        for family in self._families.values():
            if family.path not in self._out:
                for log in family.logs:
                    log.close()
            family.logs = []
        self.logs, self._lives = [], []

    # Looking -----------------------------------------------------------------------------------

    async def scan(self) -> None:
        """Take one look at the directories and all files."""
        self._look = False
        while not await self._survey_in_time():
            pass
        for family in self._families.values():
            for log in family.fresh if not self._is_out(family) else ():
                await self._begin(family, log)
        for family in self._families.values():
            if not self._is_out(family):
                family.retire()
        self.logs = [log for family in self._families.values() for log in family.logs]
        # Noted here, where nobody is looking: a rotation that is half seen is no trouble.
        self._lives = [(family, family.live) for family in self._families.values()]
        for log in self.logs:
            log.when_back = self._look_again
        aliases = {family.path for family in self._families.values() if family.alias}
        self._second_names = self._doubles | aliases
        self._watch()
        if self.rounds.owed is not None:
            self._later(self.rounds.owed)
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
        self._step = "", monotonic()
        looking = begun_in_thread(self.survey)
        while not looking.done():
            try:
                await asyncio.wait({looking}, timeout=PATIENCE)
            except asyncio.CancelledError:
                await asyncio.wait({looking}, timeout=PATIENCE)
                if not looking.done():
                    self._leave(self._step[0], looking)
                raise
            path, since = self._step
            late = path and monotonic() - since >= PATIENCE
            if not looking.done() and late and len(self._out) < MAX_OUT:
                self._leave(path, looking)
                return False
        looking.result()
        return True

    def _leave(self, path: str, asking: "asyncio.Future[None]") -> None:
        """Leave a path to the thread that asks the disk about it."""
        self._looker = 0
        family = self._families.get(path)
        device = next((log.device for log in family.logs), 0) if family is not None else 0
        self._out[path] = monotonic()
        self._contents.disks.leave(device)
        asking.add_done_callback(lambda done: self._take_back(path, device, done))

    def _take_back(self, path: str, device: int, done: "asyncio.Future[None]") -> None:
        del self._out[path]
        self._contents.disks.take_back(device)
        if not done.cancelled():
            done.exception()  # the next look meets it again
        self._look_again()

    async def _begin(self, family: Family, log: Log) -> None:
        beginning = asyncio.ensure_future(self._begin_patiently(family, log))
        await asyncio.wait({beginning}, timeout=PATIENCE)
        if not beginning.done():
            self._leave(family.path, beginning)

    async def _begin_patiently(self, family: Family, log: Log) -> None:
        try:
            await in_thread(log.begin, await self._start_of(log))
        except OSError as error:
            family.error = f"{log.name}: {error.strerror or error}"
            return
        family.news.append(log.delivered)

    def _is_left_behind(self) -> bool:
        """Whether another look goes on instead of the one in this thread."""
        return get_ident() != self._looker

    def _at(self, path: str) -> None:
        """Note what the look asks the disk about next; one that was left behind ends here."""
        if self._is_left_behind():
            raise _LeftBehindError
        self._step = path, monotonic()

    def survey(self) -> None:
        """Do the part of ``scan`` that touches the disk, in a thread."""
        self._looker = get_ident()
        while self._late:
            family = self._late.pop()
            self._families = {family.path: family, **self._families}
        self._refused = {}
        self._doubles = set()
        self.rounds.look()
        self._note_unreachable()
        paths = self._matches()
        self._forget_families(paths)
        self._contents.expire()
        strangers = self._strangers(paths)
        resting = self._beyond_limit(paths, strangers)
        self._index = Index(self._known, self._families.values())
        for family in sorted(self._families.values(), key=_turn):
            if self._is_out(family):
                continue
            self._at(family.path)
            family.resting = family.path in resting
            if not (family.resting and family.rest()):
                self._look_at(family)
        self._at("")
        # Afresh: a second name has to be told from a log by what was opened just now.
        self._index = Index(self._known, self._families.values())
        # Of one pattern the links come last: rotated files stand beside the real name.
        new = [each for each in strangers if each not in resting]
        for order, _, path in sorted((paths[each], self._is_link(each), each) for each in new):
            self._at(path)
            admitted = self._admit(path, order)
            if admitted is None:
                continue
            if self._is_left_behind():
                self._late.append(admitted)  # another look takes it in
            self._at(path)
            self._families = {**self._families, path: admitted}
            self._look_at(admitted)
        self._at("")
        ordered = sorted(self._families.values(), key=lambda each: (each.order, each.path))
        self._families = {family.path: family for family in ordered}
        self.over_limit = len(resting) + sum(
            family.left_out for family in ordered if not family.resting
        )
        self._refusals = self._refused

    def _beyond_limit(self, paths: dict[str, int], strangers: Iterable[str]) -> set[str]:
        """Return the paths that are not followed now: of too many those written last are."""
        own = [
            path
            for path, each in self._families.items()
            if (path in paths or each.logs) and not self._is_out(each)
        ]
        own += strangers
        if len(own) <= self._max_logs:
            return set()
        files = self._files_of(own)
        written: dict[tuple[int, int], tuple[int, bool, str]] = {}
        for path, (identity, modified) in files.items():
            standing = modified, path in self._families, path
            written[identity] = max(standing, written.get(identity, standing))
        kept = set(sorted(written, key=written.__getitem__)[-self._max_logs :])
        return {path for path, (identity, _) in files.items() if identity not in kept}

    def _files_of(self, paths: Iterable[str]) -> dict[str, tuple[tuple[int, int], int]]:
        """Return device and inode, and time of modification in ns, of the files that are there.

        Of those that are not followed, and may be tens of thousands, a share is asked about at
        each look.
        """
        paths = list(paths)
        known, self._files = self._files if len(paths) > MANY else {}, {}
        self._turn += 1
        for number, path in enumerate(paths, self._turn):
            if path in known and path not in self._families and number % SHARE:
                self._files[path] = known[path]
                continue
            self._at(path)
            with suppress(OSError):
                info = os.stat(path)  # noqa: PTH116 - of very many paths
                self._files[path] = (info.st_dev, info.st_ino), info.st_mtime_ns
        self._at("")
        return self._files

    def _strangers(self, paths: dict[str, int]) -> list[str]:
        """Return the paths of what may be a log that is not followed yet."""
        new = [path for path in paths if path not in self._families]
        if self._dead or self._out:
            new = [path for path in new if not (self._is_dead(path) or self._is_near(path))]
        lives = [(path, rotation_key(path)) for path in new]
        return sorted(
            path
            for path, live in lives
            if live == path or (live not in paths and live not in self._families)
        )

    def _is_link(self, path: str) -> bool:
        self._at(path)
        return Path(path).is_symlink()

    def _forget_families(self, paths: Iterable[str]) -> None:
        """Drop the oldest paths that are gone, if there are far too many."""
        gone = [path for path, each in self._families.items() if not each.logs]
        excess = len(self._families) - 4 * self._max_logs
        for path in [path for path in gone if path not in paths][: max(0, excess)]:
            del self._families[path]

    def _look_at(self, family: Family) -> None:
        live = rotation_key(family.path)
        try:
            for log in family.logs:
                log.poll()
            if live != family.path and live in self._families:
                family.drain()  # it was followed before the log that it was rotated from was there
                return
            family.look(self._room, self._index)
        except OSError as error:
            family.error = f"{family.path}: {error.strerror or error}"
        finally:
            if not self._is_left_behind():
                self._index.add(family.logs)

    def _room(self) -> int:
        """Return how many files may be opened; the longest quiet old ones make room."""
        if self._is_left_behind():
            return 0  # whoever looks now counts
        families = self._families.values()
        room = self._max_logs - sum([len(family.logs) for family in families])
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

    def _expected(self) -> dict[str, Family]:
        """Return the families of known paths: they may be rotated away just now."""
        paths: dict[str, list[Position]] = {}
        for position in self._known:
            paths.setdefault(position.path, []).append(position)
        found = {}
        for path, known in paths.items():
            live = rotation_key(path)
            orders = [n for n, each in enumerate(self._patterns) if PurePath(path).match(each)]
            if orders and (live == path or (live not in paths and not os.path.lexists(live))):
                found[path] = Family(path, orders[0], self._contents, known)
        return found

    def _admit(self, path: str, order: int) -> Family | None:
        """Return a family for a path that is not followed yet, if it is a log of its own."""
        try:
            known = self._met(path)
        except OSError as error:
            self._refused[path] = f"{path}: {error.strerror or error}"
            return None
        return None if known is None else Family(path, order, self._contents, known)

    def _met(self, path: str) -> list[Position] | None:
        """Return what is known of a path not followed yet; None: it is no log of its own."""
        if os.path.realpath(path) in self._families:
            self._doubles.add(path)  # perhaps of a file that was made after the look at its log
            return None
        with LogFile(path) as file:
            if file.packed:
                return None
            if self._index.has_copied(file):
                self._doubles.add(path)
                return None
            own = [position for position in self._known if position.path == path]
            return own or [each._replace(path=path) for each in self._index.positions(file)]

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
                    self._refused[name] = f"{name}: {MISNAMED}"
        return found

    def _note_unreachable(self) -> None:
        """Leave alone what is in directories that do not answer."""
        self._dead, devices = self.rounds.aside.dead()
        for family in self._families.values():
            hidden = self._is_dead(family.path)
            family.unreachable = hidden or any(log.device in devices for log in family.logs)

    def _is_dead(self, path: str) -> bool:
        return any(is_in(path, directory) for directory in self._dead)

    # What the kernel says ----------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at everything once in a while: word may get lost, and some disks say nothing."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._poll, self._tick)
        self._look_again()
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
        paths = {path for path in paths if not (glob.has_magic(path) or self._is_dead(path))}
        for path in sorted(paths):
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
        self.overflows += any(mask & inotify.OVERFLOW for _, mask, _ in events)
        for watch, mask, _ in sorted(events, key=lambda event: event[1]):
            log = self._watched.get(watch)
            if log is None:
                self._look |= watch in self._directories or bool(mask & inotify.OVERFLOW)
            elif mask & inotify.IGNORED:
                log.watch = -1
                del self._watched[watch]
            else:
                log.changed, log.closed = now, bool(mask & inotify.CLOSE_WRITE)
                if mask & inotify.MODIFY:
                    log.note_more()
        self._wake.set()


def _hangs(path: str, seconds: float) -> str:
    return (
        f"{path}: its disk or file system has not answered for {seconds:,.0f} s; it is read when it"
        " does, and other logs meanwhile; `findmnt` shows what is mounted there"
    )


def _turn(family: Family) -> tuple[bool, int, bool, str]:
    """Put those first that have files open: of a file with two names they open the successor."""
    idle = not family.logs
    return idle, family.order, idle and Path(family.path).is_symlink(), family.path


def _standing(family: Family, live: Log | None, logs: Sequence[Log]) -> Standing:
    lags = [log.lag for log in logs]
    up = family.alias or (live is not None and live.errors is None and family.error is None)
    last = family.last_line
    if not last and live is not None and live.fd >= 0:
        last = live.written
    behind, since = sum(lag[0] for lag in lags), max((lag[1] for lag in lags), default=0.0)
    return Standing(family.path, up, behind, since, last, family.rotations, family.truncations)
