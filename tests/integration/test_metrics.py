"""What Prometheus sees of a daemon that has seen an attack: true, clean, and going on."""

import contextlib
import json
import re
import socket
import sqlite3
import subprocess

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from support.daemons import (
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

from blocker.telemetry.catalogue import CATALOGUE

P = "xmlrpc_blocker_"
EVIL = 'e"v{i}l,ö\\x0a'
LABELS = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@pytest.fixture
def service(network, tmp_path):
    """A daemon that has banned two attackers."""
    with daemon(network.server, tmp_path) as made:
        made.start()
        write(made.log, *[line(who) for who in (ATTACKER4, ATTACKER6) for _ in range(3)])
        made.until_blocked(ATTACKER4, ATTACKER6)
        made.until(bans=2)
        yield made


def test_promtool_has_nothing_to_say(service):
    """The exposition after an attack is clean by Prometheus's own lint."""
    text = service.home.run("curl", "-qsS", "--fail", "http://127.0.0.1:9947/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_figures_are_those_of_the_status(service):
    """Metrics, status and bans tell the same story."""
    metrics, status = service.metrics(), service.status()
    log = f'{{log="{service.log}"}}'
    assert metrics[f"{P}hits_total{log}"] == status["hits"] == 6
    assert metrics[f"{P}log_lines_total{log}"] == status["lines"] == 6
    assert (
        metrics[f'{P}bans_total{{origin="log",trap="xmlrpc"}}']
        == status["bans"]
        == len(service.bans())
        == 2
    )
    assert metrics[f'{P}active_bans{{family="ipv4"}}'] == 1
    assert metrics[f'{P}active_bans{{family="ipv6"}}'] == 1
    assert metrics[f"{P}ban_latency_seconds_count"] == 2
    assert metrics[f"{P}enforcing"] == metrics[f"{P}ruleset_present"] == 1
    assert metrics[f"{P}catching_up"] == metrics[f"{P}waiting_bans"] == 0
    assert metrics[f"{P}log_lag_bytes{log}"] == 0


def test_counters_go_on_after_a_restart(service):
    """What is stored with the positions is counted on; nothing begins at zero or counts twice."""
    names = ("hits_total", "log_lines_total", "requests_total", "bans_total")
    before = service.metrics()
    service.stop()
    write(service.log, line("198.18.0.1"))
    service.start()
    service.until(hits=7)
    after = service.metrics()
    for series, value in before.items():
        if series.removeprefix(P).startswith(names):
            more = "log=" in series
            assert after[series] == value + more, series
    assert after[f'{P}bans_total{{origin="log",trap="xmlrpc"}}'] == 2


def test_dropped_packets_are_counted(network, service):
    """Each packet that a banned attacker sends is counted by family, with its bytes."""
    before = service.metrics()
    for family, kind, source, server, size in (
        ("ipv4", socket.AF_INET, ATTACKER4, SERVER4, 20 + 8 + 2),
        ("ipv6", socket.AF_INET6, ATTACKER6, SERVER6, 40 + 8 + 2),
    ):
        packets = f'{P}dropped_packets_total{{family="{family}"}}'
        octets = f'{P}dropped_bytes_total{{family="{family}"}}'
        with (
            network.server.listen(socket.SOCK_DGRAM, 80, kind),
            network.attacker.speak(socket.SOCK_DGRAM, source) as pen,
        ):
            for _ in range(7):
                pen.sendto(b"no", (server, 80))
        wait_for(lambda p=packets: service.metrics()[p] >= before[p] + 7, f"7 drops of {family}")
        after = service.metrics()
        assert after[packets] == before[packets] + 7
        assert after[octets] == before[octets] + 7 * size
    after = service.metrics()
    for who in (ATTACKER4, "2001:db8:bad:1::/64"):
        assert after[f'{P}top_offender_dropped_packets{{client_ip="{who}"}}'] == 7
    assert not is_served(network.server, network.attacker, ATTACKER4)


def test_no_label_is_the_attackers_to_choose(service):
    """From what the attacker sends in any field, no label and no series comes of it."""
    before = set(service.metrics())
    write(
        service.log,
        line("198.18.0.1", request=f"POST /{EVIL}/xmlrpc.php HTTP/1.1"),
        line("198.18.0.2", request=f"{EVIL} /xmlrpc.php HTTP/1.1"),
        line("198.18.0.3", request=f"POST /xmlrpc.php?{EVIL} HTTP/{EVIL}"),
        line(EVIL),
        line("198.18.0.4").replace("- -", f"- {EVIL}"),
        line("198.18.0.5").replace('"-" "-"', f'"{EVIL}" "{EVIL}"'),
        f"{EVIL} POST /xmlrpc.php\n",
    )
    service.until(lines=13)
    after = service.metrics()
    assert set(after) == before
    known = {str(service.log), "xmlrpc", "manual", "ipv4", "ipv6"}
    for series in after:
        for name, value in LABELS.findall(series):
            if series.startswith(P) and name in {"log", "trap", "family"}:
                assert json.loads(f'"{value}"') in known, series
            assert "198.18." not in value
            assert "v{i}l" not in value


def test_only_what_is_asked_for_is_served(service):
    """Another path is 404, another method 405, and what is no request is no trouble."""

    def ask(*words):
        return service.home.run(*("curl", "-qs", "-o", "/dev/null", "-w", "%{http_code}"), *words)

    assert ask("http://127.0.0.1:9947/") == "404"
    assert ask("-X", "POST", "http://127.0.0.1:9947/metrics") == "405"
    assert ask("-I", "http://127.0.0.1:9947/metrics") == "200"
    with service.home.inside(), socket.create_connection(("127.0.0.1", 9947), 10) as rude:
        rude.sendall(b"\0" * 20_000)
        rude.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert rude.recv(100) == b""
    assert ask("http://127.0.0.1:9947/metrics") == "200"


def test_a_port_that_is_taken_stops_no_ban(network, tmp_path):
    """Without a port for the metrics the daemon says so and goes on blocking."""
    with (
        network.server.listen(socket.SOCK_STREAM, 9947, socket.AF_INET),
        daemon(network.server, tmp_path) as service,
    ):
        service.start()
        assert "no metrics at 127.0.0.1:9947: " in service.said()
        write(service.log, *[line(ATTACKER4)] * 3)
        service.until_blocked(ATTACKER4)


def test_every_metric_of_the_catalogue_is_there(network, tmp_path):
    """With origins, a socket and a source of events: all are there, and all are documented."""
    writer = MMDBWriter(6, "Test", ipv4_compatible=True)
    record = {"country_code": "NL", "asn": "AS64500", "as_name": 'A "name"\n'}
    writer.insert_network(IPSet([f"{ATTACKER4}/32"]), record)
    writer.to_db_file(str(tmp_path / "origins.mmdb"))
    database = f'"{tmp_path}/origins.mmdb"'
    inbox = f'[[log]]\npath = "unix:{tmp_path}/in.sock"\n'
    origins = f"origins = {{country_db = {database}, asn_db = {database}}}\n"
    events = f'events = ["{tmp_path}/auth.log"]\n'
    with daemon(network.server, tmp_path, events + origins + inbox) as made:
        made.start()
        write(made.log, *[line(who) for who in (ATTACKER4, ATTACKER6) for _ in range(3)])
        made.until(bans=2)
        made.until_blocked(ATTACKER4)
        assert not is_served(network.server, network.attacker, ATTACKER4)
        made.metrics()  # the kernel is asked for those who were listed before
        metrics = made.metrics()
        names = {re.sub(r"(_bucket|_sum|_count)?({.*)?$", "", series) for series in metrics}
        assert {n for n in names if n.startswith(P)} == {
            entry.series for entry in CATALOGUE.values()
        }
        who = f'as_name="A \\"name\\"",asn="64500",client_ip="{ATTACKER4}",country="NL"'
        assert metrics[f"{P}top_offender_hits{{{who}}}"] == 3
        unknown = 'as_name="",asn="",client_ip="2001:db8:bad:1::/64",country=""'
        assert metrics[f"{P}top_offender_hits{{{unknown}}}"] == 3
        assert metrics[f'{P}top_offender_bans{{client_ip="{ATTACKER4}"}}'] == 1
        assert metrics[f'{P}bans_by_country_total{{country="NL"}}'] == 1
        assert metrics[f'{P}bans_by_country_total{{country="ZZ"}}'] == 1
        made.stop()
        made.start()
        again = made.metrics()
        assert again[f"{P}top_offender_hits{{{who}}}"] == 3
        assert again[f'{P}bans_by_country_total{{country="NL"}}'] == 1


def test_a_database_that_is_missing_does_no_harm(network, tmp_path):
    """One warning, blank labels, and bans as ever; a reload finds it when it is there."""
    path = tmp_path / "country.mmdb"
    with daemon(network.server, tmp_path, f'origins.country_db = "{path}"') as made:
        made.start()
        write(made.log, *[line(ATTACKER4)] * 3)
        made.until_blocked(ATTACKER4)
        assert made.said().count("origins are not exported") == 1
        assert not [series for series in made.metrics() if "country_total" in series]
        writer = MMDBWriter(4, "Test")
        writer.insert_network(IPSet([f"{ATTACKER4}/32"]), {"country_code": "NL"})
        writer.to_db_file(str(path))
        made.reload(" started: ")
        assert any('country="NL"' in series for series in made.metrics())


def test_without_top_offenders_no_address_is_exported(network, tmp_path):
    """Nor is one kept in the store."""
    with daemon(network.server, tmp_path) as made:
        made.start()
        write(made.log, *[line(ATTACKER4)] * 3)
        made.until_blocked(ATTACKER4)
        assert any("client_ip" in series for series in made.metrics())
        made.stop()
        made.configure("metrics.top_offenders = 0")
        made.start()
        assert not any(ATTACKER4 in series for series in made.metrics())
        made.stop()
        with contextlib.closing(sqlite3.connect(made.state)) as store:
            assert store.execute("SELECT count(*) FROM offenders").fetchone() == (0,)


def test_many_logs_can_be_exported_as_one(network, tmp_path):
    """``per_log = false`` sums them, and one that is down shows."""
    logs = [tmp_path / "a.log", tmp_path / "b.log", tmp_path / "missing.log"]
    with daemon(network.server, tmp_path, "metrics.per_log = false", logs) as made:
        made.start()
        for log in logs[:2]:
            write(log, line("198.18.0.1", request=f"POST /xmlrpc.php?{log.name} HTTP/1.1"))
        made.until(hits=2)
        metrics = made.metrics()
        assert metrics[f'{P}hits_total{{log="all"}}'] == 2
        assert metrics[f'{P}log_up{{log="all"}}'] == 0
        assert not any(".log" in series for series in metrics)
        assert {log["path"]: log["up"] for log in made.status()["logs"]} == {
            str(log): log != logs[2] for log in logs
        }


def test_bans_by_hand_have_their_own_figures(service):
    """A trap and an origin of their own, offences and renewals with them."""
    service.run("ban", "203.0.113.200", "--for", "1h")
    service.run("ban", "203.0.113.200", "--for", "2h")
    service.run("unban", "203.0.113.200")
    service.run("ban", "203.0.113.200")
    metrics = service.metrics()
    assert metrics[f'{P}bans_total{{origin="manual",trap="manual"}}'] == 2
    assert metrics[f"{P}renewals_total"] == metrics[f"{P}unbans_total"] == 1
    offences = [metrics[f'{P}offences_total{{offence="{each}"}}'] for each in ("1", "2", "3", "4+")]
    assert offences == [3, 1, 0, 0]
    assert metrics[f"{P}repeat_offenders"] == 1


def test_the_configuration_at_work_is_exported(network, tmp_path):
    """Thresholds of each trap, since when it is enforced, and neither in a dry run's way."""
    with daemon(
        network.server, tmp_path, '[trap.login]\npath = "/wp-login.php"\nmaxretry = 5'
    ) as made:
        made.start()
        metrics = made.metrics()
        assert metrics[f'{P}config_maxretry{{trap="login"}}'] == 5
        assert metrics[f'{P}config_findtime_seconds{{trap="xmlrpc"}}'] == 3600
        assert metrics[f'{P}config_bantime_seconds{{trap="xmlrpc"}}'] == 86400
        assert metrics[f'{P}bans_total{{origin="log",trap="login"}}'] == 0
        assert metrics[f'{P}set_size_limit{{family="ipv6"}}'] == 1_048_576
        since = metrics[f"{P}enforcing_since_timestamp_seconds"]
        assert abs(metrics[f"{P}config_last_reload_success_timestamp_seconds"] - since) < 60
        made.reload(" started: ")
        assert made.metrics()[f"{P}enforcing_since_timestamp_seconds"] == since
        made.stop()
        made.configure("dry_run = true")
        made.start()
        assert made.metrics()[f"{P}enforcing_since_timestamp_seconds"] == 0


def test_what_others_took_out_of_the_set_is_drift(service):
    """Seen when it is put back, which is at once."""
    assert service.metrics()[f'{P}set_drift_elements{{family="ipv4"}}'] == 0
    element = ("element", "inet", "xmlrpc_blocker", "ban4", f"{{ {ATTACKER4} }}")
    service.home.run("nft", "delete", *element)
    service.until_blocked(ATTACKER4)
    metrics = service.metrics()
    assert metrics[f'{P}set_drift_elements{{family="ipv4"}}'] == 1
    assert metrics[f'{P}set_drift_elements{{family="ipv6"}}'] == 0


def test_messages_and_operations_are_counted(service):
    """Warnings and errors of the process, and how long the kernel took."""
    metrics = service.metrics()
    assert metrics[f'{P}log_messages_total{{level="error"}}'] == 0
    operation = '{operation="ban"}'
    count = metrics[f"{P}nft_operation_duration_seconds_count{operation}"]
    assert count == metrics[f"{P}nft_operations_total{operation}"] >= 1
    service.config.write_text("nonsense")
    service.reload("reload refused")
    after = service.metrics()
    assert after[f'{P}log_messages_total{{level="error"}}'] == 1
    assert after[f"{P}config_last_reload_successful"] == 0
