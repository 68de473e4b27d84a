"""Compares what the daemon and the kernel hold with what the oracle read."""

import time
from collections import Counter
from typing import NamedTuple

from crash.oracle import SECOND, Oracle
from crash.rotation import WrittenLog
from crash.traffic import POLICIES
from crash.victim import Stored, kernel

COUNTED = ("lines", "hits", "blocked", "late", "friends")
TOLERANCE = 2 * SECOND


class Verdict(NamedTuple):
    """What differs, in sentences, and the figures."""

    differences: list[str]
    lines: int
    hits: int
    hits_counted: int
    lost: int
    twice: int
    bans: int
    bans_missing: int
    bans_wrong: int
    standing: int
    lost_by_copytruncate: int
    read_before_lost: int


def expected(logs: list[WrittenLog], stored: Stored) -> tuple[Oracle, int]:
    """Return what has to be, and how many lines were read before copytruncate lost them.

    Those that could not be read later are recognised by their addresses, each of which wrote one
    line: where its hit is pending, the line was read, and then has to be counted, once.
    """
    oracle = Oracle(POLICIES)
    read_before = 0
    for log in logs:
        oracle.read(str(log.path), log.lines())
        for line in log.lost:
            alone = Oracle(POLICIES)
            alone.read(str(log.path), [line])
            if alone.windows.keys() <= stored.windows.keys():
                oracle.read(str(log.path), [line])
                read_before += 1
    return oracle, read_before


def judge(logs: list[WrittenLog], stored: Stored, *, ask_kernel: bool = True) -> Verdict:
    """Compare everything."""
    oracle, read_before = expected(logs, stored)
    paths = [str(log.path) for log in logs]
    differences = compare(oracle, stored, paths)
    missing, extra = oracle.bans - stored.bans, stored.bans - oracle.bans
    now = time.time_ns() // 1000
    if ask_kernel:
        differences += _compare_kernel(oracle.standing(now), now)
    hits = [oracle.counts[path, "hits"] - stored.counts[path, "hits"] for path in paths]
    return Verdict(
        differences,
        _total(oracle.counts, "lines"),
        _total(oracle.counts, "hits"),
        _total(stored.counts, "hits"),
        sum(max(gap, 0) for gap in hits),
        sum(max(-gap, 0) for gap in hits),
        oracle.bans.total(),
        missing.total(),
        extra.total(),
        len(oracle.standing(now)),
        sum(len(log.lost) for log in logs),
        read_before,
    )


def compare(oracle: Oracle, stored: Stored, paths: list[str]) -> list[str]:
    """Return how the store differs from what has to be, in sentences."""
    gaps = {
        (path, name): oracle.counts[path, name] - stored.counts[path, name]
        for path in paths
        for name in COUNTED
    }
    missing, extra = oracle.bans - stored.bans, stored.bans - oracle.bans
    return [
        *(f"{path}: {gap} {name} missing" for (path, name), gap in gaps.items() if gap),
        *_compare_windows(oracle, stored),
        *(f"missing {ban}" for ban in missing),
        *(f"too many {ban}" for ban in extra),
    ]


def _total(counts: Counter[tuple[str, str]], wanted: str) -> int:
    return sum(value for (_, name), value in counts.items() if name == wanted)


def _compare_windows(oracle: Oracle, stored: Stored) -> list[str]:
    wanted, held = oracle.windows, stored.windows
    return [
        f"window of {who.hex()}: {wanted.get(who)} expected, {held.get(who)} held"
        for who in wanted.keys() | held.keys()
        if wanted.get(who) != held.get(who)
    ]


def _compare_kernel(standing: dict[bytes, int], now: int) -> list[str]:
    held = kernel()
    found = []
    for who in standing.keys() | held.keys():
        want, have = standing.get(who, now), held.get(who, now)
        if abs(want - have) > TOLERANCE:
            left, right = (want - now) / SECOND, (have - now) / SECOND
            found.append(f"kernel: {who.hex()} should have {left:.1f} s left, has {right:.1f}")
    return found
