"""Logs as administrators and other programs leave them: rotated, linked, equal, too many."""

import json
import os
import time

import pytest
from integration.daemons import ATTACKER4, daemon, line, write
from rotations import ROTATIONS, prepare


@pytest.mark.parametrize("rotate", ROTATIONS.values(), ids=list(ROTATIONS))
def test_a_rotation_while_the_daemon_is_stopped_loses_no_hit(netns, tmp_path, rotate):
    """Two attacks that nobody read before it and one behind it make a ban, once."""
    directory = tmp_path / "site"
    directory.mkdir()
    with daemon(netns, directory) as guard:
        prepare(guard.log, rotate)
        write(guard.log, line("192.0.2.9", request="GET / HTTP/1.1"))
        guard.start()
        guard.until(lines=1)
        guard.stop()
        write(guard.log, *[line(ATTACKER4)] * 2)
        rotate(guard.log)
        write(guard.log, line(ATTACKER4))
        guard.start()
        guard.until(hits=3, lines=4)
        guard.until_blocked(ATTACKER4)
        guard.stop()
        guard.start()
        write(guard.log, line("192.0.2.9", request="GET / HTTP/1.1"))
        guard.until(hits=3, lines=5)


def test_equal_logs_of_two_sites_are_two_logs(netns, tmp_path):
    """They hold the same line when they are found; two more in each make six hits."""
    logs = [tmp_path / f"{site}.log" for site in "ab"]
    same = line(ATTACKER4)
    for log in logs:
        write(log, same)
    with daemon(netns, tmp_path, logs=[tmp_path / "[ab].log"]) as guard:
        guard.start()
        guard.until(hits=2)
        for log in logs:
            write(log, same, same)
        guard.until(hits=6)
        guard.until_blocked(ATTACKER4)


def test_of_more_logs_than_may_be_open_those_written_last_are_followed(netns, tmp_path):
    """There are 1,100 logs of former days, and today's; status and journal name the number."""
    for day in range(1100):
        log = tmp_path / f"access-{2000 + day // 336}{day // 28 % 12 + 1:02}{day % 28 + 1:02}.log"
        write(log, line("192.0.2.9", request="GET / HTTP/1.1", ago=86400))
        os.utime(log, (day, day))
    today = tmp_path / "access-20261231.log"
    write(today, *[line(ATTACKER4)] * 3)
    with daemon(netns, tmp_path, logs=[tmp_path / "access-*.log"]) as guard:
        guard.start()
        guard.until_blocked(ATTACKER4)
        guard.until(hits=3)
        problems = json.dumps(guard.status()["problems"])
        assert "77" in problems, problems
        assert "77" in guard.said()
        tomorrow = tmp_path / "access-20270101.log"
        write(tomorrow, *[line("198.51.100.77")] * 3)
        guard.until_blocked("198.51.100.77")
        assert guard.metrics()["xmlrpc_blocker_logs_over_limit"] == 78


@pytest.mark.parametrize("size", [32 << 10, 1_200_000])
def test_a_huge_header_hides_no_hit(netns, tmp_path, size):
    """A client sends it; Caddy logs all headers, behind the address and the request."""
    request = {
        "remote_ip": ATTACKER4, "method": "POST", "uri": "/xmlrpc.php",
        "headers": {"X-Huge": ["x" * size]},
    }  # fmt: skip
    entry = json.dumps({"ts": time.time(), "request": request, "status": 200}) + "\n"
    with daemon(netns, tmp_path) as guard:
        guard.start()
        write(guard.log, *[entry] * 3)
        guard.until(hits=3)
        guard.until_blocked(ATTACKER4)
