"""Blocks of syslog and journal lines: hits with their weight, events, and what can't be read."""

import pytest
from attrs import evolve
from support.events import in_auth_log, login, pingback

from blocker.config.schema import WORDPRESS, TrapConfig
from blocker.matching.event_matcher import EventMatcher
from blocker.model import attempt_of, untagged
from blocker.times import parse_time

WHO = bytes([198, 51, 100, 7])
NAME = "198.51.100.7"
NOW = parse_time(b"2026-11-30T12:00:00Z")
TRAPS = [TrapConfig(), WORDPRESS, evolve(WORDPRESS, events=("login", "users"), maxretry=5)]
STAMP = "2026-11-28T13:55:29.123456+00:00 www wordpress[17]: "


@pytest.fixture
def matcher():
    """Two traps of events behind one of requests."""
    return EventMatcher(TRAPS, {33})


def block_of(*texts):
    return "".join(f"{text}\n" for text in texts).encode()


def traps_of(matched):
    return [hit.trap for hit in matched.hits]


def test_an_event_is_a_hit_in_each_trap_that_counts_it(matcher):
    """A login in two, a pingback in one, a listing of users in the other."""
    names = [login(NAME, 1), pingback(NAME), f"xmlrpc-blocker: addr={NAME} n=1 event=users"]
    found = [matcher.scan(block_of(STAMP + name)) for name in names]
    assert [traps_of(each) for each in found] == [[1, 2], [1], [2]]
    assert {hit.address for each in found for hit in each.hits} == {WHO}


def test_an_event_weighs_its_failures_at_most_maxretry(matcher):
    """The number is the site's word; memory is ours."""
    found = [matcher.scan(block_of(login(NAME, None, n))) for n in (1, 2, 4, 100_000)]
    assert [traps_of(each) for each in found] == [
        [1, 2], [1] * 2 + [2] * 2, [1] * 3 + [2] * 4, [1] * 3 + [2] * 5
    ]  # fmt: skip
    assert [each.events[0].failures for each in found] == [1, 2, 4, 100_000]


def test_a_multicall_of_unknown_size_is_a_ban_at_once(matcher):
    """wp-fail2ban ends such a request at its second guess."""
    line = f"XML-RPC multicall authentication failure from {NAME}"
    matched = matcher.scan(block_of(STAMP + line))
    assert (traps_of(matched), matched.events[0].failures) == ([1] * 3, 1)


def test_an_attempt_is_one_hit_and_part_of_its_time(matcher):
    """The same wrong password twice in a request is one guess."""
    one, other = (
        matcher.scan(block_of(STAMP + login(NAME, guess, 9))).hits[0] for guess in (1, 255)
    )
    assert (attempt_of(one.time), attempt_of(other.time)) == (2, 256)
    assert untagged(one.time) == untagged(other.time) == parse_time(b"2026-11-28T13:55:29.123Z")
    without = matcher.scan(block_of(STAMP + login(NAME, None)))
    assert attempt_of(without.hits[0].time) == 0


@pytest.mark.parametrize("attempt", ["xy", "abc", "0123456789abcdef", "-1", "1_"])
def test_attempts_of_other_forms_are_attempts_too(matcher, attempt):
    """Two digits are what our plugin writes; others may write more."""
    text = f"xmlrpc-blocker: addr={NAME} n=1 event=login try={attempt}"
    hit = matcher.scan(block_of(text)).hits[0]
    assert 1 <= attempt_of(hit.time) <= 256


def test_lines_without_a_time_are_of_now(matcher):
    """A datagram of the plugin has none."""
    matched = matcher.scan(block_of(login(NAME, None)), NOW)
    assert {hit.time for hit in matched.hits} == {NOW}


def test_other_lines_are_counted_and_nothing_else(matcher):
    """Of other programs, even with the words that are searched for."""
    matched = matcher.scan(
        block_of(
            "Nov 28 13:55:29 www sshd[1]: Invalid user wordpress from 198.51.100.7",
            "Nov 28 13:55:29 www sshd[1]: Invalid user xmlrpc-blocker: addr=1.2.3.4 from 1.2.3.5",
            "Nov 28 13:55:29 www wpa_supplicant[1]: wp: x",
            "",
        )
    )
    assert matched == (4, [], [], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (STAMP + "xmlrpc-blocker: addr=x n=1 event=login", "not a client address"),
        ("12 Nov: xmlrpc-blocker: addr=198.51.100.7 n=1 event=login", "neither a line of syslog"),
        (
            "Nov 31 13:55:29 www wordpress: " + login(NAME),
            "its time can't be read: 'Nov 31 13:55:29'",
        ),
    ],
)
def test_an_event_that_cant_be_read_is_unparsed(matcher, line, reason):
    """It is counted and explained, and bans no client."""
    matched = matcher.scan(block_of("", line, ""), NOW)
    assert matched[1:] == ([len(line) + 2], [], [])
    verdict = matcher.explain(line.encode(), NOW)
    assert verdict.kind == "unparsed"
    assert reason in verdict.reason


def test_ends_are_behind_the_lines(matcher):
    """So that a position behind a hit is the beginning of the next line."""
    first, second = (in_auth_log(login(NAME, guess)) for guess in (1, 2))
    matched = matcher.scan((first + second).encode())
    ends = [len(first), len(first + second)]
    assert sorted({hit.end for hit in matched.hits}) == ends
    assert [each.end for each in matched.events] == ends


def test_only_the_users_that_are_believed_report(matcher):
    """Where the journal says who wrote an entry."""
    entries = [f"1795874183787706 {user} wordpress: {login(NAME)}" for user in (33, 1000)]
    matched = matcher.scan(block_of(*entries))
    assert len(matched.events) == 1
    assert untagged(matched.hits[0].time) == 1795874183787000
    assert "user 1000" in matcher.explain(entries[1].encode()).reason


@pytest.mark.parametrize(
    ("name", "kind", "trap"),
    [("login", "event", 1), ("users", "event", 2), ("disabled", "event", -1)],
)
def test_explain_names_the_trap(matcher, name, kind, trap):
    """Or says that no trap counts the event."""
    verdict = matcher.explain(f"xmlrpc-blocker: addr={NAME} n=2 event={name}".encode())
    assert (verdict.kind, verdict.trap) == (kind, trap)
    assert f"event {name} n=2" in verdict.reason
    assert ("no trap" in verdict.reason) == (trap < 0)


def test_explain_says_why_a_line_is_no_event(matcher):
    """Of another program."""
    verdict = matcher.explain(b"Nov 28 13:55:29 www sshd[1]: hello")
    assert (verdict.kind, verdict.reason) == (
        "no event", "its identifier is 'sshd', not wordpress or wp"
    )  # fmt: skip


def test_time_of_a_line(matcher):
    """For the place in a file where reading begins."""
    assert matcher.time_of(STAMP.encode() + b"x") == parse_time(b"2026-11-28T13:55:29.123456Z")
    assert matcher.time_of(login(NAME).encode(), NOW) == NOW
    assert matcher.time_of(b"hello") is None
