"""The real daemon as a process of its own, and what can be seen of it from outside."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from crash.oracle import Policy, Sentence

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
TABLE = "xmlrpc_blocker"


class Stored(NamedTuple):
    """What the database holds."""

    counts: Counter[tuple[str, str]]
    windows: dict[bytes, list[tuple[int, int]]]
    bans: Counter[Sentence]
    positions: int

    def ends(self) -> dict[bytes, int]:
        """Return when the latest ban of everybody ends, microseconds."""
        found: dict[bytes, int] = {}
        for ban in self.bans:
            found[ban.subject] = max(ban.until, found.get(ban.subject, 0))
        return found


def until(what: Callable[[], object], patience: float = PATIENCE, pause: float = 0.005) -> bool:
    """Wait until something is true; False if it never is."""
    deadline = time.monotonic() + patience
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


class Victim:
    """A daemon with a directory of its own, in the network namespace of the calling thread.

    Args:
        directory: of everything but the logs.
        logs: that it follows.
        policies: of its traps.
        state: the database, if that is somewhere else.
    """

    def __init__(
        self,
        directory: Path,
        logs: list[Path],
        policies: tuple[Policy, ...],
        state: Path | None = None,
    ) -> None:
        self.directory, self.state = directory, state or directory / "state.db"
        self.config = directory / "config.toml"
        self.config.write_text(_configuration(directory, self.state, logs, policies))
        self.journal = directory / "journal"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self._notify.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self.ready = False
        self.process: subprocess.Popen[bytes] | None = None

    # Life and death ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self._said()
        self.ready = False
        environment = os.environ | {"NOTIFY_SOCKET": str(self.directory / "notify")}
        python = [sys.executable, "-X", "faulthandler"]
        words = [*python, "-m", "blocker", "--config", str(self.config), "run"]
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=journal)

    def is_ready(self) -> bool:
        """Whether it has said READY since its start; it must not have died by itself."""
        said = self._said()  # always: a full pipe would stop the daemon in the end
        self.ready = self.ready or b"READY=1" in said
        assert self.process.poll() is None, f"the daemon died: {self.journal.read_text()[-2000:]}"
        return self.ready

    def wait_ready(self) -> None:
        assert until(self.is_ready), "not ready in time"

    def _said(self) -> bytes:
        said = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                said += self._notify.recv(4096)
        return said

    def kill(self) -> None:
        """End it as a power switch would end the process."""
        self.process.kill()
        self.process.wait()

    def reload(self) -> None:
        """Have it read its configuration again; it says READY after that."""
        self.is_ready()
        self.ready = False
        self.process.send_signal(signal.SIGHUP)

    def abort(self) -> None:
        """End it in a way that leaves what each of its threads was at in the journal."""
        self.process.send_signal(signal.SIGABRT)
        self.process.wait()

    def stop(self) -> None:
        """End it politely; in any case nothing is left running."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """Let go of everything."""
        self.stop()
        self._notify.close()

    # What it holds -----------------------------------------------------------------------------

    def living_store(self) -> Stored:
        """Read the database beside the daemon, in one transaction."""
        return _read_store(f"file:{self.state}?mode=ro")

    def dead_store(self) -> Stored:
        """Read a copy of what a killed daemon left, so that the next one finds it untouched."""
        with tempfile.TemporaryDirectory(dir=self.directory) as copy:
            for file in self.state.parent.glob(f"{self.state.name}*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, copy)
            return _read_store(f"file:{copy}/{self.state.name}")

    def lines(self) -> int:
        """Return how many lines have been counted."""
        with contextlib.closing(_connected(f"file:{self.state}?mode=ro")) as database:
            query = "SELECT total(value) FROM counters WHERE name = 'lines'"
            return int(database.execute(query).fetchone()[0])

    def offsets(self) -> list[int]:
        """Return how far the files have been judged."""
        with contextlib.closing(_connected(f"file:{self.state}?mode=ro")) as database:
            return [offset for (offset,) in database.execute("SELECT offset FROM positions")]


def kernel() -> dict[bytes, int]:
    """Return who is banned in the kernel and when that ends, microseconds, as ``nft`` says."""
    found = {}
    for name in ("ban4", "ban6"):
        words = ["nft", "-j", "list", "set", "inet", TABLE, name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        now = time.time_ns() // 1000
        for key, expires in _elements(done.stdout) if done.returncode == 0 else ():
            found[ip_address(key).packed] = now + expires * 1_000_000
    return found


def _elements(text: str) -> Iterator[tuple[str, int]]:
    for thing in json.loads(text)["nftables"]:
        for element in thing.get("set", {}).get("elem", ()):
            yield element["elem"]["val"], element["elem"]["expires"]


def _connected(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE)


def _read_store(address: str) -> Stored:
    with contextlib.closing(_connected(address)) as database:
        database.execute("BEGIN")
        counts = {
            (log, name): value
            for log, name, value in database.execute("SELECT log, name, value FROM counters")
        }
        query = "SELECT subject, trap, start, until, hits, offence FROM bans"
        bans = Counter(Sentence(*row) for row in database.execute(query))
        windows = {
            who: [_mark(marks[at : at + 8]) for at in range(0, len(marks), 8)]
            for who, marks in database.execute("SELECT subject, marks FROM windows")
        }
        (positions,) = database.execute("SELECT count(*) FROM positions").fetchone()
    return Stored(Counter(counts), windows, bans, positions)


def _mark(mark: bytes) -> tuple[int, int]:
    number = int.from_bytes(mark, "big")
    return number >> 8, number & 255


def _configuration(
    directory: Path, state: Path, logs: list[Path], policies: tuple[Policy, ...]
) -> str:
    names = ", ".join(f'"{log}"' for log in logs)
    lines = [
        f"logs = [{names}]",
        f'state = "{state}"',
        f'control = "{directory}/control.sock"',
        "[metrics]",
        'listen = ""',
    ]
    for policy in policies:
        lines += [
            f"[trap.{policy.name}]",
            f'path = "{policy.path.decode()}"',
            f"maxretry = {policy.maxretry}",
            f"findtime = {policy.findtime}",
            f"bantime = {policy.bantime}",
            f"bantime_factor = {policy.factor}",
            f"max_bantime = {policy.max_bantime}",
        ]
    return "\n".join([*lines, ""])
