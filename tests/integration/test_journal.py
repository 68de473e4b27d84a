"""The daemon's events in a real journal, found by their fields."""

import sys

import pytest
from integration.daemons import ATTACKER4, ATTACKER6, daemon, line, wait_for, write
from integration.journal import SPEAKER, journal

from blocker.events import EVENTS

NETWORK6 = "2001:db8:bad:1::/64"


@pytest.fixture
def diary(town):
    """A journal."""
    with journal(town.server) as made:
        yield made


@pytest.fixture
def guard(town, tmp_path, diary):
    """A daemon whose standard error is the journal's, as under systemd."""
    with daemon(town.server, tmp_path) as made:
        made.launch(before=diary.inside(sys.executable, "-c", SPEAKER))
        told(diary, "EVENT=started")
        yield made


def told(diary, *matches):
    """Wait until something is told, and return the latest entry."""
    return wait_for(lambda: diary.read(*matches), " ".join(matches))[-1]


def test_a_ban_is_found_by_its_address(guard, diary):
    """With trap, hits, offence, times and log; nobody else's is found."""
    write(guard.log, *[line(ATTACKER4)] * 3, *[line(ATTACKER6)] * 3)
    entry = told(diary, "EVENT=ban", f"CLIENT_IP={ATTACKER4}")
    ban = guard.bans()[ATTACKER4]
    assert (entry["BAN_START"], entry["BAN_UNTIL"]) == (ban["start"], ban["until"])
    assert (entry["TRAP"], entry["HITS"], entry["OFFENCE"]) == ("xmlrpc", "3", "1")
    assert entry["LOG"] == str(guard.log)
    assert entry["MESSAGE"].startswith(f"banned {ATTACKER4} until ")
    assert entry["MESSAGE_ID"] == EVENTS["ban"].message_id
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ("6", "xmlrpc-blocker")
    assert (entry["_TRANSPORT"], entry["_PID"]) == ("journal", str(guard.process.pid))
    assert told(diary, f"CLIENT_IP={NETWORK6}")["EVENT"] == "ban"
    assert len(diary.read("EVENT=ban")) == 2
    assert guard.said() == ""


def test_what_is_done_by_hand_is_told(guard, diary):
    """A ban, its renewal, its end; all of them, and none."""
    guard.run("ban", ATTACKER4, "--for", "1h")
    assert told(diary, "EVENT=ban", f"CLIENT_IP={ATTACKER4}")["TRAP"] == "manual"
    guard.run("ban", ATTACKER4, "--for", "2h")
    until = guard.bans()[ATTACKER4]["until"]
    assert told(diary, "EVENT=renewal", f"CLIENT_IP={ATTACKER4}")["BAN_UNTIL"] == until
    guard.run("unban", ATTACKER4)
    assert told(diary, "EVENT=unban", f"CLIENT_IP={ATTACKER4}")
    guard.run("forget", ATTACKER4)
    assert told(diary, "EVENT=forget", f"CLIENT_IP={ATTACKER4}")
    guard.run("unban", "--all")
    assert told(diary, "EVENT=unban_all")["COUNT"] == "0"


def test_of_many_bans_the_rest_is_counted(guard, diary):
    """A hundred are told one by one; the others are a number that can be read."""
    many = [f"198.18.{n >> 7}.{n & 127}" for n in range(1, 251)]
    write(guard.log, *(line(who) for who in many for _ in range(3)))
    guard.until(active_bans=250)

    def told_of():
        rest = sum(int(entry["COUNT"]) for entry in diary.read("EVENT=more_bans"))
        return len(diary.read("EVENT=ban")) + rest

    wait_for(lambda: told_of() >= 250, "all to be told")
    assert told_of() == 250


def test_faults_are_told(guard, diary, town):
    """A ruleset that somebody flushes, and a configuration that is wrong, with all its lines."""
    town.server.run("nft", "flush", "ruleset")
    assert told(diary, "EVENT=ruleset_missing")["PRIORITY"] == "4"
    assert float(told(diary, "EVENT=ruleset_rebuilt")["SECONDS"]) >= 0
    guard.configure("wrong = 1\nbad = 2")
    guard.process.send_signal(1)
    entry = told(diary, "EVENT=reload_failed")
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].endswith(entry["REASON"])
    assert {"wrong", "bad"} <= set(entry["REASON"].replace(":", " ").split())
    assert guard.stop() == 0
    assert told(diary, "EVENT=stopped")
