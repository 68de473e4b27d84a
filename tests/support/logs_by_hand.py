"""A bench on which logs are followed by hand: nothing happens until a test looks."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blocker.sources.files.generation import Generation, StartOf
from blocker.sources.files.generation import at_end_if_shorter as from_the_start
from blocker.sources.files.tailer import FileTailer
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK


class Bench:
    """Turns the crank of a ``FileTailer``, and keeps what it delivers and the positions."""

    def __init__(self, runner: asyncio.Runner, directory: Path) -> None:
        self.runner, self.directory = runner, directory
        self.path = directory / "access.log"
        self.time = 0.0
        self.known: dict[tuple[str, int, int, bytes], Position] = {}
        self.order: list[str] = []
        self.cut = 0
        self._tailer: FileTailer | None = None

    @property
    def tailer(self) -> FileTailer:
        """The tailer that was started."""
        assert self._tailer is not None
        return self._tailer

    def start(
        self, *patterns: str, start_of: StartOf = from_the_start, **options: Any
    ) -> FileTailer:
        """Start, or start again, from what is known."""
        self.stop()

        async def made() -> FileTailer:
            return FileTailer(
                patterns or [str(self.path)],
                list(self.known.values()),
                start_of=start_of,
                clock=lambda: self.time,
                **options,
            )

        self._tailer = self.runner.run(made())
        return self._tailer

    def stop(self) -> None:
        if self._tailer is not None:
            self._tailer.close()
            self._tailer = None

    def scan(self) -> None:
        self.runner.run(self.tailer.scan())

    def drain(self, limit: int = BLOCK) -> bytes:
        """Read what is ready, without another look, and judge it."""
        found = b""
        while logs := self.tailer.ready():
            for log in logs:
                block = self.runner.run(log.read(limit))
                if block is not None:
                    found += block.data
                    self.cut += block.lines_cut
                    self.order.append(Path(log.file.path).name)
                    self.note(log.position(block, len(block.data)))
        for position in self.tailer.new_positions():
            key = self.key(position)
            if key not in self.known:
                self.known[key] = position
        return found

    def note(self, position: Position) -> None:
        self.known[self.key(position)] = position

    def key(self, position: Position) -> tuple[str, int, int, bytes]:
        return position.path, position.device, position.inode, position.head

    def look(self) -> bytes:
        """Look until nothing more is found."""
        found = b""
        for _ in range(3):
            self.scan()
            found += self.drain()
        return found

    def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop run until something holds."""

        async def waited() -> None:
            async with asyncio.timeout(30):
                while not holds():  # noqa: ASYNC110 - its change sets no event
                    await asyncio.sleep(0.01)

        self.runner.run(waited())

    def log(self) -> Generation:
        (log,) = self.tailer.generations
        return log


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def rotate(path: Path, count: int = 5) -> None:
    """Rename as logrotate does: ``.1`` becomes ``.2`` and so on; packed files stay packed."""
    for number in range(count, 0, -1):
        for packed in ("", ".gz"):
            old = path.with_name(f"{path.name}.{number}{packed}")
            if old.exists():
                old.rename(path.with_name(f"{path.name}.{number + 1}{packed}"))
    path.rename(path.with_name(f"{path.name}.1"))


def copytruncate(path: Path) -> None:
    for number in range(5, 0, -1):
        old = path.with_name(f"{path.name}.{number}")
        if old.exists():
            old.rename(path.with_name(f"{path.name}.{number + 1}"))
    path.with_name(f"{path.name}.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
