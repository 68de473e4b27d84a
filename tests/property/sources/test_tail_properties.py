"""Through all that happens to a log, each of its lines is delivered once, in the order of its file.

The oracle is naive: it knows what was written to every generation of the file, and which of them
vanished before anybody could look.
"""

import asyncio
import gzip
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples

from blocker.sources.files.generation import Generation
from blocker.sources.files.seek import first_line_behind
from blocker.sources.files.tailer import FileTailer
from blocker.sources.position import Position
from blocker.sources.stream import Block

KEPT = 9


@dataclass(eq=False)
class Content:
    """What was written to one file between its creation, or truncation, and its end."""

    history: bool = False
    content: bytes = b""
    may_be_lost: bool = False
    cut: set[bytes] = field(default_factory=set)
    delivered: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        return self.content.splitlines(keepends=True)[: self.content.count(b"\n")]

    def left(self, lines: list[bytes]) -> list[bytes]:
        """Return those of the lines that were not cut off again."""
        return [line for line in lines if line not in self.cut]


class World:
    """A log, its rotated files and its writer; perhaps it has a second name."""

    def __init__(self, directory: Path, *, dated: bool, link: str = "") -> None:
        self.path = directory / "access.log"
        self.dated = dated
        self.day = 0
        self.generations: list[Content] = []
        self.rotated: list[tuple[Path, Content]] = []  # newest first
        self.deleted: list[Content] = []
        self.old: tuple[Content, int] | None = None
        self.number = 0
        if link:
            (directory / link).symlink_to(self.path)
        self.create()

    def create(self, *, history: bool = False) -> None:
        self.now = Content(history)
        self.generations.append(self.now)
        self.path.touch()

    def line(self) -> bytes:
        self.number += 1
        return b"%06d %s\n" % (self.number, b"x" * (self.number * 137 % 1500))

    def write(self, data: bytes) -> None:
        self.now.content += data
        with self.path.open("ab") as file:
            file.write(data)

    def append(self, count: int) -> None:
        self.write(b"".join(self.line() for _ in range(count)))

    def half(self) -> None:
        self.write(b"half a line, ")

    def write_old(self) -> None:
        """A writer that has not noticed yet that its file was renamed."""
        if self.old is not None:
            generation, descriptor = self.old
            line = self.line()
            generation.content += line
            os.write(descriptor, line)

    def stop_old(self) -> None:
        if self.old is not None:
            os.close(self.old[1])
            self.old = None

    def shift(self) -> Path:
        """Make room for the next rotated file, and return its path."""
        if self.dated:
            self.day += 1
            return self.path.with_name(
                f"access.log-{date(2024, 1, 1) + timedelta(self.day):%Y%m%d}"
            )
        moved = []
        for number in range(len(self.rotated), 0, -1):
            path, generation = self.rotated[number - 1]
            packed = ".gz" if path.suffix == ".gz" else ""
            moved.insert(0, (path.with_name(f"access.log.{number + 1}{packed}"), generation))
            path.rename(moved[0][0])
        self.rotated = moved
        return self.path.with_name("access.log.1")

    def rename(self, *, keep: bool, create: bool = True) -> None:
        if not self.path.exists():
            return
        self.stop_old()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        target = self.shift()
        self.path.rename(target)
        self.rotated.insert(0, (target, self.now))
        self.old = self.now, descriptor
        if not keep:
            self.stop_old()
        if create:
            self.create()

    def copytruncate(self) -> None:
        if not self.path.exists():
            return
        self.stop_old()
        target = self.shift()
        target.write_bytes(self.path.read_bytes())
        self.rotated.insert(0, (target, self.now))
        os.truncate(self.path, 0)
        self.now = Content()
        self.generations.append(self.now)

    def cut(self, count: int, *, move: bool) -> None:
        """Cut off the last lines, in place or by a copy that takes the place of the log.

        Two lines are left: no fewer are a proof.
        """
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        if len(lines) < 3:
            return
        kept = max(2, len(lines) - count)
        left = b"".join(lines[:kept])
        self.now.cut |= set(lines[kept:])
        self.now.content = b"".join(self.now.lines)
        if move:
            self.stop_old()
            other = self.path.with_name("x")
            other.write_bytes(left)
            other.rename(self.path)
        else:
            os.truncate(self.path, len(left))

    def delete(self, opened: set[int]) -> None:
        if self.path.exists():
            self.remove(self.path, self.now, opened)
        self.create()

    def pack(self, index: int) -> None:
        if index < len(self.rotated) and self.rotated[index][0].suffix != ".gz":
            self.stop_old()
            path, generation = self.rotated[index]
            target = path.with_name(path.name + ".gz")
            target.write_bytes(gzip.compress(path.read_bytes(), 1))
            path.unlink()
            self.rotated[index] = target, generation

    def expire(self, opened: set[int]) -> None:
        """Delete the oldest rotated file."""
        if self.rotated:
            self.remove(*self.rotated.pop(), opened)

    def remove(self, path: Path, generation: Content, opened: set[int]) -> None:
        """Delete a file; what is still open can be read until its reader dies."""
        generation.may_be_lost |= path.stat().st_ino not in opened
        self.deleted.append(generation)
        path.unlink()


def number_of(line: bytes) -> int | None:
    """Return the number of a line, which stands for its time."""
    found = re.search(rb"\d{6}", line)  # half a line may stand in front of it
    return int(found[0]) if found else None


class Consumer:
    """The daemon, in short: it reads, and what it has judged it commits with the positions."""

    def __init__(self, world: World, runner: asyncio.Runner) -> None:
        self.world, self.runner = world, runner
        self.stored: dict[tuple[str, bytes], Position] = {}
        self.committed: list[bytes] = []
        self.judged: list[bytes] = []
        self.places: list[Position] = []
        self.time = 0.0
        self.tailer = self.start()

    def start(self) -> FileTailer:
        async def beginning(log: Generation) -> int:
            if log.lost is None:
                return 0
            return await first_line_behind(log.file.fd, log.lost.tail, 0, number_of)

        async def tailer() -> FileTailer:
            return FileTailer(
                [str(self.world.path.parent / "*")],
                self.stored.values(),
                start_of=beginning,
                clock=lambda: self.time,
            )

        return self.runner.run(tailer())

    def opened(self) -> set[int]:
        return {log.file.inode for log in self.tailer.generations}

    def scan(self) -> None:
        self.runner.run(self.tailer.scan())

    def read(self, limit: int, most: int) -> Iterator[tuple[Generation, Block]]:
        for _ in range(most):
            logs = self.tailer.ready()
            if not logs:
                break
            block = self.runner.run(logs[0].read(limit))
            if block is not None:
                yield logs[0], block

    def judge(self, limit: int = 1 << 20, most: int = 1) -> None:
        for log, block in self.read(limit, most):
            self.judged += block.data.splitlines(keepends=True)
            self.places.append(log.position(block, len(block.data)))

    def commit(self) -> None:
        self.places = [*self.tailer.new_positions(), *self.places]
        self.stored |= {(place.path, place.head): place for place in self.places}
        self.committed += self.judged
        self.judged, self.places = [], []

    def commit_half(self) -> None:
        """Commit in the middle of a block, and crash."""
        self.commit()
        for log, block in self.read(1 << 20, 1):
            end = block.data.find(b"\n", len(block.data) // 2) + 1
            self.judged += block.data[:end].splitlines(keepends=True)
            self.places.append(log.position(block, end))
        self.commit()
        self.crash()

    def grow_old(self) -> None:
        """Let two hours pass; a writer of a renamed file ends meanwhile."""
        self.scan()
        self.world.stop_old()
        self.time += 7200

    def see_cut(self, count: int, how: str) -> None:
        """Read everything, commit it or not, and let the end of the log be cut off.

        One line leaves enough of the bytes that are known; beyond that the time says what is new,
        if the log is looked at before it is renamed.
        """
        for _ in range(2):  # a file that was closed just now makes it look again
            self.scan()
            self.judge(most=1000)
        if count % 2:
            self.commit()
        if "stop" in how:
            self.tailer.close()
        self.world.cut(count, move="moved" in how)
        if "stop" in how:
            self.crash()
        if count > 1:
            self.scan()

    def crash(self) -> None:
        self.judged, self.places = [], []
        for generation in self.world.deleted:
            generation.may_be_lost = True
        self.tailer.close()
        self.tailer = self.start()


def act(world: World, consumer: Consumer, name: str, amount: int) -> None:
    """Let one thing happen."""
    actions = {
        "append": lambda: world.append(amount),
        "half": world.half,
        "rename": lambda: world.rename(keep=False),
        "rename, writer stays": lambda: world.rename(keep=True),
        "rename, successor later": lambda: world.rename(keep=True, create=False),
        "write old": world.write_old,
        "copytruncate": world.copytruncate,
        "cut": lambda: consumer.see_cut(amount, name),
        "cut, moved": lambda: consumer.see_cut(amount, name),
        "stop, cut": lambda: consumer.see_cut(amount, name),
        "stop, cut, moved": lambda: consumer.see_cut(amount, name),
        "delete": lambda: world.delete(consumer.opened()),
        "pack": lambda: world.pack(amount % 3),
        "expire": lambda: world.expire(consumer.opened()),
        "scan": consumer.scan,
        "read": lambda: consumer.judge(most=amount),
        "read little": lambda: consumer.judge(200, 1),
        "commit": consumer.commit,
        "hours pass": consumer.grow_old,
        "commit half, crash": consumer.commit_half,
        "crash": consumer.crash,
    }
    if not world.path.exists() and name in {"append", "half"}:
        world.create()
    actions[name]()


NAMES = [
    *["append"] * 5, *["scan"] * 4, *["read"] * 3, *["commit"] * 2, "half", "rename",
    "rename, writer stays", "rename, successor later", "write old", "copytruncate", "delete",
    "cut", "cut, moved", "stop, cut", "stop, cut, moved", "pack", "expire", "read little",
    "hours pass", "commit half, crash", "crash",
]  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 5)), max_size=40)


def live(world: World, history: int, steps: list[tuple[str, int]]) -> None:
    """Let everything happen, and read all that is left."""
    for _ in range(history):
        world.now.history = True
        world.append(3)
        world.rename(keep=False)
    with asyncio.Runner() as runner:
        consumer = Consumer(world, runner)
        consumer.scan()
        consumer.commit()
        for name, amount in steps:
            act(world, consumer, name, amount)
        for _ in range(4):
            consumer.scan()
            consumer.judge(most=1000)
        consumer.commit()
        consumer.tailer.close()
    world.stop_old()
    owner = {line: each for each in world.generations for line in each.lines}
    for line in consumer.committed:
        assert line in owner, f"never written: {line!r}"
        owner[line].delivered.append(line)


@examples(150)
@given(st.booleans(), st.sampled_from(["", "a-link", "z-link"]), st.integers(0, 2), STEPS)
@example(
    dated=False,
    link="",
    history=0,
    steps=[("append", 2), ("append", 5), ("delete", 1), ("append", 1), ("read", 1)],
)
def test_every_line_is_delivered_once_and_in_order(dated, link, history, steps):
    """Rotations, truncations, packing, crashes: every line that stands somewhere comes once."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), dated=dated, link=link)
        live(world, history, steps)
    for each in world.generations:
        if each.history:
            assert not each.delivered
            continue
        assert len(each.delivered) == len(set(each.delivered))
        found = each.left(each.delivered)
        lines = each.left(each.lines)
        assert found == (lines[: len(found)] if each.may_be_lost else lines)
