"""A log and its writer, rotated in every way that logrotate and administrators have.

Each rotation is a generator: between two of its steps other things happen, kills among them.
What is deleted in the end is first copied to where the oracle finds it.
"""

import gzip
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from crash.traffic import Traffic

ROTATED = re.compile(r"access\.log[.-](\d+)(\.gz)?")


class WrittenLog:
    """One log with all that is left of it."""

    def __init__(self, directory: Path, traffic: Traffic, rng: random.Random, dated: bool) -> None:
        self.directory, self.traffic, self._rng, self._dated = directory, traffic, rng, dated
        self.path = directory / "access.log"
        self._attic = directory / "attic"
        self._attic.mkdir(parents=True)
        self._file = self.path.open("ab", buffering=0)
        self._half = b""
        self._losing = False
        self.rotations = 0
        self.lost: list[bytes] = []

    # Writing -----------------------------------------------------------------------------------

    def write(self, count: int) -> None:
        """Append lines; sometimes half of the last one is still to come."""
        self.append([self.traffic.line() for _ in range(count)])

    def append(self, lines: list[bytes]) -> None:
        """Append these lines, or, where copytruncate is at work, some that it may lose."""
        if self._losing:
            lines = self.traffic.gap(min(len(lines), 3))
            self.lost += lines
        data = self._half + b"".join(lines)
        keep = 0 if self._losing or self._rng.random() < 0.9 else self._rng.randrange(40)
        cut = len(data) - keep
        self._half = data[cut:]
        self._file.write(data[:cut])

    def finish(self) -> None:
        """Write what is still to come of a line."""
        self._file.write(self._half)
        self._half = b""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # Rotating ----------------------------------------------------------------------------------

    def rotation(self) -> Iterator[str]:
        """Rotate in one of the ways, chosen at random; yields its name after each step."""
        self.rotations += 1
        modes = (self._create, self._copytruncate, self._linger, self._compress)
        mode = self._rng.choice(modes)
        for _ in mode():
            yield mode.__name__.strip("_")

    def _first(self) -> Path:
        """Make room for the youngest rotated file and return its path."""
        if self._dated:
            return self.directory / f"access.log-20260101{self.rotations:06d}"
        for file in sorted(self.rotated(), key=_number, reverse=True):
            found = ROTATED.fullmatch(file.name)
            file.rename(self.directory / f"access.log.{_number(file) + 1}{found[2] or ''}")
        return self.directory / "access.log.1"

    def _create(self) -> Iterator[None]:
        self.path.rename(self._first())
        yield
        self._reopen()
        yield

    def _reopen(self) -> None:
        self.finish()
        self._file.close()
        self._file = self.path.open("ab", buffering=0)

    def _linger(self) -> Iterator[None]:
        """Rename, with a process that goes on writing to the old file for a while."""
        self.finish()
        first, old = self._first(), self._file
        self.path.rename(first)
        self._file = self.path.open("ab", buffering=0)
        for _ in range(self._rng.randrange(2, 7)):
            yield
            old.write(b"".join(self.traffic.lingering(self.rotations, self._rng.randrange(1, 4))))
        old.close()

    def _compress(self) -> Iterator[None]:
        first = self._first()
        self.path.rename(first)
        yield
        self._reopen()
        yield
        data = gzip.compress(first.read_bytes(), mtime=0)
        with Path(f"{first}.gz").open("wb", buffering=0) as packed:
            packed.write(data[: len(data) // 2])
            yield
            packed.write(data[len(data) // 2 :])
        yield
        first.unlink()

    def _copytruncate(self) -> Iterator[None]:
        self.finish()
        with self._first().open("wb", buffering=0) as copy, self.path.open("rb") as original:
            shutil.copyfileobj(original, copy)
            yield
            self.finish()
            shutil.copyfileobj(original, copy)
        self._losing = True
        yield
        self.append([b""] * self._rng.randrange(1, 4))
        yield
        os.ftruncate(self._file.fileno(), 0)
        self._losing = False

    # What is left ------------------------------------------------------------------------------

    def rotated(self) -> list[Path]:
        """Return the rotated files beside the log."""
        return [each for each in self.directory.iterdir() if ROTATED.fullmatch(each.name)]

    def _by_age(self) -> list[Path]:
        """Return the rotated files, the oldest first."""
        return sorted(self.rotated(), key=_number, reverse=not self._dated)

    def purge(self, keep: int) -> None:
        """Delete all but the youngest files; the oracle keeps copies."""
        for file in self._by_age()[:-keep]:
            packed = ".gz" if file.suffix == ".gz" else ""
            copy = self._attic / f"{len(list(self._attic.iterdir())):06d}{packed}"
            shutil.copyfile(file, copy)
            file.unlink()

    def lines(self) -> Iterator[bytes]:
        """Yield every line that stands anywhere, in the order of writing."""
        for file in [*sorted(self._attic.iterdir()), *self._by_age(), self.path]:
            data = file.read_bytes()
            data = gzip.decompress(data) if file.suffix == ".gz" else data
            yield from data.splitlines(keepends=True)


def _number(file: Path) -> int:
    return int(ROTATED.fullmatch(file.name)[1])
