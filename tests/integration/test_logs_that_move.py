"""Logs as administrators and other programs leave them: rotated, linked, equal, too many."""

import json
import os
import subprocess
import time

import pytest
from support.daemons import ATTACKER4, daemon, line, wait_for, write
from support.rotations import PACKINGS, ROTATIONS, prepare

ALL = ROTATIONS | PACKINGS


@pytest.mark.parametrize("rotate", ALL.values(), ids=list(ALL))
def test_a_rotation_while_the_daemon_is_stopped_loses_no_hit(netns, tmp_path, rotate):
    """Two attacks that were not read before it and one behind it make a ban, once."""
    directory = tmp_path / "site"
    directory.mkdir()
    with daemon(netns, directory) as service:
        prepare(service.log, rotate)
        write(service.log, line("192.0.2.9", request="GET / HTTP/1.1"))
        service.start()
        service.until(lines=1)
        service.stop()
        write(service.log, *[line(ATTACKER4)] * 2)
        rotate(service.log)
        write(service.log, line(ATTACKER4))
        service.start()
        service.until(hits=3, lines=4)
        service.until_blocked(ATTACKER4)
        service.stop()
        service.start()
        write(service.log, line("192.0.2.9", request="GET / HTTP/1.1"))
        service.until(hits=3, lines=5)


def test_equal_logs_of_two_sites_are_two_logs(netns, tmp_path):
    """They hold the same line when they are found; two more in each make six hits."""
    logs = [tmp_path / f"{site}.log" for site in "ab"]
    same = line(ATTACKER4)
    for log in logs:
        write(log, same)
    with daemon(netns, tmp_path, logs=[tmp_path / "[ab].log"]) as service:
        service.start()
        service.until(hits=2)
        for log in logs:
            write(log, same, same)
        service.until(hits=6)
        service.until_blocked(ATTACKER4)


def test_of_more_logs_than_may_be_open_those_written_last_are_followed(netns, tmp_path):
    """There are 1,100 logs of former days, and today's; status and journal name the number."""
    for day in range(1100):
        log = tmp_path / f"access-{2000 + day // 336}{day // 28 % 12 + 1:02}{day % 28 + 1:02}.log"
        write(log, line("192.0.2.9", request="GET / HTTP/1.1", ago=86400))
        os.utime(log, (day, day))
    today = tmp_path / "access-20261231.log"
    write(today, *[line(ATTACKER4)] * 3)
    with daemon(netns, tmp_path, logs=[tmp_path / "access-*.log"]) as service:
        service.start()
        service.until_blocked(ATTACKER4)
        service.until(hits=3)
        wait_for(lambda: "77" in json.dumps(service.status()["problems"]), "the number in status")
        assert "77" in service.said()
        tomorrow = tmp_path / "access-20270101.log"
        write(tomorrow, *[line("198.51.100.77")] * 3)
        service.until_blocked("198.51.100.77")
        assert service.metrics()["xmlrpc_blocker_logs_over_limit"] == 78


@pytest.mark.parametrize("size", [32 << 10, 1_200_000])
def test_a_huge_header_hides_no_hit(netns, tmp_path, size):
    """A client sends it; Caddy logs all headers, behind the address and the request."""
    request = {
        "remote_ip": ATTACKER4, "method": "POST", "uri": "/xmlrpc.php",
        "headers": {"X-Huge": ["x" * size]},
    }  # fmt: skip
    entry = json.dumps({"ts": time.time(), "request": request, "status": 200}) + "\n"
    with daemon(netns, tmp_path) as service:
        service.start()
        write(service.log, *[entry] * 3)
        service.until(hits=3)
        service.until_blocked(ATTACKER4)


CUTS = {
    "head and cat": "head -n 330 access.log >x && cat x >access.log",
    "head and mv": "head -n 330 access.log >x && mv x access.log",
    "truncate": "truncate -s $(head -n 330 access.log | wc -c) access.log",
    "emptied and put back": "cp access.log x && : >access.log && sleep 1 && cat x >access.log",
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=list(CUTS))
@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("appended", [0, 1])
def test_an_attack_in_a_log_that_is_cut_off_counts_once(netns, tmp_path, cut, stopped, appended):
    """One that is appended at the same moment counts, too; the third makes a ban."""
    with daemon(netns, tmp_path) as service:
        other = [line("192.0.2.9", request=f"GET /{n} HTTP/1.1") for n in range(350)]
        service.start()
        write(service.log, *other[:300], line(ATTACKER4), *other[300:])
        service.until(hits=1, lines=351)
        if stopped:
            service.stop()
        subprocess.run(["sh", "-c", cut], check=True, cwd=tmp_path)
        write(service.log, *[line(ATTACKER4)] * appended)
        if stopped:
            service.start()
        write(service.log, line("192.0.2.9", request="GET /after HTTP/1.1"))
        service.until(hits=1 + appended, lines=352 + appended)
        write(service.log, *[line(ATTACKER4)] * (2 - appended))
        service.until(hits=3, lines=354)
        service.until_blocked(ATTACKER4)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_log_cut_off_before_all_that_is_known_goes_on_by_its_time(netns, tmp_path, stopped):
    """What is left is as old as it says, and what is appended is of now."""
    with daemon(netns, tmp_path) as service:
        other = [line("192.0.2.9", request=f"GET /{n} HTTP/1.1", ago=600 - n) for n in range(350)]
        write(service.log, line(ATTACKER4, ago=600), *other)
        service.start()
        service.until(hits=1, lines=351)
        if stopped:
            service.stop()
        size = len("".join([line(ATTACKER4, ago=600), *other[:100]]))
        os.truncate(service.log, size)
        write(service.log, line(ATTACKER4))
        if stopped:
            service.start()
        service.until(hits=2, lines=352)
        write(service.log, line(ATTACKER4))
        service.until(hits=3, lines=353)
        service.until_blocked(ATTACKER4)


@pytest.mark.parametrize("alone", [False, True])
def test_a_log_whose_name_is_not_utf8_is_named_by_status_and_check(netns, tmp_path, alone):
    """It is not followed, and both say what to do; when it is renamed, its hits count."""
    odd, good = tmp_path / os.fsdecode(b"site-\xff.log"), tmp_path / "site-good.log"
    with daemon(netns, tmp_path, logs=[tmp_path / "site-*.log"]) as service:
        write(odd, *[line(ATTACKER4)] * 3)
        if not alone:
            write(good, line("192.0.2.9", request="GET / HTTP/1.1"))
        service.start()
        wait_for(
            lambda: "not UTF-8; rename it" in json.dumps(service.status()["problems"]),
            "the problem",
        )
        assert "not UTF-8; rename it" in service.said()
        checked = service.run("check")
        assert r"site-\udcff.log" in checked.stdout + checked.stderr
        assert "not UTF-8; rename it" in checked.stdout + checked.stderr
        odd.rename(tmp_path / "site-odd.log")
        service.until_blocked(ATTACKER4)
        wait_for(lambda: "UTF-8" not in json.dumps(service.status()["problems"]), "the problem")
