"""What a scrape costs while very much is known: time, size, and how long the loop stood still.

The daemon's own life, with its engine, store, kernel set and metrics server, is begun in a network
namespace of its own over a store that holds so many standing bans and so many pending windows.
Another process scrapes it, as Prometheus does, while a task in the loop asks every millisecond how
late it is; the same without scrapes is printed beside it.  Needs root, or unprivileged user
namespaces.

    benchmarks/scrape.py [--bans 100000] [--tracked 1000000] [--scrapes 40] [--guard]

``--guard`` fails beyond 20 ms (median) or 64 kB.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import sdnotify
import uvloop

from blocker.config import Config, Metrics
from blocker.life import Life
from blocker.model import SECOND, Ban
from blocker.store import Batch, Store

INSIDE = "XMLRPC_BLOCKER_BENCHMARK_INSIDE"
LIMIT_MS, LIMIT_BYTES = 20.0, 64_000
PAGE = 50_000
SETTLE = 5.0
"""Seconds for the chores that a start brings."""
PORT = 9947
CLIENT = """
import http.client, sys, time
for _ in range(int(sys.argv[1])):
    time.sleep(0.2)
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]))
    connection.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4"})
    body = connection.getresponse().read()
    print(time.perf_counter() - begun, len(body), flush=True)
"""


def inside_a_namespace() -> None:
    """Start again in a network namespace of one's own."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    program = shutil.which("unshare")
    if program is None:
        sys.exit("unshare is missing; install util-linux")
    own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    os.environ[INSIDE] = "1"
    words = [program, "--net", *own_user, sys.executable, *sys.argv]
    os.execv(program, words)  # noqa: S606 - the same program again, as it was called


def address(number: int) -> bytes:
    """Return a subject that no other number has; every other one is IPv6."""
    if number % 2:
        return bytes.fromhex("2a00") + number.to_bytes(6) + bytes(8)
    return (0x50000000 + number).to_bytes(4)


def fill(path: str, bans: int, tracked: int) -> None:
    """Write a store that knows so many."""
    store, now = Store(path), time.time_ns() // 1000
    store.set_traps(["xmlrpc"])
    for at in range(0, bans, PAGE):
        numbers = range(at, min(at + PAGE, bans))
        made = [
            (Ban(address(n), "xmlrpc", now, now + 86_400 * SECOND, 3, 1), False) for n in numbers
        ]
        store.commit(Batch([], {}, made, {("", "bans:xmlrpc"): len(made)}, now))
    window = (now << 8).to_bytes(8)
    for at in range(0, tracked, PAGE):
        numbers = range(bans + at, bans + min(at + PAGE, tracked))
        store.commit(Batch([], {address(n): window for n in numbers}, [], {}, now))
    store.close()


def attack(log: Path, attackers: int) -> None:
    """Write hits of so many others, so that there are top offenders."""
    stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    line = '198.{}.{}.{} - - [{}] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n'
    log.write_text(
        "".join(
            line.format(18 + n % 2, n >> 8 & 255, n & 255, stamp)
            for n in range(attackers)
            for _ in range(1 + n % 2)
        )
    )


async def largest_delay(until: "asyncio.Future[object]") -> float:
    """Return how late the loop was at most, seconds, until something is done."""
    loop, worst = asyncio.get_running_loop(), 0.0
    while not until.done():
        due = loop.time() + 0.001
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - due)
    return worst


async def measure(life: Life, scrapes: int) -> dict[str, float]:
    """Scrape a life that is lived, and return the figures."""
    await life.begin()
    stop = asyncio.Event()
    living = asyncio.create_task(life.live(stop))
    try:
        while life.catching_up:  # noqa: ASYNC110 - a life has no event for this
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, str(scrapes), str(PORT), stdout=asyncio.subprocess.PIPE
        )
        asking = asyncio.create_task(client.communicate())
        delay = await largest_delay(asking)
        text, _ = await asking
        still = await largest_delay(asyncio.create_task(asyncio.sleep(0.2 * scrapes)))
        figures = life.desk.figures.snapshot()
    finally:
        stop.set()
        await living
    rows = [line.split() for line in text.decode().splitlines()]
    times = [float(row[0]) * 1000 for row in rows]
    return {
        "bans": sum(figures["active_bans"].values()),
        "tracked": figures["tracked_addresses"][()],
        "scrapes": len(times),
        "median": statistics.median(times),
        "max": max(times),
        "bytes": max(int(row[1]) for row in rows),
        "delay": delay * 1000,
        "quiet": still * 1000,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bans", type=int, default=100_000)
    parser.add_argument("--tracked", type=int, default=1_000_000)
    parser.add_argument("--scrapes", type=int, default=40)
    parser.add_argument("--top", type=int, default=20, help="top offenders")
    parser.add_argument("--guard", action="store_true")
    arguments = parser.parse_args()
    inside_a_namespace()
    logging.getLogger("blocker").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="xmlrpc-blocker-") as directory:
        home = Path(directory)
        config = Config(
            logs=(f"{home}/access.log",), state=f"{home}/state.db", control=f"{home}/control.sock",
            max_tracked=4 * arguments.tracked, metrics=Metrics(top_offenders=arguments.top),
        )  # fmt: skip
        print("filling the store", file=sys.stderr)
        fill(config.state, arguments.bans, arguments.tracked)
        attack(home / "access.log", 5000)
        life = Life(config, sdnotify.SystemdNotifier())
        with contextlib.closing(asyncio.Runner(loop_factory=uvloop.new_event_loop)) as runner:
            figures = runner.run(measure(life, arguments.scrapes))
    print(
        "{bans:.0f} active bans, {tracked:.0f} tracked addresses, {scrapes} scrapes:"
        " median {median:.1f} ms, max {max:.1f} ms, {bytes} bytes;"
        " the loop was late by {delay:.1f} ms at most ({quiet:.1f} without scrapes)".format(
            **figures
        )
    )
    if arguments.guard and (figures["median"] >= LIMIT_MS or figures["bytes"] >= LIMIT_BYTES):
        sys.exit(f"beyond {LIMIT_MS:.0f} ms or {LIMIT_BYTES} bytes")


if __name__ == "__main__":
    main()
