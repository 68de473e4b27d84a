"""The figures of a running engine, by the names of the catalogue: the truth, read when asked.

Nothing here walks over all addresses, asks the kernel or touches the disk, but for the size of
each followed log: a scrape costs the loop the same with a million tracked addresses as with none.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from blocker import __version__
from blocker.catalogue import ALL, CATALOGUE, IGNORED, OFFENCES, Fold
from blocker.config import Config
from blocker.engine import Engine
from blocker.escape import printable
from blocker.firewall import OPERATIONS, Drops, Sender
from blocker.judge import DAY
from blocker.logs import told
from blocker.model import SECOND, format_subject
from blocker.origins import Origins
from blocker.tail import Standing, Tails

Samples: TypeAlias = Mapping[tuple[str, ...], float]
"""Values of one metric by the values of its labels, in the catalogue's order."""

Snapshot: TypeAlias = Mapping[str, Samples]
"""By the catalogue's name.  What is not there is not known, or not to be had."""

_LOG_COUNTERS = {
    "log_lines": "lines",
    "parse_failures": "unparsed",
    "oversize_lines": "oversize",
    "hits": "hits",
}
"""What the store calls what the catalogue names otherwise: released names stay as they are."""

_FAMILIES = ("ipv4", "ipv6")
_COUNTRY = "country:"
_FOLDS: dict[Fold, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


class Clients(Protocol):
    """What a listener counts of its clients."""

    @property
    def refused(self) -> int:
        """How many were too silent, or sent no request."""

    @property
    def evicted(self) -> int:
        """How many idle ones were closed to make room."""


class Situation(Protocol):
    """What only the life that is lived knows."""

    @property
    def tails(self) -> Tails | None:
        """The followed logs, once there are any."""

    @property
    def control(self) -> Clients:
        """The socket of the command line."""

    @property
    def metrics_server(self) -> Clients:
        """The listener for scrapes."""

    @property
    def catching_up(self) -> bool:
        """Whether the backlog of the start is still being read."""

    @property
    def drops(self) -> Drops | None:
        """What the kernel counted last."""

    @property
    def senders(self) -> Sequence[Sender]:
        """What the kernel counted last of the top offenders."""

    @property
    def reload_failed(self) -> bool:
        """Whether the last reload was refused."""

    @property
    def metrics_refusal(self) -> str:
        """Why nobody can ask for metrics, or nothing."""

    @property
    def log_errors(self) -> Mapping[str, str]:
        """What is wrong with the logs, by path."""

    @property
    def origins(self) -> Origins:
        """Where addresses are from."""

    @property
    def clock_steps(self) -> int:
        """How often the clock was set."""

    @property
    def loop_lag(self) -> float:
        """Largest delay of the loop in the last minute, seconds."""


class Figures:
    """Reads one engine.

    Args:
        config: of this life.
        engine: who is asked.
        situation: what the engine does not know.
        clock: returns microseconds since the epoch.

    Attributes:
        born: when the configuration was read, microseconds.
    """

    def __init__(
        self, config: Config, engine: Engine, situation: Situation, clock: Callable[[], int]
    ) -> None:
        self._config, self._engine, self._situation = config, engine, situation
        self._clock = clock
        self.born = clock()

    def snapshot(self) -> Snapshot:
        """Return how everything stands."""
        logs = self._logs()
        if not self._config.metrics.per_log:
            logs = {name: _folded(samples, CATALOGUE[name].fold) for name, samples in logs.items()}
        return {
            **logs,
            **self._judgement(),
            **self._offenders(),
            **self._enforcement(),
            **self._configuration(),
            **self._daemon(),
        }

    def standings(self) -> list[Standing]:
        """Return how each log stands."""
        tails = self._situation.tails
        return tails.standings() if tails is not None else []

    # The pipeline --------------------------------------------------------------------------------

    def _logs(self) -> dict[str, dict[tuple[str, ...], float]]:
        counters, latest = self._engine.counters, self._engine.latest
        standings = self.standings()
        paths = [each.path for each in standings]
        # Those of logs that are gone go on, so that no sum over all logs goes backwards.
        counted = dict.fromkeys([*paths, *(log for log, _ in counters if log)])
        found: dict[str, dict[tuple[str, ...], float]] = {
            name: {(path,): counters[path, stored] for path in counted}
            for name, stored in _LOG_COUNTERS.items()
        }
        found["requests"] = {
            (path,): counters[path, "lines"] - counters[path, "unparsed"] for path in counted
        }
        found["ignored_hits"] = {
            (path, reason): counters[path, stored]
            for path in counted
            for reason, stored in IGNORED.items()
        }
        found["log_up"] = {(each.path,): each.up for each in standings}
        found["log_lag_bytes"] = {(each.path,): each.lag_bytes for each in standings}
        found["log_lag_seconds"] = {(each.path,): each.lag_seconds for each in standings}
        found["log_last_line_timestamp_seconds"] = {
            (each.path,): each.last_line for each in standings
        }
        found["log_last_hit_timestamp_seconds"] = {(path,): latest(path) / SECOND for path in paths}
        found["log_rotations"] = {
            (each.path, kind): count
            for each in standings
            for kind, count in (("rename", each.rotations), ("truncate", each.truncations))
        }
        return {
            name: {(printable(path), *rest): value for (path, *rest), value in samples.items()}
            for name, samples in found.items()
        }

    # Judgement -----------------------------------------------------------------------------------

    def _judgement(self) -> dict[str, Samples]:
        engine, counters = self._engine, self._engine.counters
        judge = engine.judge
        origins = dict.fromkeys(self._config.traps, "log") | {"manual": "manual"}
        reasons = dict.fromkeys([*engine.enforcer.friends.reasons, *judge.friend_hits])
        return {
            "friend_hits": {(reason,): counters["", f"friends:{reason}"] for reason in reasons},
            "bans": {
                (trap, origin): counters["", f"bans:{trap}"] for trap, origin in origins.items()
            },
            "offences": {(each,): counters["", f"offence:{each}"] for each in OFFENCES},
            "repeat_offenders": _only(engine.repeat_offenders),
            "offenders": _only(judge.offenders),
            "remembered_bans": _only(judge.remembered),
            "remembered_bans_limit": _only(self._config.max_remembered),
            "evicted_bans": _only(judge.tally.evicted_bans),
            "renewals": _only(counters["", "renewals"]),
            "unbans": _only(counters["", "unbans"]),
            "bans_unstored": _only(counters["", "bans_unstored"]),
            "tracked_addresses": _only(judge.tracked),
            "tracked_addresses_limit": _only(self._config.max_tracked),
            "evicted_windows": _only(judge.tally.evicted),
            "hits_ahead": _only(judge.tally.ahead),
            "unreached_bans": _only(counters["", "unreached"]),
            "friends_not_banned": _only(engine.enforcer.refused_friends),
        }

    def _offenders(self) -> dict[str, Samples]:
        engine, origins, now = self._engine, self._situation.origins, self._clock()
        prefix = self._config.ipv6_prefix
        listed = engine.offenders.foremost(now, engine.may_be_banned)
        names = {who: format_subject(who, prefix) for who in listed}
        found: dict[str, Samples] = {
            "top_offender_hits": {
                (names[who], *origins.of(who)): hits for who, hits in listed.items()
            },
            "top_offender_bans": {
                (names[who],): engine.judge.bans_since(who, now - DAY) for who in listed
            },
            "top_offender_dropped_packets": {
                (names[each.subject],): each.packets
                for each in self._situation.senders
                if each.subject in names
            },
            "origins_database_build_timestamp_seconds": {
                (name,): built for name, built in origins.built.items()
            },
        }
        if origins.knows_countries:
            found["bans_by_country"] = {
                (name.removeprefix(_COUNTRY),): count
                for (_, name), count in engine.counters.items()
                if name.startswith(_COUNTRY)
            }
        return {name: samples for name, samples in found.items() if samples}

    # Enforcement ---------------------------------------------------------------------------------

    def _enforcement(self) -> dict[str, Samples]:
        engine, enforcer = self._engine, self._engine.enforcer
        since = engine.counters["", "enforcing_since"] if enforcer.enforcing else 0
        found: dict[str, Samples] = {
            "active_bans": _by_family(*engine.active.count(self._clock())),
            "set_size_limit": _by_family(*[self._config.firewall.set_size] * 2),
            "set_drift_elements": _by_family(*enforcer.drift),
            "waiting_bans": _only(len(enforcer.waiting)),
            "given_up_bans": _only(enforcer.given_up),
            "ruleset_present": _only(enforcer.enforcing and not enforcer.unprotected_since),
            "ruleset_rebuilds": _only(enforcer.rebuilds),
            "ruleset_unprotected_seconds": _only(enforcer.unprotected_time / SECOND),
            "enforcing": _only(enforcer.enforcing),
            "enforcing_since_timestamp_seconds": _only(since / SECOND),
        }
        drops = self._situation.drops
        if drops is not None:
            found["dropped_packets"] = _by_family(drops.packets4, drops.packets6)
            found["dropped_bytes"] = _by_family(drops.bytes4, drops.bytes6)
        firewall = enforcer.firewall
        if firewall is not None:
            found["nft_operations"] = {(each,): firewall.operations[each] for each in OPERATIONS}
            found["nft_failures"] = {(each,): firewall.failures[each] for each in OPERATIONS}
        return found

    # The daemon ----------------------------------------------------------------------------------

    def _configuration(self) -> dict[str, Samples]:
        traps = self._config.traps.items()
        return {
            "config_last_reload_successful": _only(not self._situation.reload_failed),
            "config_last_reload_success_timestamp_seconds": _only(self.born / SECOND),
            "config_maxretry": {(name,): trap.maxretry for name, trap in traps},
            "config_findtime_seconds": {(name,): trap.findtime / SECOND for name, trap in traps},
            "config_bantime_seconds": {(name,): trap.bantime / SECOND for name, trap in traps},
        }

    def _daemon(self) -> dict[str, Samples]:
        engine, situation = self._engine, self._situation
        tails = situation.tails
        return {
            "build": {(__version__, platform.python_version()): 1},
            "logs_over_limit": _only(tails.over_limit if tails is not None else 0),
            "log_directories_slow": _only(len(tails.rounds.aside.seconds()) if tails else 0),
            "log_directories_left_out": _only(
                sum(each.left_out for each in tails.seen) if tails else 0
            ),
            "log_looks_cut_short": _only(tails.rounds.cut_short if tails else 0),
            "inotify_overflows": _only(tails.overflows if tails is not None else 0),
            "store_writable": _only(not engine.committer.trouble),
            "store_failures": _only(engine.committer.failures),
            "catching_up": _only(situation.catching_up),
            "clock_steps": _only(situation.clock_steps),
            "control_refused": _only(situation.control.refused),
            "control_evicted": _only(situation.control.evicted),
            "metrics_refused": _only(situation.metrics_server.refused),
            "metrics_evicted": _only(situation.metrics_server.evicted),
            "event_loop_lag_seconds": _only(situation.loop_lag),
            "log_messages": {(level,): told[level] for level in ("warning", "error")},
            "log_messages_dropped": _only(told["dropped"]),
        }


def _only(value: float) -> Samples:
    return {(): value}


def _by_family(ipv4: float, ipv6: float) -> Samples:
    return dict(zip(((family,) for family in _FAMILIES), (ipv4, ipv6), strict=True))


def _folded(samples: Mapping[tuple[str, ...], float], fold: Fold) -> dict[tuple[str, ...], float]:
    """Put the values of all logs together; other labels stay apart."""
    values: dict[tuple[str, ...], list[float]] = {}
    for (_, *others), value in samples.items():
        values.setdefault((ALL, *others), []).append(value)
    return {labels: _FOLDS[fold](each) for labels, each in values.items()}
