"""Directories of other people: in circles, dead, and very many of them."""

import os
import signal
import time
from pathlib import Path

import pytest
from support.daemons import daemon, line, wait_for, write
from support.dead_mount import dead_mount

FUSE = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")


def attack(address):
    return [line(address)] * 3


def new_site(www, name, address):
    """A site that is attacked before anybody has looked at its log."""
    log = www / name / "logs" / "access.log"
    log.parent.mkdir(parents=True)
    write(log, *attack(address))
    return log


@pytest.mark.parametrize("pattern", ["**/access.log", "*/**/access.log", "*/*/*/access.log"])
def test_links_in_a_circle_stop_nothing(netns, tmp_path, pattern):
    """Two links to their own directory made two to the power of forty paths."""
    www = tmp_path / "www"
    new_site(www, "site", "198.51.100.1")
    for number in range(20):
        (www / f"{number}").symlink_to(".")
        (www / "site" / f"{number}").symlink_to(".")
    with daemon(netns, tmp_path, logs=[www / pattern]) as service:
        service.start()
        service.until_blocked("198.51.100.1")
        new_site(www, "other", "198.51.100.2")
        service.until_blocked("198.51.100.2")
        wait_for(lambda: not service.status()["problems"], "no problem")
        assert service.stop() == 0


@FUSE
def test_a_dead_file_system_holds_up_its_own_logs_only(netns, tmp_path):
    """It is named as a problem; other logs are read, new ones found, and its own are read later."""
    www = tmp_path / "www"
    first = line("192.0.2.9", request="GET / HTTP/1.1")
    log = new_site(www, "site", "198.51.100.1")
    place = www / "far" / "logs"
    with (
        dead_mount(place, first.encode()) as far,
        daemon(netns, tmp_path, logs=[www / "*/logs/*.log"]) as service,
    ):
        service.start()
        service.until_blocked("198.51.100.1")
        service.until(lines=4)
        # In the midst of a look at the log it would hold up the look, and not the walk before it.
        wait_for(lambda: time.monotonic() - far.asked > 1, "a moment without any look")
        far.die()
        new_site(www, "new", "198.51.100.2")
        service.until_blocked("198.51.100.2")
        write(log, *attack("198.51.100.3"))
        service.until_blocked("198.51.100.3")
        said = wait_for(
            lambda: [each for each in service.status()["problems"] if str(place) in each],
            "a problem",
        )
        assert "has not answered" in said[0]
        assert {each["path"]: each["up"] for each in service.status()["logs"]}[
            f"{place}/access.log"
        ] is False
        assert service.metrics()["xmlrpc_blocker_log_directories_slow"] == 1
        new_site(www, "newer", "198.51.100.4")
        service.until_blocked("198.51.100.4")
        far.content += "".join(attack("198.51.100.5")).encode()
        far.revive()
        service.until_blocked("198.51.100.5")
        wait_for(lambda: not service.status()["problems"], "no problem")
        assert service.stop() == 0


@FUSE
def test_a_daemon_with_a_dead_file_system_starts_reloads_and_ends(netns, tmp_path):
    """What does not answer is not waited for."""
    www = tmp_path / "www"
    new_site(www, "site", "198.51.100.1")
    with (
        dead_mount(www / "far" / "logs", b"x\n") as far,
        daemon(netns, tmp_path, logs=[www / "*/logs/access.log"]) as service,
    ):
        far.die()
        service.start()
        service.until_blocked("198.51.100.1")
        service.reload(" started: ")
        new_site(www, "new", "198.51.100.2")
        service.until_blocked("198.51.100.2")
        assert service.stop(signal.SIGTERM) == 0


def test_a_log_in_a_directory_among_thousands_is_found_soon(netns, tmp_path):
    """Within the poll, although only a change makes a directory be listed again."""
    www = tmp_path / "www"
    for number in range(5000):
        (www / f"{number:04}" / "logs").mkdir(parents=True)
    with daemon(netns, tmp_path, logs=[www / "*/logs/access.log"]) as service:
        service.start()
        write(www / "4321" / "logs" / "access.log", *attack("198.51.100.1"))
        service.until_blocked("198.51.100.1")
        os.rename(www / "0007", www / "moved")  # noqa: PTH104
        write(www / "moved" / "logs" / "access.log", *attack("198.51.100.2"))
        service.until_blocked("198.51.100.2")
