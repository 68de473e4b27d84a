"""The walk through the directories of one pattern of logs, one question to the disk at a time.

A ``Walk`` touches no disk: it yields the next question and is sent the answer.  So it can stop
after any question and go on later, and a directory that does not answer holds up only the question
about itself.  The ``put`` of a question asks the disk.

A first walk lists every directory.  After that the walk looks at the times of the directories, and
lists again those that have changed; as times do not show everything, each is also listed again
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

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from blocker.sources.files.path_pattern import Pattern
from blocker.sources.files.questions import (
    BATCH,
    MAX_MATCHES,
    UNKNOWN,
    Ask,
    Check,
    Listing,
    Questions,
    Stamp,
)

MAX_PENDING = 200_000
"""Directories of one pattern that wait to be walked."""
MAX_KEPT = 100_000
"""Directories of one pattern whose listing is kept.  More are listed in walk after walk."""
MAX_CLOSED = 100
"""Directories named that can't be listed."""
MAX_OWNERS = 500_000
"""Directories of one pattern that are distinguished from those that links lead to."""
AGE = 60.0
"""Seconds after which a directory is listed again, although its times have not changed …"""
MAX_LISTED = 100
"""… or more: so many of them in a second."""
_GOLDEN = 0.618034


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
            found, due = found or UNKNOWN, self._due(turn)
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
