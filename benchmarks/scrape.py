"""What a scrape costs while very much is known: time, size, and how long the loop stood still.

The daemon's own life, with its engine, store, kernel set and metrics server, is begun in this
process over a store that holds so many standing bans and so many pending windows.  Another process
scrapes it, as Prometheus does, while a task in the loop asks every millisecond how late it is.
"""

import asyncio
import logging
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import sdnotify
import uvloop
from support.namespaces import namespace

from benchmarks.figures import Row, Section
from benchmarks.rig import Options, say
from blocker.config.schema import Config
from blocker.friends.shipped import shipped_lists
from blocker.model import Ban
from blocker.service.runtime import LoadedConfig, Runtime
from blocker.store.records import Batch, NewRow
from blocker.store.store import Store
from blocker.times import SECOND

BANS, TRACKED, SCRAPES = 100_000, 1_000_000, 20
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
HOW = (
    f"A daemon with {BANS:,} active bans and {TRACKED:,} tracked addresses, half of both IPv6, one "
    f"log and 20 top offenders is scraped {SCRAPES} times in each round, by another process. "
    "Meanwhile a task in its loop asks every millisecond how late it is; and again in as long a "
    "time without scrapes."
)


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
            NewRow(Ban(address(n), "xmlrpc", now, now + 86_400 * SECOND, 3, 1), applied=False)
            for n in numbers
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
    """Return how late the loop was at most, milliseconds, until something is done."""
    loop, worst = asyncio.get_running_loop(), 0.0
    while not until.done():
        due = loop.time() + 0.001
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - due)
    return worst * 1000


async def scrape() -> dict[str, float]:
    """Scrape for a while, and do nothing for as long."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(SCRAPES), str(PORT), stdout=asyncio.subprocess.PIPE
    )
    asking = asyncio.create_task(client.communicate())
    delay = await largest_delay(asking)
    text, _ = await asking
    still = await largest_delay(asyncio.create_task(asyncio.sleep(0.2 * SCRAPES)))
    rows = [line.split() for line in text.decode().splitlines()]
    times = [float(row[0]) * 1000 for row in rows]
    return {
        "median": statistics.median(times),
        "slowest": max(times),
        "kB": max(int(row[1]) for row in rows) / 1000,
        "delay": delay,
        "still": still,
    }


async def live(runtime: Runtime, rounds: int) -> list[dict[str, float]]:
    """Scrape a life that is lived."""
    await runtime.begin()
    stop = asyncio.Event()
    living = asyncio.create_task(runtime.live(stop))
    try:
        while runtime.health.catching_up:  # noqa: ASYNC110 - a life has no event for this
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE)
        found = []
        for _ in range(rounds):
            found.append(await scrape())
            say(str({name: round(value, 1) for name, value in found[-1].items()}))
        return found
    finally:
        stop.set()
        await living


def measure(options: Options) -> Section:
    """Fill a store, and scrape a daemon that has read it."""
    home = options.directory
    config = Config(
        logs=(f"{home}/access.log",), state=f"{home}/state.db", control=f"{home}/control.sock",
        max_tracked=4 * TRACKED,
    )  # fmt: skip
    fill(config.state, BANS, TRACKED)
    attack(home / "access.log", 5000)
    loaded = LoadedConfig(config, shipped_lists())
    logging.getLogger("blocker").setLevel(logging.ERROR)
    with (
        namespace() as made,
        made.inside(),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        rounds = runner.run(live(Runtime(loaded, sdnotify.SystemdNotifier()), options.rounds))
    found = {name: [each[name] for each in rounds] for name in rounds[0]}
    return Section(
        "A scrape",
        HOW,
        [
            Row(f"scrape, median of {SCRAPES}", "ms", found["median"], asked=20),
            Row("the slowest of them", "ms", found["slowest"]),
            Row("size", "kB", found["kB"], asked=64),
            Row("largest delay of the loop", "ms", found["delay"]),
            Row("the same without scrapes", "ms", found["still"]),
        ],
    )
