"""The walk through the directories of one pattern of logs, one question to the disk at a time.

A ``Walk`` touches no disk: it yields the next question and is sent the answer.  So it can stop
after any question and go on later, and a directory that does not answer holds up only the question
about itself.  The ``put`` of a question asks the disk.

A first walk lists every directory.  After that the walk looks at the times of the directories, and
lists again those that have changed; as times do not tell everything, each is also listed again
now and then.

Links to directories:

* A fixed name and a wildcard (``*``) follow them, wherever they lead: control panels make such
  links (``/home/*/logs``).
* ``**`` does not follow them: what is behind them is found under its real name if it is in the
  tree, and is not in the tree otherwise.
* A directory is walked once for the same rest of a pattern, by device and inode, so links make no
  circle.  Real directories come before links, and a path without any link is walked in any case:
  a link never takes the place of the real name.

As in a shell, wildcards do not match names that begin with a dot, unless the pattern says so.
Every list has a ceiling; what is left out is counted in ``Walk.left_out``.
"""

import fnmatch
import glob
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, TypeAlias

MAX_PENDING = 200_000
"""Directories of one pattern that wait to be walked."""
MAX_KEPT = 100_000
"""Directories of one pattern whose listing is kept.  More are listed in walk after walk."""
MAX_MATCHES = 100_000
"""Names that one listing keeps, and paths in directories whose listing is not kept."""
MAX_CLOSED = 100
"""Directories named that can't be listed."""
MAX_OWNERS = 500_000
"""Directories of one pattern that are told from those that links lead to."""
AGE = 60.0
"""Seconds after which a directory is listed again, although its times have not changed …"""
MAX_LISTED = 100
"""… or more: so many of them in a second."""
BATCH = 256
"""Directories whose times are looked at in one go."""
_TICK = 50_000_000
"""Nanoseconds after which another change of a directory surely shows in its times."""
_GOLDEN = 0.618034

Stamp: TypeAlias = tuple[int, ...]
"""Device, inode, times of modification and change in ns; empty if the path is not there."""
THERE: Stamp = (0, 0)
"""The stamp of a path that is only looked up, and is there: whatever becomes of it is the same."""


# The pattern -----------------------------------------------------------------------------------


class Choice(NamedTuple):
    """What is looked for in a directory.  Parts of the pattern are bits of a mask.

    Attributes:
        deep: the ``**`` that go on in every directory below, with what may follow them.
        wanted: for each part that a name may match: whether it does, the mask below a directory of
            that name, and whether it is the last part.
    """

    deep: int
    wanted: tuple[tuple[Callable[[str], object], int, bool], ...]


class Pattern:
    """A pattern, cut into its parts.

    Attributes:
        start: the mask at the root.
        wild: the mask of the parts that need a listing.
    """

    def __init__(self, text: str) -> None:
        parts = text.split("/")
        parts = [part for part in parts[:-1] if part] + parts[-1:]
        if parts[-1] == "**":
            parts.append("*")
        self.parts = parts
        self.wild = sum(1 << n for n, part in enumerate(parts) if glob.has_magic(part))
        self._deep = sum(1 << n for n, part in enumerate(parts) if part == "**")
        self._matchers = [_matcher(part) for part in parts]
        self._choices: dict[int, Choice] = {}
        self.start = self.mask(0)

    def mask(self, number: int) -> int:
        """Return the mask from a part on: ``**`` stands for no directory, too."""
        found = 1 << number
        while found & self._deep & (1 << number):
            number += 1
            found |= 1 << number
        return found

    def fixed(self, mask: int) -> Iterator[tuple[str, int]]:
        """Yield the fixed names in a mask, each with the mask below it; 0 after the last part."""
        for number, part in enumerate(self.parts):
            if mask & ~self.wild & (1 << number):
                yield part, 0 if number + 1 == len(self.parts) else self.mask(number + 1)

    def choice(self, mask: int) -> Choice:
        """Return what a mask looks for."""
        if mask not in self._choices:
            deep = [n for n in range(len(self.parts)) if mask & self._deep & (1 << n)]
            wanted = [n for n in range(len(self.parts)) if mask & ~self._deep & (1 << n)]
            last = len(self.parts) - 1
            self._choices[mask] = Choice(
                _union(self.mask(n) for n in deep),
                tuple(
                    (self._matchers[n], 0 if n == last else self.mask(n + 1), n == last)
                    for n in wanted
                ),
            )
        return self._choices[mask]


def _union(masks: Iterator[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def _matcher(part: str) -> Callable[[str], object]:
    if not glob.has_magic(part):
        return part.__eq__
    matches = re.compile(fnmatch.translate(part)).match
    if part.startswith("."):
        return matches
    return lambda name: name[0] != "." and matches(name)


# What is asked ---------------------------------------------------------------------------------


class Listing(NamedTuple):
    """What was found in a directory.

    Attributes:
        stamp: of the directory; it equals no other if the directory may change again unseen.
        files: names that match, without directories.
        directories: names of directories that match.
        below: names of directories to be walked, with their mask, and whether they are links.
        looked_at: how many names there were.
        left_out: how many of them were too many.
        refused: the error, if the directory may not be listed, or not be searched.
    """

    stamp: Stamp
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    below: tuple[tuple[str, int, bool], ...] = ()
    looked_at: int = 1
    left_out: int = 0
    refused: str = ""


_ABSENT = Listing(())
_UNKNOWN = Listing((-1,))
"""Of a directory that does not answer: it is asked again at each look."""


class Ask(NamedTuple):
    """A question about one path.

    Attributes:
        path: what it is about.
        choice: what is looked for in the directory; None: whether the path is there.
        known: the last listing, which is returned if the directory has not changed.
        resolved: whether the path without any links is wanted, as the name of a directory.
    """

    path: str
    choice: Choice | None
    known: Listing | None = None
    resolved: bool = False

    @property
    def at(self) -> int:
        """How far the answer has come."""
        return 0

    @property
    def current(self) -> "Ask":
        """What is asked just now."""
        return self

    @property
    def entries(self) -> int:
        """How many directories are looked at, at least."""
        return 1

    def put(self) -> Listing:
        """Ask the disk."""
        try:
            return self._answer()
        except PermissionError as error:
            return Listing((), refused=error.strerror or "Permission denied")
        except OSError:
            return _ABSENT

    def _answer(self) -> Listing:
        if self.resolved:
            return Listing((), directories=(os.path.realpath(self.path),))
        if self.choice is None:
            return _looked_up(self.path)
        stamp = stamp_of(self.path)
        if self.known is not None and self.known.stamp == stamp:
            return self.known
        # The clock of a file system has ticks: what has just changed may change again unseen.
        settled = max(stamp[2:]) + _TICK < time.time_ns()
        stamp = stamp if settled else (*stamp[:2], -1, -1)
        try:
            return _listed(self.path, self.choice, stamp)
        except PermissionError as error:
            return Listing(stamp, refused=error.strerror or "Permission denied")
        except OSError:
            return Listing(stamp)


class Check:
    """The question which of many directories have changed.

    Attributes:
        paths: of them, with their last stamps.
        at: which of them is looked at just now.
        changed: numbers of those that have changed.
        spared: says which of them must not be looked at; they count as unchanged.
        given_up: whether nobody waits for the answer any more.
    """

    def __init__(self, paths: Sequence[tuple[str, Stamp]]) -> None:
        self.paths = paths
        self.at = 0
        self.changed: list[int] = []
        self.spared: Callable[[str, Stamp], bool] | None = None
        self.given_up = False

    @property
    def entries(self) -> int:
        """How many directories are looked at."""
        return len(self.paths)

    @property
    def current(self) -> Ask:
        """The directory that is looked at just now."""
        path, stamp = self.paths[self.at]
        return Ask(path, None, Listing(stamp))

    def put(self) -> Listing:
        """Ask the disk."""
        look = os.stat
        for number, (path, stamp) in enumerate(self.paths):
            self.at = number
            if self.spared is not None and self.spared(path, stamp):
                continue
            try:
                info = look(path)
                now: Stamp = (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns)
            except OSError:
                now = ()
            if self.given_up:
                break
            if now != stamp and not (now and stamp == THERE):
                self.changed.append(number)
        return _ABSENT


Question: TypeAlias = Ask | Check
Questions: TypeAlias = Generator[Question, Listing | None, None]
"""An answer of None: the disk does not answer."""


def stamp_of(path: str) -> Stamp:
    """Return the stamp of what a path leads to."""
    info = os.stat(path)  # noqa: PTH116 - of very many paths
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns


def _looked_up(path: str) -> Listing:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - of very many paths
        except OSError:  # it leads nowhere: opening it will say so
            return Listing((), files=(path,))
    if stat.S_ISDIR(mode):
        return Listing((), directories=(path,))  # a file may take its place: it is asked again
    return Listing(THERE, files=(path,))


def _listed(path: str, choice: Choice, stamp: Stamp) -> Listing:
    files: list[str] = []
    directories: list[str] = []
    below: list[tuple[str, int, bool]] = []
    looked_at, left_out = 1, 0
    with os.scandir(path) as entries:
        for entry in entries:
            looked_at += 1
            name = entry.name
            chosen = [(mask, last) for matches, mask, last in choice.wanted if matches(name)]
            if not chosen and not choice.deep:
                continue
            is_real, leads = _kind(entry)
            if not is_real and not chosen:
                continue
            if len(files) + len(directories) + len(below) >= MAX_MATCHES:
                left_out += 1
                continue
            if any(last for _, last in chosen):
                (directories if leads else files).append(name)
            mask = _union(mask for mask, _ in chosen)
            mask |= choice.deep if is_real and name[0] != "." else 0
            if leads and mask:
                below.append((name, mask, not is_real))
    return Listing(stamp, tuple(files), tuple(directories), tuple(below), looked_at, left_out)


def _kind(entry: "os.DirEntry[str]") -> tuple[bool, bool]:
    """Return whether an entry is a directory, and whether it is one or a link to one."""
    try:
        is_real = entry.is_dir(follow_symlinks=False)
        return is_real, is_real or (entry.is_symlink() and entry.is_dir())
    except OSError:
        return False, False  # whatever it is: opening it will say so


# The walk --------------------------------------------------------------------------------------

Key: TypeAlias = tuple[str, int]
"""Path, "" being the root, and mask of a directory; of a path that is only looked up the mask 0."""


class _Kept(NamedTuple):
    """A listing, and when it is too old, in monotonic seconds."""

    listing: Listing
    due: float


class _Turn:
    """What is at hand while directories are walked.

    Attributes:
        now: monotonic seconds.
        kept: listings, to be filled.
        before: those of the walk before.
        extra: matches in directories that are not kept.
        owners: under which key a directory was walked, by device, inode and mask.
        pending: what is to be walked.
        links: what is to be walked after everything else.
        left_out: how many names and directories were too many.
    """

    def __init__(self, now: float, before: dict[Key, _Kept]) -> None:
        self.now, self.before = now, before
        self.kept: dict[Key, _Kept] = {}
        self.extra: list[tuple[Key, Listing]] = []
        self.owners: dict[Stamp, Key] = {}
        self.pending: list[Key] = []
        self.links: list[Key] = []
        self.left_out = 0
        self._room = MAX_MATCHES

    @property
    def overflows(self) -> bool:
        """Whether not everything is kept."""
        return len(self.kept) >= MAX_KEPT or self.left_out > 0

    def keep(self, key: Key, listing: Listing, due: float) -> None:
        """Take a listing."""
        if len(self.kept) < MAX_KEPT or key in self.kept:
            self.kept[key] = _Kept(listing, due)
            return
        count = len(listing.files) + len(listing.directories)
        if count <= self._room:
            self._room -= count
            self.extra.append((key, listing._replace(below=())))
        else:
            self.left_out += count

    def push(self, key: Key, *, is_link: bool) -> None:
        """Note what is to be walked."""
        too_many = len(self.pending) + len(self.links) >= MAX_PENDING
        if too_many or (is_link and len(self.owners) >= MAX_OWNERS):
            self.left_out += 1
        else:
            (self.links if is_link else self.pending).append(key)

    def owner(self, key: Key, listing: Listing) -> Key:
        """Return under which key this directory was walked first."""
        identity = *listing.stamp[:2], key[1]
        if len(self.owners) < MAX_OWNERS:
            return self.owners.setdefault(identity, key)
        return self.owners.get(identity, key)


class Walk:
    """The directories of a pattern, kept up to date.

    Args:
        text: the pattern.

    Attributes:
        complete: whether all directories have been walked once.
        overflows: whether there are more than are kept, so that an update is not enough.
    """

    def __init__(self, text: str) -> None:
        self._pattern = Pattern(text)
        self._done = _Turn(0.0, {})
        self._building = self._done
        self._serial = 0
        self._matches: tuple[list[str], list[str]] | None = None
        self.complete = self.overflows = False

    @property
    def left_out(self) -> int:
        """How many names and directories were too many."""
        names = sum(listing.left_out for _, listing in self._listings())
        return names + max(self._done.left_out, self._building.left_out)

    def matches(self) -> tuple[list[str], list[str]]:
        """Return the paths of files that match, and of directories."""
        if self._matches is None or self._building is not self._done:
            self._matches = self._gathered()
        return self._matches

    def _gathered(self) -> tuple[list[str], list[str]]:
        files: set[str] = set()
        directories: set[str] = set()
        for (path, mask), listing in self._listings():
            names = listing.files, listing.directories
            for found, matching in zip((files, directories), names, strict=True):
                found.update(f"{path}/{name}" if mask else path for name in matching)
        return sorted(files), sorted(directories)

    def closed(self) -> list[tuple[str, str]]:
        """Return some directories that can't be listed or searched, with the error."""
        found = {
            (path if mask else path.rpartition("/")[0]) or "/": listing.refused
            for (path, mask), listing in self._listings()
            if listing.refused
        }
        return sorted(found.items())[:MAX_CLOSED]

    def _listings(self) -> Iterator[tuple[Key, Listing]]:
        """Yield the listings; while nothing is complete, or not all is kept, as far as it goes."""
        turns = [self._done] if self._building is self._done else [self._done, self._building]
        for turn in turns:
            for key, kept in turn.kept.items():
                listing = kept.listing
                if listing.files or listing.directories or listing.refused or listing.left_out:
                    yield key, listing
            yield from turn.extra

    def questions(self, now: float) -> Questions:
        """Yield what has to be known to see all directories once more, at a monotonic time."""
        if self.complete and not self.overflows:
            return self._update(now)
        return self._run(now)

    def _run(self, now: float) -> Questions:
        """Walk all directories; what has not changed is not listed again."""
        self._building = turn = _Turn(now, self._done.kept)
        turn.pending.append(("", self._pattern.start))
        yield from self._walk(turn)
        turn.before = turn.kept
        self._done, self.complete, self._matches = turn, True, None
        self.overflows = turn.overflows

    def _update(self, now: float) -> Questions:
        """Walk the directories that have changed, and those that are due."""
        turn = self._done
        turn.now = now
        keys = list(turn.kept)
        for start in range(0, len(keys), BATCH):
            yield from self._check(turn, keys[start : start + BATCH])

    def _check(self, turn: _Turn, keys: Sequence[Key]) -> Questions:
        while keys := [key for key in keys if key in turn.kept]:
            stamps = [turn.kept[key].listing.stamp for key in keys]
            check = Check(
                [(path or "/", stamp) for (path, _), stamp in zip(keys, stamps, strict=True)]
            )
            answered = yield check
            # What does not answer is left out; it is asked again at the next look.
            done = len(keys) if answered is not None else check.at
            changed = {number for number in check.changed if number < done}
            for number, key in enumerate(keys[:done]):
                kept = turn.kept.get(key)
                if kept is not None and (number in changed or kept.due <= turn.now):
                    yield from self._renew(turn, key)
            keys = keys[done + 1 :]

    def _renew(self, turn: _Turn, key: Key) -> Questions:
        """List a directory again, walk what is new below it, and drop what is gone."""
        if key not in turn.kept:
            return
        old, self._matches = turn.kept[key].listing, None
        identity = *old.stamp[:2], key[1]
        if turn.owners.get(identity) == key:
            del turn.owners[identity]
        yield from self._visit(turn, key)
        new = {child for child, _ in self._below(key, turn.kept[key].listing)}
        for child, _ in self._below(key, old):
            if child not in new:
                self._drop(turn, child)
        yield from self._walk(turn)
        self.overflows, self._matches = turn.overflows, None

    def _drop(self, turn: _Turn, key: Key) -> None:
        dropped = [key]
        while dropped:
            key = dropped.pop()
            kept = turn.kept.pop(key, None)
            listing = None if kept is None else kept.listing
            if listing is not None:
                identity = *listing.stamp[:2], key[1]
                if turn.owners.get(identity) == key:
                    del turn.owners[identity]
            if listing is not None or self._is_passed(key):
                dropped += [child for child, _ in self._below(key, listing)]

    def _walk(self, turn: _Turn) -> Questions:
        pending, links = turn.pending, turn.links
        while pending or links:
            key = pending.pop() if pending else links.pop()
            if self._is_passed(key):
                for child, _ in self._below(key, None):
                    turn.push(child, is_link=False)
            elif key not in turn.kept:
                yield from self._visit(turn, key)

    def _is_passed(self, key: Key) -> bool:
        """Whether nothing has to be known of a directory: only fixed names are looked for."""
        return bool(key[1]) and not key[1] & self._pattern.wild

    def _below(self, key: Key, listing: Listing | None) -> list[tuple[Key, bool]]:
        """Return what is to be walked below a directory, and whether it is a link."""
        path, mask = key
        if listing is None or listing.refused:
            # What can't be listed may still be searched for a name.
            fixed = self._pattern.fixed(mask)
            return [((f"{path}/{name}", below), False) for name, below in fixed]
        return [((f"{path}/{name}", below), is_link) for name, below, is_link in listing.below]

    def _visit(self, turn: _Turn, key: Key) -> Questions:
        """Look at a directory, or look up a path."""
        path, mask = key
        kept = turn.before.get(key)
        fresh = kept.listing if kept is not None and turn.now < kept.due else None
        choice = self._pattern.choice(mask) if mask else None
        found = yield Ask(path or "/", choice, fresh)
        if kept is not None and (found is None or found is fresh):
            found, due = kept.listing, kept.due
        else:
            found, due = found or _UNKNOWN, self._due(turn)
        if mask and len(found.stamp) > 2 and turn.owner(key, found) != key:
            real = yield Ask(path, None, resolved=True)
            if real is None or real.directories != (path,):
                found = found._replace(files=(), directories=(), below=())
        turn.keep(key, found, due)
        for child, is_link in self._below(key, found):
            turn.push(child, is_link=is_link)

    def _due(self, turn: _Turn) -> float:
        """Return when a directory is to be listed again: spread over time, so many a second."""
        self._serial += 1
        age = max(AGE, len(turn.kept) / MAX_LISTED)
        return turn.now + age * (0.5 + self._serial * _GOLDEN % 1 / 2)
