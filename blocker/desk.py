"""Answers questions about a running engine: its status, and an administrator's commands.

Reads the truth when asked, and keeps no books of its own.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from blocker.config import Config
from blocker.control import Handler
from blocker.engine import Engine
from blocker.errors import BlockerError, UsageError
from blocker.figures import Figures, Situation
from blocker.model import SECOND, Subject, format_subject
from blocker.orders import Outcome
from blocker.report import BanRow, ban_row, counted, format_time
from blocker.store import StoredBan
from blocker.tail import Standing
from blocker.targets import (
    MAX_SUBJECTS,
    Target,
    requested_length,
    requested_reason,
    requested_row,
    requested_target,
)

STATUS_VERSION = 1

Act: TypeAlias = Callable[[Sequence[Target]], Awaitable[list[Outcome]]]


class StandingRow(BanRow):
    """One ban that stands; ``left`` is in seconds, ``reason`` an administrator's or nothing."""

    left: int
    enforced: bool
    reason: str


class Desk:
    """Answers for one engine.

    Args:
        config: of this life.
        engine: who is asked.
        situation: what the engine does not know.
        clock: returns microseconds since the epoch.
    """

    def __init__(
        self, config: Config, engine: Engine, situation: Situation, clock: Callable[[], int]
    ) -> None:
        self._config = config
        self._engine = engine
        self._situation = situation
        self._clock = clock
        self.figures = Figures(config, engine, situation, clock)

    # Status ------------------------------------------------------------------------------------

    def status_line(self) -> str:
        """Return one line, for ``systemctl status``."""
        engine, situation = self._engine, self._situation
        logs = situation.tails.logs if situation.tails is not None else []
        parts = [f"{sum(engine.active.count(self._clock()))} banned"]
        if logs:
            parts.append(counted(len(logs), "log"))
        if situation.catching_up:
            behind = sum(each.behind for each in logs) >> 20
            parts.append(f"catching up, {behind} MiB to read" if logs else "looking for logs")
        if not engine.enforcer.enforcing:
            parts.append("dry run")
        if engine.enforcer.refusal:
            parts.append(f"the kernel refuses: {engine.enforcer.refusal}")
        if engine.committer.trouble:
            parts.append(f"nothing is stored: {engine.committer.trouble}")
        return ", ".join(parts).replace("\n", " ")

    def status(self) -> dict[str, Any]:
        """Return everything of ``xmlrpc-blocker status -o json``."""
        totals: dict[str, int] = {}
        for (_, name), value in self._engine.counters.items():
            totals[name] = totals.get(name, 0) + value
        lines, unparsed = totals.get("lines", 0), totals.get("unparsed", 0)
        hits, blocked = totals.get("hits", 0), totals.get("blocked", 0)
        return {
            "version": STATUS_VERSION,
            "pid": os.getpid(),
            "since": format_time(self.figures.born // SECOND * SECOND),
            "enforcing": self._engine.enforcer.enforcing,
            "state": self.status_line(),
            "lines": lines,
            "requests": lines - unparsed,
            "unparsed": unparsed,
            "friends": totals.get("friends", 0),
            "hits": hits,
            "blocked": blocked,
            "let_through": hits - blocked,
            "bans": sum(value for name, value in totals.items() if name.startswith("bans:")),
            "active_bans": sum(self._engine.active.count(self._clock())),
            "repeat_offenders": self._engine.repeat_offenders,
            "problems": self._problems(),
            "logs": [self._log_row(standing) for standing in self.figures.standings()],
            "metrics": self._config.metrics.listen,
        }

    def _problems(self) -> list[str]:
        """Return what an administrator should look after, a sentence each."""
        engine, situation = self._engine, self._situation
        refusals = [engine.enforcer.refusal, engine.committer.trouble, situation.metrics_refusal]
        now = self._clock()
        unparsed = engine.parsing.troubles(now).items()
        return [
            *(text for text in (*refusals, *situation.log_errors.values()) if text),
            *(trouble.words(path) for path, trouble in unparsed),
            *engine.conditions.texts(now),
        ]

    def _log_row(self, standing: Standing) -> dict[str, Any]:
        latest = self._engine.latest(standing.path) // SECOND * SECOND
        return {
            "path": standing.path,
            "up": standing.up,
            "lag_bytes": standing.lag_bytes,
            "last_event": format_time(latest) if latest else None,
            "unparsed": self._engine.counters[standing.path, "unparsed"],
        }

    # Control -----------------------------------------------------------------------------------

    def handlers(self) -> dict[str, Handler]:
        """Return what the control socket can do, by command."""
        return {
            "status": self._status,
            "bans": self._bans,
            "ban": self._ban,
            "unban": self._unban,
            "forget": self._forget,
        }

    async def _status(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return self.status()

    async def _bans(self, request: Mapping[str, Any]) -> dict[str, Any]:
        rows = await self._engine.standing(requested_row(request.get("after", 0)))
        now = self._clock()
        return {
            "version": STATUS_VERSION,
            "bans": [self._standing_row(row, now) for row in rows],
            "next": rows[-1].id if rows else None,
        }

    def _standing_row(self, row: StoredBan, now: int) -> StandingRow:
        left = max(0, row.ban.until - now) // SECOND
        shown = ban_row(row.ban, self._text)
        blocked = row.applied and self._engine.enforcer.enforcing
        enforced = blocked and self._engine.may_be_banned(row.ban.subject)
        return {**shown, "left": left, "enforced": enforced, "reason": row.reason}

    async def _ban(self, request: Mapping[str, Any]) -> dict[str, Any]:
        asked = request.get("for")
        first = next(iter(self._config.traps.values())).bantime
        length = first if asked is None else requested_length(str(asked))
        reason = requested_reason(request.get("reason"))

        def ban(targets: Sequence[Target]) -> Awaitable[list[Outcome]]:
            return self._engine.ban_targets(targets, length, reason)

        return await self._each(request, ban)

    async def _unban(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request.get("all") is True:
            return {"unbanned": await self._engine.unban_all()}
        return await self._each(request, self._engine.unban_targets)

    async def _forget(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await self._each(request, self._forget_each)

    async def _forget_each(self, targets: Sequence[Target]) -> list[Outcome]:
        outcomes = []
        for name, subjects in targets:
            try:
                if len(subjects) > 1:
                    raise UsageError(f"{name}: name what is to be forgotten one by one")
                await self._engine.forget(subjects[0])
            except BlockerError as error:
                outcomes.append(Outcome(name, error=error))
            else:
                outcomes.append(Outcome(name, 1))
        return outcomes

    async def _each(self, request: Mapping[str, Any], act: Act) -> dict[str, Any]:
        """Act on one ``address``, or on each of the ``addresses`` as far as that can be done."""
        if "addresses" not in request:
            (outcome,) = await act([self._target(str(request.get("address", "")))])
            if outcome.error is not None:
                raise outcome.error
            return self._outcome_row(outcome)
        texts = request["addresses"]
        if not isinstance(texts, list):
            raise UsageError("addresses: expected a list of addresses and networks")
        rows: list[dict[str, Any]] = []
        batch: list[tuple[str, Target]] = []
        for text in map(str, texts):
            try:
                target = self._target(text)
            except UsageError as error:
                rows.append(_refused_row(text, error))
                continue
            if sum(len(each.subjects) for _, each in batch) + len(target.subjects) > MAX_SUBJECTS:
                rows += await self._act_on(batch, act)
                batch = []
            batch.append((text, target))
        return {"results": rows + await self._act_on(batch, act)}

    async def _act_on(self, batch: Sequence[tuple[str, Target]], act: Act) -> list[dict[str, Any]]:
        try:
            outcomes = await act([target for _, target in batch])
        except BlockerError as error:
            return [_refused_row(text, error) for text, _ in batch]
        return [
            {"asked": text, **self._outcome_row(outcome)}
            if outcome.error is None
            else _refused_row(text, outcome.error)
            for (text, _), outcome in zip(batch, outcomes, strict=True)
        ]

    def _outcome_row(self, outcome: Outcome) -> dict[str, Any]:
        row: dict[str, Any] = {"address": outcome.name, "changed": outcome.changed}
        if outcome.until:
            row["until"] = format_time(outcome.until)
        if outcome.friends:
            row["friends"] = outcome.friends
        return row

    def _target(self, text: str) -> Target:
        return requested_target(text, self._config.ipv6_prefix)

    def _text(self, subject: Subject) -> str:
        return format_subject(subject, self._config.ipv6_prefix)


def _refused_row(text: str, error: BlockerError) -> dict[str, Any]:
    return {"asked": text, "code": error.exit_code, "error": str(error)}
