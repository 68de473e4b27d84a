"""A scene to be watched: a daemon under a played attack, and a real Prometheus that scrapes it.

Everything lives in the server's namespace of a street, so that ports are free and packets real.
Prometheus asks every second, and evaluates its rules as often.  A test that waits asks again
until its deadline.
"""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from support.daemons import (
    ATTACKER4,
    ATTACKER6,
    Client,
    Daemon,
    Street,
    daemon,
    line,
    street,
    wait_for,
    write,
)
from support.namespaces import Namespace

RULES = Path(__file__).parents[2] / "packaging/prometheus/xmlrpc-blocker.rules.yaml"
PORT = 9090
PATIENCE = 30.0
PAUSE = 0.1
DAY = 86400.0
JOB, INSTANCE = "xmlrpc-blocker", "127.0.0.1:9947"

BOTS4 = [f"198.18.7.{n}" for n in range(1, 13)]
BOTS6 = [f"2001:db8:bad:{n:x}::5" for n in range(16, 22)]
ROUNDS = (
    (3.6, BOTS4 + BOTS6),
    (2.4, BOTS4[:6] + BOTS6[:3]),
    (1.2, BOTS4[:4] + BOTS6[:2]),
    (0.0, BOTS4[:3] + BOTS6[:2]),
)
"""Days back, and who comes then."""
FRIEND = "192.168.7.7"
VISITORS = [f"203.0.113.{n}" for n in range(20, 60)]

CONFIG = """\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: {rules}
scrape_configs:
  - job_name: {job}
    static_configs: {targets}
"""


class Sample(NamedTuple):
    """One series of an answer, with its value."""

    labels: dict[str, str]
    value: float


# Prometheus ------------------------------------------------------------------------------------


class Prometheus:
    """A running Prometheus in a namespace, and what can be asked of it."""

    def __init__(self, home: Namespace) -> None:
        self.home = home

    def get(self, path: str, **parameters: str | float) -> tuple[int, bytes]:
        """Return the status and the body of what it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
        with contextlib.closing(connection):
            with self.home.inside():  # a socket stays where it was made
                connection.connect()
            connection.request("GET", f"{path}?{urlencode(parameters)}")
            answer = connection.getresponse()
            return answer.status, answer.read()

    def ask(self, what: str, **parameters: str | float) -> dict | list:
        """Return the data of an answer of the API; an error or a warning in it is a failure."""
        _, body = self.get(f"/api/v1/{what}", **parameters)
        answer = json.loads(body)
        assert answer["status"] == "success", f"{what} {parameters}: {answer}"
        for words in ("warnings", "infos"):
            assert not answer.get(words), f"{what} {parameters}: {answer[words]}"
        return answer["data"]

    def query(self, expression: str, **parameters: float) -> list[Sample]:
        """Return the samples that an expression has now, or at ``time``."""
        answer = self.ask("query", query=expression, **parameters)
        if answer["resultType"] == "scalar":
            return [Sample({}, float(answer["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def value(self, expression: str) -> float:
        """Return the value of an expression that has exactly one."""
        (only,) = self.query(expression)
        return only.value

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict]:
        """Return the series of an expression, as the API words them."""
        answer = self.ask("query_range", query=expression, start=start, end=end, step=step)
        return answer["result"]

    def rules(self) -> list[dict]:
        """Return every rule as it was last evaluated, as the API words it."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def alerts(self, name: str = "", state: str = "") -> list[dict]:
        """Return the alerts that fire or are about to, as the API words them."""
        return [
            each
            for each in self.ask("alerts")["alerts"]
            if name in {"", each["labels"]["alertname"]} and state in {"", each["state"]}
        ]

    # Patience ------------------------------------------------------------------------------

    def until(self, expression: str, patience: float = PATIENCE) -> list[Sample]:
        """Wait until an expression has an answer."""
        return wait_for(lambda: self.query(expression), expression, patience=patience, pause=PAUSE)

    def until_scraped(self, targets: int = 1) -> None:
        """Wait until it has scraped whom it should, once more."""
        (now,) = self.query("time()")
        self.until(f'count(up{{job="{JOB}"}} == 1 and timestamp(up) > {now.value}) == {targets}')

    def until_firing(self, name: str, patience: float = PATIENCE) -> list[dict]:
        """Wait until an alert fires, and return each of its kind."""
        return wait_for(
            lambda: self.alerts(name, "firing"),
            f"{name} to fire", patience=patience, pause=PAUSE,
        )  # fmt: skip


@contextlib.contextmanager
def prometheus(
    home: Namespace,
    directory: Path,
    rules: Sequence[Path] = (),
    targets: Sequence[str] | Mapping[str, str] = (INSTANCE,),
    options: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes these targets and evaluates these rules.

    Targets may have names, which are their instances then.  What stands in ``data`` below the
    directory is its history.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config, said = directory / "prometheus.yml", directory / "prometheus.said"
    paths = json.dumps([str(path.resolve()) for path in rules])
    names = targets if isinstance(targets, Mapping) else {each: each for each in targets}
    asked = [{"targets": [each], "labels": {"instance": name}} for each, name in names.items()]
    config.write_text(CONFIG.format(rules=paths, job=JOB, targets=json.dumps(asked)))
    words = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=warn",
        *options,
    ]  # fmt: skip
    with said.open("wb") as messages:
        process = subprocess.Popen(home.command(*words), stdout=messages, stderr=messages)
    try:
        made = Prometheus(home)
        wait_for(
            lambda: process.poll() is not None or _is_ready(made),
            "Prometheus to be ready", patience=PATIENCE, pause=PAUSE,
        )  # fmt: skip
        assert process.poll() is None, said.read_text()
        yield made
    finally:
        process.kill()  # what it has stored goes with the test's directory
        process.wait(PATIENCE)


def _is_ready(asked: Prometheus) -> bool:
    try:
        status, _ = asked.get("/-/ready")
    except OSError:
        return False
    return status == http.HTTPStatus.OK


# The attack ------------------------------------------------------------------------------------


def play_attack(network: Street, service: Daemon) -> None:
    """Write a realistic attack over days into all logs, and let banned clients knock.

    Some bots come back after each ban, up to four times; one goes on during its ban; a friend
    posts as well; visitors read; a few lines are no requests.  IPv4 and IPv6.
    """
    first, last = Path(service.logs[0]), Path(service.logs[-1])
    before = service.status()
    written = 0
    for back, bots in ROUNDS:
        written += _assault(first, bots[::2], back * DAY + 60)
        written += _assault(last, bots[1::2], back * DAY + 60)
    lines = [
        line(BOTS4[0]),  # during its ban
        *[line(FRIEND, request="POST /wp/xmlrpc.php HTTP/1.1")] * 4,
        *[line(who) for who in (ATTACKER4, ATTACKER6) for _ in range(3)],
        f'{BOTS4[5]} - - "POST /xmlrpc.php\n',
    ]
    write(first, *lines)
    written += len(lines)
    service.until(lines=before["lines"] + written)
    service.until_blocked(ATTACKER4, ATTACKER6)
    service.run("ban", "198.18.99.1", "--for", "1h")
    knock(network)


def _assault(log: Path, bots: Sequence[str], ago: float) -> int:
    """Three hits of each bot among the visits of others, so many seconds ago; return the lines."""
    lines = [
        words
        for n in range(3)
        for bot in bots
        for words in (
            line(bot, ago=ago - n, request="POST //xmlrpc.php HTTP/1.1"),
            *[line(who, ago=ago - n, request="GET /2026/11/ HTTP/2.0") for who in VISITORS[n::8]],
        )
    ]
    write(log, *lines)
    return len(lines)


def knock(network: Street) -> None:
    """Have both banned attackers try to connect: the kernel counts what it drops."""
    for source in (ATTACKER4, ATTACKER6):
        assert Client(network.attacker, source).is_shut_out()


# All of it -------------------------------------------------------------------------------------


class Scene(NamedTuple):
    """A street, the daemon in its server, and who watches it."""

    network: Street
    service: Daemon
    prometheus: Prometheus

    def attack(self) -> None:
        """Play an attack, and wait until Prometheus has seen it begin and end."""
        self.prometheus.until_scraped()
        play_attack(self.network, self.service)
        self.prometheus.until_scraped()


@contextlib.contextmanager
def scene(directory: Path, settings: str = "", rules: Sequence[Path] = (RULES,)) -> Iterator[Scene]:
    """A daemon that follows two logs, scraped by a Prometheus that evaluates these rules.

    Nothing has happened yet: ``attack()`` makes it happen.
    """
    logs = [directory / "blog.access.log", directory / "shop.access.log"]
    for log in logs:
        log.touch()  # a log that is there at the start is read to the last line, however old
    with (
        street() as network,
        daemon(network.server, directory, settings, logs) as service,
    ):
        service.start()
        with prometheus(network.server, directory / "prometheus", rules) as watcher:
            watcher.until_scraped()
            yield Scene(network, service, watcher)
