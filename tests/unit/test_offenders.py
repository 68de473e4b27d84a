"""Who hits most: right about those who do, small whatever comes, and slow to change its list."""

import random
from collections import Counter

from blocker.model import SECOND, Hit
from blocker.offenders import AGAIN, HOUR, KEPT, ROOM, SAMPLE, WINDOW, Offenders

NOW = 1_700_000_000 * SECOND // HOUR * HOUR + 60 * SECOND


def four(number):
    return (0x50000000 + number).to_bytes(4)


def hits(*addresses, at=NOW):
    return [Hit(at, address, 0, 200, 0) for address in addresses]


def anybody(_):
    return True


def test_the_foremost_are_listed_with_their_counts():
    """Most hits first, as many as the limit says, and nobody else."""
    offenders = Offenders(2)
    offenders.note(hits(*[four(1)] * 3, *[four(2)] * 5, four(3)), NOW)
    assert list(offenders.foremost(NOW, anybody).items()) == [(four(2), 5), (four(1), 3)]


def test_zero_counts_nothing():
    """Who does not want the list has nothing in memory."""
    offenders = Offenders(0)
    offenders.note(hits(four(1)), NOW)
    assert offenders.foremost(NOW, anybody) == {}
    assert offenders.rows() == []


def test_a_network_of_ipv6_is_one():
    """Two hosts of a network are one offender."""
    network = bytes.fromhex("20010db800010002")
    offenders = Offenders(5)
    offenders.note(hits(network + bytes(7) + b"\1", network + b"\xff" * 8), NOW)
    assert offenders.foremost(NOW, anybody) == {network + bytes(8): 2}


def test_friends_are_never_listed():
    """However much a friend hits, and whenever it became one."""
    offenders = Offenders(1)
    offenders.note(hits(*[four(1)] * 9, four(2)), NOW)
    assert offenders.foremost(NOW, anybody) == {four(1): 9}
    later = NOW + AGAIN
    assert offenders.foremost(later, lambda who: who != four(1)) == {four(2): 1}


def test_a_newcomer_has_to_beat_the_last_by_a_tenth():
    """Ten do not give way to eleven, but to twelve."""
    offenders = Offenders(2)
    offenders.note(hits(*[four(1)] * 90, *[four(2)] * 10), NOW)
    assert list(offenders.foremost(NOW, anybody)) == [four(1), four(2)]
    offenders.note(hits(*[four(3)] * 11), NOW)
    assert list(offenders.foremost(NOW + AGAIN, anybody)) == [four(1), four(2)]
    offenders.note(hits(four(3)), NOW)
    assert list(offenders.foremost(NOW + 2 * AGAIN, anybody)) == [four(1), four(3)]


def test_the_list_is_looked_at_once_a_minute():
    """Between two looks the names stay, and their counts go on."""
    offenders = Offenders(1)
    offenders.note(hits(four(1)), NOW)
    assert offenders.foremost(NOW, anybody) == {four(1): 1}
    offenders.note(hits(four(1), *[four(2)] * 9), NOW)
    assert offenders.foremost(NOW + AGAIN - 1, anybody) == {four(1): 2}
    assert offenders.foremost(NOW + AGAIN, anybody) == {four(2): 9}


def test_a_clock_that_is_set_back_stops_nothing():
    """The next look comes at once."""
    offenders = Offenders(1)
    assert offenders.foremost(NOW, anybody) == {}
    offenders.note(hits(four(1), at=NOW - HOUR), NOW - HOUR)
    assert offenders.foremost(NOW - HOUR, anybody) == {four(1): 1}


def test_hits_count_for_a_day():
    """By their own time, in whole hours; who has none left is not listed."""
    offenders = Offenders(5)
    offenders.note(hits(four(1), at=NOW - HOUR) + hits(four(1), four(2)), NOW)
    last = NOW + (WINDOW - 2) * HOUR
    assert offenders.foremost(last, anybody) == {four(1): 2, four(2): 1}
    assert offenders.foremost(last + HOUR, anybody) == {four(1): 1, four(2): 1}
    assert offenders.foremost(last + 2 * HOUR, anybody) == {}
    offenders.note(hits(four(1), at=NOW - WINDOW * HOUR), NOW)
    assert offenders.foremost(NOW + 3 * AGAIN, anybody).get(four(1), 0) <= 2


def test_a_stamp_ahead_of_the_clock_counts_now():
    """A clock that is wrong makes no hour of its own."""
    offenders = Offenders(5)
    offenders.note(hits(four(1), at=NOW + 90 * HOUR), NOW)
    assert offenders.foremost(NOW, anybody) == {four(1): 1}


def test_memory_has_a_ceiling_and_the_heavy_are_found():
    """A million others do not hide who hits a hundredth of the time."""
    dice, offenders, real = random.Random(1), Offenders(20), Counter()
    heavy = [four(n) for n in range(20)]
    for batch in range(60):
        addresses = [
            dice.choice(heavy) if dice.random() < 0.2 else dice.randbytes(4) for _ in range(2000)
        ]
        real.update(addresses)
        now = NOW + batch // 10 * HOUR
        offenders.note(hits(*addresses, at=now), now)
        assert all(len(counts) <= 2 * ROOM for counts in offenders._hours.values())
    found = offenders.foremost(now, anybody)
    assert set(found) == set(heavy)
    assert all(count == real[who] for who, count in found.items())
    assert len(offenders.rows()) <= WINDOW * KEPT


def test_of_a_flood_a_sample_counts_for_all():
    """A batch beyond the sample's size is counted in time that has a ceiling, and about right."""
    dice, offenders = random.Random(2), Offenders(2)
    batch = [four(1) if dice.random() < 0.5 else four(2 + n) for n in range(10 * SAMPLE)]
    offenders.note(hits(*batch), NOW)
    assert abs(offenders.foremost(NOW, anybody)[four(1)] / batch.count(four(1)) - 1) < 0.1


def test_a_forgotten_subject_is_gone():
    """From the list and from the counts."""
    offenders = Offenders(5)
    offenders.note(hits(four(1), four(2)), NOW)
    assert len(offenders.foremost(NOW, anybody)) == 2
    offenders.forget(four(1))
    assert offenders.foremost(NOW, anybody) == {four(2): 1}
    assert offenders.rows() == [(NOW // HOUR, four(2), 1)]


def test_what_was_stored_goes_on():
    """A restart loses nothing of it."""
    before, after = Offenders(5), Offenders(5)
    before.note(hits(four(1), at=NOW - HOUR) + hits(four(1), four(2)), NOW)
    after.restore(before.rows())
    after.note(hits(four(2)), NOW)
    assert after.foremost(NOW, anybody) == {four(1): 2, four(2): 2}
