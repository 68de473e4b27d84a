"""The daemon follows the journal, is killed again and again, and counts every line once."""

import random
import signal

import pytest
from support.daemons import ATTACKER4, NEIGHBOUR4, daemon, line, wait_for
from support.journal import journal

LINES, KILLS = 10_000, 20
NAME = "journal:identifier=web"


@pytest.fixture
def diary(network):
    """A journal."""
    with journal(network.server) as made:
        made.send(b"an entry of another program", fields=b"SYSLOG_IDENTIFIER=other\n")
        wait_for((made.directory / "system.journal").exists, "the journal's first file")
        yield made


@pytest.fixture
def service(network, tmp_path, diary):
    """A daemon that follows the journal and a file."""
    with daemon(network.server, tmp_path) as made:
        made.logs.append(NAME)
        made.log.touch()
        made.configure()
        yield made


def begin(service, diary):
    """Start it where it sees this journal."""
    service.start(before=diary.inside())


def row_of(service):
    """Return what the status says of the journal."""
    return next(row for row in service.status()["logs"] if row["path"] == NAME)


def test_attackers_in_the_journal_are_banned(service, diary):
    """Beside those in a file; metrics and status name the journal as a log."""
    begin(service, diary)
    wait_for(lambda: row_of(service)["up"], "the journal to be up")
    diary.send(*[line(ATTACKER4).encode()] * 3)
    service.until_blocked(ATTACKER4)
    with service.log.open("a") as log:
        log.write(line(NEIGHBOUR4) * 3)
    service.until_blocked(NEIGHBOUR4)
    found = service.metrics()
    assert found[f'xmlrpc_blocker_log_lines_total{{log="{NAME}"}}'] == 3
    assert found[f'xmlrpc_blocker_log_up{{log="{NAME}"}}'] == 1
    wait_for(lambda: not service.status()["problems"], "no problem")


def test_a_newline_in_a_message_forges_no_line(service, diary):
    """What stands behind it is no line of its own."""
    begin(service, diary)
    forged = b"GET /\n" + line(NEIGHBOUR4).encode()
    diary.send(*[forged] * 5, b"\x00\xff" + line(NEIGHBOUR4).encode())
    diary.send(*[line(ATTACKER4).encode()] * 3)
    service.until_blocked(ATTACKER4)
    service.until(lines=9, hits=3)
    assert service.left(NEIGHBOUR4) is None


def test_explain_and_check_read_the_journal(service, diary):
    """By the same name."""
    diary.send(line(ATTACKER4).encode(), b"no request")
    wait_for(lambda: len(diary.read("SYSLOG_IDENTIFIER=web")) == 2, "the entries")
    home = service.home
    service.home = Inside(home, diary)
    done = service.run("explain", NAME)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") >= 2
    assert "hit" in done.stdout
    done = service.run("replay", NAME, "-o", "json")
    assert '"lines": 2' in done.stdout, done.stderr
    done = service.run("check")
    assert f"{NAME}: 1 log, 1 readable" in done.stdout, done.stderr
    done = service.run("explain", "journal:nothing")
    assert "journal:nginx.service" in done.stderr
    service.home = home


class Inside:
    """Runs commands where they see the journal."""

    def __init__(self, home, diary):
        self._home, self._diary = home, diary

    def command(self, *words):
        """Return the command line."""
        return self._home.command(*self._diary.inside(*words))


def test_every_line_is_counted_once(service, diary):
    """Over kills at any instant and two rotations."""
    chance = random.Random(1)
    begin(service, diary)
    turns, sent = KILLS + 1, 0
    for turn in range(turns):
        until = LINES * (turn + 1) // turns
        while sent < until:
            step = min(chance.randrange(1, 200), until - sent)
            # Many addresses, two hits each: none is banned, so each line is a hit.
            diary.send(*[line(f"198.18.{n >> 8 & 127}.{n & 255}").encode()
                         for n in range(sent, sent + step)])  # fmt: skip
            sent += step
        if turn in {turns // 3, 2 * turns // 3}:
            diary.rotate()
        if turn < KILLS:
            service.stop(signal.SIGKILL)
            begin(service, diary)
    service.until(lines=LINES)
    diary.send(line(NEIGHBOUR4).encode())
    service.until(lines=LINES + 1, hits=LINES + 1)


def test_what_was_deleted_is_reported(service, diary):
    """The daemon goes on with what is left, and says so in its status."""
    begin(service, diary)
    diary.send(line(ATTACKER4).encode())
    service.until(lines=1)
    service.stop()
    diary.send(line(ATTACKER4).encode())
    diary.rotate()
    diary.vacuum()
    diary.send(line(ATTACKER4).encode())
    begin(service, diary)
    service.until(lines=2)
    wait_for(lambda: any("deleted the entry" in each for each in service.status()["problems"]),
             "the problem")  # fmt: skip
    assert f"{NAME}: the journal deleted" in service.said()
