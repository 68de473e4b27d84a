"""The values of all metrics, by their names in the catalogue, read when they are asked for.

Nothing here iterates over all addresses, queries the kernel or reads the disk, except for the size
of each followed log: a scrape costs the same with a million tracked addresses as with none.
"""

import platform
from collections.abc import Callable, Mapping

from blocker import __version__
from blocker.addresses import format_subject
from blocker.escape import printable
from blocker.firewall.facts import OPERATIONS
from blocker.model import MANUAL
from blocker.service.health import Health
from blocker.service.parts import RuntimeParts
from blocker.sources.inbox import REASONS
from blocker.sources.schemes import LIVE, scheme_of
from blocker.store.counter_names import (
    BANS_BY_COUNTRY,
    BANS_BY_OFFENCE,
    BANS_BY_TRAP,
    BANS_UNSTORED,
    ENFORCING_SINCE,
    EVENT_NAMES,
    EVENTS_BY_NAME,
    FAILURES_BY_NAME,
    HITS,
    HITS_BY_FRIEND,
    IGNORED,
    LINES,
    NO_LOG,
    OFFENCES,
    OVERSIZE,
    RENEWALS,
    UNBANS,
    UNPARSED,
    UNREACHED,
)
from blocker.telemetry.catalogue import ALL, CATALOGUE, Fold, Samples, Snapshot
from blocker.telemetry.eventlog import emitted
from blocker.times import DAY, SECOND

_LOG_COUNTERS = {
    "log_lines": LINES,
    "parse_failures": UNPARSED,
    "oversize_lines": OVERSIZE,
    "hits": HITS,
}
"""Stored names of counters that the catalogue calls differently; released names do not change."""

_FAMILIES = ("ipv4", "ipv6")
_FOLDS: dict[Fold, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


class SnapshotReader:
    """Reads the values of all metrics of one runtime.

    Args:
        parts: the parts of the runtime.
        health: what is wrong at the moment.
    """

    def __init__(self, parts: RuntimeParts, health: Health) -> None:
        self._parts, self._health = parts, health
        self._config, self._engine, self._clock = parts.config, parts.engine, parts.clock

    def snapshot(self) -> Snapshot:
        """Return the current values."""
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

    # The pipeline --------------------------------------------------------------------------------

    def _logs(self) -> dict[str, dict[tuple[str, ...], float]]:
        counters, latest = self._engine.ledger.counters, self._engine.logs.latest
        statuses = self._parts.log_statuses()
        paths = [each.path for each in statuses]
        # Counters of deleted logs are exported too, so that no sum over all logs decreases.
        counted = dict.fromkeys([*paths, *(log for log, _ in counters if log)])
        found: dict[str, dict[tuple[str, ...], float]] = {
            name: {(path,): counters[path, stored] for path in counted}
            for name, stored in _LOG_COUNTERS.items()
        }
        found["requests"] = {
            (path,): counters[path, LINES] - counters[path, UNPARSED] for path in counted
        }
        found["ignored_hits"] = {
            (path, reason): counters[path, stored]
            for path in counted
            for reason, stored in IGNORED.items()
        }
        found["log_up"] = {(each.path,): each.up for each in statuses}
        found["log_lag_bytes"] = {(each.path,): each.lag_bytes for each in statuses}
        found["log_lag_seconds"] = {(each.path,): each.lag_seconds for each in statuses}
        found["log_last_line_timestamp_seconds"] = {
            (each.path,): each.last_line for each in statuses
        }
        found["log_last_hit_timestamp_seconds"] = {(path,): latest(path) / SECOND for path in paths}
        found["log_rotations"] = {
            (each.path, kind): count
            for each in statuses
            for kind, count in (("rename", each.rotations), ("truncate", each.truncations))
        }
        found["source_lost"] = {
            (each.path, reason): each.lost.get(reason, 0)
            for each in statuses
            if scheme_of(each.path) in LIVE
            for reason in REASONS
        }
        return {
            name: {(printable(path), *rest): value for (path, *rest), value in samples.items()}
            for name, samples in found.items()
        }

    # Judgement -----------------------------------------------------------------------------------

    def _judgement(self) -> dict[str, Samples]:
        engine, counters = self._engine, self._engine.ledger.counters
        judge = engine.judge
        origins = dict.fromkeys(self._config.used_traps, "log") | {MANUAL: "manual"}
        reasons = dict.fromkeys([*engine.enforcer.friends.reasons, *judge.friends.hits])
        return {
            "friend_hits": {(each,): counters[NO_LOG, HITS_BY_FRIEND.of(each)] for each in reasons},
            "bans": {
                (trap, origin): counters[NO_LOG, BANS_BY_TRAP.of(trap)]
                for trap, origin in origins.items()
            },
            "offences": {(each,): counters[NO_LOG, BANS_BY_OFFENCE.of(each)] for each in OFFENCES},
            "repeat_offenders": _only(engine.bans.repeat_offenders),
            "offenders": _only(judge.bans.offenders),
            "remembered_bans": _only(judge.bans.total),
            "remembered_bans_limit": _only(self._config.max_remembered),
            "evicted_bans": _only(judge.bans.evicted),
            "renewals": _only(counters[NO_LOG, RENEWALS]),
            "unbans": _only(counters[NO_LOG, UNBANS]),
            "bans_unstored": _only(counters[NO_LOG, BANS_UNSTORED]),
            "tracked_addresses": _only(len(judge.windows)),
            "tracked_addresses_limit": _only(self._config.max_tracked),
            "evicted_windows": _only(judge.windows.evicted),
            "hits_ahead": _only(judge.ahead),
            "unreached_bans": _only(counters[NO_LOG, UNREACHED]),
            "friends_not_banned": _only(engine.enforcer.refused_friends),
            **self._events(),
        }

    def _events(self) -> dict[str, Samples]:
        if not self._config.events:
            return {}
        counters = self._engine.ledger.counters
        groups = {"events": EVENTS_BY_NAME, "event_failures": FAILURES_BY_NAME}
        return {
            name: {(event,): counters[NO_LOG, group.of(event)] for event in EVENT_NAMES}
            for name, group in groups.items()
        }

    def _offenders(self) -> dict[str, Samples]:
        engine, origins, now = self._engine, self._parts.origins, self._clock()
        prefix = self._config.ipv6_prefix
        listed = engine.offenders.top(now, engine.bans.may_be_banned)
        names = {who: format_subject(who, prefix) for who in listed}
        found: dict[str, Samples] = {
            "top_offender_hits": {
                (names[who], *origins.of(who)): hits for who, hits in listed.items()
            },
            "top_offender_bans": {
                (names[who],): engine.judge.bans.count_since(who, now - DAY) for who in listed
            },
            "top_offender_dropped_packets": {
                (names[each.subject],): each.packets
                for each in self._health.senders
                if each.subject in names
            },
            "origins_database_build_timestamp_seconds": {
                (name,): built for name, built in origins.built.items()
            },
        }
        if origins.knows_countries:
            found["bans_by_country"] = {
                (country,): count
                for (_, name), count in engine.ledger.counters.items()
                if (country := BANS_BY_COUNTRY.label(name)) is not None
            }
        return {name: samples for name, samples in found.items() if samples}

    # Enforcement ---------------------------------------------------------------------------------

    def _enforcement(self) -> dict[str, Samples]:
        engine, enforcer = self._engine, self._engine.enforcer
        since = engine.ledger.counters[NO_LOG, ENFORCING_SINCE] if enforcer.enforcing else 0
        found: dict[str, Samples] = {
            "active_bans": _by_family(*engine.bans.active.count(self._clock())),
            "set_size_limit": _by_family(*[self._config.firewall.set_size] * 2),
            "set_drift_elements": _by_family(*enforcer.drift),
            "waiting_bans": _only(len(enforcer.waiting)),
            "given_up_bans": _only(enforcer.given_up),
            "ruleset_present": _only(enforcer.enforcing and not enforcer.outages.since),
            "ruleset_rebuilds": _only(enforcer.outages.rebuilds),
            "ruleset_unprotected_seconds": _only(enforcer.outages.total / SECOND),
            "enforcing": _only(enforcer.enforcing),
            "enforcing_since_timestamp_seconds": _only(since / SECOND),
        }
        drops = self._health.drops
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
        traps = self._config.used_traps.items()
        return {
            "config_last_reload_successful": _only(not self._health.reload_error),
            "config_last_reload_success_timestamp_seconds": _only(self._parts.since / SECOND),
            "config_maxretry": {(name,): trap.maxretry for name, trap in traps},
            "config_findtime_seconds": {(name,): trap.findtime / SECOND for name, trap in traps},
            "config_bantime_seconds": {(name,): trap.bantime / SECOND for name, trap in traps},
        }

    def _daemon(self) -> dict[str, Samples]:
        engine, parts, health = self._engine, self._parts, self._health
        tailer = parts.tailer
        return {
            "build": {(__version__, platform.python_version()): 1},
            "logs_over_limit": _only(tailer.over_limit if tailer is not None else 0),
            "log_directories_slow": _only(len(tailer.rounds.aside.seconds()) if tailer else 0),
            "log_directories_left_out": _only(
                sum(each.left_out for each in tailer.seen) if tailer else 0
            ),
            "log_looks_cut_short": _only(tailer.rounds.cut_short if tailer else 0),
            "inotify_overflows": _only(tailer.watches.overflows if tailer is not None else 0),
            "store_writable": _only(not engine.committer.trouble),
            "store_failures": _only(engine.committer.failures),
            "catching_up": _only(health.catching_up),
            "clock_steps": _only(health.clock_steps),
            "control_refused": _only(parts.control_clients.refused),
            "control_evicted": _only(parts.control_clients.evicted),
            "metrics_refused": _only(parts.metrics_clients.refused),
            "metrics_evicted": _only(parts.metrics_clients.evicted),
            "event_loop_lag_seconds": _only(health.loop_lag),
            "log_messages": {(level,): emitted[level] for level in ("warning", "error")},
            "log_messages_dropped": _only(emitted["dropped"]),
        }


def _only(value: float) -> Samples:
    return {(): value}


def _by_family(ipv4: float, ipv6: float) -> Samples:
    return dict(zip(((family,) for family in _FAMILIES), (ipv4, ipv6), strict=True))


def _folded(samples: Mapping[tuple[str, ...], float], fold: Fold) -> dict[tuple[str, ...], float]:
    """Aggregate the values of all logs; other labels stay separate."""
    values: dict[tuple[str, ...], list[float]] = {}
    for (_, *others), value in samples.items():
        values.setdefault((ALL, *others), []).append(value)
    return {labels: _FOLDS[fold](each) for labels, each in values.items()}
