"""Real servers send their lines to the daemon, through everything that they can speak to."""

import json
import sys
import tempfile
from pathlib import Path

import pytest
from support.daemons import ATTACKER4, NEIGHBOUR4, Client, daemon, wait_for
from support.log_senders import attack, sending, until_counted

ROUTES = {
    # server, its target, and the log of the daemon
    "nginx unix": ("nginx", "syslog:server=unix:{place}/log.sock", "unix:{place}/log.sock"),
    "nginx udp": ("nginx", "syslog:server=127.0.0.1:5140,nohostname", "udp:127.0.0.1:5140"),
    "nginx udp6": ("nginx", "syslog:server=[::1]:5140,tag=web", "udp:[::1]:5140"),
    "nginx fifo": ("nginx", "{place}/log.fifo", "fifo:{place}/log.fifo"),
    "apache fifo": ("apache", "{place}/log.fifo", "fifo:{place}/log.fifo"),
    "apache logger": (
        "apache", '"|/usr/bin/logger -d -u {place}/log.sock -S 64KiB -t apache2"',
        "unix:{place}/log.sock",
    ),
    "haproxy unix": ("haproxy", "{place}/log.sock", "unix:{place}/log.sock"),
    "haproxy udp": ("haproxy", "127.0.0.1:5140", "udp:127.0.0.1:5140"),
    "caddy unix": ("caddy", "unixgram/{place}/log.sock", "unix:{place}/log.sock"),
    "caddy udp": ("caddy", "udp/127.0.0.1:5140", "udp:127.0.0.1:5140"),
}  # fmt: skip
ATTACKS = 60
"""Hits that make a ban here, so that one client can send many."""
SETTINGS = f"[trap.xmlrpc]\nmaxretry = {ATTACKS}\n"


@pytest.fixture
def place():
    """A directory that servers reach which run as users of their own."""
    with tempfile.TemporaryDirectory(prefix="logs") as made:
        Path(made).chmod(0o755)
        yield made


@pytest.fixture
def service(network, tmp_path, place):
    """A daemon that takes many attacks for a ban, and is not started yet."""
    # As systemd sets it; a socket keeps what was set when it was made.
    network.server.run("sh", "-c", "echo 512 >/proc/sys/net/unix/max_dgram_qlen")
    with daemon(network.server, tmp_path) as made:
        yield made


def clients(network):
    """Return an attacker and a neighbour."""
    return Client(network.attacker, ATTACKER4), Client(network.neighbour, NEIGHBOUR4)


@pytest.mark.parametrize("route", ROUTES)
def test_every_request_is_a_hit(network, service, place, tmp_path, route):
    """The last attack that makes a ban is the last that is answered."""
    server, target, log = (each.format(place=place) for each in ROUTES[route])
    attacker, neighbour = clients(network)
    service.logs = [log]
    service.configure(SETTINGS)
    service.start()
    with sending(server, target, network.server, tmp_path, neighbour):
        assert attack(neighbour, ATTACKS - 1) == ATTACKS - 1
        service.until(hits=ATTACKS - 1, bans=0, unparsed=0)
        assert attack(attacker, ATTACKS) == ATTACKS
        service.until_blocked(ATTACKER4)
        assert attacker.is_shut_out()
        assert neighbour.get()
        service.until(hits=2 * ATTACKS - 1, bans=1, unparsed=0)
    wait_for(lambda: not service.status()["problems"], "no problem")


@pytest.mark.parametrize("busy", [False, True])
def test_nginx_loses_what_it_sends_while_the_daemon_is_stopped(
    network, service, place, tmp_path, busy
):
    """And one more line if there was none meanwhile: it learns of it then."""
    _, target, log = (each.format(place=place) for each in ROUTES["nginx unix"])
    _, neighbour = clients(network)
    service.logs = [log]
    service.configure(SETTINGS)
    service.start()
    with sending("nginx", target, network.server, tmp_path, neighbour):
        assert attack(neighbour, 20) == 20
        service.until(hits=20)
        service.stop()
        if busy:
            assert attack(neighbour, 10) == 10
        service.start()
        assert attack(neighbour, 20) == 20
        service.until(hits=40 if busy else 39)


def test_nginx_goes_on_with_a_fifo_that_was_left(network, service, place, tmp_path):
    """It loses the lines of the meantime, and answers all requests."""
    _, target, log = (each.format(place=place) for each in ROUTES["nginx fifo"])
    _, neighbour = clients(network)
    service.logs = [log]
    service.configure(SETTINGS)
    service.start()
    with sending("nginx", target, network.server, tmp_path, neighbour):
        assert attack(neighbour, 20) == 20
        service.stop()
        assert attack(neighbour, 10) == 10
        service.start()
        assert attack(neighbour, 20) == 20
        service.until(hits=40)


def test_a_daemon_that_apache_runs(network, service, place, tmp_path):
    """Its standard input is the log; a graceful restart loses nothing."""
    attacker, neighbour = clients(network)
    service.logs = ["-"]
    service.configure(SETTINGS)
    run = f'"|{sys.executable} -m blocker --config {service.config} run"'
    with sending("apache", run, network.server, tmp_path, neighbour) as apache:
        assert attack(neighbour, 20) == 20
        until_counted(service, hits=20)
        before = service.status()["pid"]
        network.server.run("apache2", "-f", str(tmp_path / "apache.conf"), "-k", "graceful")
        assert attack(neighbour, 20) == 20
        wait_for(lambda: pid_of(service) not in {0, before}, "the next daemon")
        until_counted(service, hits=40)
        assert attack(attacker, ATTACKS) == ATTACKS
        service.until_blocked(ATTACKER4)
        assert apache.poll() is None
    wait_for(lambda: not service.socket.exists(), "the end of the daemon")


def pid_of(service):
    """Return the daemon's process; 0 while there is none."""
    done = service.run("status", "-o", "json")
    return json.loads(done.stdout)["pid"] if done.returncode == 0 else 0
