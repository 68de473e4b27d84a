"""What the judge decides, case by case."""

import pytest

from blocker.config.schema import WORDPRESS, TrapConfig
from blocker.judging.friend_filter import MAX_KNOWN
from blocker.judging.judge import MAX_REACHED, REACH, Judge
from blocker.judging.limits import Limits
from blocker.judging.tally import Counts, FriendHits, Judgement
from blocker.model import Hit, attempt_time
from blocker.times import SECOND

HOUR, DAY = 3600 * SECOND, 86400 * SECOND
START = 1_700_000_000 * SECOND
WHO = bytes([203, 0, 113, 7])


def judge_with(limits=None, friend=lambda _address: None, **policy):
    return Judge([("xmlrpc", TrapConfig(**policy))], limits or Limits(90 * DAY), friend)


def hit_at(seconds, address=WHO):
    return Hit(START + seconds * SECOND, address, 0, 200, 0)


LET_THROUGH, BLOCKED, LATE, BANNED = "let through", "blocked", "late", "banned"


def outcome(judge, hit):
    bans, counts, _ = judge.judge([hit])
    if bans:
        return BANNED
    return BLOCKED if counts.blocked else LATE if counts.late else LET_THROUGH


def outcomes(judge, *seconds):
    return [outcome(judge, hit_at(each)) for each in seconds]


def ban_by(judge, *hits, now=None):
    return judge.judge(hits, now).bans[-1]


def test_the_third_hit_within_an_hour_makes_a_ban_of_a_day():
    """The default policy is that of the published jail."""
    judge = judge_with()
    assert outcomes(judge, 0, 10) == [LET_THROUGH, LET_THROUGH]
    ban = ban_by(judge, hit_at(3599))
    assert ban.subject == WHO
    assert ban.start == START + 3599 * SECOND
    assert ban.until == ban.start + DAY
    assert (ban.hits, ban.offence, ban.trap) == (3, 1, "xmlrpc")


def test_the_window_is_open_at_its_old_end():
    """A hit exactly findtime ago no longer counts."""
    assert outcomes(judge_with(), 0, 1800, 3600) == [LET_THROUGH] * 3


def test_slow_hits_that_evade_a_rate_do_not_evade_the_window():
    """25 minutes apart is three in an hour, which a rescaled rate never notices."""
    assert outcomes(judge_with(), 0, 1500, 3000) == [LET_THROUGH, LET_THROUGH, BANNED]


def test_hits_inside_a_ban_are_blocked_and_never_extend_it():
    """The ban ends when it was going to, and the window starts empty."""
    judge = judge_with(bantime=HOUR)
    assert outcomes(judge, 0, 0, 0) == [LET_THROUGH, LET_THROUGH, BANNED]
    assert outcomes(judge, 1, 3599) == [BLOCKED, BLOCKED]
    assert outcomes(judge, 3600, 3601, 3602) == [LET_THROUGH, LET_THROUGH, BANNED]


def test_a_late_line_from_before_the_ban_counts_towards_no_other():
    """It was let through, and that is all."""
    judge = judge_with(bantime=HOUR)
    outcomes(judge, 100, 101, 102)
    assert outcomes(judge, 99, 98, 97) == [LATE] * 3
    assert outcomes(judge, 4000, 4001) == [LET_THROUGH, LET_THROUGH]


def test_a_late_line_is_judged_at_the_latest_time_seen():
    """The ban starts at the latest hit, not at the one that happened to be written last."""
    judge = judge_with()
    outcomes(judge, 100, 200)
    ban = ban_by(judge, hit_at(150))
    assert ban.start == START + 200 * SECOND


def test_a_line_too_late_for_its_own_window_is_not_in_it():
    """It is older than findtime before the latest hit."""
    judge = judge_with()
    assert outcomes(judge, 4000, 100, 4001, 4002) == [LET_THROUGH, LATE, LET_THROUGH, BANNED]


def test_requests_that_a_client_held_open_make_a_ban_when_they_are_completed():
    """Thirty stamped more than findtime before a quick one: the third to arrive makes the ban."""
    judge = judge_with()
    assert outcomes(judge, 3700) == [LET_THROUGH]
    assert outcomes(judge, *range(30)) == [LATE, LATE, BANNED] + [LATE] * 27
    assert judge.bans.active(WHO, START + 3701 * SECOND) == (
        START + 3700 * SECOND,
        START + 3700 * SECOND + DAY,
    )


def test_late_lines_that_arrive_more_than_findtime_apart_make_no_ban():
    """They arrive at the latest time seen, which moves on with every hit on time."""
    judge = judge_with()
    assert outcomes(judge, 4000, 0, 1, 8000, 2, 3) == [
        LET_THROUGH, LATE, LATE, LET_THROUGH, LATE, LATE,
    ]  # fmt: skip
    assert outcomes(judge, 4) == [BANNED]


def test_a_late_line_does_not_count_together_with_hits_on_time():
    """Two on time and two late are neither three on time nor three late."""
    judge = judge_with()
    assert outcomes(judge, 8000, 8001, 0, 1) == [LET_THROUGH, LET_THROUGH, LATE, LATE]
    assert outcomes(judge, 8002) == [BANNED]


def at(seconds):
    return START + seconds * SECOND


def test_hits_from_a_time_when_the_clock_was_ahead_hide_no_later_ones():
    """Two marks of next year are set back to the clock, and the next hit is the third."""
    judge, year = judge_with(), 365 * 86400
    judge.judge([hit_at(year), hit_at(year + 1)], at(year + 1))
    (ban,) = judge.judge([hit_at(10)], at(10)).bans
    assert (ban.start, ban.hits) == (at(10), 3)


def test_a_ban_from_a_time_when_the_clock_was_ahead_begins_now():
    """It lasts as long as it was to last, and hits inside it are blocked."""
    judge, year = judge_with(), 365 * 86400
    judge.judge([hit_at(year)] * 3, at(year))
    bans, counts, _ = judge.judge([hit_at(10)] * 3, at(10))
    assert (bans, counts.blocked) == ([], 3)
    assert judge.bans.active(WHO, at(10)) == (at(10), at(10) + DAY)


def test_later_offences_last_longer_up_to_the_ceiling():
    """The length is bantime * factor^(n-1), at most max_bantime."""
    judge = judge_with(bantime=HOUR, bantime_factor=2.0, max_bantime=3 * HOUR)
    lengths = []
    for day in range(4):
        ban = ban_by(judge, *(hit_at(day * 86400 + second) for second in range(3)))
        lengths.append(ban.until - ban.start)
    assert lengths == [HOUR, 2 * HOUR, 3 * HOUR, 3 * HOUR]


@pytest.mark.parametrize("earlier", [1023, 1024, 5000])
def test_who_comes_a_thousand_times_is_banned_for_the_longest_time(earlier):
    """Two to the power of 1024 is more than a floating-point number holds."""
    judge = judge_with(bantime=HOUR, bantime_factor=2.0, max_bantime=3 * HOUR)
    for n in range(earlier):
        judge.add_ban(WHO, START - DAY + n, START - DAY + n + 1)
    ban = ban_by(judge, *(hit_at(second) for second in range(3)))
    assert ban.offence == earlier + 1
    assert ban.until - ban.start == 3 * HOUR


def test_offences_beyond_remember_are_forgotten():
    """An old offender starts over."""
    judge = judge_with(Limits(10 * DAY), bantime=HOUR)
    outcomes(judge, 0, 1, 2)
    ban = ban_by(judge, *(hit_at(11 * 86400 + second) for second in range(3)))
    assert ban.offence == 1


def test_ipv6_is_judged_by_its_network():
    """Three hosts of one /64 are one attacker."""
    judge = judge_with()
    hosts = [bytes(7) + b"\x01", bytes(7) + b"\x02", b"\xff" * 8]
    ban = ban_by(judge, *(hit_at(0, bytes.fromhex("20010db800010002") + host) for host in hosts))
    assert ban.subject == bytes.fromhex("20010db800010002") + bytes(8)


def test_friends_are_counted_apart_by_their_reason():
    """A friend's hits are no hits."""
    judge = judge_with(friend=lambda _address: "allow")
    outcomes(judge, 0, 1, 2, 3)
    address = bytes(15) + b"\x01"
    bans, counts, friends = judge.judge([hit_at(4, WHO), *[hit_at(4, address)] * 3])
    assert (bans, counts, friends) == ([], Counts(friends=4), {"allow": FriendHits(4, address)})
    assert judge.judge([]) == Judgement([], Counts(), {})
    assert judge.friends.hits == {"allow": 8}
    assert len(judge.windows) == 0


@pytest.mark.parametrize(("ahead", "judged_at"), [(300, 300), (301, 0)])
def test_live_a_stamp_far_ahead_of_the_clock_is_judged_at_the_clock(ahead, judged_at):
    """Five minutes are tolerated; beyond that the clock is right."""
    judge = judge_with(maxretry=1)
    ban = ban_by(judge, hit_at(ahead), now=START)
    assert ban.start == at(judged_at)
    assert judge.ahead == (not judged_at)


def test_who_keeps_hitting_is_not_forgotten_when_memory_is_full():
    """A flood of single hits pushes out the quiet ones, not the heavy one."""
    judge = judge_with(Limits(90 * DAY, max_tracked=100), maxretry=5)
    for number in range(400):
        judge.judge([hit_at(number, (10**9 + number).to_bytes(4, "big"))])
        if number % 40 == 0 and outcome(judge, hit_at(number)) == BANNED:
            break
    assert judge.bans.active(WHO, START + number * SECOND) is not None
    assert judge.windows.evicted > 0


def test_a_ban_by_hand_clears_the_window_and_an_unban_starts_afresh():
    """After an unban, it takes a whole window to be banned again."""
    judge = judge_with()
    outcomes(judge, 0, 1)
    judge.add_ban(WHO, START + 2 * SECOND, START + DAY)
    judge.bans.set_end(WHO, START + 10 * SECOND)
    assert outcomes(judge, 11, 12, 13) == [LET_THROUGH, LET_THROUGH, BANNED]


def test_expiring_drops_only_what_can_not_matter_any_more():
    """Bans beyond remember and windows a day older than findtime go, the rest stays."""
    judge = judge_with(Limits(10 * DAY))
    outcomes(judge, 0, 1, 2)
    judge.judge([hit_at(5, bytes([203, 0, 113, 8]))])
    judge.expire(judge.subjects(), START + DAY)
    assert (judge.bans.offenders, len(judge.windows)) == (1, 1)
    judge.expire(judge.subjects(), START + 2 * DAY)
    assert (judge.bans.offenders, len(judge.windows)) == (1, 0)
    judge.expire(judge.subjects(), START + 11 * DAY)
    assert judge.bans.offenders == 0


OTHER = bytes([203, 0, 113, 8])


def hosts(count, first=10**9):
    return [(first + number).to_bytes(4, "big") for number in range(count)]


def two_traps(**second):
    return Judge(
        [("one", TrapConfig()), ("two", TrapConfig(**second))],
        Limits(90 * DAY),
        lambda _address: None,
    )


def hit_of(trap, seconds):
    return Hit(at(seconds), WHO, trap, 200, 0)


def test_an_account_holds_the_hits_of_an_attacker_with_the_first_and_the_last_time():
    """Lines may be out of order; the hits of others are in accounts of their own."""
    judge, accounts = judge_with(maxretry=100), {}
    judge.judge([hit_at(50), hit_at(70), hit_at(30), hit_at(60)], accounts=accounts)
    judge.judge([hit_at(40), hit_at(5, OTHER)], accounts=accounts)
    assert accounts == {WHO: [5, at(30), at(70)], OTHER: [1, at(5), at(5)]}


def test_the_counts_of_a_call_are_of_its_hits_alone():
    """Each kind of hit is counted in its place, and a sum is one of each kind."""
    judge = judge_with(friend=lambda address: "allow" if address == OTHER else None)
    first = judge.judge([hit_at(0), hit_at(1), hit_at(0, OTHER)]).counts
    assert first == Counts(hits=2, blocked=0, late=0, friends=1)
    second = judge.judge([*map(hit_at, (10, 11, 12, 5)), *[hit_at(0, OTHER)] * 4]).counts
    assert second == Counts(hits=4, blocked=2, late=1, friends=4)
    assert first.plus(second) == Counts(hits=6, blocked=2, late=1, friends=5)


def test_a_line_from_between_two_bans_counts_towards_no_other():
    """It is stamped after the start of the first ban, and before that of the second."""
    judge = judge_with(bantime=HOUR)
    outcomes(judge, 0, 1, 2, 5000, 5001, 5002)
    assert outcomes(judge, 4000) == [LATE]


def test_a_hit_exactly_findtime_before_the_latest_is_late():
    """The window is open at its old end for lines that arrive out of order, too."""
    assert outcomes(judge_with(), 3600, 0, 3601, 1) == [LET_THROUGH, LATE, LET_THROUGH, LATE]


def test_late_lines_of_two_traps_make_no_ban_together():
    """Two late lines of one and two of the other are not three of either."""
    judge = two_traps()
    stream = [hit_of(0, 8000), hit_of(0, 0), hit_of(1, 1), hit_of(0, 2), hit_of(1, 3)]
    assert judge.judge(stream).counts.late == 4
    assert judge.bans.active(WHO, at(8000)) is None
    (ban,) = judge.judge([hit_of(1, 4)]).bans
    assert (ban.trap, ban.hits) == ("two", 3)


def test_each_trap_has_a_window_of_its_own_length():
    """Hits of the trap with the longer findtime stay while those of the other go."""
    judge = two_traps(findtime=3 * HOUR)
    judge.judge([hit_of(1, 0), hit_of(1, 1), hit_of(0, 2), hit_of(0, 3)])
    assert judge.judge([hit_of(0, 4000)]).bans == []
    (ban,) = judge.judge([hit_of(1, 8000)]).bans
    assert (ban.trap, ban.hits) == ("two", 3)


def test_hits_within_five_minutes_of_the_clock_keep_their_times():
    """What is pending and little ahead is no mistake of the clock."""
    judge = judge_with()
    judge.judge([hit_at(100), hit_at(300)], at(0))
    (ban,) = judge.judge([hit_at(50)], at(0)).bans
    assert (ban.start, ban.hits) == (at(300), 3)


def test_one_pending_hit_that_is_ahead_of_the_clock_is_set_back():
    """Those that are not stay where they are, and each stays with its trap."""
    judge, year = two_traps(), 365 * 86400
    judge.judge([hit_of(1, year)], at(year))
    assert judge.judge([hit_of(1, 10)], at(10)).bans == []
    (ban,) = judge.judge([hit_of(1, 11)], at(11)).bans
    assert (ban.trap, ban.start, ban.hits) == ("two", at(11), 3)


def test_what_is_pending_from_before_the_clock_is_not_moved_to_it():
    """The hit of an hour ago has left the window, though another one was set back."""
    judge, year = judge_with(), 365 * 86400
    judge.windows.restore(WHO, b"".join((at(s) << 8).to_bytes(8, "big") for s in (0, year)))
    assert judge.judge([hit_at(3700)], at(3700)).bans == []
    assert len(judge.windows.get(WHO)) == 2 * 8


def test_a_ban_that_is_set_back_begins_with_a_whole_second():
    """Logs have no fractions, nor does what is printed."""
    judge, year = judge_with(), 365 * 86400
    judge.judge([hit_at(year)] * 3, at(year))
    judge.judge([hit_at(10)], at(10) + 900_000)
    assert judge.bans.active(WHO, at(10)) == (at(10), at(10) + DAY)


def test_a_hit_before_a_ban_that_begins_within_five_minutes_is_late():
    """The ban is not ahead of the clock, and begins when it was to begin."""
    judge = judge_with(bantime=HOUR)
    outcomes(judge, -9000, -9000, -9000)
    judge.judge([hit_at(300)] * 3, at(0))
    bans, counts, _ = judge.judge([hit_at(10)], at(0))
    assert (bans, counts.late, counts.blocked) == ([], 1, 0)
    assert judge.bans.active(WHO, at(10)) == (at(300), at(300) + HOUR)


def test_who_is_still_heard_of_inside_a_ban_is_noted():
    """Only what is stamped after ``reach_since`` shows that a ban does not reach whom it bans."""
    judge = judge_with()
    outcomes(judge, 0, 1, 2)
    judge.judge([hit_at(3), hit_at(9)])
    assert judge.take_unreached() == {}
    judge.reach_since = at(10)
    judge.judge([hit_at(10)])
    assert judge.take_unreached() == {}
    judge.judge([hit_at(11)])
    assert judge.take_unreached() == {WHO: at(11)}
    assert judge.take_unreached() == {}


def test_no_more_than_a_thousand_are_noted_who_are_still_heard_of():
    """An attack from many addresses fills no memory."""
    judge = judge_with(maxretry=1)
    judge.reach_since = at(0)
    for host in hosts(MAX_REACHED + 5):
        judge.judge([hit_at(0, host), hit_at(1, host)])
    assert len(judge.take_unreached()) == MAX_REACHED


def test_what_is_remembered_of_friends_and_networks_has_a_ceiling():
    """It is forgotten when there is too much of it, and found out again."""
    judge = judge_with(friend=lambda address: "private" if len(address) == 4 else None)
    judge.judge([hit_at(0, host) for host in hosts(MAX_KNOWN + 5)])
    judge.judge([hit_at(0, host + bytes(12)) for host in hosts(MAX_KNOWN + 5)])
    assert judge.friends.hits == {"private": MAX_KNOWN + 5}
    assert len(judge.windows) == MAX_KNOWN + 5
    assert len(judge.friends._known) == len(judge._networks) == 5


def test_a_window_that_changes_is_noted_for_the_store():
    """By a hit, or because it is too old; by a friend's hit it is not."""
    judge = judge_with()
    judge.judge([hit_at(0)])
    assert judge.windows.changed == 1
    assert judge.windows.take_changed() == {WHO}
    judge.expire([WHO], at(3600) + DAY - 1)
    assert judge.windows.take_changed() == set()
    judge.expire([WHO], at(3600) + DAY)
    assert judge.windows.take_changed() == {WHO}
    judge.windows.put_back([WHO])
    assert judge.windows.take_changed() == {WHO}
    assert judge.windows.get(WHO) == b""


def test_forgetting_says_whether_anything_was_known():
    """A window or a ban; the second time nothing is left."""
    judge = judge_with()
    judge.judge([hit_at(0)])
    judge.add_ban(OTHER, at(0), at(60))
    assert [judge.forget(subject) for subject in (WHO, OTHER)] == [True, True]
    assert [judge.forget(subject) for subject in (WHO, OTHER)] == [False, False]


def test_a_second_ban_that_begins_ahead_of_the_clock_begins_now():
    """Where the first began is of no matter."""
    judge, week = judge_with(bantime=HOUR), 7 * 86400
    judge.judge([hit_at(-9000)] * 3, at(-9000))
    judge.judge([hit_at(week)] * 3, at(week))
    assert judge.judge([hit_at(10)], at(10)).counts == Counts(hits=1, blocked=1)
    assert judge.bans.active(WHO, at(10)) == (at(10), at(10) + HOUR)


def test_a_ban_has_a_minute_to_reach_whom_it_bans():
    """Servers write a request when it is over, and that may take a while."""
    assert REACH == 60 * SECOND


# Failures that WordPress reports ----------------------------------------------------------------


def judge_of_events():
    return Judge([("wordpress", WORDPRESS)], Limits(90 * DAY), lambda _address: None)


def guess_at(seconds, attempt=None):
    return hit_at(seconds)._replace(time=attempt_time(at(seconds), attempt))


def test_three_different_guesses_are_a_ban_that_begins_with_a_millisecond():
    """The attempt in the time is no part of the ban's."""
    (ban,) = judge_of_events().judge([guess_at(n, n) for n in range(3)]).bans
    assert (ban.start, ban.hits, ban.trap) == (at(2), 3, "wordpress")


def test_the_same_guess_again_takes_the_place_of_the_earlier_one():
    """So it stays in the window, and counts with two others behind it."""
    judge = judge_of_events()
    assert judge.judge([guess_at(0, 7), guess_at(3000, 7), guess_at(3000, 7)]).bans == []
    assert len(judge.windows.get(WHO)) == 8
    (ban,) = judge.judge([guess_at(6000, 8), guess_at(6001, 9)]).bans
    assert (ban.start, ban.hits) == (at(6001), 3)


def test_a_guess_that_is_read_late_is_the_same_guess():
    """A line of before changes nothing, if a later one of it is known."""
    judge = judge_of_events()
    assert judge.judge([guess_at(10, 7), guess_at(5, 7), guess_at(4, 7), guess_at(5, 8)]).bans == []
    assert len(judge.windows.get(WHO)) == 16


def test_failures_without_a_guess_count_each():
    """As in lines of other plugins, and in a request with many."""
    judge = judge_of_events()
    (ban,) = judge.judge([guess_at(0), guess_at(0), guess_at(0)]).bans
    assert (ban.start, ban.hits) == (at(0), 3)


def test_guesses_ahead_of_the_clock_stay_different_guesses():
    """They are judged at the clock, and are as many as they were."""
    judge = judge_of_events()
    hits = [guess_at(9000, 7), guess_at(9001, 7), guess_at(9002, 7)]
    assert judge.judge(hits, at(0) + 123_456).bans == []
    assert judge.judge([guess_at(9003, 8)], at(1) + 654_321).bans == []
    (ban,) = judge.judge([guess_at(9003, 9)], at(1) + 654_321).bans
    assert (ban.hits, judge.ahead) == (3, 5)


def test_a_window_of_guesses_lives_beside_that_of_requests():
    """Two of each are no ban, and marks of requests are no guesses."""
    traps = [("xmlrpc", TrapConfig()), ("wordpress", WORDPRESS)]
    judge = Judge(traps, Limits(90 * DAY), lambda _address: None)
    requests = [hit_at(n)._replace(time=at(n) + 8) for n in range(2)]
    guesses = [guess_at(n, 7 + n)._replace(trap=1) for n in range(2)]
    assert judge.judge([*requests, *guesses]).bans == []
    assert judge.of_events == {1: "wordpress"}
    (ban,) = judge.judge([guess_at(5, 10)._replace(trap=1)]).bans
    assert (ban.trap, ban.hits) == ("wordpress", 3)
