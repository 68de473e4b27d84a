"""Cuts the power many times, and reports whether anything was lost: ``make power CUTS=200``.

The database is on a disk that loses what was not flushed, with or without the logs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crash.attack import Attack, EventTime
from crash.disk import HOW
from crash.failing import FailingLog
from crash.machine import FILE_SYSTEMS, Machine, flush, machine, missing, write_back
from crash.oracle import Oracle, subject
from crash.rotation import WrittenLog
from crash.run import report, say
from crash.traffic import POLICIES, Traffic
from crash.verdict import Verdict, compare
from crash.victim import TABLE, Stored, Victim

CALM_EVERY = 8
LINES_PER_CUT = 300
"""More than are written, for the lines' time must not meet its limit: a boot takes its time."""
BOOT = 5
"""Seconds of the lines' time in which nothing is written, since the servers are not there."""
BY_HAND = "203.0.113"
"""Addresses that administrators ban; no attacker has them."""


class PowerAttack(Attack):
    """An attack on a daemon whose disk loses what was not flushed.

    Args:
        host: whose disk it is.
        directory: empty, on another disk.
        seed: of everything that is decided at random.
        clock: of the lines.
        failing: whether the logs are on the failing disk as well.

    Attributes:
        wrong: what was not as it has to be right after a boot.
        figures: sums over all failures.
    """

    def __init__(
        self, host: Machine, directory: Path, seed: int, clock: EventTime, *, failing: bool
    ) -> None:
        self.host, self._clock, self._failing = host, clock, failing
        self.wrong: list[str] = []
        self.figures: Counter[str] = Counter()
        self._by_hand: dict[bytes, bool] = {}
        super().__init__(directory, seed, clock)

    def _make_logs(
        self, directory: Path, clock: Callable[[], float]
    ) -> list[WrittenLog] | list[FailingLog]:
        if not self._failing:
            return super()._make_logs(directory, clock)
        return [
            FailingLog(self.host.root / name, Traffic(self.rng, n, clock), self.rng)
            for n, name in enumerate(("first", "second"))
        ]

    def _make_victim(self, directory: Path, paths: list[Path]) -> Victim:
        return Victim(directory, paths, POLICIES, self.host.root / "state.db")

    def install(self) -> None:
        """Start for the first time; that is long ago, and has been flushed."""
        super().install()
        self.host.sync()

    # A life and its end ------------------------------------------------------------------------

    def cut(self, how: str) -> None:
        """Lose the power at some instant of a life, look what is left, and start again."""
        self._live()
        counted = self.victim.lines()
        self.host.cut()
        self.early += not self.victim.ready
        self.victim.kill()
        self.kills += 1
        if self._failing:
            for log in self.logs:
                log.close()
        seed = self.rng.randrange(1 << 32)
        failure = self.host.boot(how, seed)
        self.figures["sectors in the disk's cache"] += failure.cached
        self.figures["sectors that survived"] += failure.kept
        # What the kernel held is gone as well.
        words = ["nft", "delete", "table", "inet", TABLE]
        subprocess.run(words, capture_output=True, check=False)
        stored = self.victim.dead_store()
        self._check_promises(stored)
        self._note_rolled_back(stored, counted)
        if self._failing:
            self._look_at_logs(stored)
        self._clock.skip(BOOT)
        for _ in range(self.rng.choice((0, 0, 3, 12))):
            self.tick()
        self.victim.start()

    def _live(self) -> None:
        rng, kind = self.rng, self.rng.random()
        if kind < 0.15:
            self._ticks_for(rng.uniform(0, 0.8))
            return
        self.victim.wait_ready()
        for _ in range(rng.randrange(1, 25)):
            self.tick()
            if rng.random() < 0.25:
                self._nudge()
        if kind < 0.35:
            self._command()
        elif kind < 0.8:
            self._decide()

    def _nudge(self) -> None:
        """Bring some file onto the platter, or at least under way to it."""
        state = self.victim.state
        files = [state, state.with_name("state.db-wal"), *(log.path for log in self.logs)]
        file = self.rng.choice(files)
        bring = self.rng.choice((flush, write_back))
        if file.exists():
            bring(file)

    def _command(self) -> None:
        """Ban or unban by hand: what was answered has to survive from now on."""
        address = f"{BY_HAND}.{self.rng.randrange(1, 9)}"
        who = subject(address)
        command = "unban" if self._by_hand.get(who) else "ban"
        words = [sys.executable, "-m", "blocker", "--config", str(self.victim.config)]
        done = subprocess.run(
            [*words, command, address], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        self._by_hand[who] = command == "ban"
        self.figures["commands"] += 1

    # What is left ------------------------------------------------------------------------------

    def _check_promises(self, stored: Stored) -> None:
        ends, now = stored.ends(), time.time_ns() // 1000
        self.wrong += [
            f"cut {self.kills}: {who.hex()} should be {'' if banned else 'un'}banned by hand"
            for who, banned in self._by_hand.items()
            if (ends.get(who, 0) > now) != banned
        ]

    def _note_rolled_back(self, stored: Stored, counted: int) -> None:
        """Count the lines that the daemon had counted and knows nothing of any more."""
        left = sum(n for (_, name), n in stored.counts.items() if name == "lines")
        self.figures["lines rolled back"] += counted - left

    def _look_at_logs(self, stored: Stored) -> None:
        """Compare what is stored with the lines that it says it counted: it is of one moment."""
        oracle = Oracle(POLICIES)
        for log in self.logs:
            counted = stored.counts[str(log.path), "lines"]
            oracle.read(str(log.path), log.lines(counted))
        found = compare(oracle, self._without_hand(stored), [str(log.path) for log in self.logs])
        self.wrong += [f"cut {self.kills}, not of one moment: {each}" for each in found]
        self._rotating = [None for _ in self.logs]
        for log in self.logs:
            log.fail(stored.counts[str(log.path), "lines"])

    def _without_hand(self, stored: Stored) -> Stored:
        bans = {ban: n for ban, n in stored.bans.items() if ban.subject not in self._by_hand}
        return stored._replace(bans=Counter(bans))

    def calm(self) -> Verdict:
        """Forget what was done by hand, then compare as ever."""
        self.victim.wait_ready()
        words = [sys.executable, "-m", "blocker", "--config", str(self.victim.config), "forget"]
        everybody = [f"{BY_HAND}.{n}" for n in range(1, 9)]
        done = subprocess.run([*words, *everybody], capture_output=True, check=False)
        assert done.returncode in {0, 4}, done.stderr  # 4: there was nothing to forget
        self._by_hand = dict.fromkeys(map(subject, everybody), False)
        return super().calm()


def survive(attack: PowerAttack, cuts: int, every: int = CALM_EVERY) -> Verdict:
    """Cut the power so many times; return the last comparison, or the first that differs."""
    attack.install()
    while attack.kills < cuts:
        attack.cut(HOW[attack.kills % len(HOW)])
        if attack.wrong or attack.kills % every == 0 or attack.kills == cuts:
            verdict = attack.calm()
            verdict = verdict._replace(differences=[*attack.wrong, *verdict.differences])
            if verdict.differences:
                return verdict
    return verdict


def run(name: str, cuts: int, seed: int, *, failing: bool) -> bool:
    """Cut the power of one file system; print what came of it, and return whether all is well."""
    logs = "the logs on the disk that fails" if failing else "the logs on another disk"
    say(f"{name}, {logs}, seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="xmlrpc-blocker-power-"))
    clock, begun = EventTime(cuts * LINES_PER_CUT, cuts), time.monotonic()
    with machine(directory, name) as host:
        attack = PowerAttack(host, directory, seed, clock, failing=failing)
        try:
            verdict = survive(attack, cuts)
        finally:
            attack.close()
    say(report(attack, verdict, time.monotonic() - begun))
    for what, figure in sorted(attack.figures.items()):
        say(f"{what:34}{figure}")
    if verdict.differences:
        say("\n".join(f"  {difference}" for difference in verdict.differences[:20]))
        say(f"FAILED; the journal is in {directory}")
        return False
    subprocess.run(["rm", "-r", str(directory)], check=True)
    return True


def main() -> int:
    """Run in namespaces of one's own, of the network and of mounts, which vanish with this."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=FILE_SYSTEMS)
    chosen = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    names = [chosen.only] if chosen.only else list(FILE_SYSTEMS)
    for name in names:
        if why := missing(name):
            say(f"{name}: {why}")
            return 1
    cases = [(name, failing) for name in names for failing in (False, True)]
    share = max(1, chosen.cuts // len(cases))
    results = [run(name, share, chosen.seed, failing=failing) for name, failing in cases]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
