"""Lines of access logs and of syslog in one file: each line shows by itself which it is."""

import os

import pytest

from blocker.analysis.explain import explain
from blocker.analysis.reading import Reader
from blocker.config.schema import Config

HIT = '198.18.0.7 - - [28/Nov/2026:13:55:29 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1 "-" "-"'
STAMP = "2026-11-28T13:55:29+00:00 www "
OWN = "wordpress[7]: xmlrpc-blocker: addr={} n=2 event=login try=ea"
LINES = {
    HIT: ("hit", "path and method match", "198.18.0.7"),
    STAMP + "nginx: " + HIT: ("hit", "path and method match", "198.18.0.7"),
    STAMP + OWN.format("198.18.0.8"): ("event", "event login n=2 try=ea", "198.18.0.8"),
    STAMP + OWN.format("127.0.0.1"): ("event", "by a friend", "127.0.0.0/8"),
    STAMP + "wp[7]: Accepted password for a from 198.18.0.8": ("no event", "a success", ""),
    STAMP + "sshd[9]: Failed password for root from 198.18.0.9": ("no event", "'sshd'", ""),
    STAMP + 'nginx: what? "GET / HTTP/1.1"': ("unparsed", "no client address", ""),
    STAMP + OWN.format("nowhere"): ("unparsed", "not a client address", ""),
}


@pytest.mark.parametrize("line", LINES)
def test_every_line_shows_its_kind(tmp_path, line):
    """The verdict, the reason, and the address that it is about."""
    log = tmp_path / "mixed.log"
    log.write_text(f"{HIT}\n{line}\n")
    first, second = explain([str(log)], Config(), Reader())
    verdict, reason, address = LINES[line]
    assert first["verdict"] == "hit"
    assert second["verdict"] == verdict
    assert reason in second["reason"]
    assert second["address"] in {address, "127.0.0.1"}
    assert second["line"] == f"{log}:2"


def test_an_event_carries_its_name_and_number(tmp_path):
    """Only an event does: other rows keep the keys that they had."""
    log = tmp_path / "auth.log"
    log.write_text(f"{STAMP}{OWN.format('198.18.0.8')}\n{HIT}\n")
    event, hit = explain([str(log)], Config(), Reader())
    assert (event["event"], event["n"], event["time"]) == ("login", 2, "2026-11-28T13:55:29Z")
    assert "event" not in hit
    assert "n" not in hit


def test_a_time_without_a_year_is_near_the_files(tmp_path):
    """An old file holds old events."""
    log = tmp_path / "auth.log"
    log.write_text(f"Nov 28 13:55:29 www {OWN.format('198.18.0.8')}\n")
    os.utime(log, (1_700_000_000, 1_700_000_000))  # 14 November 2023
    (event,) = explain([str(log)], Config(), Reader())
    assert event["time"].startswith("2022-11-28T")
