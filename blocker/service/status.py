"""The status of a running engine, as JSON and as one line.

Every value is read from the parts when it is asked for; nothing is counted here.
"""

import os
from collections.abc import Mapping
from typing import Any

from blocker.config.lint import offers
from blocker.escape import printable
from blocker.rows import counted
from blocker.service.control import Handler
from blocker.service.health import Health
from blocker.service.parts import RuntimeParts
from blocker.sources.files.log_status import LogStatus
from blocker.store.counter_names import (
    BANS_BY_TRAP,
    BLOCKED,
    EVENT_NAMES,
    FAILURES_BY_NAME,
    FRIENDS,
    HITS,
    LINES,
    NO_LOG,
    UNPARSED,
)
from blocker.times import SECOND, format_time

STATUS_VERSION = 1
SILENT = 20
"""Hits in access logs without any report of WordPress that make a problem."""


class Status:
    """Reports the status of one runtime.

    Args:
        parts: the parts of the runtime.
        health: what is wrong at the moment.
    """

    def __init__(self, parts: RuntimeParts, health: Health) -> None:
        self._parts, self._health = parts, health
        self._engine, self._clock = parts.engine, parts.clock

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of the command ``status``."""
        return {"status": self._status}

    async def _status(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return self.report()

    def line(self) -> str:
        """Return one line for ``systemctl status``."""
        engine, health = self._engine, self._health
        tailer = self._parts.tailer
        logs = tailer.generations if tailer is not None else []
        parts = [f"{sum(engine.bans.active.count(self._clock()))} banned"]
        others = sum(each.up for each in self._parts.other_statuses())
        if logs or others:
            parts.append(counted(len(logs) + others, "log"))
        if health.catching_up:
            behind = sum(each.behind for each in logs) >> 20
            parts.append(
                f"catching up, {behind} MiB to read" if logs or others else "looking for logs"
            )
        if not engine.enforcer.enforcing:
            parts.append("dry run")
        if engine.enforcer.last_error:
            parts.append(f"the kernel refuses: {engine.enforcer.last_error}")
        if engine.committer.trouble:
            parts.append(f"nothing is stored: {engine.committer.trouble}")
        return ", ".join(parts).replace("\n", " ")

    def report(self) -> dict[str, Any]:
        """Return the output of ``xmlrpc-blocker status -o json``."""
        totals: dict[str, int] = {}
        for (_, name), value in self._engine.ledger.counters.items():
            totals[name] = totals.get(name, 0) + value
        lines, unparsed = totals.get(LINES, 0), totals.get(UNPARSED, 0)
        hits, blocked = totals.get(HITS, 0), totals.get(BLOCKED, 0)
        report: dict[str, Any] = {
            "version": STATUS_VERSION,
            "pid": os.getpid(),
            "since": format_time(self._parts.since // SECOND * SECOND),
            "enforcing": self._engine.enforcer.enforcing,
            "state": self.line(),
            "lines": lines,
            "requests": lines - unparsed,
            "unparsed": unparsed,
            "friends": totals.get(FRIENDS, 0),
            "hits": hits,
            "blocked": blocked,
            "let_through": hits - blocked,
            "bans": sum(n for name, n in totals.items() if BANS_BY_TRAP.label(name) is not None),
            "active_bans": sum(self._engine.bans.active.count(self._clock())),
            "repeat_offenders": self._engine.bans.repeat_offenders,
            "problems": self._problems(),
            "logs": [self._log_row(status) for status in self._parts.log_statuses()],
            "metrics": self._parts.config.metrics.listen,
        }
        if self._parts.config.events:
            report["events"] = self._event_counts()
            report["notes"] = offers(self._parts.config) if any(report["events"].values()) else []
        return report

    def _event_counts(self) -> dict[str, int]:
        """Return how many failures WordPress reported, by the name of the event."""
        counters = self._engine.ledger.counters
        names = ((name, FAILURES_BY_NAME.of(name)) for name in EVENT_NAMES)
        return {name: counters[NO_LOG, stored] for name, stored in names}

    def _problems(self) -> list[str]:
        """Return a sentence for each thing that an administrator should look at."""
        engine, health = self._engine, self._health
        refusals = [engine.enforcer.last_error, engine.committer.trouble, *health.errors()]
        now = self._clock()
        unparsed = engine.logs.parsing.troubles(now).items()
        return [
            *(text for text in (*refusals, *health.log_errors.values()) if text),
            *(trouble.words(path) for path, trouble in unparsed),
            *engine.announcer.conditions.texts(now),
            *self._silence(),
        ]

    def _silence(self) -> list[str]:
        """Return a sentence if WordPress reports nothing although it is attacked."""
        config = self._parts.config
        if not config.events or any(self._event_counts().values()):
            return []
        counters = self._engine.ledger.counters.items()
        hits = sum(count for (_, name), count in counters if name == HITS)
        if hits - self._health.hits_at_start < SILENT:
            return []
        names = " or ".join(map(printable, config.events))
        text = (
            f"events: nothing has arrived by {names}, although the access logs have hits: is the"
            " plugin installed, and does PHP reach syslog? See docs/wordpress.md, See it work"
        )
        return [text]

    def _log_row(self, status: LogStatus) -> dict[str, Any]:
        latest = self._engine.logs.latest(status.path) // SECOND * SECOND
        return {
            "path": status.path,
            "up": status.up,
            "lag_bytes": status.lag_bytes,
            "last_event": format_time(latest) if latest else None,
            "unparsed": self._engine.ledger.counters[status.path, UNPARSED],
        }
