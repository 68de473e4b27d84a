"""Neighbours that fail: the kernel, the disk, the logs, inotify, the clock, the metrics' port.

``docs/failure-modes.md`` says what the daemon does in each case; here it does it.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from socket import inet_aton

import pytest
import uvloop
from attrs import evolve
from support.daemons import (
    ATTACKER4,
    NEIGHBOUR4,
    PATIENCE,
    daemon,
    is_served,
    line,
    wait_for,
    write,
)

from blocker.config.schema import Config, MetricsConfig
from blocker.friends.shipped import shipped_lists
from blocker.service.intervals import Intervals
from blocker.service.runtime import LoadedConfig, Runtime, wall_clock

HOUR = 3600
P = "xmlrpc_blocker_"


@pytest.fixture
def service(network, tmp_path):
    """A daemon in the server's namespace, not started yet."""
    with daemon(network.server, tmp_path) as made:
        yield made


def attack(service, *addresses, times=3):
    """Write attacks into the log."""
    write(service.log, *(line(who) for _ in range(times) for who in addresses))


def strangers(count):
    """Return so many addresses that are not in use."""
    return [f"198.18.{n >> 8}.{n & 255}" for n in range(count)]


# The kernel ------------------------------------------------------------------------------------


def test_bans_wait_while_the_set_is_full(service):
    """What does not fit waits in the store, is reported and counted, and comes in later."""
    service.configure("[firewall]\nset_size = 4")
    service.start()
    first, later = strangers(4), ["198.18.9.1", "198.18.9.2"]
    attack(service, *first)
    service.until_blocked(*first)
    attack(service, *later)
    service.until(bans=6, hits=18)
    wait_for(lambda: "the kernel refuses" in service.status()["state"], "the refusal in the status")
    assert "the kernel refuses bans" in service.said()
    assert f"ban waits until the kernel accepts it: {later[0]} " in service.said()
    assert f" banned {later[0]}" not in service.said()
    assert service.metrics()[f"{P}waiting_bans"] == 2
    assert service.left(later[0]) is service.left(later[1]) is None
    assert [service.bans()[who]["enforced"] for who in later] == [False, False]
    for who in first[:2]:
        assert service.run("unban", who).returncode == 0
    service.until_blocked(*later)
    wait_for(lambda: service.metrics()[f"{P}waiting_bans"] == 0, "no ban to wait")
    wait_for(lambda: all(row["enforced"] for row in service.bans().values()), "all to be enforced")
    assert "the kernel accepts bans again" in service.said()


def test_bans_that_waited_are_enforced_after_a_restart(service):
    """Killed while the kernel refuses, the daemon still knows who is to be blocked."""
    service.configure("[firewall]\nset_size = 1")
    service.start()
    attack(service, "198.18.0.1")
    service.until_blocked("198.18.0.1")
    attack(service, "198.18.0.2")
    service.until(bans=2)
    service.stop(9)
    service.home.run("nft", "delete", "table", "inet", "xmlrpc_blocker")
    service.configure()
    service.start()
    assert service.left("198.18.0.1")
    assert service.left("198.18.0.2")


# The disk --------------------------------------------------------------------------------------

TINY_DISK = 'mount -t tmpfs -o size=400k none "$0" && exec "$@"'


def start_on_a_tiny_disk(service):
    """Start with the state on a disk of its own; return the path of a file that fills it."""
    disk = service.directory / "disk"
    disk.mkdir()
    state = f'state = "{service.state}"'
    service.config.write_text(
        service.config.read_text().replace(state, f'state = "{disk}/state.db"')
    )
    service.start(before=("unshare", "--mount", "sh", "-c", TINY_DISK, str(disk)))
    return Path(f"/proc/{service.process.pid}/root{disk}/filler")


def fill(filler):
    """Take what is free on a disk."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_stops_no_ban(network, service):
    """Attackers are banned, what can't be stored is kept, reported, and stored later."""
    filler = start_on_a_tiny_disk(service)
    fill(filler)
    attack(service, ATTACKER4, *strangers(400))
    service.until_blocked(ATTACKER4)
    wait_for(lambda: "nothing is stored" in service.status()["state"], "the status to say so")
    assert service.metrics()[f"{P}store_writable"] == 0
    assert "disk" in service.said()
    assert not is_served(network.server, network.attacker, ATTACKER4)
    filler.unlink()
    attack(service, NEIGHBOUR4)
    service.until_blocked(NEIGHBOUR4)
    service.until(bans=402, hits=3 * 402)
    wait_for(lambda: service.metrics()[f"{P}store_writable"] == 1, "the store to take changes")
    assert len(service.bans()) == 402, "what is listed is what is stored"


def test_a_reload_on_a_full_disk_is_refused_and_the_old_configuration_goes_on(network, service):
    """What could not be stored would be lost with it; when there is room again, it succeeds."""
    filler = start_on_a_tiny_disk(service)
    fill(filler)
    attack(service, ATTACKER4, *strangers(400))
    service.until_blocked(ATTACKER4)
    wait_for(lambda: "nothing is stored" in service.status()["state"], "the status to say so")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload refused" in service.said(), "the refusal")
    assert "could not be stored" in service.said()
    assert not is_served(network.server, network.attacker, ATTACKER4)
    attack(service, NEIGHBOUR4)
    service.until_blocked(NEIGHBOUR4)
    assert service.metrics()[f"{P}config_last_reload_successful"] == 0
    filler.unlink()
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: service.said().count("started: ") == 2, "the reload")
    service.until(bans=402, hits=3 * 402)
    assert len(service.bans()) == 402


def test_another_program_that_holds_the_database_delays_no_ban(service):
    """A backup, an administrator's sqlite3: the ban comes at once, and status names the cause."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.until(bans=1)
    with contextlib.closing(sqlite3.connect(service.state, isolation_level=None)) as thief:
        thief.execute("BEGIN IMMEDIATE")
        slowest = 0.0
        for who in strangers(20):
            began = time.monotonic()
            attack(service, who)
            service.until_blocked(who)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1
        wait_for(
            lambda: any("has locked" in problem for problem in service.status()["problems"]),
            "the status to name the cause",
        )
        assert list(service.bans()) == [ATTACKER4]
        assert service.status()["bans"] == 21
    service.until(bans=21)
    wait_for(lambda: len(service.bans()) == 21, "all to be stored")


def test_an_unban_holds_even_if_the_disk_fails(network, service):
    """While another program holds the database, unban and unban --all do it, and say what lacks."""
    service.start()
    attack(service, ATTACKER4, NEIGHBOUR4)
    service.until_blocked(ATTACKER4, NEIGHBOUR4)
    service.until(bans=2)
    with contextlib.closing(sqlite3.connect(service.state, isolation_level=None)) as thief:
        thief.execute("BEGIN EXCLUSIVE")
        for words in (("unban", ATTACKER4), ("unban", "--all")):
            done = service.run(*words)
            assert done.returncode == 1
            assert "unbanned, but that is not stored yet" in done.stderr.replace(" (1)", "")
            assert f"{service.state}: " in done.stderr
        assert service.left(ATTACKER4) is service.left(NEIGHBOUR4) is None
        assert is_served(network.server, network.attacker, ATTACKER4)
    assert "is not banned" in service.run("unban", ATTACKER4).stderr


def test_a_damaged_database_is_reported_and_left_alone(network, service):
    """It stops with advice, touches neither the file nor the kernel, and starts without it."""
    service.start()
    attack(service, ATTACKER4)
    service.until_blocked(ATTACKER4)
    service.stop()
    rubbish = b"this was a database" * 1000
    service.state.write_bytes(rubbish)
    assert service.launch().wait(PATIENCE) == 1
    assert f"{service.state}: file is not a database; move the file away" in service.said()
    assert "Traceback" not in service.said()
    assert service.state.read_bytes() == rubbish
    assert not is_served(network.server, network.attacker, ATTACKER4)
    for each in service.directory.glob("state.db*"):
        each.unlink()
    service.start()


def test_a_database_damaged_inside_is_reported(service):
    """A page in the middle that is none: a reason and advice, and no traceback."""
    service.start()
    attack(service, *strangers(300))
    service.until(bans=300)
    service.stop()
    with service.state.open("r+b") as file:
        for page in range(1, service.state.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    assert service.launch().wait(PATIENCE) == 1
    assert "move the file away" in service.said()
    assert "Traceback" not in service.said()


def test_a_database_of_a_newer_version_is_reported(service):
    """It is not guessed at: a reason, advice, and the file as it was."""
    service.start()
    service.stop()
    with contextlib.closing(sqlite3.connect(service.state)) as database:
        database.execute("PRAGMA user_version = 99")
    assert service.launch().wait(PATIENCE) == 1
    assert "schema 99 is newer than this program's" in service.said()
    assert "Traceback" not in service.said()


# Logs ------------------------------------------------------------------------------------------

AS_MERE_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


def test_a_log_that_vanishes_is_followed_again(service):
    """Deleted and made again, it is read from its beginning; in between the others are followed."""
    other = service.directory / "other.log"
    service.logs = [str(service.log), str(other)]
    service.configure()
    service.log.touch()
    other.touch()
    service.start()
    attack(service, "198.18.0.1")
    service.until_blocked("198.18.0.1")
    service.log.unlink()
    write(other, *[line("198.18.0.2")] * 3)
    service.until_blocked("198.18.0.2")
    attack(service, "198.18.0.3")
    service.until_blocked("198.18.0.3")
    service.until(hits=9)


def test_a_log_that_can_not_be_read_is_reported_and_tried_again(service):
    """Made unreadable by its rotation, it is named with the reason, and read later."""
    service.log.touch()
    service.start(before=AS_MERE_ROOT)
    attack(service, "198.18.0.1")
    service.until_blocked("198.18.0.1")
    service.log.rename(service.directory / "access.log.1")
    service.log.touch(mode=0)
    attack(service, "198.18.0.2")
    wait_for(lambda: f"{service.log}: Permission denied" in service.said(), "the reason")
    service.until(active_bans=1)
    service.log.chmod(0o644)
    service.until_blocked("198.18.0.2")
    wait_for(lambda: "resolved: " in service.said(), "that it is mended")


def test_a_log_that_turns_into_a_directory_is_reported_and_tried_again(service):
    """A directory in its place is no log: it is named, and the log is read when it is one.

    Whether the search for logs or the look at the log is first decides what is said.
    """
    service.log.touch()
    service.start()
    attack(service, "198.18.0.1")
    service.until_blocked("198.18.0.1")
    service.log.unlink()
    service.log.mkdir()
    reason = re.compile(
        rf"{re.escape(str(service.log))}(: it is a directory| can never match: .* directories only)"
    )
    wait_for(lambda: reason.search(service.said()), "the reason")
    service.log.rmdir()
    attack(service, "198.18.0.2")
    service.until_blocked("198.18.0.2")


@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_without_inotify_the_log_is_polled(service, limit):
    """When no watch is to be had, the daemon says so and notices new lines by looking."""
    service.log.touch()
    none_left = f'echo 0 > /proc/sys/user/{limit} && ip link set lo up && exec "$@"'
    service.start(
        before=("unshare", "--user", "--map-root-user", "--net", "sh", "-c", none_left, "-")
    )
    wait_for(lambda: "inotify: " in service.said(), "that there are no watches")
    attack(service, ATTACKER4)
    service.until(hits=3, bans=1)


# The clock, and the metrics' port, in a life that is lived here --------------------------------


class Notifier:
    """Hears what a service manager would hear, and notes which reloads are asked for."""

    def __init__(self):
        self.heard, self.reloads = [], []

    def notify(self, text):
        self.heard.append(text)


async def until(condition, what):
    """Wait without holding up the life."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def active_bans(runtime):
    """Return how many bans stand, IPv4 and IPv6."""
    return runtime.parts.engine.bans.active.count(runtime.parts.clock())


def live(directory, scenario, *, offset=None, addresses_again=HOUR, **settings):
    """Live a life with a clock that can be set, and chores that don't wait."""
    log = directory / "access.log"
    log.touch()
    config = evolve(
        Config(logs=(str(log),), state=f"{directory}/state.db", control=f"{directory}/c.sock"),
        **settings,
    )
    offset = offset or [0]

    loaded = LoadedConfig(config, shipped_lists())

    async def whole():
        notifier, stop = Notifier(), asyncio.Event()
        # Each is refused, as with a broken configuration: this life goes on.
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, notifier.reloads.append, "reload"
        )
        intervals = Intervals(
            status=0.05, metrics=0.05, addresses=0.05, addresses_again=addresses_again
        )
        runtime = Runtime(loaded, notifier, lambda: wall_clock() + offset[0], intervals)
        await runtime.begin()
        living = asyncio.ensure_future(runtime.live(stop))
        try:
            await scenario(runtime, notifier, log)
        finally:
            stop.set()
            await living
            await runtime.end()

    uvloop.run(whole())


def test_the_watchdog_is_fed_only_while_work_goes_round(netns, tmp_path, caplog, monkeypatch):
    """A batch that never ends is a standstill, however well the chores go on."""
    monkeypatch.setattr("blocker.service.watchdog.STANDSTILL", 0.5)

    async def scenario(runtime, notifier, log):
        await until(lambda: any("WATCHDOG=1" in each for each in notifier.heard), "the first word")
        async with runtime.parts.engine._lock:
            write(log, *[line(ATTACKER4)] * 3)
            await until(lambda: "WATCHDOG=1" not in notifier.heard[-1], "the silence")
            assert "no progress for" in caplog.text
            count = len(notifier.heard)
            await until(lambda: len(notifier.heard) > count + 3, "the chores to go on")
            assert not any("WATCHDOG=1" in each for each in notifier.heard[count:])
        await until(lambda: "WATCHDOG=1" in notifier.heard[-1], "work to go round")
        await until(lambda: active_bans(runtime)[0], "the ban")

    live(tmp_path, scenario)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_is_set_changes_no_end(netns, tmp_path, caplog, jump):
    """After an hour's jump every ban ends when it was to end, and lasts no longer than a day."""
    offset = [0]

    async def scenario(runtime, _notifier, log):
        write(log, *[line(ATTACKER4)] * 3)
        kernel = runtime.parts.firewall
        await until(lambda: active_bans(runtime)[0], "the ban")
        (before,) = [element.left for element in await kernel.dump(10)]
        offset[0] = jump * 1_000_000
        await until(lambda: "the clock was set" in caplog.text, "the clock to be noticed")
        expected = min(before - jump * 1000, 24 * HOUR * 1000)
        async with asyncio.timeout(PATIENCE):
            while abs((await kernel.dump(10))[0].left - expected) > 60_000:
                pass

    live(tmp_path, scenario, offset=offset)
    assert f"the clock was set by {jump} s" in caplog.text


def test_a_ban_that_is_over_when_the_clock_is_set_is_over_in_the_kernel(netns, tmp_path):
    """After a jump of more than a ban no address stays blocked."""
    offset = [0]

    async def scenario(runtime, _notifier, log):
        write(log, *[line(ATTACKER4)] * 3)
        kernel = runtime.parts.firewall
        await until(lambda: active_bans(runtime)[0], "the ban")
        assert await kernel.dump(10)
        offset[0] = 25 * HOUR * 1_000_000
        async with asyncio.timeout(PATIENCE):
            while await kernel.dump(10):
                pass

    live(tmp_path, scenario, offset=offset)


YEAR = 365 * 24 * HOUR


@pytest.mark.parametrize("jump", [HOUR, 8 * HOUR, YEAR, -HOUR, -8 * HOUR, -YEAR])
def test_a_clock_that_was_wrong_for_a_moment_makes_no_address_immune(netns, tmp_path, caplog, jump):
    """Whom the log showed meanwhile is banned by three hits afterwards, as anybody else."""
    caplog.set_level("INFO")
    offset, seen = [0], strangers(5)
    banned_meanwhile, all_of_them = "198.18.9.9", [*seen, "198.18.8.8", "198.18.9.9", ATTACKER4]

    async def scenario(runtime, _notifier, log):
        engine, kernel = runtime.parts.engine, runtime.parts.firewall
        write(log, *[line(ATTACKER4)] * 3)
        await until(lambda: active_bans(runtime)[0] == 1, "the first ban")
        offset[0] = jump * 1_000_000
        await until(lambda: f"the clock was set by {jump} s" in caplog.text, "the wrong clock")
        write(log, *(line(who, ago=-jump) for who in seen))
        write(log, *[line(banned_meanwhile, ago=-jump)] * 3)
        await until(
            lambda: engine.ledger.counters[str(log), "hits"] == 11, "the hits under the wrong clock"
        )
        offset[0] = 0
        await until(lambda: f"the clock was set by {-jump} s" in caplog.text, "the right clock")
        write(log, *(line(who) for _ in range(3) for who in (*seen, "198.18.8.8")))
        await until(lambda: active_bans(runtime)[0] >= 7, "the bans")
        async with asyncio.timeout(PATIENCE):
            while len(standing := {e.subject: e.left for e in await kernel.dump(99)}) < 7:
                pass
        assert {inet_aton(who) for who in (*seen, "198.18.8.8", ATTACKER4)} <= standing.keys()
        assert max(standing.values()) <= 24 * HOUR * 1000

    live(tmp_path, scenario, offset=offset)
    again = set()

    async def later(runtime, _notifier, _log):
        again.update(e.subject for e in await runtime.parts.firewall.dump(99))

    live(tmp_path, later)
    expected = all_of_them if jump > 0 else [who for who in all_of_them if who != banned_meanwhile]
    assert {inet_aton(who) for who in expected} <= again


def test_a_start_while_the_clock_is_a_year_ahead_forgets_no_ban(netns, tmp_path):
    """The bans are read back when the clock is right, in that run and in the next."""
    offset = [0]

    async def scenario(runtime, _notifier, log):
        write(log, *[line(ATTACKER4)] * 3)
        await until(lambda: active_bans(runtime)[0] == 1, "the ban")

    async def ahead(runtime, _notifier, _log):
        async with asyncio.timeout(PATIENCE):
            while await runtime.parts.firewall.dump(10):
                pass
            offset[0] = 0
            while not await runtime.parts.firewall.dump(10):
                pass
        assert active_bans(runtime) == (1, 0)

    live(tmp_path, scenario)
    offset[0] = YEAR * 1_000_000
    live(tmp_path, ahead, offset=offset)


def test_the_metrics_come_when_their_port_is_free(netns, tmp_path, caplog):
    """A taken port is reported, in the status too, and tried again until it is free."""
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def scenario(runtime, notifier, _log):
            await until(
                lambda: any(f"no metrics at 127.0.0.1:{port}" in text for text in notifier.heard),
                "the service manager to hear of it",
            )
            taken.close()
            await until(lambda: not runtime.health.metrics_error, "the metrics")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert b"200 OK" in await reader.readline()
            writer.close()

        live(tmp_path, scenario, metrics=MetricsConfig(listen=f"127.0.0.1:{port}"))
    assert caplog.text.count(f"no metrics at 127.0.0.1:{port}") == 1
    assert f"metrics are served at 127.0.0.1:{port} now" in caplog.text


def test_a_kernel_that_is_busy_is_waited_for(network, service):
    """While others change their rulesets without end, bans come in all the same."""
    busy = "while :; do nft add table inet busy; nft delete table inet busy; done"
    service.start()
    noise = subprocess.Popen(network.server.command("sh", "-c", busy), start_new_session=True)
    try:
        for who in strangers(20):
            attack(service, who)
        service.until_blocked(*strangers(20))
    finally:
        os.killpg(noise.pid, 9)
        noise.wait(PATIENCE)
    service.until(bans=20)


# The host's own addresses ----------------------------------------------------------------------


async def some_looks(notifier):
    """Wait while the addresses are looked at a few times: as often as the status is reported."""
    count = len(notifier.heard) + 5
    await until(lambda: len(notifier.heard) >= count, "the status to be reported")


def address(netns, what, text):
    """Give the host an address, or take it away."""
    netns.run("ip", "address", what, text, "dev", "lo")


def test_an_address_that_the_host_gets_later_becomes_a_friend(netns, tmp_path):
    """Another life begins when the host's own addresses have changed."""

    async def scenario(_runtime, notifier, _log):
        address(netns, "add", "198.51.100.200/32")
        await until(lambda: notifier.reloads, "a reload")

    live(tmp_path, scenario)


def test_a_link_that_comes_or_goes_is_no_reload(netns, tmp_path):
    """A container's start gives the host a link-local address, its end takes it away."""

    async def scenario(_runtime, notifier, _log):
        for what in ("add", "del"):
            address(netns, what, "fe80::200/64")
            address(netns, what, "169.254.7.7/32")
            await some_looks(notifier)
        assert not notifier.reloads
        address(netns, "add", "2001:db8:5::200/128")
        await until(lambda: notifier.reloads, "a reload")

    live(tmp_path, scenario)


def test_a_refused_reload_is_asked_for_again_when_addresses_change_again(netns, tmp_path, caplog):
    """The life that goes on watches as before, and does not repeat itself at each look."""
    caplog.set_level("INFO")

    async def scenario(_runtime, notifier, _log):
        for number in (1, 2):
            address(netns, "add", f"198.51.100.{number}/32")
            await until(lambda count=number: len(notifier.reloads) == count, "a reload")
            await some_looks(notifier)
            assert len(notifier.reloads) == number

    live(tmp_path, scenario)
    assert caplog.text.count("the addresses of this host have changed") == 2


def test_a_refused_reload_is_asked_for_again_after_a_while(netns, tmp_path):
    """Who mends the configuration and forgets to reload has the new address as a friend, too."""

    async def scenario(_runtime, notifier, _log):
        address(netns, "add", "198.51.100.200/32")
        await until(lambda: len(notifier.reloads) == 3, "three reloads")

    live(tmp_path, scenario, addresses_again=0.1)


def test_an_address_that_comes_and_goes_is_asked_for_once(netns, tmp_path):
    """While reloads are refused, neither its end nor its return is news."""

    async def scenario(_runtime, notifier, _log):
        for what in ("add", "del", "add"):
            address(netns, what, "198.51.100.200/32")
            await until(lambda: notifier.reloads, "a reload")
            await some_looks(notifier)
        assert len(notifier.reloads) == 1

    live(tmp_path, scenario)


# Standard error --------------------------------------------------------------------------------


def test_a_stderr_that_is_not_read_stops_no_ban(service):
    """A pipe that is full, as of a stopped pager: 1,200 bans, status and stop go on."""
    reader, writer = os.pipe()
    service.process = subprocess.Popen(
        service.command("run"), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer
    )
    os.close(writer)
    wait_for(lambda: service.socket.exists() and service.run("status").returncode == 0, "the start")
    for hundred in range(12):
        attackers = [f"198.18.{hundred}.{n}" for n in range(1, 101)]
        attack(service, *attackers)
        service.until_blocked(attackers[-1])
    service.until(bans=1200)
    assert service.metrics()[f"{P}log_messages_dropped_total"] > 0
    assert service.stop() == 0
    os.close(reader)


# The state under the daemon ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "replaced", "without its WAL"])
def test_a_database_that_another_program_takes_away_is_written_again(service, how):
    """Within ten seconds, with all that was judged before and meanwhile; a restart knows it."""
    first, second, third = strangers(3)
    service.start()
    attack(service, first)
    service.until(bans=1)
    service.stop()
    old = service.directory / "yesterday.db"
    old.write_bytes(service.state.read_bytes())
    service.start()
    attack(service, second)
    service.until(bans=2)
    gone = {"deleted": ("", "-wal", "-shm"), "replaced": (), "without its WAL": ("-wal",)}[how]
    for ending in gone:
        Path(f"{service.state}{ending}").unlink()
    if how == "replaced":
        old.rename(service.state)
    attack(service, third)
    service.until_blocked(third)
    wait_for(lambda: "was deleted or replaced" in service.said(), "the loss", patience=10)
    aside = Path(f"{service.state}.replaced")
    wait_for(lambda: how == "deleted" or aside.exists(), "what stood there to be kept")
    wait_for(
        lambda: service.state.exists() and Path(f"{service.state}-wal").exists(), "the new database"
    )
    problem = "was deleted or replaced"
    wait_for(lambda: problem in "".join(service.status()["problems"]), "the problem in status")
    assert aside.exists() == (how != "deleted")
    service.log.rename(service.directory / "gone")
    service.process.kill()
    service.process.wait(PATIENCE)
    service.start()
    assert set(service.bans()) == {first, second, third}


# Reloads ---------------------------------------------------------------------------------------


def resident(process):
    """Return the resident memory of a process in bytes (proc(5), statm)."""
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_reloads_leave_nothing_behind(service):
    """Fifty reloads after the first ten take less than 2 MB."""
    service.start()
    for _ in range(10):
        service.reload(" started: ")
    before = resident(service.process)
    for _ in range(50):
        service.reload(" started: ")
    assert resident(service.process) - before < 2 << 20
