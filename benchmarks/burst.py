"""Many bans at once: 10,000, 100,000, a million over time; beside large tables, under a lock."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.daemons import Daemon
from support.namespaces import Namespace, namespace

from benchmarks.figures import Row, Section, ratio
from benchmarks.machine import memory
from benchmarks.rig import (
    ROOT,
    Answers,
    Options,
    address,
    kernel,
    lines,
    meanwhile,
    running,
    say,
    status,
    wait,
)
from benchmarks.rig import write as append
from blocker.firewall import netlink
from blocker.firewall.netlink_socket import NetlinkSocket

BURSTS = {10_000: 0.5, 100_000: 3.0}
ANSWER = 100
_SO_SNDBUFFORCE = 32
MILLION, STEP = 1_000_000, 20_000
FOREIGN_PREFIXES, FOREIGN_RULES = 20_000, 4_000
HOLD, TRIAL = 2.0, 50_000
HOW = (
    "Every address has three lines: first the first of all, then the second, then the third, so "
    "that all bans fall together. The time runs from the end of the last write until the kernel "
    "has every element, asked by key. Meanwhile metrics and `status` are asked 20 times a second "
    "each, and the slowest answer of a round is shown. `nft -f` loads the same elements into a set "
    "like ours. The large tables of others are an interval set of "
    f"{FOREIGN_PREFIXES:,} prefixes and {FOREIGN_RULES:,} rules. The lock on the ruleset is held "
    f"by another process with one transaction, meant to take {HOLD:.0f} s, while 2,000 addresses a "
    "second are written."
)
SET = "type ipv4_addr; flags timeout; timeout 1d; size 2097152;"


class Burst(NamedTuple):
    """What one burst came to: seconds, milliseconds, MB."""

    seconds: float
    control: float
    metrics: float
    memory: float


def burst(home: Namespace, service: Daemon, numbers: Sequence[int]) -> Burst:
    """Attack from all of these at once, and wait until all are banned."""
    text = lines(numbers) * 3
    with kernel() as known, Answers(home, service) as answers:
        written = append(service.log, text)
        done = known.wait(numbers)
        wait(lambda: status(service, "hits") >= 3 * len(numbers), 60, 0.05)
    return Burst(done - written, *answers.slowest, memory(service.process.pid, "VmHWM"))


def with_nft(home: Namespace, directory: Path, numbers: Sequence[int]) -> float:
    """Return the seconds that nft takes for the same elements."""
    elements = ", ".join(f"{address(number)} timeout 1d" for number in numbers)
    path = directory / "elements.nft"
    path.write_text(f"add element inet bench ban4 {{ {elements} }}\n")
    home.nft(f"table inet bench {{ set ban4 {{ {SET}\n}}\n}}")
    begun = time.perf_counter()
    home.run("nft", "-f", str(path))
    return time.perf_counter() - begun


def strangers(home: Namespace) -> None:
    """Load what large tables of others look like."""
    prefixes = ", ".join(
        f"{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/25" for n in range(FOREIGN_PREFIXES)
    )
    chains = "\n".join(
        f"chain c{n} {{\n" + "\n".join(f"tcp dport {1000 + r} accept" for r in range(100)) + "\n}"
        for n in range(FOREIGN_RULES // 100)
    )
    home.nft(
        "table ip strangers {\nset wide { type ipv4_addr; flags interval;"
        f" elements = {{ {prefixes} }}\n}}\n{chains}\n}}\n"
    )


# Somebody else holds the lock ------------------------------------------------------------------


@contextmanager
def probed(home: Namespace) -> Iterator[list[float]]:
    """Try small transactions all the time, and note how long each took."""
    times = [0.0]

    def probe(over: threading.Event) -> None:
        with home.inside():
            sock = NetlinkSocket("probe")
            while not over.wait(0.01):
                begun = time.perf_counter()
                sock.commit([netlink.new_set("probe", "s", 4, 1000)])
                times.append(time.perf_counter() - begun)
            sock.close()

    home.nft("table inet probe {}")
    with meanwhile(probe):
        yield times


def hold() -> None:
    """Hold the lock with one huge transaction; a process of its own does that."""
    sock = NetlinkSocket("huge")
    sock._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 256 << 20)  # noqa: SLF001
    begun = time.perf_counter()
    sock.commit(huge(0, TRIAL))
    count = int(TRIAL * HOLD / (time.perf_counter() - begun))
    sock.commit(huge(TRIAL, count))


def huge(start: int, count: int) -> list[netlink.Request]:
    """Return a large transaction."""
    pairs = [(address(number).packed, 600_000) for number in range(start, start + count)]
    return netlink.add("huge", "s", pairs)


def under_lock(home: Namespace, service: Daemon) -> tuple[float, Burst]:
    """Attack while another process holds the lock; return for how long, and how it went."""
    home.nft(f"table inet huge {{ set s {{ {SET}\n}}\n}}")
    words = home.command(sys.executable, "-c", "from benchmarks.burst import hold; hold()")
    count = 0
    with kernel() as known, Answers(home, service) as answers, probed(home) as held:
        holder = subprocess.Popen(words, cwd=ROOT)
        while holder.poll() is None:
            written = append(service.log, lines(range(count, count + 200)) * 3)
            count += 200
            time.sleep(0.1)
        if holder.returncode:
            raise RuntimeError("the lock was not held")
        done = known.wait(range(count))
    peak = memory(service.process.pid, "VmHWM")
    return max(held), Burst(done - written, *answers.slowest, peak)


# All of it -------------------------------------------------------------------------------------


def over_time(options: Options) -> tuple[Burst, float]:
    """Ban a million, as fast as the daemon keeps up; return that, and bytes for each."""
    with running(options.directory / "million", "") as (home, service):
        first, begun = memory(service.process.pid), time.perf_counter()
        with kernel() as known, Answers(home, service) as answers:
            for start in range(0, MILLION, STEP):
                append(service.log, lines(range(start, start + STEP)) * 3)
                wait(lambda end=start: status(service, "hits") >= 3 * (end + STEP), 120, 0.02)
            known.wait(range(MILLION - STEP, MILLION))
        spent = time.perf_counter() - begun
        grown = (memory(service.process.pid) - first) * (1 << 20) / MILLION
        peak = memory(service.process.pid, "VmHWM")
        return Burst(spent, *answers.slowest, peak), grown


def rows_of(name: str, found: Sequence[Burst], asked: float | None) -> list[Row]:
    """Return the rows of a kind of burst."""
    return [
        Row(name, "s", [each.seconds for each in found], asked=asked),
        Row(f"{name}: slowest status", "ms", [each.control for each in found], asked=ANSWER),
        Row(f"{name}: slowest metrics", "ms", [each.metrics for each in found], asked=ANSWER),
        Row(f"{name}: peak memory", "MB", [each.memory for each in found]),
    ]


def measure(options: Options) -> Section:
    """Run all in turn."""
    found: dict[str, list[Burst]] = {}
    nft: dict[int, list[float]] = {count: [] for count in BURSTS}
    held: list[float] = []
    for turn in range(options.rounds):
        for count in BURSTS:
            for name in (f"{count:,} bans", f"{count:,} bans beside large tables"):
                directory = options.directory / f"{turn} {name}"
                with running(directory, "") as (home, service):
                    if "beside" in name:
                        strangers(home)
                    found.setdefault(name, []).append(burst(home, service, range(count)))
                say(f"{name}: {found[name][-1]}")
            with namespace() as home:
                nft[count].append(with_nft(home, options.directory, range(count)))
            say(f"nft -f, {count:,}: {nft[count][-1]:.2f} s")
        with running(options.directory / f"{turn} lock") as (home, service):
            lock, each = under_lock(home, service)
        held.append(lock)
        found.setdefault("bans while the lock is held", []).append(each)
        say(f"lock held for {lock:.2f} s: {each}")
    rows = [Row("longest hold of the lock by another", "s", held)]
    for name, each in found.items():
        count = int(name.partition(" ")[0].replace(",", "")) if name[0].isdigit() else 0
        rows += rows_of(name, each, BURSTS.get(count))
    for count, times in nft.items():
        rows.append(Row(f"nft -f, {count:,} elements", "s", times))
        rows.append(
            ratio(
                f"{count:,} bans against nft -f",
                [b.seconds for b in found[f"{count:,} bans"]],
                times,
            )
        )
    if options.long:
        last, grown = over_time(options)
        rows += rows_of("a million bans over time", [last], None)
        rows.append(Row("growth per banned address, a million", "bytes", [grown]))
    return Section("Many bans", HOW, rows)
