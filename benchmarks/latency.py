"""From the line in the log to the element in the kernel's set: ours and fail2ban's, in turn.

The kernel announces the element on the socket that ``nft monitor`` listens to as well.
"""

import contextlib
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from integration.namespaces import namespace

from benchmarks import peers
from benchmarks.figures import Row, Section, absent, ratio
from benchmarks.rig import Options, address, has, lines, netlink_ear, running, say, status, wait
from benchmarks.rig import write as append

OURS, THEIRS = 500, 40
PATIENCE = 20.0
HOW = (
    f"A real daemon follows a log. Two hits of each address are written and judged; the time runs "
    "from the write of the third line until the kernel announces the element in the set. "
    f"{OURS} addresses in each round for ours, {THEIRS} for fail2ban (a server with one jail, "
    "told how the dates look, its nftables action; Debian's package)."
)


def heard(ear: socket.socket, number: int, act: Callable[[], float]) -> float:
    """Return the milliseconds from the end of an act until an address is announced."""
    # The attribute that holds the key: its length, its type (NFTA_DATA_VALUE), the address.
    key = b"\x08\x00\x01\x00" + address(number).packed
    begun = act()
    while key not in ear.recv(65536):
        pass
    return (time.perf_counter() - begun) * 1000


def ours(directory: Path) -> list[float]:
    """Return the latency of each ban, in milliseconds."""
    with running(directory) as (_, guard), contextlib.closing(netlink_ear()) as ear:
        ear.settimeout(PATIENCE)
        return bans(ear, guard.log, range(OURS), lambda: status(guard, "hits"))


def bans(
    ear: socket.socket, log: Path, numbers: Sequence[int], hits: Callable[[], int]
) -> list[float]:
    """Return the latency of each ban by a daemon whose hits can be asked for."""
    found, before = [], hits()
    for count, number in enumerate(numbers):
        seen = before + 3 * count
        append(log, lines([number] * 2))
        wait(lambda seen=seen: hits() >= seen + 2, PATIENCE, 0.001)
        found.append(heard(ear, number, lambda number=number: begun(log, number)))
        wait(lambda seen=seen: hits() >= seen + 3, PATIENCE, 0.001)
    return found


def begun(log: Path, number: int) -> float:
    """Write a line, and return when that began."""
    text, now = lines([number]), time.perf_counter()
    append(log, text)
    return now


def theirs(directory: Path) -> list[float]:
    """Return the same of fail2ban; it is asked seldom, for each question starts a process."""
    directory.mkdir()
    log = directory / "access.log"
    log.touch()
    with (
        namespace() as home,
        home.inside(),
        contextlib.closing(netlink_ear()) as ear,
        peers.Fail2ban(home, directory / "fail2ban", [log]) as server,
    ):
        ear.settimeout(PATIENCE)
        # The first ban makes its table, too.
        append(log, lines([0] * 3))
        heard(ear, 0, time.perf_counter)
        numbers = range(1, THEIRS + 1)
        append(log, lines([*numbers, *numbers]))
        wait(lambda: server.hits() >= 3 + 2 * THEIRS, PATIENCE, 0.2)
        return [heard(ear, number, lambda number=number: begun(log, number)) for number in numbers]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent do not exceed."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def measure(options: Options) -> Section:
    """Run both in turn."""
    found: dict[str, list[list[float]]] = {"ours": [], "fail2ban": []}
    for number in range(options.rounds):
        found["ours"].append(ours(options.directory / f"ours{number}"))
        say(f"ours: median {statistics.median(found['ours'][-1]):.2f} ms")
        if has("fail2ban-server"):
            found["fail2ban"].append(theirs(options.directory / f"theirs{number}"))
            say(f"fail2ban: median {statistics.median(found['fail2ban'][-1]):.0f} ms")
    medians = {name: [statistics.median(each) for each in all_] for name, all_ in found.items()}
    late = {name: [percentile(each, 99) for each in all_] for name, all_ in found.items()}
    rows = [
        Row("median of a round", "ms", medians["ours"], asked=3),
        Row("99th percentile of a round", "ms", late["ours"], asked=15),
    ]
    if not found["fail2ban"]:
        return Section("From line to kernel", HOW, [*rows, absent("fail2ban", "fail2ban")])
    rows += [
        Row("fail2ban, median of a round", "ms", medians["fail2ban"]),
        Row("fail2ban, 99th percentile of a round", "ms", late["fail2ban"]),
        ratio("fail2ban against ours, medians", medians["fail2ban"], medians["ours"]),
    ]
    return Section("From line to kernel", HOW, rows)
