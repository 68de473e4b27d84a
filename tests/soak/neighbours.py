"""Neighbours of the daemon that fail at random while it is attacked, and recover.

None of them may cost a hit or a ban: a program that holds the database, the database's disk when it
is full or frozen, a log on a disk that does not answer, silent clients of the control socket and of
the metrics, another program's table in the kernel, a hypervisor that stops the process.
"""

import contextlib
import random
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from crash.victim import Victim
from faults import fuse
from faults.frozen import FreezingDisk

HARMLESS = '192.0.2.1 - - [10/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 6 "-" "-"\n'
SILENT_CLIENTS = 80
"""More than the control socket, and the metrics, serve at a time."""
METRICS_PORT = 9754
STRANGERS_TABLE = """
add table inet stranger
add set inet stranger crowd {{ type ipv4_addr; flags timeout; }}
add element inet stranger crowd {{ {} }}
delete table inet stranger
""".format(", ".join(f"198.18.{n >> 8}.{n & 255} timeout 1h" for n in range(2000)))


class Neighbours:
    """Lets neighbours fail for a while.

    Args:
        victim: the daemon; a log on a slow disk, and metrics, are added to its configuration.
        home: the disk that holds its database.
        directory: where the slow disk is mounted.
        rng: decides which answers that disk withholds, and how long each failure lasts.

    Attributes:
        home_fails: whether the database's disk is full or frozen: reading it, too, might wait.
    """

    def __init__(
        self, victim: Victim, home: FreezingDisk, directory: Path, rng: random.Random
    ) -> None:
        self._victim, self._home, self._rng = victim, home, rng
        self.home_fails = False
        directory.mkdir()
        self._disk = fuse.SlowDisk(directory)
        self._disk.append("far.log", HARMLESS)
        far = f'logs = ["{directory}/far.log", '
        text = victim.config.read_text()
        listen = f'listen = "127.0.0.1:{METRICS_PORT}"'
        assert text.count("logs = [") == text.count('listen = ""') == 1
        text = text.replace("logs = [", far).replace('listen = ""', listen)
        victim.config.write_text(text)
        self._ends: list[tuple[float, Callable[[], object]]] = []

    def fill_disk(self) -> None:
        """Leave no room on the database's disk, for up to six seconds."""
        if not self._home_is_to_fail():
            return
        heap = self._home.mount / "heap"
        with contextlib.suppress(OSError), heap.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        self._later(6, lambda: self._recover_home(heap.unlink))

    def freeze_disk(self) -> None:
        """Let every write to the database's disk wait, for up to six seconds."""
        if self._home_is_to_fail():
            self._home.freeze()
            self._later(6, lambda: self._recover_home(self._home.thaw))

    def _home_is_to_fail(self) -> bool:
        before, self.home_fails = self.home_fails, True
        return not before

    def _recover_home(self, mend: Callable[[], object]) -> None:
        mend()
        self.home_fails = False

    def hold_database(self) -> None:
        """Hold it for writing, for up to six seconds, as a backup does."""
        if self.home_fails:
            return
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
        """Connect to the control socket and to the metrics many times, and say nothing."""
        clients = []
        for family, address in [
            (socket.AF_UNIX, str(self._victim.directory / "control.sock")),
            (socket.AF_INET, ("127.0.0.1", METRICS_PORT)),
        ] * SILENT_CLIENTS:
            client = socket.socket(family, socket.SOCK_STREAM)
            client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            clients.append(client)
            with contextlib.suppress(OSError):
                client.connect(address)
        self._later(5, lambda: [client.close() for client in clients])

    def load_rules(self) -> None:
        """Load a large table of another program's, and delete it."""
        subprocess.run(["nft", "-f", "-"], input=STRANGERS_TABLE, text=True, check=True)

    def stop_process(self) -> None:
        """Stop the daemon for up to four seconds, as a hypervisor does that moves the machine."""
        process = self._victim.process
        process.send_signal(signal.SIGSTOP)
        self._later(4, lambda: process.send_signal(signal.SIGCONT))

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
