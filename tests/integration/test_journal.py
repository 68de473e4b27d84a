"""The daemon's events in a real journal, found by their fields."""

import sys

import pytest
from support.daemons import ATTACKER4, ATTACKER6, daemon, line, wait_for, write
from support.journal import SPEAKER, journal

from blocker.telemetry.events import EVENTS

NETWORK6 = "2001:db8:bad:1::/64"


@pytest.fixture
def diary(network):
    """A journal."""
    with journal(network.server) as made:
        yield made


@pytest.fixture
def service(network, tmp_path, diary):
    """A daemon whose standard error is the journal's, as under systemd."""
    with daemon(network.server, tmp_path) as made:
        made.launch(before=diary.inside(sys.executable, "-c", SPEAKER))
        message(diary, "EVENT=started")
        yield made


def message(diary, *matches):
    """Wait until something is reported, and return the latest entry."""
    return wait_for(lambda: diary.read(*matches), " ".join(matches))[-1]


def test_a_ban_is_found_by_its_address(service, diary):
    """With trap, hits, offence, times and log; no other entry is found."""
    write(service.log, *[line(ATTACKER4)] * 3, *[line(ATTACKER6)] * 3)
    entry = message(diary, "EVENT=ban", f"CLIENT_IP={ATTACKER4}")
    ban = service.bans()[ATTACKER4]
    assert (entry["BAN_START"], entry["BAN_UNTIL"]) == (ban["start"], ban["until"])
    assert (entry["TRAP"], entry["HITS"], entry["OFFENCE"]) == ("xmlrpc", "3", "1")
    assert entry["LOG"] == str(service.log)
    assert entry["MESSAGE"].startswith(f"banned {ATTACKER4} until ")
    assert entry["MESSAGE_ID"] == EVENTS["ban"].message_id
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ("6", "xmlrpc-blocker")
    assert (entry["_TRANSPORT"], entry["_PID"]) == ("journal", str(service.process.pid))
    assert message(diary, f"CLIENT_IP={NETWORK6}")["EVENT"] == "ban"
    assert len(diary.read("EVENT=ban")) == 2
    assert service.said() == ""


def test_what_is_done_by_hand_is_logged(service, diary):
    """A ban, its renewal, its end; all of them, and none."""
    service.run("ban", ATTACKER4, "--for", "1h")
    assert message(diary, "EVENT=ban", f"CLIENT_IP={ATTACKER4}")["TRAP"] == "manual"
    service.run("ban", ATTACKER4, "--for", "2h")
    until = service.bans()[ATTACKER4]["until"]
    assert message(diary, "EVENT=renewal", f"CLIENT_IP={ATTACKER4}")["BAN_UNTIL"] == until
    service.run("unban", ATTACKER4)
    assert message(diary, "EVENT=unban", f"CLIENT_IP={ATTACKER4}")
    service.run("forget", ATTACKER4)
    assert message(diary, "EVENT=forget", f"CLIENT_IP={ATTACKER4}")
    service.run("unban", "--all")
    assert message(diary, "EVENT=unban_all")["COUNT"] == "0"


def test_of_many_bans_the_rest_is_counted(service, diary):
    """A hundred are reported one by one; the others are a number that can be read."""
    many = [f"198.18.{n >> 7}.{n & 127}" for n in range(1, 251)]
    write(service.log, *(line(who) for who in many for _ in range(3)))
    service.until(active_bans=250)

    def logged_of():
        rest = sum(int(entry["COUNT"]) for entry in diary.read("EVENT=more_bans"))
        return len(diary.read("EVENT=ban")) + rest

    wait_for(lambda: logged_of() >= 250, "all to be reported")
    assert logged_of() == 250


def test_faults_are_logged(service, diary, network):
    """A ruleset that is flushed, and a configuration that is wrong, with all its lines."""
    network.server.run("nft", "flush", "ruleset")
    assert message(diary, "EVENT=ruleset_missing")["PRIORITY"] == "4"
    assert float(message(diary, "EVENT=ruleset_rebuilt")["SECONDS"]) >= 0
    service.configure("wrong = 1\nbad = 2")
    service.process.send_signal(1)
    entry = message(diary, "EVENT=reload_failed")
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].endswith(entry["REASON"])
    assert {"wrong", "bad"} <= set(entry["REASON"].replace(":", " ").split())
    assert service.stop() == 0
    assert message(diary, "EVENT=stopped")
