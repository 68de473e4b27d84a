"""What an order comes to: new bans, longer ones, friends, and refusals."""

import pytest

from blocker.config.schema import TrapConfig
from blocker.engine.orders import Order
from blocker.engine.targets import (
    requested_target,
)
from blocker.errors import FriendError, UnchangedError
from blocker.friends.friends import Friends
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.times import SECOND

NOW = 1_773_144_000_000_000
HOUR = 3600 * SECOND
WHO = bytes([198, 18, 7, 9])


def order(judge=None, allow=(), prefix=64, length=HOUR):
    friends = Friends.build(allow=allow, lists={}, ipv6_prefix=prefix)
    judge = judge or Judge(
        [("xmlrpc", TrapConfig())], Limits(90 * 24 * HOUR, 1000, prefix), friends.why
    )
    return Order(judge.bans, friends, prefix, NOW, length), judge


def test_a_ban_by_hand_lasts_at_least_as_long_as_asked_for():
    """It begins and ends with a whole second, as it is printed."""
    friends = Friends.build(lists={})
    judge = Judge([("xmlrpc", TrapConfig())], Limits(90 * 24 * HOUR, 1000, 64), friends.why)
    made = Order(judge.bans, friends, 64, NOW + 300_000, HOUR)
    outcome = made.add(requested_target("198.18.7.9", 64))
    (ban,) = made.new
    assert ban == (WHO, "manual", NOW, NOW + HOUR + SECOND, 0, 1)
    assert outcome == ("198.18.7.9", 1, ban.until, "", None)
    assert made.first == {"198.18.7.9": ban}


def test_a_ban_by_hand_counts_the_earlier_ones():
    """As a ban of the judge does."""
    judge = order()[1]
    judge.add_ban(WHO, NOW - 3 * HOUR, NOW - 2 * HOUR)
    made, _ = order(judge)
    made.add(requested_target("198.18.7.9", 64))
    assert [ban.offence for ban in made.new] == [2]


def test_a_ban_that_stands_as_long_is_reported_with_its_end():
    """Of several, the one that ends first."""
    judge = order()[1]
    for last, hours in ((8, 2), (9, 1)):
        judge.add_ban(bytes([198, 18, 7, last]), NOW - HOUR, NOW + hours * HOUR)
    made, _ = order(judge)
    for text, until in (("198.18.7.8", 14), ("198.18.7.9", 13), ("198.18.7.8/31", 13)):
        outcome = made.add(requested_target(text, 64))
        said = f"{text} is banned until 2026-03-10T{until}:00:00Z already"
        assert (str(outcome.error), *outcome[1:4]) == (said, 0, 0, "")


def test_a_subject_is_planned_once_however_often_it_is_named():
    """An address beside its network, or twice, is one ban; all of them are answered."""
    made, _ = order()
    network, address = (requested_target(text, 64) for text in ("198.18.7.0/24", "198.18.7.9"))
    outcomes = [made.add(each) for each in (address, network, address)]
    assert [each.changed for each in outcomes] == [1, 255, 0]
    assert [each.error for each in outcomes] == [None, None, None]
    assert len({ban.subject for ban in made.new}) == len(made.new) == 256


def test_a_standing_ban_is_only_made_longer():
    """Of a network the ends that come later stay, and it is unchanged if all of them do."""
    judge = order()[1]
    judge.add_ban(WHO, NOW - HOUR, NOW + 2 * HOUR)
    network, address = (requested_target(text, 64) for text in ("198.18.7.8/31", "198.18.7.9"))
    made, _ = order(judge)
    assert isinstance(made.add(address).error, UnchangedError)
    assert made.add(network).changed == 1
    longer, _ = order(judge, length=3 * HOUR)
    assert longer.add(network).changed == 2
    assert [ban.subject for ban in longer.longer] == [WHO]
    assert longer.longer[0].offence == 1


def test_friends_are_refused_left_out_and_named():
    """Never a ban of a friend: a whole one is refused, those within a network are said."""
    allow = ["198.18.7.0/29", "2001:db8:0:1::5", "198.18.8.0/24"]
    made, _ = order(allow=allow)
    outcome = made.add(requested_target("198.18.7.0/24", 64))
    assert (outcome.changed, outcome.error) == (248, None)
    assert outcome.friends.startswith("198.18.7.0 (allow), ")
    assert outcome.friends.endswith(" and 5 more")
    outcome = made.add(requested_target("2001:db8::/56", 64))
    assert (outcome.changed, outcome.friends) == (256, "2001:db8:0:1::5/128")
    for text in ("198.18.8.128/25", "198.18.8.1"):
        outcome = made.add(requested_target(text, 64))
        assert isinstance(outcome.error, FriendError)
        assert str(outcome.error) == f"{text} is a friend (allow); it is never banned"
        assert outcome[1:4] == (0, 0, "")


@pytest.mark.parametrize(
    ("allow", "friends"),
    [
        (["2001:db8:0:3:ffff:ffff:ffff:ffff"], "2001:db8:0:3:ffff:ffff:ffff:ffff/128"),
        (["2001:db8::", "2001:db8:0:4::"], "2001:db8::/128"),
        (["2001:db8:0:1::/64"], "2001:db8:0:1::/64 (allow)"),
        (
            ["2001:db8::/63", "2001:db8:0:2::1"],
            "2001:db8::/64 (allow), 2001:db8:0:1::/64 (allow), 2001:db8:0:2::1/128",
        ),
        (
            ["2001:db8::/63", "2001:db8:0:2::1", "2001:db8:0:3::1"],
            "2001:db8::/64 (allow), 2001:db8:0:1::/64 (allow), 2001:db8:0:2::1/128 and 1 more",
        ),
    ],
)
def test_each_friend_within_a_network_is_named_once(allow, friends):
    """From its first address to its last, and none beside it; three of them, and how many more."""
    made, _ = order(allow=allow)
    assert made.add(requested_target("2001:db8::/62", 64)).friends == friends


def test_a_single_subject_names_no_friends_within():
    """The kernel lets them pass, as it always does."""
    made, _ = order(allow=["2001:db8::5"])
    assert made.add(requested_target("2001:db8::/64", 64)).friends == ""
