"""The short form of ``make soak``: half a minute of everything at once."""

import sys

from soak.run import report
from soak.unrest import Soak

SEED, SECONDS, HURRY = 3, 25, 4


def test_half_a_minute_of_everything_at_once(netns, tmp_path):
    """Attacked, rotated, flushed, reloaded, killed, beside failing neighbours: nothing differs."""
    sys.stdout.write(f"seed {SEED}\n")
    soak = Soak(tmp_path, SEED, HURRY)
    try:
        verdict = soak.run(SECONDS)
    finally:
        soak.close()
    sys.stdout.write(report(soak, verdict))
    assert verdict.differences == []
    assert soak.growth() == []
    assert soak.deeds.total() > 10
