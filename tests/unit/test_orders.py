"""What an administrator names, and what it comes to: targets, friends, bans that stand."""

import ipaddress

import pytest

from blocker.config import Trap
from blocker.errors import FriendError, UnchangedError, UsageError
from blocker.friends import Friends
from blocker.judge import Judge, Limits
from blocker.model import SECOND
from blocker.orders import Order
from blocker.targets import MAX_REASON, requested_reason, requested_target

NOW = 1_773_144_000_000_000
HOUR = 3600 * SECOND
WHO = bytes([198, 18, 7, 9])


def order(judge=None, allow=(), prefix=64, length=HOUR):
    friends = Friends.build(allow=allow, lists={}, ipv6_prefix=prefix)
    judge = judge or Judge([("xmlrpc", Trap())], Limits(90 * 24 * HOUR, 1000, prefix), friends.why)
    return Order(judge, friends, prefix, NOW, length), judge


@pytest.mark.parametrize("prefix", [32, 48, 56, 60, 64, 128])
@pytest.mark.parametrize(
    "text", ["198.18.0.0/24", "198.18.0.64/26", "198.18.0.6/31", "2001:db8::/48", "2001:db8::/57",
             "2001:db8::/112", "2001:db8::ff00/121"],
)  # fmt: skip
def test_a_network_is_all_of_its_subjects(text, prefix):
    """Each once, in order, and none beside it; or it is refused with what is possible."""
    network = ipaddress.ip_network(text)
    whole = 32 if network.version == 4 else prefix
    if not 0 <= whole - network.prefixlen <= 16:
        with pytest.raises(UsageError):
            requested_target(text, prefix)
        return
    target = requested_target(text, prefix)
    expected = [each.network_address.packed for each in network.subnets(new_prefix=whole)]
    assert list(target.subjects) == expected
    assert target.name == str(network)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("198.18.0.0/23", "/24 is the widest"), ("2001:db8::/47", "/48 is the widest"),
        ("198.18.0.9/24", "the network is 198.18.0.0/24"), ("198.18.0.0/33", "address/length"),
        ("198.18.0.0/-1", "address/length"), ("198.18.0.0/", "address/length"),
        ("198.18.0.0/24/24", "address/length"), ("2001:db8::/65", "bans are made for /64"),
        ("198.18.0.0/٢٤", "address/length"), ("224.0.0.0/24", "no address of a client"),
        ("::ffff:198.18.0.0/120", "address/length"), ("", "no address of a client"),
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_advice(text, said):
    """The message says what is possible instead."""
    with pytest.raises(UsageError, match=said):
        requested_target(text, 64)


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
        assert isinstance(made.add(requested_target(text, 64)).error, FriendError)


def test_a_reason_is_a_short_printable_text():
    """Nothing that a terminal obeys, nothing without end."""
    assert requested_reason(None) == ""
    assert requested_reason(" spam ") == "spam"
    assert requested_reason("ä" * MAX_REASON) == "ä" * MAX_REASON
    for value in ("a\nb", "\x1b[1m", "\u202e", "\ud800", "x" * (MAX_REASON + 1), 5, ["x"]):
        with pytest.raises(UsageError):
            requested_reason(value)
