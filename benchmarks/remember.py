"""Ninety days of attackers, and what of them is remembered: memory, start, database.

    python benchmarks/remember.py                        5,000,000 addresses, as root
    python benchmarks/remember.py --addresses 100000     fewer

Each address makes three hits at one moment of the ninety days and never comes back; every other is
IPv6.  A hundred others come back every third day.  The days are simulated: the real engine reads a
log that is rotated every day, by a clock that is set, into a real store; without a kernel, whose
timeouts can't be simulated.  Then a real daemon is started on that store, in a network namespace of
its own, and the heaviest attack once more.

Everything has to stay within what the unit allows, and the heaviest have to be known by then.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from memory import megabytes, text_of  # noqa: E402
from support.daemons import daemon, line, wait_for, write  # noqa: E402
from support.namespaces import namespace  # noqa: E402

from blocker.config.schema import Config  # noqa: E402
from blocker.engine.enforcer import Enforcer  # noqa: E402
from blocker.engine.engine import Engine  # noqa: E402
from blocker.engine.parts import assemble  # noqa: E402
from blocker.engine.restore import restore  # noqa: E402
from blocker.engine.upkeep import Upkeep  # noqa: E402
from blocker.friends.friends import Friends  # noqa: E402
from blocker.friends.shipped import shipped_lists  # noqa: E402
from blocker.judging.judge import Judge  # noqa: E402
from blocker.judging.limits import Limits  # noqa: E402
from blocker.matching.matchers import Matchers  # noqa: E402
from blocker.sources.files.log_formats import LogFormats  # noqa: E402
from blocker.sources.files.tailer import FileTailer  # noqa: E402
from blocker.store.store import Store  # noqa: E402
from blocker.times import DAY, SECOND  # noqa: E402

DAYS = 90
HEAVY = [bytes([198, 18, 7, n]) for n in range(100)]
EVERY = 3
MEMORY, START = 1024, 15.0
"""What the unit allows, megabytes, and the seconds that a start may take."""
MINUTES = 1440
LINE = ' - - [%s] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n'


def stranger(number):
    """Return an address that nobody else has, every other of them IPv6."""
    if number % 2:
        return (0x20000000 + number * 5).to_bytes(4, "big")
    return bytes.fromhex("2a00") + number.to_bytes(6, "big") + bytes(8)


class Simulation:
    """The real engine, a log, and a clock that is set."""

    def __init__(self, state, log, max_remembered):
        config = Config(max_remembered=max_remembered)
        friends = Friends.build(lists=shipped_lists())
        limits = Limits(config.remember, config.max_tracked, 64, max_remembered)
        judge = Judge(list(config.traps.items()), limits, friends.why)
        # A rehearsal, so that there is no kernel; the store takes its bans for real ones.
        self.now = time.time_ns() // 1000 - DAYS * DAY
        self.log, self.remember = log, config.remember
        self.traps = list(config.traps)
        parts = assemble(
            judge=judge,
            enforcer=Enforcer(None, friends, lambda: self.now),
            store=Store(state),
            clock=lambda: self.now,
        )
        self.engine = Engine(
            Matchers(list(config.traps.values()), LogFormats(config.format)), parts
        )
        self.tailer = None
        self.hits = 0

    def counted(self):
        """Return how many hits are counted."""
        return sum(
            value for (_, name), value in self.engine.ledger.counters.items() if name == "hits"
        )

    async def begin(self):
        """Read back what is stored: nothing."""
        self.log.touch()
        await restore(self.engine.parts, self.traps, self.remember)
        self.tailer = FileTailer([str(self.log)], start_of=whole)
        await self.tailer.scan()

    def write_day(self, numbers, heavy):
        """Write the hits of a day, minute by minute."""
        share = -(-len(numbers) // MINUTES)
        with self.log.open("w", buffering=1 << 20) as file:
            for minute in range(MINUTES):
                at = time.gmtime(self.now // SECOND + minute * 60)
                text = LINE % time.strftime("%d/%b/%Y:%H:%M:%S +0000", at)
                for number in numbers[minute * share : (minute + 1) * share]:
                    file.write((text_of(stranger(number)) + text) * 3)
                for who in heavy if minute == 0 else ():
                    file.write((text_of(who) + text) * 3)

    async def live_day(self, numbers, heavy):
        """Let a day pass: hits, the nightly rotation, the daily tidying."""
        self.write_day(numbers, heavy)
        self.now += DAY
        self.hits += 3 * (len(numbers) + len(heavy))
        await self.tailer.scan()
        await self.digest()
        while self.counted() < self.hits:  # on a busy machine a log is set aside for a moment
            with contextlib.suppress(TimeoutError):  # what is judged may wait to be stored
                await asyncio.wait_for(self.tailer.wait(), 0.05)
            await self.digest()
        self.log.rename(f"{self.log}.1")
        self.log.touch()
        await self.tailer.scan()
        await Upkeep(self.engine).tidy(self.remember)
        if self.engine.ceiling.reached.is_set():
            await Upkeep(self.engine).evict()

    async def digest(self):
        """Judge what is there, and evict what is too much."""
        while await self.engine.process_batch(self.tailer):
            if self.engine.ceiling.reached.is_set():
                await Upkeep(self.engine).evict()

    async def end(self):
        """Stop in order."""
        await self.engine.close()
        self.engine.store.close()  # what is in its log of changes is in the file then
        self.tailer.close()


async def whole(_log):
    """Read a log from its beginning."""
    return 0


async def simulate(simulation, addresses):
    """Let all days pass."""
    await simulation.begin()
    for day in range(DAYS):
        numbers = range(addresses * day // DAYS, addresses * (day + 1) // DAYS)
        await simulation.live_day(numbers, HEAVY if day % EVERY == 0 else ())
        if day % 10 == 9:
            bans = simulation.engine.judge.bans
            print(
                f"day {day + 1:2}: {bans.total:9,} bans of {bans.offenders:9,} remembered,"
                f" {bans.evicted:9,} evicted,"
                f" {megabytes(os.getpid(), 'VmRSS'):4.0f} MB, state {size(simulation):4.0f} MB",
                flush=True,
            )
    counts = [simulation.engine.judge.bans.count(who) for who in HEAVY]
    await simulation.end()
    return counts, simulation.counted()


def size(simulation):
    """Return the size of the database, megabytes."""
    return Path(simulation.engine.store.path).stat().st_size / 1e6


def start_again(state, max_remembered):
    """Start a real daemon on a store; return its figures, and what a heavy one's ban says."""
    with (
        tempfile.TemporaryDirectory() as name,
        namespace() as home,
        daemon(home, Path(name), f"max_remembered = {max_remembered}") as service,
    ):
        state.rename(service.state)
        service.log.touch()
        begun = time.perf_counter()
        process = service.launch()
        wait_for(lambda: " started: " in service.said(), "the start", patience=300)
        took, spent = time.perf_counter() - begun, on_cpu(process.pid)
        write(service.log, *[line(text_of(HEAVY[0]))] * 3)
        service.until_blocked(text_of(HEAVY[0]))
        told = f"banned {text_of(HEAVY[0])} "
        wait_for(lambda: told in service.said(), "word of the ban")
        peak = megabytes(process.pid, "VmHWM")
        return took, spent, peak, service.said().partition(told)[2].split("\n")[0]


def on_cpu(pid):
    """Return the seconds of processor time that a process has used, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    """Simulate, start again, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--addresses", type=int, default=5_000_000)
    parser.add_argument("--ceiling", type=int, default=Config().max_remembered)
    arguments = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        state = Path(name, "state.db")
        simulation = Simulation(state, Path(name, "access.log"), arguments.ceiling)
        begun = time.perf_counter()
        counts, hits = uvloop.run(simulate(simulation, arguments.addresses))
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        stored = state.stat().st_size / 1e6
        expected = 3 * arguments.addresses + 3 * len(HEAVY) * len(range(0, DAYS, EVERY))
        print(f"{hits:,} hits in {seconds:.0f} s, peak {peak:.0f} MB, database {stored:.0f} MB")
        took, spent, started, said = start_again(state, arguments.ceiling)
    print(f"start {took:.1f} s ({spent:.1f} s of a core), peak {started:.0f} MB")
    print(f"the heaviest: {min(counts)} to {max(counts)} bans known; the next: {said}")
    known = len(range(0, DAYS, EVERY)) - 1  # the first is ninety days ago, and may be forgotten
    fine = (
        hits == expected
        and max(peak, started) < MEMORY
        and spent < START
        and min(counts) >= known
        and any(f"offence={known + n} " in said for n in (1, 2))
    )
    print("within the limits" if fine else "NOT within the limits")
    sys.exit(not fine)


if __name__ == "__main__":
    main()
