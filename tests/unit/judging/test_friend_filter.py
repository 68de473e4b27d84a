"""Hits of friends, counted by the reason of the friendship."""

from blocker.judging.friend_filter import MAX_KNOWN, FriendFilter
from blocker.judging.tally import FriendHits

FRIEND, OTHER, ATTACKER = b"\n\0\0\1", b"\n\0\0\2", bytes([198, 18, 0, 1])


def test_hits_of_friends_are_counted_by_reason():
    """With the friend that was seen last; an attacker is no friend."""
    reasons = {FRIEND: "private", OTHER: "private", bytes(16): "unspecified"}
    friends = FriendFilter(reasons.get)
    taken = [friends.takes(each) for each in (FRIEND, ATTACKER, OTHER, bytes(16), FRIEND, OTHER)]
    assert taken == [True, False, True, True, True, True]
    assert friends.hits == {}
    assert friends.take() == {
        "private": FriendHits(4, OTHER), "unspecified": FriendHits(1, bytes(16)),
    }  # fmt: skip
    assert friends.take() == {}
    assert friends.takes(FRIEND)
    assert friends.take() == {"private": FriendHits(1, FRIEND)}
    assert friends.hits == {"private": 5, "unspecified": 1}


def test_a_friend_is_looked_up_once():
    """Until the cache is full; an attacker is looked up each time."""
    asked = []
    friends = FriendFilter(
        lambda address: asked.append(address) or ("private" if address != ATTACKER else None)
    )
    for _ in range(3):
        friends.takes(FRIEND)
        friends.takes(ATTACKER)
    assert asked == [FRIEND, ATTACKER, ATTACKER, ATTACKER]


def test_the_cache_has_a_ceiling():
    """It is emptied when it is full; no hit is counted less for it."""
    friends = FriendFilter(lambda _address: "private")
    for number in range(MAX_KNOWN + 5):
        friends.takes(number.to_bytes(4, "big"))
    assert len(friends._known) == 5
    assert friends.take()["private"].hits == MAX_KNOWN + 5
