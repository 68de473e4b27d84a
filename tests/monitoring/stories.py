"""A row of daemons, each with a fault of its own that is made real, and mended.

They live in one namespace, each with its own table, port, log and state, so that one Prometheus
scrapes them all and an alert that speaks of the wrong one is seen.  Each fault is a generator: it
makes the fault, yields, and mends it where that is part of the story.
"""

import contextlib
import ctypes
import itertools
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from faults.fuse import READ, slow_disk
from monitoring.scene import PAUSE, Prometheus
from support.daemons import Daemon, daemon, line, wait_for, write
from support.namespaces import Namespace

FIRST_PORT = 9950
VISITS = 30
"""Visits among which each hit is written, so that the share of attacks stays small."""
MUCH = 30 << 20
"""Bytes that a flood keeps ahead of the daemon."""
AS_MERE_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root that may not read what its mode forbids, as the service may not."""


class House(NamedTuple):
    """One daemon of the row."""

    service: Daemon
    table: str
    instance: str
    home: Namespace

    def hits(self, *clients: str, visits: int = VISITS, **how) -> None:
        """Write a hit of each client, and visits of others."""
        visit = line("203.0.113.9", request="GET /2026/11/ HTTP/2.0", **how)
        write(self.service.log, *[line(who, **how) + visit * visits for who in clients])

    def reconfigure(self, before: str, after: str) -> None:
        """Edit the configuration, and have it read again."""
        config = self.service.config
        config.write_text(config.read_text().replace(before, after))
        self.service.process.send_signal(signal.SIGHUP)

    def take_away(self) -> None:
        """Delete the table, as a flush of the ruleset does."""
        self.home.run("nft", "delete", "table", "inet", self.table)

    def has_table(self) -> bool:
        words = self.home.command("nft", "list", "table", "inet", self.table)
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


class Fault(NamedTuple):
    """How a fault is made.

    Attributes:
        name: of the daemon that has it.
        alerts: what fires, without the common beginning.
        story: makes it, yields, mends it.
        settings: of the daemon; those of tables by the table's name.
        logs: patterns below the daemon's directory, if not its log.
        before: words in front of the daemon's command.
    """

    name: str
    alerts: frozenset[str]
    story: Callable[[House, Prometheus], Iterator[None]]
    settings: str
    metrics: str
    firewall: str
    logs: str
    before: Sequence[str]


FAULTS: list[Fault] = []


def fault(*alerts, settings="", metrics="", firewall="", logs="", before=()):
    """Enter a story into the list of faults."""

    def enter(story):
        name = story.__name__
        made = Fault(name, frozenset(alerts), story, settings, metrics, firewall, logs, before)
        FAULTS.append(made)
        return story

    return enter


def some(count: int, net: str = "198.18.1") -> list[str]:
    """Return so many clients."""
    return [f"{net}.{n}" for n in range(1, count + 1)]


# What takes longest comes first ----------------------------------------------------------------


@fault("LogSilent")
def moved_log(house, _watcher):
    """A busy site's server writes into another file from now on."""
    write(house.service.log, line("203.0.113.9", request="GET / HTTP/2.0") * 3000)
    house.service.until(lines=3000)
    yield


@fault("DryRunForgotten", settings="dry_run = true")
def dry_run(house, _watcher):
    """``dry_run`` was left in; mended, it is taken out."""
    house.hits(*some(3) * 3)
    yield
    house.reconfigure("dry_run = true", "")


@fault("NoLog", logs="elsewhere/*.log")
def no_log(house, _watcher):
    """The patterns match nothing; mended, the first log is there."""
    yield
    (house.service.directory / "elsewhere").mkdir()
    (house.service.directory / "elsewhere" / "access.log").touch()


@fault("LogsOverLimit", metrics="per_log = false", logs="many/*.log")
def many_logs(house, _watcher):
    """A host of over a thousand sites, each with a log."""
    yield


@fault("StoreNotWritable")
def locked_store(house, _watcher):
    """Another program holds the database; the daemon's patience of five seconds runs out."""
    with contextlib.closing(sqlite3.connect(house.service.state, isolation_level=None)) as thief:
        thief.execute("BEGIN EXCLUSIVE")
        house.hits("198.18.1.1")
        yield
    house.hits("198.18.1.1")


@fault("StoreNotWritable")
def hanging_disk(house, _watcher):
    """The disk of the store does not answer: the thread that writes there hangs in its commit."""
    house.hits("198.18.1.1")
    house.service.until(hits=1)
    with frozen(thread_of(house.service.process.pid, "store")):
        house.hits("198.18.1.2")
        house.service.until(hits=2)  # judged all the same
        yield


@fault("LogStalled", "LogUnreadable")
def hanging_log(house, _watcher):
    """The disk of a log does not answer, as one of a server that is gone."""
    with slow_disk(house.service.directory / "far") as disk:
        far = disk.mount / "far.log"
        disk.append(far.name, line("203.0.113.9", request="GET / HTTP/2.0"))
        house.reconfigure('logs = ["', f'logs = ["{far}", "')
        wait_for(lambda: _is_up(house, far), "the log to be followed")
        disk.hang(READ)
        disk.append(far.name, line("198.18.1.1"))
        wait_for(lambda: disk.withheld, "the daemon to ask")
        yield
        disk.go_on()
        house.reconfigure(f'"{far}", ', "")


def _is_up(house, path) -> bool:
    """Tell whether a log is followed."""
    return any(each["up"] for each in house.service.status()["logs"] if each["path"] == str(path))


@fault("LogUnreadable", before=AS_MERE_ROOT)
def bad_rotation(house, _watcher):
    """The rotation makes the new log with a mode that does not let the daemon read."""
    house.service.log.rename(house.service.directory / "access.log.1")
    house.service.log.touch(mode=0)
    yield
    house.service.log.chmod(0o640)


@fault("RulesetMissing")
def seized_table(house, _watcher):
    """Another program makes a table of that name its own: no other program can change it."""
    words = house.home.command("nft", "-i")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as thief:
        name = f"table inet {house.table}"
        thief.stdin.write(f"delete {name}; add {name} {{ flags owner; }}\n".encode())
        thief.stdin.flush()
        yield  # who ends it takes the table along


@fault("KernelRefusing", "SetNearlyFull", firewall="set_size = 10")
def full_set(house, _watcher):
    """More addresses attack than the set can hold; mended, the set is larger."""
    house.hits(*some(11) * 3)
    yield
    house.reconfigure("set_size = 10", "set_size = 100")


@fault("ReloadFailed")
def bad_configuration(house, _watcher):
    """A mistyped key, and a reload; mended, the key is right."""
    house.reconfigure("[metrics]", "[metric]")
    yield
    house.reconfigure("[metric]", "[metrics]")


@fault("ParseFailures")
def unknown_format(house, _watcher):
    """The server's log has a format of its own from now on."""
    write(house.service.log, '198.18.1.1;22.11.2026;"POST /xmlrpc.php HTTP/1.1"\n' * 40)
    yield


@fault("ProxyInLog")
def proxy_in_log(house, _watcher):
    """The server logs the address of the proxy in front, a private one."""
    house.hits(*["10.9.9.2"] * 150, visits=10)
    yield


@fault("BannedStillHitting")
def proxy_in_front(house, _watcher):
    """The server logs the client, but packets come from a proxy: a ban stops nothing."""
    house.hits(*["198.18.1.1"] * 3)
    house.service.until(bans=1)
    house.hits("198.18.1.1", ago=-120)
    yield


@fault("AttackGettingThrough")
def slow_and_many(house, _watcher):
    """One guess from each of many addresses, more than the site has visitors."""
    house.hits(*some(150), visits=2)
    yield


@fault("TrackingFull", settings="max_tracked = 5")
def too_many(house, _watcher):
    """More addresses than may be watched."""
    house.hits(*some(20))
    yield


@fault("BansEvicted", settings="max_remembered = 5")
def too_many_remembered(house, _watcher):
    """More addresses were banned than may be remembered, and their bans have ended."""
    first, second = some(8), some(8, "198.18.2")
    house.hits(*(first * 3))
    house.service.until(bans=8)
    house.service.run("unban", *first)
    house.hits(*(second * 3))
    yield


@fault("Unprotected")
def flushed_again_and_again(house, _watcher):
    """A firewall script flushes everything, over and over."""
    for _ in range(8):
        wait_for(house.has_table, "the table to be built again")
        house.take_away()
    yield


@fault("Restarting")
def crashing(house, watcher):
    """The daemon is killed again and again, and started by the service manager."""
    born = f'process_start_time_seconds{{instance="{house.instance}"}}'
    for _ in range(5):
        before = watcher.value(born)
        house.service.stop(signal.SIGKILL)
        house.service.start()
        watcher.until(f"{born} > {before}")
    yield


@fault("OffendersSurge")
def surge(house, watcher):
    """After a quiet time a wave of attackers."""
    watcher.until(f'instance:xmlrpc_blocker_bans:rate1h{{instance="{house.instance}"}} offset 20s')
    house.hits(*some(12) * 3)
    yield


@fault("FallingBehind", "AttackGettingThrough")
def flooded(house, _watcher):
    """Hits of ever other addresses are written faster than they are judged."""
    done = threading.Event()
    writer = threading.Thread(target=_flood, args=(house, done))
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


@fault("Down")
def killed(house, _watcher):
    """The daemon is killed and not started; mended, it is started."""
    house.service.stop(signal.SIGKILL)
    yield
    house.service.start()


def _flood(house: House, done: threading.Event) -> None:
    # What has to be parsed in full and is no hit keeps the daemon busy, and fills no window.
    request = "POST /{}/xmlrpc.phpx HTTP/1.1"
    others = "".join(line("203.0.113.9", request=request.format(n)) for n in range(40_000))
    networks = itertools.count()
    while not done.wait(PAUSE):
        (row,) = house.service.status()["logs"]
        if row["lag_bytes"] < MUCH:
            hit = line("2001:db8:%x:%x::1")
            numbers = itertools.islice(networks, 4_000)
            write(house.service.log, *[hit % divmod(n, 1 << 16) for n in numbers], others)


# Threads ---------------------------------------------------------------------------------------

_SEIZE, _INTERRUPT, _DETACH, _WALL = 0x4206, 0x4207, 17, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def thread_of(pid: int, name: str) -> int:
    """Return the thread of a process that has this name, proc(5)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    (found,) = (int(each.name) for each in tasks if (each / "comm").read_text().strip() == name)
    return found


def rests(thread: int) -> bool:
    """Tell whether a thread slept for a tenth of a second: it waits for work, not for a lock."""
    task = Path(f"/proc/{thread}/status")
    wanted = re.compile(r"^(?:State|\w*ctxt_switches):\s+(\w+)", re.MULTILINE)
    before = wanted.findall(task.read_text())
    time.sleep(0.1)
    return before[0] == "S" and before == wanted.findall(task.read_text())


@contextlib.contextmanager
def frozen(thread: int) -> Iterator[None]:
    """Stop one thread when it waits for work, while the others go on."""
    wait_for(lambda: rests(thread), f"thread {thread} to have nothing to do")
    _ptrace(_SEIZE, thread)
    _ptrace(_INTERRUPT, thread)
    os.waitpid(thread, _WALL)
    try:
        yield
    finally:
        _ptrace(_DETACH, thread)


# The row ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def row(home: Namespace, directory: Path) -> Iterator[dict[str, House]]:
    """Start a daemon for each fault, and end them."""
    with contextlib.ExitStack() as stack:
        houses = {}
        for number, each in enumerate(FAULTS):
            houses[each.name] = stack.enter_context(_house(home, directory, number, each))
        for each in FAULTS:
            service = houses[each.name].service
            wait_for(lambda it=service: " started: " in it.said(), f"{each.name} to start")
        yield houses


@contextlib.contextmanager
def _house(home: Namespace, directory: Path, number: int, made: Fault) -> Iterator[House]:
    own = directory / made.name
    (own / "many").mkdir(parents=True)
    if "many" in made.logs:
        for n in range(1030):
            (own / "many" / f"{n}.log").touch()
    (own / "access.log").touch()
    table, instance = made.name, f"127.0.0.1:{FIRST_PORT + number}"
    settings = (
        f"{made.settings}\n[metrics]\nlisten = '{instance}'\n{made.metrics}\n"
        f"[firewall]\ntable = '{table}'\n{made.firewall}\n"
    )
    logs = [own / made.logs] if made.logs else []
    with daemon(home, own, settings, logs) as service:
        service.launch(before=made.before)
        yield House(service, table, instance, home)
