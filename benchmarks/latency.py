"""From the line in the log to the element in the kernel's set: ours and fail2ban's, in turn.

The kernel announces the element on the socket that ``nft monitor`` listens to as well.
"""

import contextlib
import random
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support.namespaces import namespace

from benchmarks import peers
from benchmarks.figures import Row, Section, absent, ratio
from benchmarks.rig import Options, address, has, lines, netlink_ear, running, say, status, wait
from benchmarks.rig import write as append

MANY, FEW, PAUSE = 500, 40, 1.5
PATIENCE = 20.0
HOW = (
    "A real daemon follows a log. Two hits of each address are written and judged; the time runs "
    "from the write of the third line until the kernel announces the element in the set. "
    f"{MANY} addresses in each round, one right after the other. Then {FEW} addresses, for ours "
    "and for fail2ban (a server with one jail, told how the dates look, its nftables action), each "
    f"after a random pause of up to {PAUSE} s: fail2ban looks for its hits in turns that grow "
    "longer while nothing comes, so that right after a ban it is at its best."
)


def heard(ear: socket.socket, number: int, act: Callable[[], float]) -> float:
    """Return the milliseconds from the end of an act until an address is announced."""
    # The attribute that holds the key: its length, its type (NFTA_DATA_VALUE), the address.
    key = b"\x08\x00\x01\x00" + address(number).packed
    begun = act()
    while key not in ear.recv(65536):
        pass
    return (time.perf_counter() - begun) * 1000


def ours(directory: Path) -> tuple[list[float], list[float]]:
    """Return the milliseconds to each ban: one right after the other, and after pauses."""
    with running(directory) as (_, service), contextlib.closing(netlink_ear()) as ear:
        ear.settimeout(PATIENCE)
        many = bans(ear, service.log, range(MANY), lambda: status(service, "hits"))
        numbers = range(MANY, MANY + FEW)
        append(service.log, lines([*numbers, *numbers]))
        wait(lambda: status(service, "hits") >= 3 * MANY + 2 * FEW, PATIENCE)
        return many, after_pauses(ear, service.log, numbers)


def after_pauses(ear: socket.socket, log: Path, numbers: Sequence[int]) -> list[float]:
    """Return the latency of each third hit, written at a random moment."""
    dice, found = random.Random(1), []
    for number in numbers:
        time.sleep(dice.random() * PAUSE)
        found.append(heard(ear, number, lambda number=number: begun(log, number)))
    return found


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
        numbers = range(1, FEW + 1)
        append(log, lines([*numbers, *numbers]))
        wait(lambda: server.hits() >= 3 + 2 * FEW, PATIENCE, 0.2)
        return after_pauses(ear, log, numbers)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent do not exceed."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def measure(options: Options) -> Section:
    """Run both in turn."""
    found: dict[str, list[list[float]]] = {"many": [], "ours": [], "fail2ban": []}
    for number in range(options.rounds):
        many, few = ours(options.directory / f"ours{number}")
        found["many"].append(many)
        found["ours"].append(few)
        if has("fail2ban-server"):
            found["fail2ban"].append(theirs(options.directory / f"theirs{number}"))
        medians = {
            name: round(statistics.median(all_[-1]), 2) for name, all_ in found.items() if all_
        }
        say(f"medians in ms: {medians}")
    return Section("From line to kernel", HOW, _rows(found))


def _rows(found: dict[str, list[list[float]]]) -> list[Row]:
    medians = {name: [statistics.median(each) for each in all_] for name, all_ in found.items()}
    late = {name: [percentile(each, 99) for each in all_] for name, all_ in found.items()}
    rows = [
        Row("latency, median of a round", "ms", medians["many"], asked=3),
        Row("latency, 99th percentile of a round", "ms", late["many"], asked=15),
        Row("latency after pauses, median of a round", "ms", medians["ours"]),
    ]
    if not found["fail2ban"]:
        return [*rows, absent("fail2ban", "fail2ban")]
    return [
        *rows,
        Row("fail2ban, after pauses, median of a round", "ms", medians["fail2ban"]),
        Row("fail2ban, after pauses, worst of a round", "ms", [max(e) for e in found["fail2ban"]]),
        ratio("fail2ban against ours, medians after pauses", medians["fail2ban"], medians["ours"]),
    ]
