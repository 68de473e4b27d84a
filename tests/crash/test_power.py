"""The short form of ``make power``: a few cuts, and nothing may differ."""

import sys

import pytest
from crash.attack import EventTime
from crash.disk import HOW, Disk
from crash.machine import machine, missing
from crash.power import LINES_PER_CUT, PowerAttack, survive

CUTS, SEED = 8, 5
FILE_SYSTEM = "ext4"


@pytest.mark.skipif(bool(missing(FILE_SYSTEM)), reason=missing(FILE_SYSTEM))
@pytest.mark.parametrize("failing", [False, True], ids=["the state", "the state and the logs"])
def test_the_power_fails_and_nothing_is_lost_and_nothing_counted_twice(netns, tmp_path, failing):
    """What was not flushed is gone: what is stored is of one moment, and is made up for."""
    sys.stdout.write(f"seed {SEED}\n")
    clock = EventTime(CUTS * LINES_PER_CUT, CUTS)
    with machine(tmp_path, FILE_SYSTEM) as host:
        attack = PowerAttack(host, tmp_path, SEED, clock, failing=failing)
        try:
            verdict = survive(attack, CUTS)
        finally:
            attack.close()
    assert verdict.differences == []
    assert (verdict.lost, verdict.twice, verdict.bans_missing, verdict.bans_wrong) == (0, 0, 0, 0)
    assert verdict.hits > 100
    assert attack.figures["lines rolled back"] > 0


@pytest.mark.parametrize("how", HOW)
def test_what_was_flushed_survives_however_the_power_fails(how):
    """Of what was written after that, a sector is there or not."""
    disk = Disk(4096)
    disk.write(0, b"a" * 2048)
    disk.flush()
    disk.write(1024, b"b" * 2048)
    disk.write(512, b"c" * 1024)
    disk.cut()
    assert not disk.write(0, b"d" * 512)
    assert not disk.flush()
    had, kept = disk.on(how, 3).split()
    assert (had, int(kept) <= 6) == ("6", True)
    sectors = [disk.read(at, 512) for at in range(0, 4096, 512)]
    assert all(len(set(sector)) == 1 for sector in sectors)
    letters = "".join(chr(sector[0]) for sector in sectors).replace("\0", "-")
    possible = ["a", "ac", "abc", "ab", "-b", "-b", "-", "-"]
    assert all(letter in each for letter, each in zip(letters, possible, strict=True))
    if how in {"none", "all"}:
        assert letters == {"none": "aaaa----", "all": "accbbb--"}[how]
