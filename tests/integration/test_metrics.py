"""What Prometheus sees of a daemon that has seen an attack: true, clean, and going on."""

import contextlib
import json
import re
import socket
import subprocess

import pytest
from integration.daemons import (
    ATTACKER4,
    ATTACKER6,
    SERVER4,
    SERVER6,
    daemon,
    is_served,
    line,
    wait_for,
    write,
)

P = "xmlrpc_blocker_"
EVIL = 'e"v{i}l,ö\\x0a'
LABELS = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@pytest.fixture
def guard(town, tmp_path):
    """A daemon that has banned two attackers."""
    with daemon(town.server, tmp_path) as made:
        made.start()
        write(made.log, *[line(who) for who in (ATTACKER4, ATTACKER6) for _ in range(3)])
        made.until_blocked(ATTACKER4, ATTACKER6)
        made.until(bans=2)
        yield made


def test_promtool_has_nothing_to_say(guard):
    """The exposition after an attack is clean by Prometheus's own lint."""
    text = guard.home.run("curl", "-qsS", "--fail", "http://127.0.0.1:9947/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_figures_are_those_of_the_status(guard):
    """Metrics, status and bans tell the same story."""
    metrics, status = guard.metrics(), guard.status()
    log = f'{{log="{guard.log}"}}'
    assert metrics[f"{P}hits_total{log}"] == status["hits"] == 6
    assert metrics[f"{P}log_lines_total{log}"] == status["lines"] == 6
    assert (
        metrics[f'{P}bans_total{{origin="log",trap="xmlrpc"}}']
        == status["bans"]
        == len(guard.bans())
        == 2
    )
    assert metrics[f'{P}active_bans{{family="ipv4"}}'] == 1
    assert metrics[f'{P}active_bans{{family="ipv6"}}'] == 1
    assert metrics[f"{P}ban_latency_seconds_count"] == 2
    assert metrics[f"{P}enforcing"] == metrics[f"{P}ruleset_present"] == 1
    assert metrics[f"{P}catching_up"] == metrics[f"{P}waiting_bans"] == 0
    assert metrics[f"{P}log_lag_bytes{log}"] == 0


def test_counters_go_on_after_a_restart(guard):
    """What is stored with the positions is counted on; nothing begins at zero or counts twice."""
    names = ("hits_total", "log_lines_total", "requests_total", "bans_total")
    before = guard.metrics()
    guard.stop()
    write(guard.log, line("198.18.0.1"))
    guard.start()
    guard.until(hits=7)
    after = guard.metrics()
    for series, value in before.items():
        if series.removeprefix(P).startswith(names):
            more = "log=" in series
            assert after[series] == value + more, series
    assert after[f'{P}bans_total{{origin="log",trap="xmlrpc"}}'] == 2


def test_dropped_packets_are_counted(town, guard):
    """Each packet that a banned attacker sends is counted by family, with its bytes."""
    before = guard.metrics()
    for family, kind, source, server, size in (
        ("ipv4", socket.AF_INET, ATTACKER4, SERVER4, 20 + 8 + 2),
        ("ipv6", socket.AF_INET6, ATTACKER6, SERVER6, 40 + 8 + 2),
    ):
        packets = f'{P}dropped_packets_total{{family="{family}"}}'
        octets = f'{P}dropped_bytes_total{{family="{family}"}}'
        with (
            town.server.listen(socket.SOCK_DGRAM, 80, kind),
            town.attacker.speak(socket.SOCK_DGRAM, source) as pen,
        ):
            for _ in range(7):
                pen.sendto(b"no", (server, 80))
        wait_for(lambda p=packets: guard.metrics()[p] >= before[p] + 7, f"7 drops of {family}")
        after = guard.metrics()
        assert after[packets] == before[packets] + 7
        assert after[octets] == before[octets] + 7 * size
    assert not is_served(town.server, town.attacker, ATTACKER4)


def test_no_label_is_the_attackers_to_choose(guard):
    """Whatever the attacker sends in any field, no label and no series comes of it."""
    before = set(guard.metrics())
    write(
        guard.log,
        line("198.18.0.1", request=f"POST /{EVIL}/xmlrpc.php HTTP/1.1"),
        line("198.18.0.2", request=f"{EVIL} /xmlrpc.php HTTP/1.1"),
        line("198.18.0.3", request=f"POST /xmlrpc.php?{EVIL} HTTP/{EVIL}"),
        line(EVIL),
        line("198.18.0.4").replace("- -", f"- {EVIL}"),
        line("198.18.0.5").replace('"-" "-"', f'"{EVIL}" "{EVIL}"'),
        f"{EVIL} POST /xmlrpc.php\n",
    )
    guard.until(lines=13)
    after = guard.metrics()
    assert set(after) == before
    known = {str(guard.log), "xmlrpc", "manual", "ipv4", "ipv6"}
    for series in after:
        for name, value in LABELS.findall(series):
            if series.startswith(P) and name in {"log", "trap", "family"}:
                assert json.loads(f'"{value}"') in known, series
            assert "198." not in value
            assert "v{i}l" not in value


def test_only_what_is_asked_for_is_served(guard):
    """Another path is 404, another method 405, and what is no request is no trouble."""

    def ask(*words):
        return guard.home.run(*("curl", "-qs", "-o", "/dev/null", "-w", "%{http_code}"), *words)

    assert ask("http://127.0.0.1:9947/") == "404"
    assert ask("-X", "POST", "http://127.0.0.1:9947/metrics") == "405"
    assert ask("-I", "http://127.0.0.1:9947/metrics") == "200"
    with guard.home.inside(), socket.create_connection(("127.0.0.1", 9947), 10) as rude:
        rude.sendall(b"\0" * 20_000)
        rude.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert rude.recv(100) == b""
    assert ask("http://127.0.0.1:9947/metrics") == "200"


def test_a_port_that_is_taken_stops_nobody(town, tmp_path):
    """Without a port for the metrics the daemon says so and goes on blocking."""
    with (
        town.server.listen(socket.SOCK_STREAM, 9947, socket.AF_INET),
        daemon(town.server, tmp_path) as guard,
    ):
        guard.start()
        assert "no metrics at 127.0.0.1:9947: " in guard.said()
        write(guard.log, *[line(ATTACKER4)] * 3)
        guard.until_blocked(ATTACKER4)
