"""Neighbours that hang: bans go on beside each of them, and ``status`` names it.

The figures are printed (``pytest -s``): the time from a log line to the kernel's set, as ``nft``
shows it, beside each neighbour.
"""

import contextlib
import signal
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import fuse
from faults.frozen import FreezingDisk, freezing_disk
from support.daemons import ATTACKER4, daemon, line, wait_for, write

WORST = 3.0
"""Seconds from a line to the kernel, at most, on a busy machine."""
NAMED = 15.0
"""Seconds until ``status`` names the neighbour."""
ANSWERED = 10.0
"""Seconds until a command answers."""


@pytest.fixture
def service(netns, tmp_path):
    """A daemon that was not started yet."""
    with daemon(netns, tmp_path) as made:
        yield made


def delays(service, net: int, count: int = 15) -> list[float]:
    """Attack from so many addresses, one after the other; return the seconds until each ban."""
    taken = []
    for number in range(count):
        who = f"198.18.{net}.{number + 1}"
        began = time.monotonic()
        write(service.log, *[line(who)] * 3)
        wait_for(lambda who=who: service.left(who), f"a ban of {who}")
        taken.append(time.monotonic() - began)
    return taken


def banned_in_time(service, net: int, beside: str, calm: list[float]) -> None:
    """See bans come beside a neighbour as soon as without it."""
    taken = delays(service, net)
    median, before = statistics.median(taken), statistics.median(calm)
    sys.stdout.write(
        f"\nbans beside {beside}: median {median * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms"
        f" ({before * 1e3:.0f} and {max(calm) * 1e3:.0f} without)\n"
    )
    assert max(taken) < WORST


def banned_soon(service, *addresses: str) -> None:
    """See each of these banned, from its lines on, as soon as beside nothing that hangs."""
    for who in addresses:
        began = time.monotonic()
        write(service.log, *[line(who)] * 3)
        wait_for(lambda who=who: service.left(who), f"a ban of {who}")
        assert time.monotonic() - began < WORST


def named(service, *words: str) -> None:
    """Wait until a problem in ``status`` holds these words."""

    def problems() -> bool:
        return any(all(word in each for word in words) for each in service.status()["problems"])

    wait_for(problems, f"a problem with {words}", patience=NAMED)


def answered_in_time(service, *words: str):
    """Run a command and return how it ended; it must not take long."""
    began = time.monotonic()
    done = service.run(*words)
    assert time.monotonic() - began < ANSWERED
    return done


# The state ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def state_on_a_disk(service, directory) -> Iterator[FreezingDisk]:
    """Start the daemon with its state on a disk that can be frozen."""
    with freezing_disk(directory) as disk:
        service.state = disk.mount / "state.db"
        service.configure()
        service.start()
        yield disk


def see_a_ban_stored(service) -> None:
    """See one attacker banned, and the ban stored."""
    banned_soon(service, ATTACKER4)
    wait_for(service.bans, "the ban to be stored")


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
def test_a_state_that_hangs_delays_no_ban_and_no_command(service, tmp_path, kind):
    """Another program holds the database, or the disk below it is frozen."""
    with state_on_a_disk(service, tmp_path) as disk:
        write(service.log, *[line(ATTACKER4)] * 3)
        calm = delays(service, 1)
        service.until(bans=16)
        wait_for(lambda: len(service.bans()) == 16, "these to be stored")
        with held(service.state) if kind == "held" else frozen(disk) as let_go:
            banned_in_time(service, 2, f"a state that is {kind}", calm)
            named(service, str(service.state))
            done = answered_in_time(service, "unban", ATTACKER4)
            assert done.returncode == 1
            assert "not stored yet" in done.stderr
            assert service.left(ATTACKER4) is None
            assert answered_in_time(service, "ban", "192.0.2.7").returncode == 1
            assert service.left("192.0.2.7")
            let_go()
        service.until(bans=32)
        wait_for(lambda: len(service.bans()) == 31, "everything to be stored")
        assert ATTACKER4 not in service.bans()
        service.stop()


# The logs ----------------------------------------------------------------------------------------

KINDS = {
    "reading": [fuse.READ],
    "its size": [fuse.GETATTR],
    "everything": fuse.EVERYTHING,
}


def start_beside(service, disk: fuse.SlowDisk) -> Path:
    """Start the daemon on a log of this disk and its own; return the path of the first."""
    far = disk.mount / "access.log"
    disk.append(far.name, line("192.0.2.1", request="GET / HTTP/1.1"))
    service.logs = [str(far), str(service.log)]
    service.log.touch()
    service.configure()
    service.start()
    return far


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_hangs_delays_no_ban_from_the_others(service, tmp_path, kind):
    """As on a dead server; its own lines count when it answers again, none lost, none twice."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        far = start_beside(service, disk)
        disk.append(far.name, line("198.18.99.1") * 3)
        service.until_blocked("198.18.99.1")
        calm = delays(service, 1)
        disk.hang(*KINDS[kind])
        disk.append(far.name, line("198.18.99.2") * 3)
        wait_for(lambda: disk.withheld, "the daemon to ask")
        banned_in_time(service, 2, f"a log that hangs at {kind}", calm)
        named(service, str(far))
        assert answered_in_time(service, "ban", "192.0.2.7").returncode == 0
        assert service.metrics()[f'xmlrpc_blocker_log_up{{log="{far}"}}'] == 0
        banned_in_time(service, 3, f"a log that still hangs at {kind}", calm)
        disk.go_on()
        service.until_blocked("198.18.99.2")
        wait_for(lambda: not service.status()["problems"], "the problem to go")
        service.until(hits=3 * (2 + 3 * 15))


@pytest.mark.parametrize("how", ["reload", "restart"])
@pytest.mark.parametrize("kind", [fuse.LOOKUP, fuse.GETATTR], ids=["its name", "its size"])
def test_a_known_log_that_hangs_at_a_start_delays_no_ban_from_the_others(
    service, tmp_path, kind, how
):
    """A pattern leads to it, and where it was read to is stored."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        start_beside(service, disk)
        service.logs[0] = str(disk.mount / "*.log")
        service.configure()
        service.reload(" started: ")
        disk.append("access.log", line("198.18.99.1") * 3)
        service.until_blocked("198.18.99.1")
        wait_for(service.bans, "the ban to be stored")
        disk.hang(kind)
        if how == "reload":
            service.reload(" started: ")
        else:
            service.stop()
            service.start()
        banned_soon(service, ATTACKER4, "192.0.2.8")
        named(service, str(disk.mount))
        disk.append("access.log", line("198.18.99.2") * 3)
        disk.go_on()
        service.until_blocked("198.18.99.2")
        service.until(hits=12)


@pytest.mark.parametrize("when", ["live", "restart"])
@pytest.mark.parametrize("kind", ["its directory", "everything"])
def test_a_log_in_a_directory_that_hangs_delays_no_ban_from_the_others(
    service, tmp_path, kind, when
):
    """One below the mount, so that the way to the log hangs, too; the log is given by its name."""
    with fuse.slow_disk(tmp_path / "far", "inner") as disk:
        far = disk.mount / "inner" / "access.log"
        disk.append(far.name, line("198.18.99.1") * 3)
        service.logs = [str(far), str(service.log)]
        service.log.touch()
        service.configure()
        service.start()
        service.until_blocked("198.18.99.1")
        wait_for(service.bans, "the ban to be stored")
        if when == "restart":
            service.stop()
        disk.hang(*([fuse.LOOKUP] if kind == "its directory" else fuse.EVERYTHING))
        if when == "restart":
            service.start()
        wait_for(lambda: disk.withheld, "the daemon to ask")
        for number in range(8):  # over more than one look at everything
            banned_soon(service, f"192.0.2.{number + 1}")
            time.sleep(1)
        named(service, str(far.parent))
        disk.append(far.name, line("198.18.99.2") * 3)
        disk.go_on()
        service.until_blocked("198.18.99.2")
        service.until(hits=3 * (2 + 8))


def test_a_log_that_hangs_does_not_keep_the_daemon_from_ending(service, tmp_path):
    """It says that it has stopped, and everything is stored."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        far = start_beside(service, disk)
        disk.hang(fuse.READ)
        disk.append(far.name, line("198.18.99.2") * 3)
        wait_for(lambda: disk.withheld, "the daemon to ask")
        write(service.log, *[line(ATTACKER4)] * 3)
        service.until_blocked(ATTACKER4)
        service.process.terminate()
        wait_for(lambda: "stopped" in service.said(), "the end")
    assert service.process.wait(10) == 0
    service.start()
    assert list(service.bans()) == [ATTACKER4]


def test_a_file_system_that_vanishes_takes_its_own_log_along_only(service, tmp_path):
    """Closing a file of it is an error, and no reason to end: others are read, a reload works."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        start_beside(service, disk)
        service.until(lines=1)
    write(service.log, *[line(ATTACKER4)] * 3)
    service.until_blocked(ATTACKER4)
    service.reload(" started: ")
    write(service.log, *[line("198.18.99.2")] * 3)
    service.until_blocked("198.18.99.2")
    assert service.stop() == 0


# The service manager, and files of the configuration ----------------------------------------------


def test_a_service_manager_that_does_not_read_delays_no_ban(service, tmp_path):
    """Its socket is full; what it has to know arrives when it reads again."""
    path = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as crowd,
    ):
        manager.bind(path)
        service.start(NOTIFY_SOCKET=path)
        crowd.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                crowd.sendto(b"STATUS=of others", path)
        service.reload(" started: ")
        banned_soon(service, ATTACKER4)
        wait_for(lambda: not service.status()["problems"], "no problem")
        manager.settimeout(NAMED)
        heard = b""
        while b"READY=1" not in heard.partition(b"RELOADING=1")[2]:
            heard += manager.recv(4096)
        service.stop()


@pytest.mark.parametrize("what", ["configuration", "origins", "web"])
def test_files_that_hang_at_a_reload_delay_no_ban(service, tmp_path, what):
    """The configuration at work goes on, or the new one without what can't be read."""
    with fuse.slow_disk(tmp_path / "far") as disk:
        far, near = disk.mount / "file", service.config
        if what == "configuration":
            disk.append(far.name, near.read_text())
            service.config = far
        else:
            key = {"origins": "origins]\ncountry_db", "web": "metrics]\nweb_config"}[what]
            disk.append(far.name, "{}")
            service.configure(f'[{key} = "{far}"')
        service.start()
        disk.hang(*fuse.EVERYTHING)
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: disk.withheld, "the daemon to ask")
        banned_soon(service, ATTACKER4)
        named(service, str(far) if what != "configuration" else "last reload was refused")
        banned_soon(service, "192.0.2.8")
        disk.go_on()
        service.reload(" started: ")
        wait_for(lambda: not service.status()["problems"], "the problem to go")
        banned_soon(service, "192.0.2.9")
        disk.hang(*fuse.EVERYTHING)
        assert service.stop() == 0


# Reloads and starts beside a state that hangs -----------------------------------------------------


@pytest.mark.parametrize("kind", ["held", "frozen"])
def test_a_reload_beside_a_state_that_hangs_is_refused_while_bans_go_on(service, tmp_path, kind):
    """Also when there is nothing to be stored; a reload works when it lets go."""
    with state_on_a_disk(service, tmp_path) as disk:
        see_a_ban_stored(service)
        with held(service.state) if kind == "held" else frozen(disk) as let_go:
            service.process.send_signal(signal.SIGHUP)
            banned_soon(service, "192.0.2.8", "192.0.2.9")
            named(service, "last reload was refused", str(service.state))
            banned_soon(service, "192.0.2.10")
            let_go()
        wait_for(lambda: len(service.bans()) == 4, "everything to be stored")
        service.reload(" started: ")
        wait_for(lambda: not service.status()["problems"], "no problem")
        assert service.stop() == 0


def test_a_start_does_not_wait_for_another_holder_of_the_state(service):
    """What is stored can be read, and nothing has to be written first."""
    service.start()
    see_a_ban_stored(service)
    service.stop()
    with held(service.state) as let_go:
        service.start()
        banned_soon(service, "192.0.2.8")
        named(service, str(service.state))
        let_go()
    wait_for(lambda: len(service.bans()) == 2, "everything to be stored")
    wait_for(lambda: not service.status()["problems"], "the problem to go")


def test_a_start_on_a_frozen_disk_says_what_it_waits_for(service, tmp_path):
    """In the log and to the service manager, within seconds; when the disk answers, it starts."""
    path = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        state_on_a_disk(service, tmp_path) as disk,
    ):
        see_a_ban_stored(service)
        service.stop()
        manager.bind(path)
        manager.settimeout(NAMED)
        with frozen(disk) as let_go:
            service.launch(NOTIFY_SOCKET=path)
            wait_for(lambda: "the start waits for" in service.said(), "what the start waits for")
            assert str(service.state) in service.said().partition("the start waits for")[2]
            assert b"waits for" in manager.recv(4096)
            let_go()
        wait_for(lambda: service.said().count(" started: ") == 2, "the start")
        banned_soon(service, "192.0.2.8")


def test_a_stop_beside_a_frozen_state_with_nothing_to_store_ends(service, tmp_path):
    """It says so; the kernel may keep the dead process until the disk answers."""
    with state_on_a_disk(service, tmp_path) as disk:
        see_a_ban_stored(service)
        with frozen(disk):
            service.process.terminate()
            wait_for(lambda: "stopped" in service.said(), "the end")
        assert service.process.wait(ANSWERED) == 0


def test_unban_all_alone_says_what_it_could_not_store(service):
    """Everybody is unbanned, and a start would bring the bans back."""
    service.start()
    see_a_ban_stored(service)
    service.stop()
    with held(service.state):
        done = answered_in_time(service, "unban", "--all")
    assert done.returncode == 1
    assert "all bans are lifted" in done.stderr
    assert "restores them at its next start" in done.stderr
    assert service.left(ATTACKER4) is None
