"""The published attack logs, judged: the figures that other tools rely on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

from blocker.cli import render
from blocker.rows import Rows

TRACES = Path(__file__).parents[2] / "traces"


def replay(*paths, expected=0):
    command = [sys.executable, "-m", "blocker", "--config", "/dev/null", "replay", "-o", "json"]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_published_week():
    """A week of a real site's log: 18 bans on 4 addresses, and 4 that were too slow."""
    report, _ = replay(TRACES / "seed-week.log")
    bans, attackers = report.pop("bans"), report.pop("attackers")
    assert report == {
        "version": 1, "logs": [str(TRACES / "seed-week.log")], "lines": 61, "requests": 61,
        "unparsed": 0, "friends": 0, "hits": 61, "addresses": 8, "floor": 8, "blocked": 0,
        "let_through": 61, "repeat_offenders": 4,
    }  # fmt: skip
    assert len(bans) == 18
    assert len({ban["address"] for ban in bans}) == 4
    assert bans[0] == {
        "address": "146.185.251.102", "trap": "xmlrpc", "start": "2015-03-25T12:25:06Z",
        "until": "2015-03-26T12:25:06Z", "hits": 3, "offence": 1,
    }  # fmt: skip
    assert (bans[-1]["address"], bans[-1]["start"]) == ("80.82.64.122", "2015-03-31T22:58:28Z")
    assert [(row["address"], row["hits"]) for row in attackers[:4]] == [
        ("146.185.251.102", 21),
        ("93.174.93.143", 17),
        ("93.174.93.99", 13),
        ("80.82.64.122", 6),
    ]


@pytest.mark.parametrize(
    ("name", "hits", "addresses", "bans", "blocked", "let_through"),
    [
        ("distributed.log.gz", 11569, 676, 13, 10117, 1452),
        ("flood.log.gz", 14944, 3, 5, 14925, 19),
        ("quiet.log.gz", 0, 0, 0, 0, 0),
    ],
)
def test_other_traces(name, hits, addresses, bans, blocked, let_through):
    """A slow distributed attack, a flood that is out of order in places, a quiet site."""
    report, _ = replay(TRACES / name)
    assert (report["hits"], report["addresses"], len(report["bans"])) == (hits, addresses, bans)
    assert (report["blocked"], report["let_through"]) == (blocked, let_through)
    assert report["unparsed"] == 0


def test_lines_that_are_not_understood_are_reported_with_what_to_set(tmp_path):
    """A figure alone would be read past; the log, the reason and the cure stand on stderr."""
    unknown = "203.0.113.7 example.org - [10/Mar/2026:12:00:00 +0000] POST /xmlrpc.php 200\n"
    logs = [tmp_path / f"{n}.log" for n in range(12)]
    for log in logs:
        log.write_text(unknown * 3)
    report, said = replay(*logs)
    assert report["unparsed"] == 36
    first, *others, last = said.splitlines()
    assert first.startswith(f"note: {logs[0]}: 3 candidate lines could not be parsed")
    assert "set `format`" in first
    assert len(others) == 9
    assert last == "note: and 2 more logs like these"


def test_a_rotated_set_is_one_log_in_any_order(tmp_path):
    """access.log.1 and access.log together give what the whole gave."""
    lines = (TRACES / "seed-week.log").read_text().splitlines(keepends=True)
    (tmp_path / "access.log.1").write_text("".join(lines[:30]))
    (tmp_path / "access.log").write_text("".join(lines[30:]))
    whole, _ = replay(TRACES / "seed-week.log")
    for order in (["access.log", "access.log.1"], ["access.log.1", "access.log"]):
        report, _ = replay(*(tmp_path / name for name in order))
        assert report["bans"] == whole["bans"]
        assert report["attackers"] == whole["attackers"]


def test_different_logs_are_merged_by_time(tmp_path):
    """Lines dealt out to two logs give what they gave together."""
    lines = (TRACES / "seed-week.log").read_text().splitlines(keepends=True)
    (tmp_path / "a.log").write_text("".join(lines[::2]))
    (tmp_path / "b.log").write_text("".join(lines[1::2]))
    whole, _ = replay(TRACES / "seed-week.log")
    report, _ = replay(tmp_path / "a.log", tmp_path / "b.log")
    assert report["bans"] == whole["bans"]


def test_a_log_that_can_not_be_read_is_reported_and_the_rest_is_processed(tmp_path):
    """Exit code 1, the others' figures, and a message that names the file."""
    report, message = replay(tmp_path / "missing.log", TRACES / "seed-week.log", expected=1)
    assert report["hits"] == 61
    assert "missing.log" in message


def test_a_last_line_without_newline_is_a_line(tmp_path):
    """Offline the rest of it will not be written."""
    text = (TRACES / "seed-week.log").read_text().rstrip("\n")
    (tmp_path / "cut.log").write_text(text)
    assert replay(tmp_path / "cut.log")[0]["lines"] == 61


class _Numbered(TypedDict):
    number: int
    text: str


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 2500])
def test_rows_of_any_number_make_one_json_object(capsys, count):
    """They are made and written some at a time, and a reader can't notice it."""
    rows = Rows(_Numbered, range(count), lambda n: (n, "é"))
    render.as_json_with_rows({"version": 1, "rows": rows})
    whole = {"version": 1, "rows": [{"number": n, "text": "é"} for n in range(count)]}
    assert capsys.readouterr().out == json.dumps(whole, ensure_ascii=False) + "\n"
    assert list(rows) == whole["rows"]
