"""Warnings about a valid configuration.  Pure."""

from ipaddress import ip_address

from blocker import times
from blocker.config.schema import Config, MetricsConfig, TrapConfig
from blocker.model import ACCESS
from blocker.sources.schemes import REPORTS, UNIX, scheme_of


def warnings(config: Config) -> list[str]:
    """Return one sentence for each setting that is valid but deserves a warning."""
    words = [text for applies, text in _doubts(config) if applies]
    for name, trap in config.traps.items():
        words += [f"trap.{name}: {text}" for applies, text in _trap_doubts(trap) if applies]
    return words


STRICT = 30
"""A trap of requests with a smaller ``maxretry`` bans users of mobile apps."""


def offers(config: Config) -> list[str]:
    """Return one sentence for each setting that could be better now, and is no mistake."""
    strict = [
        name
        for name, trap in config.traps.items()
        if trap.kind == ACCESS and trap.path == "/xmlrpc.php" and trap.maxretry < STRICT
    ]
    return [
        f"trap.{name}: WordPress reports its failures, so this trap can be a gate against floods"
        " that bans no user of a mobile app: consider maxretry = 300 (docs/wordpress.md)."
        for name in strict
        if config.events
    ]


def _doubts(config: Config) -> list[tuple[bool, str]]:
    everyone = {"0.0.0.0/0", "::/0"} & set(config.allow)
    sockets = [each for each in config.events if scheme_of(each) == UNIX]
    return [
        (config.dry_run, "dry_run: bans are judged and reported, but no address is blocked."),
        (
            config.firewall.ports == "all",
            'firewall.ports = "all": a banned address reaches no port of this host, not even SSH.',
        ),
        (
            config.ban_private,
            "ban_private: your own network, containers and a private proxy can be banned.",
        ),
        (
            config.ban_proxies,
            "ban_proxies: a ban of a CDN or proxy blocks all clients that come through it.",
        ),
        (
            _is_open(config.metrics) and not config.metrics.web_config,
            "metrics.listen: open to all who reach this host; ask for a password by web_config.",
        ),
        (
            bool(everyone),
            f"allow holds {' and '.join(sorted(everyone))}: no address in it is ever banned.",
        ),
        (
            REPORTS in config.events and len(config.events) > len(sockets) + 1,
            (
                f'events: with "{REPORTS}" leave the files of syslog out: they have the same lines'
                " again, so each failure counts twice."
            ),
        ),
    ]


def _is_open(metrics: MetricsConfig) -> bool:
    endpoint = metrics.endpoint
    return isinstance(endpoint, tuple) and not ip_address(endpoint[0]).is_loopback


def _trap_doubts(trap: TrapConfig) -> list[tuple[bool, str]]:
    bantime, ceiling = (
        times.format_duration(trap.bantime),
        times.format_duration(trap.max_bantime),
    )
    one = "request" if trap.kind == ACCESS else "failure"
    return [
        (
            trap.bantime > trap.max_bantime,
            f"bantime {bantime} is longer than max_bantime: bans last {ceiling}.",
        ),
        (
            trap.maxretry == 1,
            f"maxretry = 1: a single {one} is enough, a mistaken one of a visitor too.",
        ),
    ]
