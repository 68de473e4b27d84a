"""What the benchmarks share: their options, and a daemon that is questioned while it works."""

import asyncio
import contextlib
import http.client
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple, Self

from support.daemons import Daemon, daemon
from support.namespaces import Namespace, namespace

from blocker.cli.client import ask
from blocker.errors import BlockerError
from blocker.firewall.firewall import Firewall
from blocker.firewall.ruleset import Layout
from blocker.model import Subject

FIRST = int(IPv4Address("240.0.0.0"))
"""A range that is nobody's (RFC 1112), and large enough for millions."""
QUESTIONS = 0.05
ROOT = Path(__file__).resolve().parent.parent


class Options(NamedTuple):
    """How to measure.

    Attributes:
        directory: for logs and databases; it vanishes.
        rounds: how often.
        long: also what takes long.
    """

    directory: Path
    rounds: int
    long: bool


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def has(program: str) -> bool:
    """Tell whether a program is installed."""
    return shutil.which(program) is not None


def ours(*logs: Path | str, config: Path | str = "/dev/null") -> list[str]:
    """Return our command for old logs."""
    words = ["-m", "blocker", "--config", str(config), "replay", "-o", "json"]
    return [sys.executable, *words, *map(str, logs)]


def grep(*words: Path | str) -> list[str]:
    """Return the command that all is compared with."""
    return ["grep", "-c", "xmlrpc.php", *map(str, words)]


def address(number: int) -> IPv4Address:
    """Return the address of an attacker."""
    return IPv4Address(FIRST + number)


def lines(numbers: Iterable[int]) -> str:
    """Return a hit of each attacker, stamped now."""
    stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    rest = f' - - [{stamp}] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n'
    return "".join(f"{address(number)}{rest}" for number in numbers)


def write(log: Path, text: str) -> float:
    """Append to a log; return when that was done."""
    with log.open("a") as file:
        file.write(text)
    return time.perf_counter()


@contextlib.contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have a thread work until the block ends, which it learns from the event."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def running(
    directory: Path, settings: str = "", logs: Sequence[Path] = (), *, start: bool = True
) -> Iterator[tuple[Namespace, Daemon]]:
    """A namespace with a daemon at work in it; the calling thread is inside as well."""
    directory.mkdir(exist_ok=True)
    with namespace() as home, home.inside(), daemon(home, directory, settings, logs) as service:
        service.log.touch()
        if start:
            service.start()
        yield home, service


def wait(condition: Callable[[], bool], patience: float, every: float = 0.002) -> float:
    """Ask until it is so; return when that was.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.perf_counter() + patience
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {patience:.0f} s")
        time.sleep(every)
    return time.perf_counter()


def status(service: Daemon, name: str) -> int:
    """Return a figure of the daemon's status; -1 while it does not answer."""
    try:
        return ask(str(service.socket), {"command": "status"})[name]
    except BlockerError:
        return -1


class Kernel:
    """Asks the kernel who is banned, by key: a large set is never listed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._firewall = Firewall(Layout())

    def close(self) -> None:
        """Let go of it."""
        self._loop.run_until_complete(self._firewall.close())
        self._loop.close()

    def has(self, numbers: Sequence[int]) -> int:
        """Return how many of these attackers are in the set."""
        return len(self._left([address(number).packed for number in numbers]))

    def _left(self, subjects: Sequence[Subject]) -> dict[Subject, int]:
        try:
            return self._loop.run_until_complete(self._firewall.left(subjects))
        except BlockerError:
            return {}

    def wait(self, numbers: Sequence[int], patience: float = 120.0) -> float:
        """Wait until all of these are in the set; return when they were.

        The last ones are asked for every 10 ms, which leaves the processors to those who are
        measured; all of them once, when those are there.
        """
        numbers, last = list(numbers), list(numbers[-3:])
        done = wait(lambda: self.has(last) == len(last), patience, 0.01)
        if self.has(numbers) < len(numbers):
            done = wait(lambda: self.has(numbers) == len(numbers), patience, 0.02)
        return done


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    """The kernel of the namespace that the calling thread is in."""
    made = Kernel()
    try:
        yield made
    finally:
        made.close()


class Answers:
    """Asks a daemon for metrics and for its status all the time, and notes the slowest answers."""

    def __init__(self, home: Namespace, service: Daemon) -> None:
        self._home, self._guard = home, service
        self._at_work = contextlib.ExitStack()
        self.control: list[float] = []
        self.metrics: list[float] = []

    def __enter__(self) -> Self:
        for ask_once, times in ((self._ask_status, self.control), (self._scrape, self.metrics)):
            self._at_work.enter_context(meanwhile(partial(self._repeat, ask_once, times)))
        return self

    def __exit__(self, *_: object) -> None:
        self._at_work.close()

    @property
    def slowest(self) -> tuple[float, float]:
        """The slowest answers of control and metrics, in milliseconds."""
        return max(self.control) * 1000, max(self.metrics) * 1000

    def _repeat(
        self, question: Callable[[], None], times: list[float], over: threading.Event
    ) -> None:
        with self._home.inside():
            while not over.wait(QUESTIONS):
                begun = time.perf_counter()
                question()
                times.append(time.perf_counter() - begun)

    def _ask_status(self) -> None:
        ask(str(self._guard.socket), {"command": "status"})

    @staticmethod
    def _scrape() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", 9947)) as connection:
            connection.request("GET", "/metrics")
            connection.getresponse().read()


def netlink_ear() -> socket.socket:
    """Return a socket that hears what the kernel announces about nftables in this namespace."""
    ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    ear.bind((0, 0))
    ear.setsockopt(270, 1, 7)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return ear
