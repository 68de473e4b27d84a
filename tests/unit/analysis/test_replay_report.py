"""What replay says of hits: the totals, and rows that are made when they are asked for."""

import pytest

from blocker.analysis.replay_report import AttackerRow, Replay
from blocker.config.schema import TrapConfig
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.model import Ban, Hit
from blocker.rows import Rows, ban_row, counted
from blocker.times import SECOND, format_time

HOUR = 3600 * SECOND
START = 1_773_144_000 * SECOND  # 2026-03-10T12:00:00Z
FRIEND = bytes([10, 0, 0, 1])
FIRST, SECOND_ONE, QUIET = (bytes([203, 0, 113, last]) for last in (7, 8, 9))
NETWORK = bytes.fromhex("20010db8000100020000000000000000")
HOST = NETWORK[:8] + bytes(7) + b"\1"


@pytest.fixture
def replay():
    """Two hits within an hour make a ban of two hours."""
    trap = TrapConfig(maxretry=2, bantime=2 * HOUR)
    return Replay(Judge([("xmlrpc", trap)], Limits(90 * 24 * HOUR), {FRIEND: "own"}.get))


def hits(*moments):
    """Return a hit for each (address, minute)."""
    return [Hit(START + minute * 60 * SECOND, who, 0, 200, 0) for who, minute in moments]


def test_a_report_has_all_totals_and_rows_in_order(replay):
    """Bans by their start, attackers by their hits; of equals IPv4 comes first, by address."""
    replay.lines, replay.unparsed = 20, 3
    made = replay.consume(hits(
        (QUIET, 0), (FRIEND, 0), (HOST, 0), (HOST, 0), (SECOND_ONE, 0), (FIRST, 0), (SECOND_ONE, 0),
        (FIRST, 0), (FIRST, 1), (FIRST, 125), (FIRST, 126),
    ))  # fmt: skip
    assert [ban.subject for ban in made] == [NETWORK, SECOND_ONE, FIRST, FIRST]
    report = replay.report(["/a.log", "/b.log"])
    bans, attackers = report.pop("bans"), report.pop("attackers")
    assert report == {
        "version": 1, "logs": ["/a.log", "/b.log"], "lines": 20, "requests": 17, "unparsed": 3,
        "friends": 1, "hits": 10, "addresses": 4, "floor": 4, "blocked": 1, "let_through": 9,
        "repeat_offenders": 1,
    }  # fmt: skip
    assert [(ban["address"], ban["start"], ban["until"], ban["offence"]) for ban in bans] == [
        ("203.0.113.7", "2026-03-10T12:00:00Z", "2026-03-10T14:00:00Z", 1),
        ("203.0.113.8", "2026-03-10T12:00:00Z", "2026-03-10T14:00:00Z", 1),
        ("2001:db8:1:2::/64", "2026-03-10T12:00:00Z", "2026-03-10T14:00:00Z", 1),
        ("203.0.113.7", "2026-03-10T14:06:00Z", "2026-03-10T16:06:00Z", 2),
    ]
    assert next(iter(bans)) == ban_row(made[2], lambda _: "203.0.113.7")
    assert [tuple(row.values()) for row in attackers] == [
        ("203.0.113.7", 5, 2, "2026-03-10T12:00:00Z", "2026-03-10T14:06:00Z"),
        ("203.0.113.8", 2, 1, "2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z"),
        ("2001:db8:1:2::/64", 2, 1, "2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z"),
        ("203.0.113.9", 1, 0, "2026-03-10T12:00:00Z", "2026-03-10T12:00:00Z"),
    ]


def test_attackers_with_more_hits_come_first(replay):
    """In any order, and however long the address is."""
    replay.consume(hits((QUIET, 0), (HOST, 1), (HOST, 2), (FIRST, 3)))
    rows = replay.report([])["attackers"]
    assert [(row["address"], row["hits"]) for row in rows] == [
        ("2001:db8:1:2::/64", 2), ("203.0.113.7", 1), ("203.0.113.9", 1),
    ]  # fmt: skip


def test_hits_that_were_settled_in_passing_are_blocked_ones(replay):
    """They count for their subject, whose last hit they may be or not; none of them is late."""
    replay.consume(hits((FIRST, 0), (FIRST, 10)))
    moments = [START + minute * 60 * SECOND for minute in (30, 5)]
    replay.add_skipped([(FIRST, 3, moments[0]), (FIRST, 2, moments[1])])
    report = replay.report([])
    assert (report["hits"], report["blocked"], report["let_through"]) == (7, 5, 2)
    assert replay._counts.late == 0
    (row,) = report["attackers"]
    assert tuple(row.values()) == (
        "203.0.113.7", 7, 1, "2026-03-10T12:00:00Z", "2026-03-10T12:30:00Z",
    )  # fmt: skip


def test_nothing_is_kept_for_a_store(replay):
    """Offline there is none, and a flood would fill the memory."""
    replay.consume(hits((FIRST, 0), (FIRST, 1)))
    assert not replay._judge.windows.changed


def test_nothing_read_is_a_report_of_zeros(replay):
    """Every key is there."""
    report = replay.report([])
    assert (list(report.pop("bans")), list(report.pop("attackers"))) == ([], [])
    assert {key: value for key, value in report.items() if value} == {"version": 1}
    assert len(report) == 12


def test_networks_are_named_by_their_length():
    """That by which they were judged; a /64 unless configured otherwise."""
    judge = Judge(
        [("xmlrpc", TrapConfig())], Limits(90 * 24 * HOUR, ipv6_prefix=48), lambda _: None
    )
    assert Replay(judge, 48).name(NETWORK[:6] + bytes(10)) == "2001:db8:1::/48"
    assert Replay(judge).name(NETWORK) == "2001:db8:1:2::/64"


def test_rows_are_made_when_they_are_asked_for():
    """All of them, some of them, or only what is in them."""
    made = []

    def values(number):
        made.append(number)
        return (f"192.0.2.{number}", number, 0, "", "")

    rows = Rows(AttackerRow, [1, 2, 3], values)
    assert (len(rows), made) == (3, [])
    row = {"address": "192.0.2.2", "hits": 2, "bans": 0, "first": "", "last": ""}
    assert rows[1:2] == [row]
    assert made == [2]
    assert list(rows)[1] == row
    assert [each[1] for each in rows.values(1, 3)] == [2, 3]


def test_a_ban_is_a_row_of_texts_and_numbers():
    """As status, bans and replay print it."""
    ban = Ban(FIRST, "manual", START, START + HOUR, 0, 2)
    assert ban_row(ban, lambda who: f"<{who[-1]}>") == {
        "address": "<7>", "trap": "manual", "start": "2026-03-10T12:00:00Z",
        "until": "2026-03-10T13:00:00Z", "hits": 0, "offence": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (START, "2026-03-10T12:00:00Z"),
        (START + 500_000, "2026-03-10T12:00:00.5Z"),
        (START + 1, "2026-03-10T12:00:00.000001Z"),
        (START + 10 * SECOND, "2026-03-10T12:00:10Z"),
    ],
)
def test_times_are_rfc_3339_with_a_fraction_only_where_there_is_one(micros, text):
    """In UTC."""
    assert format_time(micros) == text


@pytest.mark.parametrize(("count", "said"), [(0, "0 logs"), (1, "1 log"), (2, "2 logs")])
def test_a_number_has_its_noun(count, said):
    """In the plural, but for one."""
    assert counted(count, "log") == said
