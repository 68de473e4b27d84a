"""Neighbours that hang: bans go on beside each of them, and ``status`` names it.

The figures are printed (``pytest -s``): the time from a log line to the kernel's set, as ``nft``
shows it, beside each neighbour.
"""

import contextlib
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import fuse
from faults.frozen import freezing_disk
from integration.daemons import ATTACKER4, daemon, line, wait_for, write

WORST = 3.0
"""Seconds from a line to the kernel, at most, on a busy machine."""
NAMED = 15.0
"""Seconds until ``status`` names the neighbour."""
ANSWERED = 10.0
"""Seconds until a command answers."""


@pytest.fixture
def guard(netns, tmp_path):
    """A daemon that was not started yet."""
    with daemon(netns, tmp_path) as made:
        yield made


def delays(guard, net: int, count: int = 15) -> list[float]:
    """Attack from so many addresses, one after the other; return the seconds until each ban."""
    taken = []
    for number in range(count):
        who = f"198.18.{net}.{number + 1}"
        began = time.monotonic()
        write(guard.log, *[line(who)] * 3)
        wait_for(lambda who=who: guard.left(who), f"a ban of {who}")
        taken.append(time.monotonic() - began)
    return taken


def banned_in_time(guard, net: int, beside: str, calm: list[float]) -> None:
    """See bans come beside a neighbour as soon as without it."""
    taken = delays(guard, net)
    median, before = statistics.median(taken), statistics.median(calm)
    sys.stdout.write(
        f"\nbans beside {beside}: median {median * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms"
        f" ({before * 1e3:.0f} and {max(calm) * 1e3:.0f} without)\n"
    )
    assert max(taken) < WORST


def named(guard, *words: str) -> None:
    """Wait until a problem in ``status`` holds these words."""

    def problems() -> bool:
        return any(all(word in each for word in words) for each in guard.status()["problems"])

    wait_for(problems, f"a problem with {words}", patience=NAMED)


def answered_in_time(guard, *words: str):
    """Run a command and return how it ended; it must not take long."""
    began = time.monotonic()
    done = guard.run(*words)
    assert time.monotonic() - began < ANSWERED
    return done


# The state ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(path) -> Iterator[Callable[[], None]]:
    """Hold a database, as a backup does; yield what lets it go."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as thief:
        thief.execute("BEGIN IMMEDIATE")
        yield lambda: thief.execute("ROLLBACK")


@contextlib.contextmanager
def frozen(disk) -> Iterator[Callable[[], None]]:
    """Freeze a disk; yield what thaws it."""
    disk.freeze()
    try:
        yield disk.thaw
    finally:
        disk.thaw()


@pytest.mark.parametrize("kind", ["held", "frozen"])
def test_a_state_that_hangs_delays_no_ban_and_no_command(guard, tmp_path, kind):
    """Another program holds the database, or the disk below it is frozen."""
    with freezing_disk(tmp_path) as disk:
        guard.state = disk.mount / "state.db"
        guard.configure()
        guard.start()
        write(guard.log, *[line(ATTACKER4)] * 3)
        calm = delays(guard, 1)
        guard.until(bans=16)
        wait_for(lambda: len(guard.bans()) == 16, "these to be stored")
        with held(guard.state) if kind == "held" else frozen(disk) as let_go:
            banned_in_time(guard, 2, f"a state that is {kind}", calm)
            named(guard, str(guard.state))
            done = answered_in_time(guard, "unban", ATTACKER4)
            assert done.returncode == 1
            assert "not stored yet" in done.stderr
            assert guard.left(ATTACKER4) is None
            assert answered_in_time(guard, "ban", "192.0.2.7").returncode == 1
            assert guard.left("192.0.2.7")
            let_go()
        guard.until(bans=32)
        wait_for(lambda: len(guard.bans()) == 31, "everything to be stored")
        assert ATTACKER4 not in guard.bans()
        guard.stop()


# The logs ----------------------------------------------------------------------------------------

KINDS = {
    "reading": [fuse.READ],
    "its size": [fuse.GETATTR],
    "everything": fuse.EVERYTHING,
}


def start_beside(guard, disk: fuse.SlowDisk) -> Path:
    """Start the daemon on a log of this disk and its own; return the path of the first."""
    far = disk.mount / "access.log"
    disk.append(far.name, line("192.0.2.1", request="GET / HTTP/1.1"))
    guard.logs = [str(far), str(guard.log)]
    guard.log.touch()
    guard.configure()
    guard.start()
    return far


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_hangs_delays_no_ban_from_the_others(guard, tmp_path, kind):
    """As on a dead server; its own lines count when it answers again, none lost, none twice."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        far = start_beside(guard, disk)
        disk.append(far.name, line("198.18.99.1") * 3)
        guard.until_blocked("198.18.99.1")
        calm = delays(guard, 1)
        disk.hang(*KINDS[kind])
        disk.append(far.name, line("198.18.99.2") * 3)
        wait_for(lambda: disk.withheld, "the daemon to ask")
        banned_in_time(guard, 2, f"a log that hangs at {kind}", calm)
        named(guard, str(far))
        assert answered_in_time(guard, "ban", "192.0.2.7").returncode == 0
        assert guard.metrics()[f'xmlrpc_blocker_log_up{{log="{far}"}}'] == 0
        banned_in_time(guard, 3, f"a log that still hangs at {kind}", calm)
        disk.go_on()
        guard.until_blocked("198.18.99.2")
        wait_for(lambda: not guard.status()["problems"], "the problem to go")
        assert guard.status()["hits"] == 3 * (2 + 3 * 15)


def test_a_log_that_hangs_does_not_keep_the_daemon_from_ending(guard, tmp_path):
    """It says that it has stopped, and everything is stored."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        far = start_beside(guard, disk)
        disk.hang(fuse.READ)
        disk.append(far.name, line("198.18.99.2") * 3)
        wait_for(lambda: disk.withheld, "the daemon to ask")
        write(guard.log, *[line(ATTACKER4)] * 3)
        guard.until_blocked(ATTACKER4)
        guard.process.terminate()
        wait_for(lambda: "stopped" in guard.said(), "the end")
    assert guard.process.wait(10) == 0
    guard.start()
    assert list(guard.bans()) == [ATTACKER4]


def test_a_file_system_that_vanishes_takes_its_own_log_along_only(guard, tmp_path):
    """Closing a file of it is an error, and no reason to end: others are read, a reload works."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        start_beside(guard, disk)
        guard.until(lines=1)
    write(guard.log, *[line(ATTACKER4)] * 3)
    guard.until_blocked(ATTACKER4)
    guard.reload(" started: ")
    write(guard.log, *[line("198.18.99.2")] * 3)
    guard.until_blocked("198.18.99.2")
    assert guard.stop() == 0
