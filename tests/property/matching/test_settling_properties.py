"""Hits that are settled in passing, against the same hits judged one by one."""

import time

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from blocker.analysis.replay import judge_one
from blocker.analysis.replay_report import Replay
from blocker.config.schema import Config
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.matching.matcher import Matcher
from blocker.times import SECOND

HOUR = 3600 * SECOND
FRIEND = bytes([203, 0, 113, 2])
TRAPS = {"xmlrpc": evolve(Config().traps["xmlrpc"], maxretry=2, findtime=HOUR, bantime=2 * HOUR)}
CLIENTS = [
    "203.0.113.1", "203.0.113.2", "203.0.113.3", "::ffff:203.0.113.3", "2001:db8::1", "2001:db8::2",
    "no.address",
]  # fmt: skip
REQUESTS = [
    "POST /xmlrpc.php HTTP/1.1", "POST /xmlrpc.php HTTP/1.1", "POST //xmlrpc.php HTTP/1.0",
    "POST /wp-login.php HTTP/1.1", "GET /xmlrpc.php HTTP/1.1", 'POST /xmlrpc.php HTTP/1.1\\" 200 5',
]  # fmt: skip


def line(minute, client, request, rest):
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(1_700_000_000 + minute * 60))
    return f'{client} - - [{stamp}] "{request}" {rest}\n'.encode()


def in_order_mostly(steps):
    minute = 0
    for step, client, request, rest in steps:
        minute = max(0, minute + step)
        yield line(minute, client, request, rest)


blocks = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 1, 1, 5, 40, 130, -1, -30]),
            st.sampled_from(CLIENTS),
            st.sampled_from(REQUESTS),
            st.sampled_from(['200 5 "-" "POST /xmlrpc.php"', '200 17 "-" "-"', "403 9", "403 x"]),
        ),
        max_size=12,
    ),
    max_size=12,
)


def a_judge():
    return Judge(
        list(TRAPS.items()), Limits(90 * 24 * HOUR), lambda a: "mine" if a == FRIEND else None
    )


def message(run):
    report = run.report([])
    return {**report, "bans": list(report["bans"]), "attackers": list(report["attackers"])}


@examples(400)
@given(blocks)
def test_settling_in_passing_says_what_judging_each_hit_says(written):
    """Late hits, second bans, networks, friends and broken lines: the report is the same."""
    lines = list(in_order_mostly([each for block in written for each in block]))
    data, ends = [], 0
    for block in written:
        data.append(b"".join(lines[ends : ends + len(block)]))
        ends += len(block)
    one_by_one, matcher = Replay(a_judge()), Matcher(list(TRAPS.values()))
    for block in data:
        one_by_one.consume(matcher.scan(block).hits)
    in_passing, quick = Replay(a_judge()), Matcher(list(TRAPS.values()))
    judge_one(in_passing, quick, map(quick.scan, data))
    assert message(in_passing) == message(one_by_one)


def test_a_standing_ban_settles_what_follows():
    """The hits of a banned address are no longer handed out, and are counted all the same."""
    matcher, run = Matcher(list(TRAPS.values())), Replay(a_judge())
    block = line(0, CLIENTS[0], REQUESTS[0], '200 5 "-" "-"') * 3
    scanned = [matcher.scan(block)]
    judge_one(run, matcher, scanned)
    assert matcher.scan(block).hits == []
    assert [client.hits for client in matcher.skipped] == [3]
