"""Eviction of remembered bans against a naive oracle that sorts everybody each time."""

from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from blocker.config.schema import TrapConfig
from blocker.judging import remembered_bans
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.judging.remembered_bans import ROOM
from blocker.times import SECOND

REMEMBER = 10**9 * SECOND
bans = st.tuples(st.integers(0, 60), st.integers(0, 500), st.integers(0, 100))


def expected(history, ceiling, now):
    """Return who remains with how many bans, by subject: evicted one at a time, worst first."""
    left = dict(history)
    target = ceiling - ceiling // ROOM
    while sum(len(each) for each in left.values()) > target:
        ended = [(len(each), each[-1], who) for who, each in left.items() if each[-1] <= now]
        if not ended:
            break
        del left[min(ended)[2]]
    return {who: len(each) for who, each in left.items()}


@examples(300)
@given(st.lists(bans, max_size=150), st.integers(1, 100), st.integers(0, 600), st.integers(1, 20))
def test_those_evicted_are_those_that_the_naive_oracle_evicts(made, ceiling, now, size):
    """Fewest bans first, then the earliest end; none whose ban stands; every one is counted."""
    judge = Judge(
        [("xmlrpc", TrapConfig())], Limits(REMEMBER, max_remembered=ceiling), lambda _a: None
    )
    history = {}
    for number, start, length in made:
        who = bytes([192, 0, 2, number])
        judge.add_ban(who, start * SECOND, (start + length) * SECOND)
        history.setdefault(who, []).append((start + length) * SECOND)
    assert judge.bans.total == len(made)
    assert judge.bans.full == (len(made) > ceiling)
    slice_before, remembered_bans.EVICTION_SLICE = remembered_bans.EVICTION_SLICE, size
    try:
        repeat_offenders = judge.bans.repeat_offenders
        evicted = sum(judge.bans.evict(now * SECOND))
    finally:
        remembered_bans.EVICTION_SLICE = slice_before
    left = {who: judge.bans.count(who) for who in judge.bans.subjects()}
    assert left == expected(history, ceiling, now * SECOND)
    assert judge.bans.total == sum(left.values())
    assert judge.bans.evicted == len(made) - judge.bans.total
    assert repeat_offenders - evicted == judge.bans.repeat_offenders
    assert not judge.bans.full
