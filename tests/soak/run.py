"""Gives the daemon no rest for a while, and prints what it used: ``make soak MINUTES=30``."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from crash.run import say
from crash.verdict import Verdict
from soak.unrest import MIB, Soak

ROWS = 12


def table(soak: Soak) -> str:
    """Return some of the samples, and the deeds."""
    step = max(1, len(soak.samples) // ROWS)
    lines = ["  time  process  RSS MiB  descriptors  database KiB  log KiB    bans"]
    lines += [
        f"{s.seconds:5.0f} s  {s.life:7}  {s.rss / MIB:7.1f}  {s.descriptors:11}"
        f"  {s.database >> 10:12}  {s.wal >> 10:7}  {s.bans:6}"
        for s in [*soak.samples[:-1:step], soak.samples[-1]]
    ]
    return "\n".join(lines)


def report(soak: Soak, verdict: Verdict) -> str:
    """Return the figures."""
    deeds = ", ".join(f"{count} x {deed}" for deed, count in sorted(soak.deeds.items()))
    rows = {
        "done to it": deeds,
        "rotations": sum(log.rotations for log in soak.attack.logs),
        "lines that stand in the files": verdict.lines,
        "hits written": verdict.hits,
        "hits counted": verdict.hits_counted,
        "hits lost, counted twice": f"{verdict.lost}, {verdict.twice}",
        "bans, standing, missing": f"{verdict.bans}, {verdict.standing}, {verdict.bans_missing}",
        "differences from the oracle": len(verdict.differences),
        "lost by copytruncate itself": verdict.lost_by_copytruncate - verdict.read_before_lost,
    }
    return "\n".join(f"{name:34}{value}" for name, value in rows.items())


def main() -> int:
    """Run in a network namespace of one's own, which vanishes with this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    directory = Path(tempfile.mkdtemp(prefix="xmlrpc-blocker-soak-"))
    soak = Soak(directory, chosen.seed)
    try:
        verdict = soak.run(chosen.minutes * 60)
        if verdict.differences:
            soak.neighbours.recover()
            soak.victim.abort()
    finally:
        soak.close()
    say(f"{table(soak)}\n\n{report(soak, verdict)}")
    wrong = verdict.differences + soak.growth()
    for each in wrong[:20]:
        say(f"  {each}")
    if wrong:
        say(f"FAILED; repeat with SEED={chosen.seed}; everything is kept in {directory}")
        return 1
    subprocess.run(["rm", "-r", str(directory)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
