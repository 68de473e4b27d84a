"""One daemon, one log, and lines that are written by hand: what the scenarios are written with."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from crash.oracle import SECOND, Oracle, subject
from crash.traffic import POLICIES
from crash.victim import Victim, kernel, until

FILLER = '192.0.2.9 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "{}"\n'


class Scene:
    """A daemon that follows one log, and everything ever written to it."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "logs" / "access.log"
        self.log.parent.mkdir()
        self.log.touch()
        self.victim = Victim(directory, [self.log], POLICIES)
        self.written: list[bytes] = []
        self.number = 0

    def install(self) -> None:
        """Start for the first time, until the daemon has written down that it met the log."""
        self.start()
        assert until(lambda: self.victim.living_store().positions)

    def start(self) -> None:
        self.victim.start()
        self.victim.wait_ready()

    def hits(self, *clients: str, ahead: float = 0) -> list[bytes]:
        """Return a hit of each, stamped now or so many seconds ahead."""
        stamp = f"{datetime.fromtimestamp(time.time() + ahead, UTC):%d/%b/%Y:%H:%M:%S} +0000"
        self.number += len(clients)
        lines = [
            f'{client} - - [{stamp}] "POST /xmlrpc.php?n={self.number}-{n} HTTP/1.1" 200 5 "-" "-"'
            for n, client in enumerate(clients)
        ]
        return [line.encode() + b"\n" for line in lines]

    def write(self, *lines: bytes, path: Path | None = None) -> None:
        """Append lines that are to be counted."""
        with (path or self.log).open("ab", buffering=0) as file:
            file.write(b"".join(lines))
        self.written += lines

    def filler(self, count: int) -> list[bytes]:
        """Return lines without hits, each different."""
        self.number += count
        return [FILLER.format(self.number - n).encode() for n in range(count)]

    def settled(self) -> bool:
        """Whether all lines are counted, and, after that, none twice."""
        return until(lambda: self.victim.lines() >= len(self.written), 15)

    def check(self) -> Oracle:
        """Compare store and kernel with what has been written, and return what had to be."""
        oracle = Oracle(POLICIES)
        oracle.read(str(self.log), self.written)
        assert self.settled(), f"{self.victim.lines()} of {len(self.written)} lines"
        stored = self.victim.living_store()
        for name in ("lines", "hits", "blocked", "late"):
            counted, real = (each.counts[str(self.log), name] for each in (stored, oracle))
            assert counted == real, f"{counted} {name} counted, {real} are real"
        assert stored.windows == oracle.windows
        assert stored.bans == oracle.bans
        self.check_kernel(oracle)
        return oracle

    def check_kernel(self, oracle: Oracle) -> None:
        now, held = time.time_ns() // 1000, kernel()
        standing = oracle.standing(now + 2 * SECOND)
        assert standing.keys() <= held.keys()
        assert held.keys() <= oracle.standing(now - 2 * SECOND).keys()
        for who, end in standing.items():
            assert abs(held[who] - end) <= 2 * SECOND

    def holds(self, client: str) -> bool:
        """Whether the kernel blocks an address."""
        return subject(client) in kernel()


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """A scene whose daemon does not outlive it."""
    made = Scene(directory)
    try:
        made.install()
        yield made
    finally:
        made.victim.close()
