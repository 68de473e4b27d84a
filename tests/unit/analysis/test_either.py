"""Old logs of requests, of events, and of both: what is found, and what a replay says of them."""

import json
from itertools import repeat

import pytest
from support.events import login

from blocker.analysis.either import LOOKED_AT, EitherMatcher, has_entries
from blocker.analysis.reading import Reader
from blocker.analysis.replay import replay
from blocker.config.parse import parse
from blocker.config.schema import Config
from blocker.matching.event_matcher import EventMatcher
from blocker.matching.matcher import Matcher

TRAPS = list(Config().traps.values())
HEAD = "2026-11-28T13:{:02}:29+00:00 www wordpress[7]: "
HIT = '{} - - [28/Nov/2026:13:{:02}:29 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1 "-" "-"'
GUESSER, APP, BOTH = "198.18.0.7", "198.18.0.8", "198.18.0.9"


def request(address, minute):
    return HIT.format(address, minute)


def failure(address, minute, guess, failures=1):
    return HEAD.format(minute) + login(address, guess, failures)


@pytest.fixture
def matcher():
    """With the default traps."""
    return EitherMatcher(Matcher(TRAPS), EventMatcher(TRAPS, {33}))


def written(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def judged(*paths, settings=""):
    report = replay(paths, parse([("a.toml", settings)]), Reader())
    return json.loads(json.dumps(report, default=list))


def test_hits_stand_in_the_order_of_the_lines(matcher):
    """Of both kinds; each line is counted once."""
    lines = [failure(GUESSER, 1, 1), request(APP, 2), failure(GUESSER, 3, 2), "", "x wordpress"]
    block = "".join(f"{line}\n" for line in lines).encode()
    matched = matcher.scan(block)
    assert [hit.trap for hit in matched.hits] == [1, 0, 1]
    assert (matched.lines, len(matched.events), matched.unparsed) == (5, 2, [])
    assert matcher.time_of(lines[0].encode()) == matcher.time_of(lines[1].encode()) - 60_000_000


def test_a_block_of_requests_is_searched_for_no_event(matcher):
    """Which costs time: an event that is hidden among many requests is none."""
    lines = [*repeat(request(APP, 1), LOOKED_AT), failure(GUESSER, 1, 1), request(APP, 1)]
    assert not has_entries("".join(f"{line}\n" for line in lines).encode())
    last = "".join(f"{line}\n" for line in lines[:-1]).encode()
    assert has_entries(last)
    assert len(matcher.scan(last).events) == 1


@pytest.mark.parametrize("block", [b"", b"\n", b"\n\n"])
def test_a_block_of_nothing_has_no_entries(block):
    """Not even a first line."""
    assert not has_entries(block)


def test_a_replay_judges_reports_beside_requests(tmp_path):
    """Each trap counts its own; figures are of requests, and events have theirs."""
    access = [request(APP, minute) for minute in (1, 2)] + [request(BOTH, 1), request(BOTH, 2)]
    auth = [failure(GUESSER, n, n) for n in (1, 2, 3)] + [failure(BOTH, n, n) for n in (1, 2)]
    report = judged(written(tmp_path / "a.log", access), written(tmp_path / "auth.log", auth))
    assert [(ban["address"], ban["trap"], ban["hits"]) for ban in report["bans"]] == [
        (GUESSER, "wordpress", 3)
    ]
    assert (report["hits"], report["addresses"], report["lines"]) == (4, 2, 9)
    assert report["events"] == {"login": {"events": 5, "failures": 5}}


@pytest.mark.parametrize("one_file", [True, False])
def test_requests_inside_a_ban_for_reports_are_blocked(tmp_path, one_file):
    """A ban by either trap blocks both."""
    auth, access = [failure(GUESSER, 1, None, 500)], [request(GUESSER, 2), request(APP, 3)]
    if one_file:
        paths = [written(tmp_path / "both.log", auth + access)]
    else:
        paths = [written(tmp_path / "auth.log", auth), written(tmp_path / "a.log", access)]
    report = judged(*paths)
    assert (report["hits"], report["blocked"], len(report["bans"])) == (2, 1, 1)
    assert report["bans"][0]["start"] == "2026-11-28T13:01:29Z"


def test_requests_before_reports_are_skipped_and_counted(tmp_path):
    """A ban by requests lets the matcher skip, and reports are judged all the same."""
    lines = [request(GUESSER, 1)] * 5 + [failure(GUESSER, 2, guess) for guess in range(4)]
    report = judged(written(tmp_path / "both.log", lines * 2))
    assert [ban["trap"] for ban in report["bans"]] == ["xmlrpc"]
    assert (report["hits"], report["blocked"]) == (10, 7)


def test_the_same_wrong_password_bans_no_user(tmp_path):
    """Also in a replay."""
    auth = [failure(APP, minute, 7) for minute in range(60)]
    assert judged(written(tmp_path / "auth.log", auth))["bans"] == []


def test_a_log_named_for_events_is_read_by_the_same_rules(tmp_path):
    """By its lines, since a replay is of any file."""
    path = written(tmp_path / "auth.log", [failure(GUESSER, 1, n) for n in (1, 2, 3)])
    assert len(judged(path, settings=f'events = ["{path}"]')["bans"]) == 1


def test_no_key_is_added_for_logs_of_requests(tmp_path):
    """The report of an access log has the keys that it had."""
    assert "events" not in judged(written(tmp_path / "a.log", [request(APP, 1)]))
