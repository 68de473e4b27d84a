"""A writer, a rotator and a killer at work on one daemon; all decisions come from one seed."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from crash.oracle import SECOND
from crash.rotation import WrittenLog
from crash.traffic import POLICIES, Traffic
from crash.verdict import Verdict, judge
from crash.victim import Stored, Victim, kernel, until

LINES_PER_KILL = 140
LINE_TIME = 0.1
KILL_TIME = 0.6
AHEAD = 240
PAUSES = (0, 0.001, 0.005, 0.02)
STEP_CHANCE = 0.3
KEEP = 6
CALM_EVERY = 20
QUIET, PATIENCE = 0.3, 20.0
"""Seconds without news before a comparison, and until a difference is believed."""


class EventTime:
    """The time that lines are stamped with: it depends on how many there were.

    It runs faster than the clock, so that bans end and offences are repeated within the run, and
    meets the clock when the run is expected to end; it never runs further ahead than servers may.
    """

    def __init__(self, lines: int, kills: int) -> None:
        self._at = time.time() + kills * KILL_TIME - lines * LINE_TIME

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing is written."""
        self._at += seconds

    def __call__(self) -> float:
        self._at = min(self._at + LINE_TIME, time.time() + AHEAD)
        return self._at


class Attack:
    """One daemon under attack.

    Args:
        directory: empty.
        seed: of everything that is decided at random.
        clock: of the lines.
        rotate: chance that a rotation begins at a tick.
    """

    def __init__(
        self, directory: Path, seed: int, clock: Callable[[], float], rotate: float = 0.12
    ) -> None:
        self.rng = random.Random(seed)
        self._chance = rotate
        self.logs = self._make_logs(directory, clock)
        self.victim = self._make_victim(directory, [log.path for log in self.logs])
        self._rotating: list[Iterator[str] | None] = [None for _ in self.logs]
        self.rotations: Counter[str] = Counter()
        self.kills = self.between = self.early = 0

    def _make_logs(self, directory: Path, clock: Callable[[], float]) -> list[WrittenLog]:
        return [
            WrittenLog(directory / name, Traffic(self.rng, n, clock), self.rng, dated=bool(n))
            for n, name in enumerate(("numbered", "dated"))
        ]

    def _make_victim(self, directory: Path, paths: list[Path]) -> Victim:
        return Victim(directory, paths, POLICIES)

    def install(self) -> None:
        """Start the daemon for the first time, on empty logs, until it has written that down."""
        self.victim.start()
        self.victim.wait_ready()
        assert until(lambda: self.victim.living_store().positions >= len(self.logs))

    def close(self) -> None:
        """End the daemon and let go of the logs."""
        self.victim.close()
        for log in self.logs:
            log.close()

    # One small thing after the other -----------------------------------------------------------

    def tick(self, pauses: tuple[float, ...] = PAUSES) -> None:
        """Write a little somewhere, or rotate a step further; then pause for moments."""
        rng, index = self.rng, self.rng.randrange(len(self.logs))
        chance = self._chance if self._rotating[index] is None else STEP_CHANCE
        if rng.random() < chance:
            self._rotate(index)
        else:
            self.logs[index].write(rng.randrange(1, 16))
        time.sleep(rng.choice(pauses))

    def _rotate(self, index: int) -> None:
        """Take one step of a rotation, the first one of a new one if none is going on."""
        steps = self._rotating[index]
        if steps is None:
            steps = self._rotating[index] = self.logs[index].rotation()
        name = next(steps, None)
        if name is None:
            self._rotating[index] = None
        else:
            self.rotations[name] += 1

    # Killing -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill at some instant of a life, look what was left behind, and start again at once."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.2:
            self._ticks_for(rng.uniform(0, 0.8))
        else:
            self.victim.wait_ready()
            for _ in range(rng.randrange(1, 12)):
                self.tick()
            if kind < 0.8:
                self._decide()
        self.early += not self.victim.ready
        self.victim.kill()
        self.kills += 1
        self.between += is_between(kernel(), self.victim.dead_store())
        for _ in range(rng.choice((0, 0, 0, 3, 12))):
            self.tick()
        self.victim.start()

    def _ticks_for(self, seconds: float) -> None:
        for _ in range(rng_steps(seconds)):
            self.tick()

    def _decide(self) -> None:
        """Write lines that decide bans, and give the daemon a moment: it is busy with them now."""
        time.sleep(0.03)  # it is idle then, and so comes to the deciding instants soon
        log = self.rng.choice(self.logs)
        log.append(log.traffic.verdict(self.rng.choice((1, 3, 10, 30))))
        wait_busily(self.rng.uniform(0.0015, 0.006))

    # Comparing ---------------------------------------------------------------------------------

    def calm(self) -> Verdict:
        """Let everybody finish, then compare; delete old files that the daemon knows by now."""
        for index, log in enumerate(self.logs):
            while self._rotating[index] is not None:
                self._rotate(index)
            log.finish()
        self.victim.wait_ready()
        verdict = self._settled()
        for log in self.logs:
            log.purge(KEEP)
        return verdict

    def _settled(self) -> Verdict:
        """Compare when nothing changes any more, again while there are differences to settle."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self._quiet()
            late = time.monotonic() > deadline
            verdict = judge(self.logs, self.victim.living_store())
            if late or not verdict.differences:
                return verdict

    def _quiet(self) -> None:
        """Wait until no lines were counted for a moment."""
        lines, since = -1, 0.0
        while lines != self.victim.lines() or time.monotonic() < since + QUIET:
            if lines != self.victim.lines():
                lines, since = self.victim.lines(), time.monotonic()
            time.sleep(0.02)


def rng_steps(seconds: float) -> int:
    """Return how many ticks take about so long."""
    return int(seconds / 0.007)


def wait_busily(seconds: float) -> None:
    """Wait exactly: sleeping is too coarse for the moments that matter here."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def is_between(held: dict[bytes, int], stored: Stored) -> bool:
    """Whether the kernel has a ban that the store does not know (yet)."""
    ends, now = stored.ends(), time.time_ns() // 1000
    return any(
        left > now + 2 * SECOND and abs(ends.get(who, 0) - left) > 3 * SECOND
        for who, left in held.items()
    )
