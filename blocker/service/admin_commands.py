"""The administrator's commands on the control socket: bans, ban, unban and forget."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from blocker.addresses import format_subject
from blocker.engine.admin import Admin
from blocker.engine.orders import Outcome
from blocker.engine.targets import (
    MAX_SUBJECTS,
    Target,
    requested_length,
    requested_reason,
    requested_row,
    requested_target,
)
from blocker.errors import BlockerError, UsageError
from blocker.model import Subject
from blocker.rows import BanRow, ban_row
from blocker.service.control import Handler
from blocker.service.parts import RuntimeParts
from blocker.store.store import StoredBan
from blocker.times import SECOND, format_time

BANS_VERSION = 1
"""Version of the answer to ``bans``."""

Act: TypeAlias = Callable[[Sequence[Target]], Awaitable[list[Outcome]]]


class ActiveBanRow(BanRow):
    """An active ban; ``left`` is in seconds, ``reason`` is an administrator's or empty."""

    left: int
    enforced: bool
    reason: str


class AdminCommands:
    """Answers requests that list or change bans.

    Args:
        parts: the engine, its configuration and the clock.
    """

    def __init__(self, parts: RuntimeParts) -> None:
        self._config, self._engine, self._clock = parts.config, parts.engine, parts.clock
        self._admin = Admin(parts.engine.parts)

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each command."""
        return {
            "bans": self._bans,
            "ban": self._ban,
            "unban": self._unban,
            "forget": self._forget,
        }

    async def _bans(self, request: Mapping[str, Any]) -> dict[str, Any]:
        rows = await self._admin.standing(requested_row(request.get("after", 0)))
        now = self._clock()
        return {
            "version": BANS_VERSION,
            "bans": [self._active_ban_row(row, now) for row in rows],
            "next": rows[-1].id if rows else None,
        }

    def _active_ban_row(self, row: StoredBan, now: int) -> ActiveBanRow:
        left = max(0, row.ban.until - now) // SECOND
        shown = ban_row(row.ban, self._text)
        blocked = row.applied and self._engine.enforcer.enforcing
        enforced = blocked and self._engine.bans.may_be_banned(row.ban.subject)
        return {**shown, "left": left, "enforced": enforced, "reason": row.reason}

    async def _ban(self, request: Mapping[str, Any]) -> dict[str, Any]:
        asked = request.get("for")
        first = next(iter(self._config.traps.values())).bantime
        length = first if asked is None else requested_length(str(asked))
        reason = requested_reason(request.get("reason"))

        def ban(targets: Sequence[Target]) -> Awaitable[list[Outcome]]:
            return self._admin.ban_targets(targets, length, reason)

        return await self._each(request, ban)

    async def _unban(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request.get("all") is True:
            return {"unbanned": await self._admin.unban_all()}
        return await self._each(request, self._admin.unban_targets)

    async def _forget(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await self._each(request, self._forget_each)

    async def _forget_each(self, targets: Sequence[Target]) -> list[Outcome]:
        outcomes = []
        for name, subjects in targets:
            try:
                if len(subjects) > 1:
                    raise UsageError(f"{name}: forget addresses one by one")
                await self._admin.forget(subjects[0])
            except BlockerError as error:
                outcomes.append(Outcome(name, error=error))
            else:
                outcomes.append(Outcome(name, 1))
        return outcomes

    async def _each(self, request: Mapping[str, Any], act: Act) -> dict[str, Any]:
        """Process one ``address``, or each of the ``addresses`` for which that is possible."""
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
