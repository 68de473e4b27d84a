"""Remembered bans: offences, ends, and which are evicted."""

from blocker.judging.limits import Limits
from blocker.judging.remembered_bans import RememberedBans
from blocker.times import SECOND

HOUR, DAY = 3600 * SECOND, 86400 * SECOND
START = 1_700_000_000 * SECOND
WHO, OTHER = bytes([203, 0, 113, 7]), bytes([203, 0, 113, 8])


def at(seconds):
    return START + seconds * SECOND


def expire(bans, now):
    for subject in bans.subjects():
        bans.expire(subject, now)


def full_of_bans(ceiling):
    """Return as many bans as may be remembered: one each, ended one after the other."""
    bans = RememberedBans(Limits(90 * DAY, max_remembered=ceiling))
    for n in range(ceiling):
        bans.add(bytes([10, 0, n >> 8, n & 255]), START, START + n * SECOND)
    return bans


def test_of_too_many_remembered_bans_the_first_offenders_that_ended_first_go():
    """A repeat offender outlasts those who were banned once, though its bans are the oldest."""
    bans = full_of_bans(64)
    bans.add(WHO, START - DAY, START - DAY + 1)
    bans.add(WHO, START - DAY + 2, START - DAY + 3)
    assert bans.full
    assert sum(bans.evict(START + DAY)) == 0
    assert bans.total == 60
    assert bans.evicted == 6
    assert bans.count(WHO) == 2
    assert [bans.count(bytes([10, 0, 0, n])) for n in (0, 5, 6)] == [0, 0, 1]


def test_a_ban_that_stands_is_never_evicted_and_not_looked_for_again_at_once():
    """More may stand than are remembered otherwise; the next look waits for as many again."""
    bans = full_of_bans(64)
    bans.add(WHO, START, START + DAY)
    assert bans.full
    list(bans.evict(START - 1))
    assert (bans.total, bans.full) == (65, False)
    for n in range(5):
        bans.add(bytes([10, 1, 0, n]), START, START + DAY)
    assert bans.full


def test_a_subject_that_is_banned_again_during_an_eviction_stays():
    """An eviction goes in steps, and bans are changed in between."""
    bans = full_of_bans(64)
    bans.add(WHO, START, START + DAY)
    steps = bans.evict(START + DAY // 2)
    next(steps)
    bans.add(bytes([10, 0, 0, 0]), START + DAY, START + 2 * DAY)
    list(steps)
    assert bans.count(bytes([10, 0, 0, 0])) == 2


def test_bans_ahead_of_the_clock_are_set_back_on_demand():
    """Each is as long as before; one that begins within five minutes stays."""
    bans = RememberedBans(Limits(90 * DAY))
    bans.add(WHO, at(0), at(1))
    bans.add(WHO, at(301), at(301) + DAY)
    bans.add(OTHER, at(300), at(300) + DAY)
    bans.set_back([WHO, OTHER, b"none"], at(1))
    assert bans.active(WHO, at(0)) == (at(301), at(301) + DAY)
    bans.set_back([WHO, OTHER], at(0))
    assert bans.active(WHO, at(0)) == (at(0), at(0) + DAY)
    assert bans.active(OTHER, at(0)) == (at(300), at(300) + DAY)


def test_an_offence_is_remembered_until_exactly_remember_later():
    """At that moment it counts no longer; a ban that begins at the same time counts."""
    bans = RememberedBans(Limits(10 * DAY))
    bans.add(WHO, START, START + HOUR)
    assert bans.offence(WHO, START - 1) == 1
    assert bans.offence(WHO, START) == 2
    assert bans.offence(WHO, START + 10 * DAY - 1) == 2
    assert bans.offence(WHO, START + 10 * DAY) == 1
    assert bans.offence(OTHER, START) == 1


def test_a_further_ban_drops_those_that_are_no_longer_remembered():
    """Nothing is kept that can't count again."""
    bans = RememberedBans(Limits(10 * DAY))
    for start in (START, START + 1, START + 10 * DAY):
        bans.add(WHO, start, start + HOUR)
    assert bans.count(WHO) == 2


def test_each_subject_and_all_together_are_counted():
    """Bans, bans since a time, who was banned, and who more than once."""
    bans = RememberedBans(Limits(90 * DAY))
    for start in (0, 5000, 10000):
        bans.add(WHO, at(start), at(start + 60))
    bans.add(OTHER, at(0), at(60))
    assert [bans.count(subject) for subject in (WHO, OTHER, b"none")] == [3, 1, 0]
    assert [bans.count_since(WHO, at(s)) for s in (-1, 0, 4999, 10000)] == [3, 2, 2, 0]
    assert bans.count_since(b"none", 0) == 0
    assert bans.subjects() == [WHO, OTHER]
    assert (bans.offenders, bans.repeat_offenders) == (2, 1)
    bans.add(OTHER, at(100), at(160))
    assert bans.repeat_offenders == 2


def test_a_ban_that_ends_earlier_stays_an_offence_and_so_do_those_before():
    """Only its end is another."""
    bans = RememberedBans(Limits(90 * DAY))
    bans.add(WHO, at(0), at(60))
    bans.add(WHO, at(100), at(160))
    bans.set_end(WHO, at(130))
    assert bans.count(WHO) == 2
    assert bans.active(WHO, at(129)) == (at(100), at(130))
    assert bans.active(WHO, at(130)) is None
    assert bans.active(OTHER, at(100)) is None


def test_other_bans_can_be_remembered_instead():
    """What was remembered is given back."""
    bans = RememberedBans(Limits(90 * DAY))
    bans.add(WHO, at(0), at(60))
    before = bans.exchange({OTHER: (at(70), at(10))})
    assert before == {WHO: (at(60), at(0))}
    assert bans.subjects() == [OTHER]


def test_an_offence_is_dropped_exactly_when_it_is_no_longer_remembered():
    """Not before, and not while its ban, longer than that, still stands."""
    bans = RememberedBans(Limits(10 * DAY))
    bans.add(OTHER, START - DAY, START - DAY + 1)
    bans.add(OTHER, START, START + 11 * DAY)
    bans.add(WHO, START, START + HOUR)
    expire(bans, START + 10 * DAY - 1)
    assert bans.offenders == 2
    expire(bans, START + 10 * DAY)
    assert bans.subjects() == [OTHER]
    bans.expire(OTHER, START + 11 * DAY - 1)
    assert bans.offenders == 1
    bans.expire(OTHER, START + 11 * DAY)
    assert bans.offenders == 0


def test_an_offender_whose_latest_ban_is_remembered_is_kept_whole():
    """The first of two bans is older than that."""
    bans = RememberedBans(Limits(10 * DAY))
    bans.add(WHO, START, START + 1)
    bans.add(WHO, START + DAY, START + DAY + 1)
    bans.expire(WHO, START + 10 * DAY + 1)
    assert bans.count(WHO) == 2
