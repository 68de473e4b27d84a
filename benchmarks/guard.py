"""Fails on a clear regression, on any machine: ``make guard``, in CI.

Compares CPU seconds of ``replay`` with those of ``grep`` over the same log, in turn in one run, and
takes the least of several rounds of each: what else goes on only ever adds.  The limits are twice
what was measured when they were set.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.generate import write
from benchmarks.machine import cost
from benchmarks.rig import grep, ours

LINES, FLOOD_LINES = 300_000, 100_000
ROUNDS, MORE = 5, 15
LIMITS = {"mixed": 10.0, "flood": 20.0}
"""Times what grep takes for the mixed log: for that, and for a flood a third as long."""


def least(
    commands: dict[str, list[str]], rounds: int, before: dict[str, float]
) -> dict[str, float]:
    """Return the least CPU seconds of each command."""
    found = dict(before)
    for _ in range(rounds):
        for name, command in commands.items():
            found[name] = min(found.get(name, 1e9), cost(command).seconds)
    return found


def ratios(found: dict[str, float]) -> dict[str, float]:
    """Return what each costs, in times of grep."""
    return {name: found[name] / found["grep"] for name in LIMITS}


def main() -> None:
    """Measure; measure on if it looks bad, for that may have been the machine."""
    with tempfile.TemporaryDirectory(prefix="xmlrpc-blocker-") as name:
        mixed = write(Path(name) / "mixed", "mixed", LINES)
        flood = write(Path(name) / "flood", "flood", FLOOD_LINES, 10_000)
        commands = {"grep": grep(mixed), "mixed": ours(mixed), "flood": ours(flood)}
        found = least(commands, ROUNDS, {})
        if any(ratios(found)[each] > limit for each, limit in LIMITS.items()):
            found = least(commands, MORE, found)
    done = ratios(found)
    said = (f"{each} {ratio:.1f} (limit {LIMITS[each]:.0f})" for each, ratio in done.items())
    print(f"replay in times of grep: {', '.join(said)}")
    if any(done[each] > limit for each, limit in LIMITS.items()):
        sys.exit("slower than ever: compare with the commits before, make bench ONLY=replay")


if __name__ == "__main__":
    main()
