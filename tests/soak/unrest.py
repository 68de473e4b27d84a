"""Everything at once, for a long time: attack, rotations, flushes, reloads, kills, neighbours."""

import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from crash.attack import Attack
from crash.traffic import POLICIES
from crash.verdict import Verdict
from crash.victim import TABLE, Victim, kernel
from faults.frozen import FreezingDisk
from soak.neighbours import Neighbours

MIB = 1 << 20
DEEDS = {
    "flush": 7, "delete": 11, "reload": 13, "bad reload": 29, "kill": 45, "kill and flush": 90,
    "held database": 30, "hung log": 20, "silent clients": 40,
    "full disk": 60, "frozen disk": 45, "strange rules": 25, "stopped process": 50,
}  # fmt: skip
"""What is done to the daemon, and every how many seconds, on average."""
ROTATION_CHANCE = 0.01
PAUSES = (0.01, 0.02, 0.04, 0.08)
COMPARE = 60.0
WARM_UP = 5.0

RSS_SLACK, RSS_PER_BAN = 24 * MIB, 2048
"""What a process may grow by after its first seconds, plus what each new ban may cost."""
FD_SLACK = 24
"""Descriptors above those of a daemon at rest: rotated logs stay open for a minute."""
DATABASE_SLACK, DATABASE_PER_BAN = 4 * MIB, 512
WAL_LIMIT = 16 * MIB
DISK = 96 * MIB


class Sample(NamedTuple):
    """What the daemon uses at a moment."""

    seconds: float
    life: int
    rss: int
    descriptors: int
    database: int
    wal: int
    bans: int


class _Attack(Attack):
    """The daemon's database stands on a disk of its own."""

    def _make_victim(self, directory: Path, paths: list[Path]) -> Victim:
        return Victim(directory, paths, POLICIES, directory / "home" / "state.db")


class Soak:
    """One daemon that is given no rest.

    Args:
        directory: empty.
        seed: of everything that is decided at random.
        hurry: how much more often than usual the deeds are done.
    """

    def __init__(self, directory: Path, seed: int, hurry: float = 1) -> None:
        home = directory / "home"
        home.mkdir()
        self._home = FreezingDisk(home, directory / "home.img", DISK)
        self.attack = _Attack(directory, seed, time.time, rotate=ROTATION_CHANCE * hurry)
        self.victim, self._hurry = self.attack.victim, hurry
        self.rng = random.Random(seed)
        self.neighbours = Neighbours(self.victim, self._home, directory / "far", self.rng)
        self.deeds: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self._begun = self._born = 0.0
        self._last_sample = 0.0

    # Running -----------------------------------------------------------------------------------

    def run(self, seconds: float) -> Verdict:
        """Go on for so long; return the last comparison, or the first that differs."""
        self.attack.install()
        self._begun = self._born = time.monotonic()
        end, compare = self._begun + seconds, self._begun + min(COMPARE, seconds / 2)
        while time.monotonic() < end:
            self._step()
            if time.monotonic() > compare:
                compare = time.monotonic() + COMPARE
                self.neighbours.recover()
                verdict = self.attack.calm()
                if verdict.differences:
                    return verdict
        self.neighbours.recover()
        verdict = self.attack.calm()
        self.sample()
        return verdict

    def _step(self) -> None:
        self.attack.tick(PAUSES)
        self.neighbours.tick()
        for deed, every in DEEDS.items():
            if self.rng.random() < self._hurry * sum(PAUSES) / len(PAUSES) / every:
                self._do(deed)
        if time.monotonic() > self._last_sample + 1:
            self.sample()

    def _do(self, deed: str) -> None:
        if not self.victim.is_ready():
            return  # it is just starting
        self.deeds[deed] += 1
        {
            "flush": self._flush,
            "delete": self._delete,
            "reload": self.victim.reload,
            "bad reload": self._reload_badly,
            "held database": self.neighbours.hold_database,
            "hung log": self.neighbours.hang_log,
            "silent clients": self.neighbours.stay_silent,
            "full disk": self.neighbours.fill_disk,
            "frozen disk": self.neighbours.freeze_disk,
            "strange rules": self.neighbours.load_rules,
            "stopped process": self.neighbours.stop_process,
            "kill": self._kill,
            "kill and flush": lambda: self._kill(flush=True),
        }[deed]()

    def _flush(self) -> None:
        subprocess.run(["nft", "flush", "ruleset"], check=True)

    def _delete(self) -> None:
        for who in list(kernel())[:3]:
            if len(who) == 4:
                words = ["inet", TABLE, "ban4", f"{{ {'.'.join(map(str, who))} }}"]
                subprocess.run(
                    ["nft", "delete", "element", *words], capture_output=True, check=False
                )

    def _reload_badly(self) -> None:
        good = self.victim.config.read_text()
        self.victim.config.write_text(good + "\n[nonsense")
        self.victim.reload()
        self.attack.tick(PAUSES)
        self.victim.config.write_text(good)

    def close(self) -> None:
        """End the daemon, and let go of everything."""
        self.neighbours.recover()
        self.attack.close()
        self.neighbours.close()
        self._home.close()

    def _kill(self, *, flush: bool = False) -> None:
        self.neighbours.recover()
        self.victim.kill()
        self.attack.kills += 1
        if flush:
            self._flush()
        for _ in range(self.rng.randrange(20)):
            self.attack.tick(PAUSES)
        self.victim.start()
        self._born = time.monotonic()

    # Measuring ---------------------------------------------------------------------------------

    def sample(self) -> None:
        """Note what the daemon uses, once it has had time to start."""
        self._last_sample = now = time.monotonic()
        if now < self._born + WARM_UP or self.neighbours.home_fails or not self.victim.is_ready():
            return
        process = Path(f"/proc/{self.victim.process.pid}")
        status = (process / "status").read_text()
        rss = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        descriptors = len(list((process / "fd").iterdir()))
        wal = Path(f"{self.victim.state}-wal")
        self.samples.append(
            Sample(
                now - self._begun,
                self.attack.kills,
                rss,
                descriptors,
                self.victim.state.stat().st_size,
                wal.stat().st_size if wal.exists() else 0,
                self.victim.living_store().bans.total(),
            )
        )

    def growth(self) -> list[str]:
        """Return every way in which something grew beyond what is allowed, in sentences."""
        found, first = [], self.samples[0]
        births: dict[int, Sample] = {}
        for sample in self.samples:
            birth = births.setdefault(sample.life, sample)
            allowed = birth.rss + RSS_SLACK + RSS_PER_BAN * (sample.bans - birth.bans)
            ceiling = DATABASE_SLACK + DATABASE_PER_BAN * sample.bans
            found += _beyond("memory of one process", sample, sample.rss, allowed)
            found += _beyond("database", sample, sample.database, ceiling)
            found += _beyond("write-ahead log", sample, sample.wal, WAL_LIMIT)
        for birth in births.values():
            allowed = first.rss + RSS_SLACK + RSS_PER_BAN * (birth.bans - first.bans)
            found += _beyond("memory after a start", birth, birth.rss, allowed)
        third = self.samples[: max(1, len(self.samples) // 3)]
        most = max(sample.descriptors for sample in third) + FD_SLACK
        for sample in self.samples:
            found += _beyond("descriptors", sample, sample.descriptors, most)
        return found


def _beyond(what: str, sample: Sample, value: int, allowed: int) -> list[str]:
    if value <= allowed:
        return []
    return [f"{what}: {value} after {sample.seconds:.0f} s, {allowed} allowed"]
