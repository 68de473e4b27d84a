"""The daemon follows logs of several servers at once, each in its own format."""

import json
from datetime import UTC, datetime

import pytest
from support.daemons import ATTACKER4, daemon, write

COMMON = '{client} - - [{now}] "POST /xmlrpc.php HTTP/1.1" 200 370'
NPM = (
    "[{now}] - 200 200 - POST https www.example.org"
    ' "/xmlrpc.php" [Client {client}] [Length 381] [Gzip -] [Sent-to 192.0.2.10] "-" "-"'
)
OWN = '{client} [{now}] POST "/xmlrpc.php"'
CRI = f"2026-03-10T12:00:00.123456789Z stdout F {COMMON}"


def attack(log, form, client):
    """Write three attacks of this moment."""
    text = form.format(now=f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S +0000}", client=client)
    write(log, f"{text}\n" * 3)


def in_docker(form):
    """Return a format whose line is an object of Docker's json-file."""
    text = json.dumps({"log": f"{form}\n", "stream": "stdout", "time": "2026-03-10T12:00:00Z"})
    return text.replace("{", "{{", 1).removesuffix("}") + "}}"


@pytest.mark.parametrize("reload", [False, True])
def test_each_log_is_read_in_its_own_format(network, tmp_path, reload):
    """By itself, as its table says, or behind what a collector wrote; also after a reload."""
    directory = tmp_path / "logs"
    directory.mkdir()
    forms = {"npm": NPM, "own": OWN, "docker": in_docker(COMMON), "pod": CRI, "plain": COMMON}
    for name in forms:
        (directory / f"{name}.log").touch()
    settings = f"""
[[log]]
path = "{directory}/own.*"
format = '%h %t %m "%U"'
[[log]]
path = "{directory}/*.log"
"""
    with daemon(network.server, tmp_path, settings) as service:
        service.start()
        if reload:
            service.reload("started: ")
        for number, (name, form) in enumerate(forms.items()):
            attack(directory / f"{name}.log", form, f"198.18.0.{number}")
        attack(service.log, COMMON, ATTACKER4)
        service.until(hits=18)
        service.until_blocked(*(f"198.18.0.{number}" for number in range(len(forms))), ATTACKER4)
        assert service.status()["unparsed"] == 0


FORGEABLE = ["format = '$host;$remote_addr [$time_local] \"$request\"'"]
FORGEABLE.append(f'[[log]]\npath = "/var/log/x.log"\n{FORGEABLE[0]}')


@pytest.mark.parametrize("settings", FORGEABLE)
def test_a_format_that_can_be_forged_is_refused(network, tmp_path, settings):
    """At a start, and at a reload, after which the configuration before goes on."""
    with daemon(network.server, tmp_path) as service:
        service.configure(settings)
        process = service.launch()
        assert process.wait(20) == 78
        assert "a host may hold ; itself" in service.said()
        service.configure()
        service.start()
        service.configure(settings)
        service.reload(" started: ")
        assert "the new configuration can't be used, keeping the old one" in service.said()
        attack(service.log, COMMON, ATTACKER4)
        service.until_blocked(ATTACKER4)
