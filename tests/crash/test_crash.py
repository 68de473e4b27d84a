"""The short form of ``make crash``: about twenty kills, and nothing may differ."""

import sys

from crash.attack import LINES_PER_KILL, Attack, EventTime
from crash.run import survive

KILLS, SEED = 20, 7


def test_killed_twenty_times_nothing_is_lost_and_nothing_counted_twice(netns, tmp_path):
    """Counters, windows, bans and the kernel's sets are what the files say, after every kill."""
    sys.stdout.write(f"seed {SEED}\n")
    attack = Attack(tmp_path, SEED, EventTime(KILLS * LINES_PER_KILL, KILLS))
    try:
        verdict = survive(attack, KILLS, every=10)
    finally:
        attack.close()
    assert verdict.differences == []
    assert (verdict.lost, verdict.twice, verdict.bans_missing) == (0, 0, 0)
    assert verdict.hits > 1000
    assert sum(log.rotations for log in attack.logs) > 5
