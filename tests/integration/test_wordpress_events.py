"""WordPress reports failures: by the journal, a file of syslog, and a socket."""

import random
import signal
import subprocess
import sys
from functools import partial

import pytest
from support.daemons import ATTACKER4, ATTACKER6, NEIGHBOUR4, daemon, line, wait_for, write
from support.events import STRANGER, in_auth_log, login, pingback, report
from support.journal import journal

NETWORK6 = "2001:db8:bad:1::/64"
KILLS = 50
SENDER = """\
import os, socket, sys
pen = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
pen.connect(sys.argv[2])
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for text in sys.argv[3:]:
    pen.send(text.encode())
"""
"""Sends each text as a datagram, as a user."""


@pytest.fixture
def diary(network):
    """A journal."""
    with journal(network.server) as made:
        made.send(b"an entry of another program", fields=b"SYSLOG_IDENTIFIER=other\n")
        wait_for((made.directory / "system.journal").exists, "the journal's first file")
        yield made


@pytest.fixture
def service(network, tmp_path):
    """A daemon that follows an access log, a file of syslog and a socket."""
    with daemon(network.server, tmp_path) as made:
        made.log.touch()
        auth_log(made).touch()
        made.configure(f'events = ["{auth_log(made)}", "unix:{door(made)}"]')
        yield made


@pytest.fixture
def reader(network, tmp_path, diary):
    """A daemon that follows an access log and the journal."""
    with daemon(network.server, tmp_path) as made:
        made.log.touch()
        made.configure('events = ["journal"]')
        made.start(before=diary.inside())
        yield made


def auth_log(service):
    """Return the file of syslog."""
    return service.directory / "auth.log"


def door(service):
    """Return the socket for events."""
    return service.directory / "events.sock"


def write_events(service, *messages):
    """Append messages to the file of syslog."""
    write(auth_log(service), *map(in_auth_log, messages))


def events(service):
    """Return how many failures were reported, by name, without those that are none."""
    return {name: count for name, count in service.status()["events"].items() if count}


def test_three_wrong_passwords_in_a_file_are_a_ban(service):
    """By the trap wordpress; status, bans and metrics say so, and no request was counted."""
    service.start()
    write_events(service, *(login(ATTACKER4, guess) for guess in range(3)))
    service.until_blocked(ATTACKER4)
    ban = service.bans()[ATTACKER4]
    assert (ban["trap"], ban["hits"], ban["offence"]) == ("wordpress", 3, 1)
    assert service.status()["hits"] == 0
    assert events(service) == {"login": 3}
    found = service.metrics()
    assert found['xmlrpc_blocker_events_total{event="login"}'] == 3
    assert found['xmlrpc_blocker_bans_total{origin="log",trap="wordpress"}'] == 1
    said = service.run("status").stdout
    assert "reported by WordPress: 3 login" in said
    assert "note: trap.xmlrpc: WordPress reports its failures" in said


def test_one_request_with_500_guesses_is_a_ban(service):
    """At its first report, of one failure, no ban; at its second, of the other 499, a ban."""
    service.start()
    write_events(service, login(ATTACKER4, 1))
    wait_for(lambda: events(service) == {"login": 1}, "the first report")
    assert service.bans() == {}
    write_events(service, login(ATTACKER4, None, 499))
    service.until_blocked(ATTACKER4)
    assert service.bans()[ATTACKER4]["hits"] == 3
    assert events(service) == {"login": 500}


def test_the_same_wrong_password_is_one_guess(service):
    """An app that tries the old password again and again bans no user."""
    service.start()
    write_events(service, *[login(NEIGHBOUR4, 7)] * 20)
    write_events(service, *(login(ATTACKER4, guess) for guess in (7, 8, 7, 9)))
    service.until_blocked(ATTACKER4)
    assert events(service) == {"login": 24}
    assert list(service.bans()) == [ATTACKER4]


def test_pingbacks_count_except_those_that_are_registered_already(service):
    """Code 48 is of a blog that links to a post again."""
    service.start()
    write_events(service, *[pingback(NEIGHBOUR4, 48)] * 9, *[pingback(ATTACKER6, 17)] * 3)
    service.until_blocked(NETWORK6)
    assert events(service) == {"pingback": 3}
    assert list(service.bans()) == [NETWORK6]


def test_requests_and_reports_are_counted_apart(service):
    """Two of each are no ban, although both sources saw the same two requests."""
    service.start()
    for guess in range(2):
        write(service.log, line(ATTACKER4))
        write_events(service, login(ATTACKER4, guess))
    service.until(hits=2)
    wait_for(lambda: events(service) == {"login": 2}, "both reports")
    assert service.bans() == {}
    write(service.log, line(ATTACKER4))
    service.until_blocked(ATTACKER4)
    assert service.bans()[ATTACKER4]["trap"] == "xmlrpc"


def test_an_access_log_reports_no_event(service):
    """A client chooses much of its lines."""
    service.start()
    write(service.log, *(in_auth_log(login(NEIGHBOUR4, guess)) for guess in range(3)))
    write(service.log, *[line(ATTACKER4)] * 3)
    service.until_blocked(ATTACKER4)
    assert list(service.bans()) == [ATTACKER4]
    assert events(service) == {}


def test_a_socket_believes_the_web_server_only(service):
    """The kernel says who sent a datagram; another user's are dropped and counted."""
    service.start()
    for user, address in ((STRANGER, NEIGHBOUR4), (33, ATTACKER4)):
        texts = [login(address, guess) for guess in range(3)]
        words = (sys.executable, "-c", SENDER, str(user), str(door(service)), *texts)
        subprocess.run(words, check=True)
    service.until_blocked(ATTACKER4)
    assert list(service.bans()) == [ATTACKER4]
    name = f'xmlrpc_blocker_source_lost_total{{log="unix:{door(service)}",reason="sender"}}'
    assert service.metrics()[name] == 3


def test_the_journal_believes_the_web_server_only(reader, diary):
    """It says itself which user wrote an entry; identifiers of other programs are left out."""
    three = [login(NEIGHBOUR4, guess) for guess in range(3)]
    report(diary, *three, user=STRANGER)
    report(diary, *three, identifier="sshd")
    report(diary, "a user\\nxmlrpc-blocker: addr=192.0.2.66 n=3 event=login")
    report(diary, *(login(ATTACKER4, guess) for guess in range(3)))
    reader.until_blocked(ATTACKER4)
    assert list(reader.bans()) == [ATTACKER4]
    assert events(reader) == {"login": 3}


def test_other_plugins_are_understood_in_the_journal(reader, diary):
    """wp-fail2ban puts the host into its identifier, so it is found by its facility."""
    text = f"XML-RPC authentication attempt for unknown user x from 192.0.2.66 from {ATTACKER4}"
    report(diary, *[text] * 3, identifier="wordpress(blog.example.org)")
    reader.until_blocked(ATTACKER4)
    assert list(reader.bans()) == [ATTACKER4]


def test_silence_is_a_problem(service):
    """Where the access log has hits, and nothing was ever reported."""
    service.start()
    addresses = [f"198.18.0.{n}" for n in range(1, 21)]
    write(service.log, *map(line, addresses[:19]))
    service.until(hits=19)
    assert not service.status()["problems"]
    write(service.log, line(addresses[19]))
    wait_for(lambda: service.status()["problems"], "a problem")
    assert "is the plugin installed" in service.status()["problems"][0]
    write_events(service, login(NEIGHBOUR4))
    wait_for(lambda: not service.status()["problems"], "no problem")


def test_a_log_of_reports_is_no_log_of_requests(service):
    """Where no access log is there, that is a problem, although reports are read."""
    service.log.unlink()
    service.start()
    wait_for(
        lambda: any("no log is followed" in each for each in service.status()["problems"]),
        "the problem",
    )
    write_events(service, *(login(ATTACKER4, guess) for guess in range(3)))
    service.until_blocked(ATTACKER4)


def test_check_names_what_could_be_better(service):
    """Sources that have the same events, and a trap that bans users of apps."""
    done = service.run("check")
    assert "consider maxretry = 300" in done.stderr
    service.configure(f'events = ["journal", "{auth_log(service)}"]')
    assert "leave the files of syslog out" in service.run("check").stderr


def two_guesses(number):
    """Return two reports of an address that has no other: no ban, and each counts once."""
    address = f"198.18.{number >> 8 & 127}.{number & 255}"
    return login(address, 1), login(address, 2)


@pytest.mark.parametrize("source", ["journal", "file"])
def test_every_report_counts_once(network, tmp_path, diary, source):
    """Over kills at any instant: a third guess of each address bans it, and no second did."""
    chance = random.Random(3)
    with daemon(network.server, tmp_path) as service:
        service.log.touch()
        auth_log(service).touch()
        name = "journal" if source == "journal" else auth_log(service)
        service.configure(f'events = ["{name}"]')
        send = partial(report, diary) if source == "journal" else partial(write_events, service)
        sent = 0
        for _ in range(KILLS):
            service.start(before=diary.inside())
            for _ in range(chance.randrange(1, 4)):
                count = chance.randrange(1, 20)
                send(*(text for n in range(sent, sent + count) for text in two_guesses(n)))
                sent += count
            service.stop(signal.SIGKILL)
        service.start(before=diary.inside())
        wait_for(lambda: events(service) == {"login": 2 * sent}, "every report")
        assert service.bans() == {}
        send(*(login(f"198.18.{n >> 8 & 127}.{n & 255}", 3) for n in range(sent)))
        service.until(active_bans=sent)
