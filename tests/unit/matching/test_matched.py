"""What scanning a block returns."""

from blocker.matching.matched import Matched, Seen, by_name


def test_an_access_log_has_no_events():
    """Unless the matcher says otherwise."""
    assert Matched(1, [], []).events == ()


def test_events_are_counted_by_name():
    """How many there are, and the failures that they stand for."""
    seen = [Seen(1, "login", 3), Seen(2, "login", 1), Seen(3, "users", 1)]
    assert by_name(seen) == {"login": (2, 4), "users": (1, 1)}
    assert by_name([]) == {}
