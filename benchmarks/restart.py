"""Starting again with many bans, and what many bans that stand cost."""

import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.daemons import Daemon
from support.namespaces import Namespace

from benchmarks.figures import Row, Section
from benchmarks.generate import repeated, write
from benchmarks.latency import bans
from benchmarks.machine import memory
from benchmarks.rig import (
    Answers,
    Kernel,
    Options,
    address,
    kernel,
    meanwhile,
    netlink_ear,
    running,
    say,
    status,
    wait,
)
from blocker.model import Ban
from blocker.store.records import Batch, NewRow
from blocker.store.store import Store
from blocker.times import SECOND

STANDING = {0: None, 10_000: None, 100_000: 2.0}
LONG = {1_000_000: 15.0}
DAY = 86_400 * SECOND
MILLION = 1_000_000
SAMPLE = 50
NEW = 10_000_000
"""Number of the first attacker that nobody banned yet."""
HOW = (
    "The bans are written into the store and a daemon loads them into the kernel (a boot). Then it "
    "is killed, and another one started: the time runs from its start until everybody due is "
    f"blocked and the service manager is told so. Meanwhile {SAMPLE} of the banned are asked for "
    "in the kernel every few milliseconds: whether any was ever missing. Then 50 new addresses are "
    "banned, one by one. Unread: four million lines of a busy site, a gigabyte, are appended while "
    "no daemon runs; metrics and `status` are asked while it catches up."
)
UNREAD = 4
"""Millions of lines, of a quarter of a gigabyte each."""


def fill(state: Path, count: int) -> None:
    """Write bans as a daemon would have, of a day's length, all of the last hour."""
    now = time.time_ns() // 1000
    store = Store(state)
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        made = [
            Ban(address(n).packed, "xmlrpc", now - n * 1000, now + DAY - n * 1000, 3, 1)
            for n in numbers
        ]
        rows = [NewRow(ban, applied=True) for ban in made]
        store.commit(Batch([], {}, rows, {}, now))
    store.close()


def began(service: Daemon, count: int, patience: float = 120) -> float:
    """Start a daemon and return the seconds until it was ready."""
    begun = time.perf_counter()
    process = service.launch()
    ready = wait(
        lambda: process.poll() is not None or service.said().count(" started: ") > count, patience
    )
    if process.poll() is not None:
        raise RuntimeError(service.said())
    return ready - begun


@contextmanager
def watched(home: Namespace, numbers: Sequence[int]) -> Iterator[list[int]]:
    """Ask the kernel for some of the banned all the time, and note how many are missing."""
    missing = [0]

    def watch(over: threading.Event) -> None:
        with home.inside(), kernel() as known:
            while not over.wait(0.005):
                missing.append(len(numbers) - known.has(numbers))

    with meanwhile(watch):
        yield missing


def once(directory: Path, count: int) -> dict[str, float]:
    """Boot, kill, start again, and ban somebody new."""
    directory.mkdir()
    fill(directory / "state.db", count)
    with running(directory, start=False) as (home, service):
        found = {"boot": began(service, 0)}
        service.process.kill()
        service.process.wait()
        sample = range(0, count, max(1, count // SAMPLE))
        with watched(home, sample) as missing:
            found["restart"] = began(service, 1)
        found["missing"] = max(missing)
        found["memory"] = memory(service.process.pid)
        ear = netlink_ear()
        ear.settimeout(20)
        hits = range(NEW, NEW + 50)
        spent = bans(ear, service.log, hits, lambda: status(service, "hits"))
        found["latency"] = statistics.median(spent)
        ear.close()
        with kernel() as known:
            check(known, count)
    return found


def unread(directory: Path, count: int, million: Path) -> dict[str, float]:
    """Start again with a log that has grown by a gigabyte meanwhile."""
    directory.mkdir()
    fill(directory / "state.db", count)
    with running(directory, start=False) as (home, service):
        began(service, 0)
        wait(lambda: "following" in service.said(), 20)
        service.stop()
        with service.log.open("ab") as log:
            log.writelines(repeated(million, UNREAD))
        with watched(home, range(0, count, count // SAMPLE)) as missing:
            begun = time.perf_counter()
            found = {"ready": began(service, 1)}
            with Answers(home, service) as answers:
                done = wait(lambda: status(service, "lines") >= UNREAD * MILLION, 120, 0.02)
        found["caught up"] = done - begun
        found["speed"] = service.log.stat().st_size / (1 << 20) / (done - begun)
        found["missing"] = max(missing)
        found["slowest status"], found["slowest metrics"] = answers.slowest
        service.log.unlink()
    return found


def check(known: Kernel, count: int) -> None:
    """All are there."""
    there = known.has(range(count))
    if there != count:
        raise RuntimeError(f"{there} of {count} bans are in the kernel")


def measure(options: Options) -> Section:
    """Run all sizes in turn."""
    sizes = {**STANDING, **(LONG if options.long else {})}
    most, limit = max(sizes.items())
    million = write(options.directory / "mixed", "mixed", MILLION)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in sizes}
    behind = []
    for turn in range(options.rounds):
        for count in sizes:
            found[count].append(once(options.directory / f"{turn}-{count}", count))
            say(f"{count:,} bans: {found[count][-1]}")
        behind.append(unread(options.directory / f"{turn}-unread", most, million))
        say(f"{most:,} bans, a gigabyte unread: {behind[-1]}")
    rows = []
    for count, asked in sizes.items():
        rows += rows_of(
            f"{count:,} standing bans",
            found[count],
            (
                ("boot", "ready after a boot", "s", None),
                ("restart", "ready after a restart", "s", asked),
                ("missing", "missing in the kernel meanwhile", "", 0 if count else None),
                ("memory", "memory", "MB", None if count else 45),
                ("latency", "latency of a new ban", "ms", 3),
            ),
        )
    rows += rows_of(
        f"{most:,} standing bans, a gigabyte unread",
        behind,
        (
            ("ready", "ready after a restart", "s", limit),
            ("caught up", "caught up", "s", None),
            ("speed", "caught up", "MB/s", None),
            ("missing", "missing in the kernel meanwhile", "", 0),
            ("slowest status", "slowest status", "ms", 100),
            ("slowest metrics", "slowest metrics", "ms", 100),
        ),
    )
    return Section("Standing bans", HOW, rows)


def rows_of(
    name: str,
    each: Sequence[dict[str, float]],
    figures: Iterable[tuple[str, str, str, float | None]],
) -> list[Row]:
    """Return a row for each figure: its key, what it is called, its unit, what is asked of it."""
    return [
        Row(f"{name}: {called}", unit, [one[key] for one in each], asked=asked)
        for key, called, unit, asked in figures
    ]
