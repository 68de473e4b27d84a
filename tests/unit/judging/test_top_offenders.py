"""Who hits most: right about those who do, small for any traffic, and slow to change its list."""

import random
from collections import Counter

from blocker.judging.top_offenders import KEPT, ROOM, SAMPLE, TopOffenders
from blocker.model import Hit
from blocker.times import SECOND

HOUR, AGAIN, WINDOW = 3600 * SECOND, 60 * SECOND, 24
NOW = 1_700_000_000 * SECOND // HOUR * HOUR + 60 * SECOND


def four(number):
    return (0x50000000 + number).to_bytes(4)


def hits(*addresses, at=NOW):
    return [Hit(at, address, 0, 200, 0) for address in addresses]


def anybody(_):
    return True


def test_the_foremost_are_listed_with_their_counts():
    """Most hits first, as many as the limit says, and no more."""
    offenders = TopOffenders(2)
    offenders.note(hits(*[four(1)] * 3, *[four(2)] * 5, four(3)), NOW)
    assert list(offenders.top(NOW, anybody).items()) == [(four(2), 5), (four(1), 3)]


def test_of_equals_the_lower_address_comes_first():
    """The order does not depend on who came first."""
    offenders = TopOffenders(3)
    offenders.note(hits(four(3), four(1), four(2)), NOW)
    assert list(offenders.top(NOW, anybody)) == [four(1), four(2), four(3)]


def test_zero_counts_nothing():
    """Who does not want the list has nothing in memory."""
    assert TopOffenders().limit == 0
    offenders = TopOffenders(0)
    offenders.note(hits(four(1)), NOW)
    assert offenders.top(NOW, anybody) == {}
    assert offenders.rows() == []


def test_a_network_of_ipv6_is_one():
    """Two hosts of a network are one offender."""
    network = bytes.fromhex("20010db800010002")
    offenders = TopOffenders(5)
    offenders.note(hits(network + bytes(7) + b"\1", network + b"\xff" * 8), NOW)
    assert offenders.top(NOW, anybody) == {network + bytes(8): 2}


def test_friends_are_never_listed():
    """However much a friend hits, and whenever it became one."""
    offenders = TopOffenders(1)
    offenders.note(hits(*[four(1)] * 9, four(2)), NOW)
    assert offenders.top(NOW, anybody) == {four(1): 9}
    later = NOW + AGAIN
    assert offenders.top(later, lambda who: who != four(1)) == {four(2): 1}


def test_a_newcomer_has_to_beat_the_last_by_a_tenth():
    """Ten do not give way to eleven, but to twelve."""
    offenders = TopOffenders(2)
    offenders.note(hits(*[four(1)] * 90, *[four(2)] * 10), NOW)
    assert list(offenders.top(NOW, anybody)) == [four(1), four(2)]
    offenders.note(hits(*[four(3)] * 11), NOW)
    assert list(offenders.top(NOW + AGAIN, anybody)) == [four(1), four(2)]
    offenders.note(hits(four(3)), NOW)
    assert list(offenders.top(NOW + 2 * AGAIN, anybody)) == [four(1), four(3)]


def test_a_newcomer_takes_the_place_of_the_weakest():
    """Of the one with the fewest hits now, not when the list was made."""
    offenders = TopOffenders(2)
    offenders.note(hits(*[four(1)] * 10, *[four(2)] * 9), NOW)
    assert list(offenders.top(NOW, anybody)) == [four(1), four(2)]
    offenders.note(hits(*[four(2)] * 20, *[four(3)] * 12), NOW)
    assert list(offenders.top(NOW + AGAIN, anybody)) == [four(2), four(3)]


def test_several_newcomers_take_their_places_at_once():
    """The second has to beat the one with the fewest hits by then."""
    offenders = TopOffenders(2)
    offenders.note(hits(*[four(1)] * 20, *[four(2)] * 10), NOW)
    assert list(offenders.top(NOW, anybody)) == [four(1), four(2)]
    offenders.note(hits(*[four(3)] * 50, *[four(4)] * 30), NOW)
    assert list(offenders.top(NOW + AGAIN, anybody)) == [four(3), four(4)]


def test_an_equal_takes_nobodys_place():
    """Or names would come and go."""
    offenders = TopOffenders(1)
    offenders.note(hits(*[four(1)] * 10), NOW)
    assert list(offenders.top(NOW, anybody)) == [four(1)]
    offenders.note(hits(*[four(2)] * 10), NOW)
    assert list(offenders.top(NOW + AGAIN, anybody)) == [four(1)]


def test_the_list_is_looked_at_once_a_minute():
    """Between two looks the names stay, and their counts go on."""
    offenders = TopOffenders(1)
    offenders.note(hits(four(1)), NOW)
    assert offenders.top(NOW, anybody) == {four(1): 1}
    offenders.note(hits(four(1), *[four(2)] * 9), NOW)
    for later in (0, 1, AGAIN - 1):
        assert offenders.top(NOW + later, anybody) == {four(1): 2}
    assert offenders.top(NOW + AGAIN, anybody) == {four(2): 9}


def test_a_clock_that_is_set_back_stops_nothing():
    """The next look comes at once."""
    offenders = TopOffenders(1)
    assert offenders.top(NOW, anybody) == {}
    offenders.note(hits(four(1), at=NOW - HOUR), NOW - HOUR)
    assert offenders.top(NOW - HOUR, anybody) == {four(1): 1}


def test_hits_count_for_a_day():
    """By their own time, in whole hours; who has none left is not listed."""
    offenders = TopOffenders(5)
    offenders.note(hits(four(1), at=NOW - HOUR) + hits(four(1), four(2)), NOW)
    last = NOW + (WINDOW - 2) * HOUR
    assert offenders.top(last, anybody) == {four(1): 2, four(2): 1}
    assert offenders.top(last + HOUR, anybody) == {four(1): 1, four(2): 1}
    assert offenders.top(last + 2 * HOUR, anybody) == {}
    offenders.note(hits(four(1), at=NOW - WINDOW * HOUR), NOW)
    assert offenders.top(NOW + 3 * AGAIN, anybody).get(four(1), 0) <= 2


def test_an_hour_that_ends_between_two_looks_no_longer_counts():
    """Though the names stay until the next."""
    offenders = TopOffenders(5)
    offenders.note(hits(four(1)), NOW)
    end = NOW // HOUR * HOUR + WINDOW * HOUR
    assert offenders.top(end - 1, anybody) == {four(1): 1}
    assert offenders.top(end, anybody) == {four(1): 0}


def test_no_hits_are_no_batch():
    """Nothing is counted."""
    offenders = TopOffenders(5)
    offenders.note([], NOW)
    assert offenders.rows() == []


def test_an_hour_keeps_its_heaviest():
    """While it is in hand it holds twice its room; when it is over, what is worth storing."""
    offenders = TopOffenders(5)
    for number in range(2 * ROOM):
        offenders.note(hits(four(number)), NOW)
    offenders.note(hits(four(7)), NOW)
    (counts,) = offenders._hours.values()
    assert len(counts) == 2 * ROOM
    assert len(offenders.rows()) == KEPT
    offenders.note(hits(four(2 * ROOM)), NOW)
    (counts,) = offenders._hours.values()
    assert (len(counts), counts[four(7)]) == (ROOM, 2)
    offenders.top(NOW, anybody)
    assert [len(each) for each in offenders._hours.values()] == [ROOM]
    offenders.note(hits(four(1), at=NOW + HOUR), NOW + HOUR)
    assert [len(each) for each in offenders._hours.values()] == [KEPT, 1]


def test_a_stamp_ahead_of_the_clock_counts_now():
    """A clock that is wrong makes no hour of its own."""
    offenders = TopOffenders(5)
    offenders.note(hits(four(1), at=NOW + 90 * HOUR), NOW)
    assert offenders.top(NOW, anybody) == {four(1): 1}


def test_memory_has_a_ceiling_and_the_heavy_are_found():
    """A million others do not hide who hits a hundredth of the time."""
    dice, offenders, real = random.Random(1), TopOffenders(20), Counter()
    heavy = [four(n) for n in range(20)]
    for batch in range(60):
        addresses = [
            dice.choice(heavy) if dice.random() < 0.2 else dice.randbytes(4) for _ in range(2000)
        ]
        real.update(addresses)
        now = NOW + batch // 10 * HOUR
        offenders.note(hits(*addresses, at=now), now)
        assert all(len(counts) <= 2 * ROOM for counts in offenders._hours.values())
    found = offenders.top(now, anybody)
    assert set(found) == set(heavy)
    assert all(count == real[who] for who, count in found.items())
    assert len(offenders.rows()) <= WINDOW * KEPT


def test_of_a_flood_a_sample_counts_for_all():
    """A batch beyond the sample's size is counted in time that has a ceiling, and about right."""
    dice, offenders = random.Random(2), TopOffenders(2)
    batch = [four(1) if dice.random() < 0.5 else four(2 + n) for n in range(10 * SAMPLE)]
    offenders.note(hits(*batch), NOW)
    assert abs(offenders.top(NOW, anybody)[four(1)] / batch.count(four(1)) - 1) < 0.1


def test_a_batch_counts_as_often_as_it_has_hits():
    """Whether all of it is looked at, or every second hit."""
    for size in (SAMPLE, 2 * SAMPLE):
        offenders = TopOffenders(1)
        offenders.note(hits(*[four(1)] * size), NOW)
        assert offenders.top(NOW, anybody) == {four(1): size}


def test_a_forgotten_subject_is_gone():
    """From the list and from the counts."""
    offenders = TopOffenders(5)
    offenders.note(hits(four(1), four(2)), NOW)
    assert len(offenders.top(NOW, anybody)) == 2
    offenders.forget(four(1))
    assert offenders.top(NOW, anybody) == {four(2): 1}
    assert offenders.rows() == [(NOW // HOUR, four(2), 1)]


def test_what_was_stored_goes_on():
    """A restart loses nothing of it."""
    before, after = TopOffenders(5), TopOffenders(5)
    before.note(hits(four(1), at=NOW - HOUR) + hits(four(1), four(2)), NOW)
    after.restore(before.rows())
    after.note(hits(four(2)), NOW)
    assert after.top(NOW, anybody) == {four(1): 2, four(2): 2}
