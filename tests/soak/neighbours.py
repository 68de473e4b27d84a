"""Neighbours of the daemon that fail at random while it is attacked, and recover.

None of them may cost a hit or a ban: a program that holds the database, a log on a disk that does
not answer, clients that connect and stay silent.
"""

import contextlib
import random
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from crash.victim import Victim
from faults import fuse

HARMLESS = '192.0.2.1 - - [10/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 6 "-" "-"\n'
SILENT_CLIENTS = 80
"""More than the control socket serves at a time."""


class Neighbours:
    """Lets neighbours fail for a while.

    Args:
        victim: the daemon; a log on a slow disk is added to its configuration.
        directory: where that disk is mounted.
        rng: decides which of its answers the disk withholds, and for how long.
    """

    def __init__(self, victim: Victim, directory: Path, rng: random.Random) -> None:
        self._victim, self._rng = victim, rng
        directory.mkdir()
        self._disk = fuse.SlowDisk(directory)
        self._disk.append("far.log", HARMLESS)
        far = f'logs = ["{directory}/far.log", '
        text = victim.config.read_text()
        assert text.count("logs = [") == 1
        victim.config.write_text(text.replace("logs = [", far))
        self._ends: list[tuple[float, Callable[[], object]]] = []

    def hold_database(self) -> None:
        """Hold it for writing, for up to six seconds, as a backup does."""
        thief = sqlite3.connect(self._victim.state, isolation_level=None, timeout=0)
        with contextlib.suppress(sqlite3.OperationalError):  # the daemon is writing just now
            thief.execute("BEGIN IMMEDIATE")
        self._later(6, thief.close)

    def hang_log(self) -> None:
        """Let the disk withhold some kinds of answers, or all."""
        kinds = self._rng.choice([{fuse.READ}, {fuse.GETATTR}, {fuse.LOOKUP}, fuse.EVERYTHING])
        self._disk.append("far.log", HARMLESS)
        self._disk.hang(*kinds)
        self._later(8, self._disk.go_on)

    def stay_silent(self) -> None:
        """Connect to the control socket many times, and say nothing."""
        clients = []
        for _ in range(SILENT_CLIENTS):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            clients.append(client)
            with contextlib.suppress(OSError):
                client.connect(str(self._victim.directory / "control.sock"))
        self._later(5, lambda: [client.close() for client in clients])

    def _later(self, most: float, end: Callable[[], object]) -> None:
        self._ends.append((time.monotonic() + self._rng.uniform(0, most), end))

    def tick(self) -> None:
        """Let those recover whose time has come."""
        now = time.monotonic()
        due = [end for at, end in self._ends if at <= now]
        self._ends = [each for each in self._ends if each[0] > now]
        for end in due:
            end()

    def recover(self) -> None:
        """Let all of them recover: a process whose disk hangs can't even be killed."""
        ends, self._ends = self._ends, []
        for _, end in ends:
            end()

    def close(self) -> None:
        """Take the disk away."""
        self.recover()
        self._disk.close()
