"""Advice to the administrator about the set-up, and how often it is given."""

import pytest

from blocker.engine.advice import (
    MAX_TOPICS,
    RateLimit,
    eviction_advice,
    is_proxy,
    proxy_advice,
    reach_advice,
    waiting_advice,
)
from blocker.matching.parse_health import MAX_LOGS
from blocker.times import SECOND

NOW = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("later", "is_due"),
    [(0, False), (1, False), (HOUR - 1, False), (HOUR, True), (2 * HOUR, True), (-1, True)],
)
def test_a_topic_is_spoken_of_once_an_hour(later, is_due):
    """And again at once if the clock was set back, or it would be silent until then."""
    notices = RateLimit()
    assert notices.due("proxy", NOW) is True
    assert notices.due("proxy", NOW + later) is is_due
    assert notices.due("reach", NOW + later) is True


def test_the_hour_begins_when_a_topic_was_spoken_of():
    """Asking in between does not make it longer."""
    notices = RateLimit()
    asked = [notices.due("proxy", NOW + hour * HOUR // 2) for hour in range(5)]
    assert asked == [True, False, True, False, True]


def test_topics_have_a_ceiling():
    """More than there are logs; beyond it, all are forgotten, and may be spoken of again."""
    assert MAX_TOPICS > MAX_LOGS
    notices = RateLimit()
    for topic in range(MAX_TOPICS):
        assert notices.due(str(topic), NOW)
    assert not notices.due("0", NOW)
    assert notices.due("one more", NOW)
    assert notices.due("0", NOW)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("private", True), ("proxy:fastly", True), ("allow", False), ("own", False),
     ("loopback", False), ("@jetpack", False), ("nat64", False)],
)  # fmt: skip
def test_hits_of_a_proxy_or_a_private_address_mean_that_the_log_shows_a_proxy(reason, expected):
    """Other friends are clients of their own."""
    assert is_proxy(reason) is expected


@pytest.mark.parametrize(
    ("reason", "shown"), [("private", "private"), ("proxy:cloudflare", "cloudflare")]
)
def test_a_proxy_is_reported_with_what_to_set_in_the_web_server(reason, shown):
    """In nginx and in Apache, with its address."""
    assert proxy_advice(reason, bytes([10, 0, 0, 5])) == (
        f"hits come from 10.0.0.5 ({shown}), which is never banned: the log shows a proxy, not the"
        " attacker. Let the web server log the client: in nginx"
        " `set_real_ip_from 10.0.0.5; real_ip_header X-Forwarded-For;`, in Apache"
        " `RemoteIPHeader X-Forwarded-For` and `RemoteIPInternalProxy 10.0.0.5` (mod_remoteip),"
        " with all addresses of the proxy"
    )


@pytest.mark.parametrize(
    ("count", "who"), [(1, "192.0.2.1"), (2, "192.0.2.1 and 1 more"), (9, "192.0.2.1 and 8 more")]
)
def test_a_ban_that_does_not_reach_is_reported_with_the_first_of_those_banned(count, who):
    """And how many others there are."""
    words = reach_advice("192.0.2.1", count)
    assert words.startswith(f"{who}: banned for over a minute, and still in the log")


def test_a_full_memory_is_reported_with_its_ceiling():
    """And what to raise."""
    words = eviction_advice(12, 1000)
    assert words.startswith("evicted 12 ended bans: more than max_remembered = 1000 were ")
    assert "MemoryMax" in words


def test_bans_that_wait_are_reported_with_the_word_of_the_kernel():
    """Which most often is that the set is full."""
    words = waiting_advice(12, "No space left on device")
    assert words.startswith("12 bans wait for the kernel, which is the limit: ")
    assert "the kernel says: No space left on device; if its set is full, raise" in words
