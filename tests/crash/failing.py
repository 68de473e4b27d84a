"""A log on a disk that fails: what was written, what of it is left, and what has to be counted."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from crash.traffic import Traffic

Written = tuple[int, bytes]
"""A line with its number."""


class FailingLog:
    """One log that is rotated by renaming, by a writer that appends whole lines.

    After a power failure everything has to be counted once that was counted by then, or stands in
    the files; ``fail`` forgets what is neither.

    Attributes:
        gone: lines that were counted, and are not in the files any more.
    """

    def __init__(self, directory: Path, traffic: Traffic, rng: random.Random) -> None:
        directory.mkdir(parents=True)
        self.directory, self.traffic, self._rng = directory, traffic, rng
        self.path = directory / "access.log"
        self._history: list[Written] = []
        self._files: dict[bytes, list[Written]] = {}
        self._current: list[Written] = []
        self.numbers = self.rotations = self.gone = 0
        self._booted = False
        self.lost: list[bytes] = []
        self.open()

    # Writing -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file at the path, as a server does when it starts."""
        self._file = self.path.open("ab", buffering=0)

    def write(self, count: int) -> None:
        """Append lines of all kinds that a server logs."""
        self.append([self.traffic.line() for _ in range(count)])

    def append(self, lines: list[bytes]) -> None:
        """Append lines; before the first of a file one that is flushed.

        No other file begins with it, so that files are distinguished, by the daemon as well.  It is
        older than all others: where it alone is left, a line of the last second known counts again.
        """
        if not self._current:
            first = self.traffic.opening("10.1.2.3")
            self._file.write(first)
            os.fdatasync(self._file.fileno())
            self._files[first] = self._current
            self._note([first])
        elif self._booted:
            lines = [self.traffic.hit("10.1.2.3"), *lines]  # its time says that it is new
        self._booted = False
        self._file.write(b"".join(lines))
        self._note(lines)

    def _note(self, lines: list[bytes]) -> list[Written]:
        new = list(enumerate(lines, self.numbers))
        self.numbers += len(lines)
        self._history += new
        self._current += new
        return new

    @property
    def written(self) -> int:
        """How many lines have to be counted."""
        return len(self._history)

    def finish(self) -> None:
        """Nothing is ever half-written."""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def rotation(self) -> Iterator[str]:
        """Rename, then open a new file."""
        self.rotations += 1
        self.path.rename(self.directory / f"access.log-20260101{self.rotations:06d}")
        yield "create"
        self.close()
        self.open()
        self._current = []
        yield "create"

    # The power fails ---------------------------------------------------------------------------

    def fail(self, counted: int) -> None:
        """Look what is left, when the disk is there again and nothing writes.

        Args:
            counted: lines that the daemon has counted, as it remembers.
        """
        read = {number for number, _ in self._history[:counted]}
        left = [_lines(file) for file in self.directory.glob("access.log*")]
        mine = {lines[0]: lines for lines in left if lines}
        missing: set[int] = set()
        halves_read: set[bytes] = set()
        for first, lines in self._files.items():
            stand = self._recognised(lines, mine.get(first, []), read)
            numbers = {number for number, _ in stand}
            missing |= {number for number, _ in lines if number not in numbers}
            behind = lines[lines.index(stand[-1]) + 1 :] if stand and stand[-1] in lines else lines
            if behind and behind[0][0] in read:
                halves_read.add(first)
            lines[:] = stand
        self.gone += len(missing & read)
        self._history = [
            each for each in self._history if each[0] in read or each[0] not in missing
        ]
        self._go_on(halves_read)

    def _recognised(
        self, written: list[Written], stand: list[bytes], read: set[int]
    ) -> list[Written]:
        """Return the lines that stand in a file with their numbers; what is torn is a new line.

        Unless it begins like one that was counted: then it is that one.
        """
        found, at = [], 0
        for line in stand:
            place = next((n for n in range(at, len(written)) if written[n][1] == line), None)
            if place is not None:
                found.append(written[place])
                at = place + 1
                continue
            if at < len(written) and written[at][0] in read:
                found.append(written[at])
                at += 1
                continue
            place = self._history.index(found[-1]) + 1 if found else 0
            found.append((self.numbers, line))
            self._history.insert(max(len(read), place), found[-1])
            self.numbers += 1
        return found

    def _go_on(self, halves_read: set[bytes]) -> None:
        """Write on behind what the file at the path holds; half a line is ended by a broken one.

        Where what it begins with was counted, the log is rotated instead: whether the rest counts
        as a line depends on how much of the file the daemon knows.
        """
        lines = _lines(self.path) if self.path.exists() else []
        _clear_behind(self.path)
        self._current, self._booted = self._files[lines[0]] if lines else [], True
        self.open()
        half = self.path.read_bytes().rpartition(b"\n")[2].lstrip(b"\0")
        if half and lines and lines[0] in halves_read:
            list(self.rotation())
        elif half:
            self._file.write(b"! broken\n")
            self._note([half + b"! broken\n"])

    # What is left ------------------------------------------------------------------------------

    def purge(self, keep: int) -> None:
        """Delete all but the youngest rotated files."""
        for file in sorted(self.directory.glob("access.log-*"))[:-keep]:
            file.unlink()

    def lines(self, count: int | None = None) -> Iterator[bytes]:
        """Yield the lines that have to be counted, or the first of them."""
        for _, line in self._history[:count]:
            yield line


def _clear_behind(file: Path) -> None:
    """Write the last byte again, and with it the rest of its page, which is empty.

    On the platter older lines may stand there, of which the file system knows nothing.  It may
    bring them back when the power fails again: they could not be distinguished from new lines.
    """
    if file.exists() and file.stat().st_size:
        with file.open("r+b", buffering=0) as opened:
            opened.seek(-1, os.SEEK_END)
            last = opened.read(1)
            opened.seek(-1, os.SEEK_END)
            opened.write(last)
            os.fsync(opened.fileno())


def _lines(file: Path) -> list[bytes]:
    """Return the whole lines of a file, without NULs in front of them."""
    return [line.lstrip(b"\0") + b"\n" for line in file.read_bytes().split(b"\n")[:-1]]
