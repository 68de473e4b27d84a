"""The promise, with everything real: web server, log, daemon, kernel, and clients outside."""

import contextlib
import socket
import time

import pytest
from support.daemons import (
    ACCOMPLICE6,
    ATTACKER4,
    ATTACKER6,
    BYSTANDER6,
    NEIGHBOUR4,
    NEIGHBOUR6,
    OTHER_PORT,
    Client,
    daemon,
    wait_for,
    web_server,
)

EVASIONS = {
    "198.51.100.11": "//xmlrpc.php",
    "198.51.100.12": "/%78mlrpc.php",
    "198.51.100.13": "/xmlrpc.php/x",
    "198.51.100.14": "/blog/./xmlrpc.php?x=a?b",
    "2001:db8:bad:11::1": "///xmlrpc%2ephp",
}
HARMLESS = ["/wp-login.php", "/index.php/xmlrpc.php", "/?q=/xmlrpc.php", "/xmlrpc.php%3Fx"]
SOMEBODY = """
table inet neighbour {
    set friends { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 }; }
    chain input {
        type filter hook input priority 0; policy accept;
        ip saddr @friends accept
        tcp dport 9999 drop
    }
}
"""


@pytest.fixture(params=["nginx", "apache"])
def server(request):
    """Both web servers."""
    return request.param


@contextlib.contextmanager
def protected(network, server, directory, log_format="combined"):
    """A web server, and a daemon that follows its log."""
    with (
        web_server(server, network.server, directory, log_format) as log,
        daemon(network.server, directory, logs=[log]) as watchdog,
    ):
        watchdog.start()
        yield watchdog


@pytest.mark.parametrize("log_format", ["combined", "vhost_combined"])
@pytest.mark.parametrize(
    ("source", "neighbours"), [(ATTACKER4, NEIGHBOUR4), (ATTACKER6, NEIGHBOUR6)]
)
def test_the_third_attack_is_the_last(network, server, tmp_path, log_format, source, neighbours):
    """Three are answered, the fourth is not; a neighbour and another port are served on."""
    attacker, neighbour = Client(network.attacker, source), Client(network.neighbour, neighbours)
    with protected(network, server, tmp_path, log_format) as watchdog:
        assert [attacker.post() for _ in range(3)] == [True] * 3
        watchdog.until_blocked(source)
        assert attacker.is_shut_out()
        assert attacker.post(port=OTHER_PORT)
        assert [neighbour.post() for _ in range(2)] == [True] * 2
        # The attacker's fourth on the other port falls into its ban, and is only counted.
        watchdog.until(hits=6, blocked=1, bans=1, let_through=5)
        assert neighbour.get()


def test_a_network_is_banned_and_the_next_is_not(network, server, tmp_path):
    """With one host all of its /64 is shut out; the /64 next to it is served."""
    attacker = Client(network.attacker, ATTACKER6)
    with protected(network, server, tmp_path) as watchdog:
        assert Client(network.attacker, ACCOMPLICE6).post()
        assert attacker.post()
        assert attacker.post()
        watchdog.until_blocked("2001:db8:bad:1::")
        assert attacker.is_shut_out()
        assert Client(network.attacker, ACCOMPLICE6).is_shut_out()
        assert Client(network.attacker, BYSTANDER6).post()
        assert list(watchdog.bans()) == ["2001:db8:bad:1::/64"]


def test_what_is_no_attack_makes_no_ban(network, server, tmp_path):
    """However often: a GET of xmlrpc.php is none, and a POST to something else is none."""
    attacker = Client(network.attacker, ATTACKER4)
    with protected(network, server, tmp_path) as watchdog:
        for _ in range(4):
            assert attacker.get()
            assert all(attacker.post(target) for target in HARMLESS)
        watchdog.until(requests=4 * (1 + len(HARMLESS)), hits=0, bans=0)
        assert watchdog.bans() == {}
        assert attacker.post()


def test_other_spellings_are_attacks(network, server, tmp_path):
    """However the target is spelt, what the server routes to xmlrpc.php counts."""
    network.move_in(*EVASIONS)
    with protected(network, server, tmp_path) as watchdog:
        for source, target in EVASIONS.items():
            assert [Client(network.attacker, source).post(target) for _ in range(3)] == [True] * 3
        watchdog.until_blocked(*EVASIONS)
        watchdog.until(hits=15, bans=5, unparsed=0)


def test_unban_lets_in_again(network, server, tmp_path):
    """An unbanned address is answered at once, and is banned again after three attacks."""
    attacker = Client(network.attacker, ATTACKER4)
    with protected(network, server, tmp_path) as watchdog:
        assert [attacker.post() for _ in range(3)] == [True] * 3
        watchdog.until_blocked(ATTACKER4)
        done = watchdog.run("unban", ATTACKER4)
        assert (done.returncode, done.stdout) == (0, f"unbanned {ATTACKER4}\n")
        assert attacker.get()
        # Logs have whole seconds: what is stamped in the second of the unban falls before it.
        second = int(time.time())
        wait_for(lambda: int(time.time()) > second, "the next second")
        assert [attacker.post() for _ in range(3)] == [True] * 3
        watchdog.until_blocked(ATTACKER4)
        assert attacker.is_shut_out()
        assert watchdog.bans()[ATTACKER4]["offence"] == 2


def held_open(client):
    """Return a connection that has sent a POST without the end of its headers."""
    with client.home.inside():
        connection = socket.create_connection((client.host, 80), 5, (client.source, 0))
    connection.sendall(b"POST /xmlrpc.php HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n")
    return connection


def test_requests_held_open_beyond_findtime_are_attacks(network, tmp_path):
    """Apache stamps the start of a request: three completed late, after a quick one, make a ban."""
    attacker, findtime = Client(network.attacker, ATTACKER4), 2
    settings = f'[trap.xmlrpc]\nfindtime = "{findtime}s"\n'
    with (
        web_server("apache", network.server, tmp_path, "combined") as log,
        daemon(network.server, tmp_path, settings, [log]) as watchdog,
        contextlib.ExitStack() as held,
    ):
        watchdog.start()
        connections = [held.enter_context(held_open(attacker)) for _ in range(3)]
        begun = time.time()
        wait_for(lambda: time.time() > begun + findtime + 1, "the requests to be late")
        assert attacker.post()
        watchdog.until(hits=1)
        for connection in connections:
            connection.sendall(b"Connection: close\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        watchdog.until_blocked(ATTACKER4)
        watchdog.until(hits=4, bans=1)
        assert attacker.is_shut_out()


def test_tables_of_others_are_left_alone(network, tmp_path):
    """From first start to last unban, the table of another program stays as it is, byte by byte."""
    network.server.nft(SOMEBODY)
    before = network.server.run("nft", "list", "table", "inet", "neighbour")
    attacker = Client(network.attacker, ATTACKER4)
    with protected(network, "nginx", tmp_path) as watchdog:
        assert [attacker.post() for _ in range(3)] == [True] * 3
        watchdog.until_blocked(ATTACKER4)
        assert attacker.is_shut_out()
        assert network.server.run("nft", "list", "table", "inet", "neighbour") == before
        watchdog.stop()
        assert watchdog.run("unban", "--all").returncode == 0
    assert network.server.run("nft", "list", "table", "inet", "neighbour") == before
    assert network.server.run("nft", "list", "tables") == "table inet neighbour\n"
