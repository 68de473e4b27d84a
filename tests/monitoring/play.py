"""A play for dashboards: three hosts, half a year of logs from before, and an attack that goes on.

It is made up, and the same each time but for the clock.  One host has three logs and the past; one
only judges (a dry run); all are watched by one Prometheus that knows the past from ``backfill``.
"""

import contextlib
import math
import socket
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from mmdb_writer import MMDBWriter
from monitoring.history import RETENTION, fill
from monitoring.scene import DAY, Prometheus, prometheus
from netaddr import IPSet
from support.daemons import (
    ATTACKER4,
    ATTACKER6,
    SERVER4,
    SERVER6,
    Daemon,
    Street,
    daemon,
    line,
    street,
    write,
)

DAYS, ENFORCED = 186, 64
"""How long the past is, and how long ago enforcing began."""
TICK = 0.25
COUNTRIES = ("NL", "US", "DE", "SG", "FR", "BR", "VN", "IN")
KNOCKING = [ATTACKER4, ATTACKER6, *(f"198.51.100.{n}" for n in range(70, 76))]
READERS = [f"203.0.113.{n}" for n in range(20, 120)]
PAGES = ("/", "/2026/11/", "/feed/", "/wp-content/themes/site/style.css", "/about/")
SETTINGS = """\
{top}
[firewall]
table = "xmlrpc_blocker{suffix}"
[metrics]
listen = "127.0.0.{number}:9947"
[origins]
country_db = "{origins}/country.mmdb"
asn_db = "{origins}/asn.mmdb"
"""


class Host(NamedTuple):
    """One of the hosts."""

    name: str
    address: str
    service: Daemon


class Play(NamedTuple):
    """The stage, with everybody on it."""

    network: Street
    hosts: list[Host]
    prometheus: Prometheus


# Where they come from --------------------------------------------------------------------------


def bot(number: int) -> str:
    """Return the address of a bot; each country has some of each family."""
    net = number % len(COUNTRIES)
    if number % 5 == 4:
        return f"2001:db8:{net:x}:{number:x}::1"
    return f"198.18.{net}.{number % 250 + 1}"


def origins(directory: Path) -> None:
    """Write databases that say where the bots are from."""
    country = MMDBWriter(6, "Made-Up-Country", ipv4_compatible=True)
    systems = MMDBWriter(6, "Made-Up-ASN", ipv4_compatible=True)
    for number, code in enumerate(COUNTRIES):
        nets = IPSet([f"198.18.{number}.0/24", f"2001:db8:{number:x}::/48"])
        nets.update(IPSet([f"198.51.100.{64 + 2 * number}/31"]))
        country.insert_network(nets, {"country": {"iso_code": code}})
        names = {
            "autonomous_system_number": 64500 + number,
            "autonomous_system_organization": f"Example Hosting {code}",
        }
        systems.insert_network(nets, names)
    country.to_db_file(str(directory / "country.mmdb"))
    systems.to_db_file(str(directory / "asn.mmdb"))


# What was before -------------------------------------------------------------------------------


def past(path: Path, now: float) -> None:
    """Write the log of half a year: bots all day long, then only the first hits of each."""
    random = Random(7)
    with path.open("w") as log:
        for back in range(DAYS, 0, -1):
            log.writelines(words for _, words in sorted(_day(random, back, now)))


def _day(random: Random, back: int, now: float) -> list[tuple[float, str]]:
    lines = [(_moment(random, back), "GET", random.choice(READERS)) for _ in range(800)]
    wave = 0.5 + 0.5 * math.sin(back / 9) + 0.3 * random.random()
    for _ in range(int((20 + 25 * wave) if back > ENFORCED else (4 + 8 * wave))):
        who, start = bot(random.randrange(900)), _moment(random, back)
        number = random.randint(4, 24) if back > ENFORCED else random.randint(1, 3)
        lines += [(start - n * random.uniform(1, 200), "POST", who) for n in range(number)]
    return [(now - ago, _line(now, ago, method, who)) for ago, method, who in lines if ago > 60]


def _moment(random: Random, back: int) -> float:
    return (back - random.random()) * DAY


def _line(now: float, ago: float, method: str, who: str) -> str:
    request = "POST /xmlrpc.php HTTP/1.1" if method == "POST" else "GET / HTTP/2.0"
    return line(who, ago=time.time() - now + ago, request=request)


def backdate(service: Daemon, since: float) -> None:
    """Have a daemon believe that it has enforced since then; it is as made up as the past."""
    service.start()
    service.stop()
    with contextlib.closing(sqlite3.connect(service.state)) as state, state:
        words = "UPDATE counters SET value = ? WHERE name = 'enforcing_since'"
        state.execute(words, (int(since * 1e6),))


# What happens ----------------------------------------------------------------------------------


def perform(play: Play, seconds: float) -> None:
    """Play for so long: visitors, waves of bots, who comes back, what goes wrong."""
    random = Random(1)
    _overture(play.hosts)
    begun, number, tick = time.monotonic(), 0, 0
    with contextlib.ExitStack() as open_pens:
        pens = [open_pens.enter_context(_pen(play.network, source)) for source in KNOCKING]
        while (at := (time.monotonic() - begun) / seconds) < 1:
            for place, host in enumerate(play.hosts):
                number = _traffic(random, host, place, at, number)
            _knock(random, pens, at)
            if tick == int(seconds / TICK * 0.6):
                _accidents(play.hosts[0])
            tick += 1
            time.sleep(max(0, begun + tick * TICK - time.monotonic()))


def _early(host: Host, knocking: list[str]) -> None:
    """Who came before anybody watched: who hits most is looked at once a minute, and first now."""
    lines = [line(bot(number)) for number in range(40, 58) for _ in range(3 + (60 - number) // 3)]
    lines += [line(who) for n, who in enumerate(knocking) for _ in range(6 + 5 * n)]
    write(Path(host.service.logs[0]), *lines)
    host.service.until(lines=len(lines))


def _overture(hosts: list[Host]) -> None:
    """Who comes again and again, as the logs of the last days have it."""
    for host in hosts:
        for back in (4, 3, 2, 1):
            for number in range(0, 5 * back, 3):
                lines = [line(bot(number), ago=back * DAY - 60 - n) for n in range(3)]
                write(Path(host.service.logs[0]), *lines)


def _traffic(random: Random, host: Host, place: int, at: float, number: int) -> int:
    """Write what one host's logs get within a tick; return the number of the next bot."""
    logs = [Path(log) for log in host.service.logs]
    many = int(16 + 8 * math.sin(at * 12 + place) + random.random() * 3)
    for weight, log in enumerate(logs, 1):
        readers = random.choices(READERS, k=max(1, many // weight))
        write(log, *[_visit(random, who) for who in readers])
    wave = max(0.0, math.sin(at * 9 - place)) * 0.25
    while random.random() < wave:
        number += 1
        who = bot(random.choice((number, random.randrange(40))))
        path = random.choice(("/xmlrpc.php", "//xmlrpc.php", "/blog/xmlrpc.php"))
        hit = line(who, request=f"POST {path} HTTP/1.1")
        write(random.choice(logs), *[hit] * random.choice((1, 2, 3, 3, 3)))
    if random.random() < 0.04:
        odd = (line("192.168.7.7"), line(ATTACKER4), f'{bot(3)} - - "POST /xmlrpc.php\n')
        write(logs[0], random.choice(odd))
    return number


def _visit(random: Random, who: str) -> str:
    return line(who, request=f"GET {random.choice(PAGES)} HTTP/2.0")


def _pen(network: Street, source: str) -> socket.socket:
    return network.attacker.speak(socket.SOCK_DGRAM, source)


def _knock(random: Random, pens: list[socket.socket], at: float) -> None:
    """Who is banned knocks on; most give up."""
    for pen in pens:
        host = SERVER6 if pen.family == socket.AF_INET6 else SERVER4
        for _ in range(int(random.random() * 6 * (1.3 - at))):
            pen.sendto(b"knock", (host, 80))


def _accidents(host: Host) -> None:
    """The ruleset is flushed; an administrator bans one address and unbans another."""
    host.service.home.run("nft", "delete", "table", "inet", "xmlrpc_blocker_1")
    host.service.run("ban", "198.18.99.1", "--for", "2h")
    host.service.run("unban", bot(3))


# The stage -------------------------------------------------------------------------------------


@contextlib.contextmanager
def stage(directory: Path) -> Iterator[Play]:
    """Three daemons with their past, and a Prometheus that watches them."""
    origins(directory)
    with street() as network, contextlib.ExitStack() as living:
        network.move_in(*KNOCKING[2:])
        hosts = [
            living.enter_context(_host(network, directory, number, logs))
            for number, logs in ((1, ("blog", "shop", "wiki")), (2, ("news",)), (3, ("forum",)))
        ]
        now = time.time()
        past(directory / "past.log", now)
        watching = directory / "prometheus"
        watching.mkdir()
        until = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = ("--until", until, "--log-label", hosts[0].service.logs[0])
        fill(watching, [str(directory / "past.log")], *message, instance=hosts[0].name)
        backdate(hosts[0].service, now - ENFORCED * DAY)
        for host, knocking in zip(hosts, (KNOCKING[:5], KNOCKING[5:], []), strict=True):
            host.service.start()
            _early(host, knocking)
        targets = {host.address: host.name for host in hosts}
        with prometheus(network.server, watching, targets=targets, options=(RETENTION,)) as watcher:
            watcher.until_scraped(len(hosts))
            yield Play(network, hosts, watcher)


@contextlib.contextmanager
def _host(network: Street, directory: Path, number: int, logs: tuple[str, ...]) -> Iterator[Host]:
    place = directory / f"web{number}"
    place.mkdir()
    paths = [place / f"{name}.access.log" for name in logs]
    for path in paths:
        path.touch()
    settings = SETTINGS.format(
        suffix=f"_{number}", number=number, origins=directory,
        top="dry_run = true" if number == 3 else "",
    )  # fmt: skip
    with daemon(network.server, place, settings, paths) as service:
        yield Host(f"web{number}:9947", f"127.0.0.{number}:9947", service)
