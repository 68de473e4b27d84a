"""Restores bans, windows and counters from the store, at a start and after the clock was set."""

from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from blocker.engine.ledger import COMMAND_PATIENCE
from blocker.engine.parts import Parts
from blocker.errors import StoreError
from blocker.model import Subject
from blocker.store.records import Checkpoint
from blocker.times import DAY


class Restored(NamedTuple):
    """What the store holds for the start of the logs.

    Attributes:
        checkpoints: how far each log has been judged.
        clock_in_doubt: whether the last commit is more than a day from the clock's time.
    """

    checkpoints: list[Checkpoint]
    clock_in_doubt: bool


async def restore(parts: Parts, traps: Iterable[str], remember: int) -> Restored:
    """Restore the stored state, before anything is judged.

    Args:
        parts: without bans yet.
        traps: names of the traps, in the order of their index.
        remember: how long ended bans are remembered, microseconds.

    Raises:
        StoreError: it can't be read.
    """
    store, ask, now, names = parts.store, parts.calls.run, parts.clock(), list(traps)
    await _mend(parts)
    parts.bans.now_friends += await ask(store.mask, parts.ipv6_prefix, now)
    await ask(store.set_traps, names)
    last = await ask(store.last_commit)
    await _restore_bans(parts, remember, now)
    # After the bans: adding a ban clears the window, and stored windows are later than bans.
    windows = store.windows(names)
    while pending := await ask(next, windows, None):
        for subject, window in pending:
            parts.judge.windows.restore(subject, window)
    await parts.bans.recount(now)
    await ask(store.note_enforcing, now)
    parts.ledger.counters.update(await ask(store.counters))
    if parts.offenders.limit:
        parts.offenders.restore(await ask(store.offenders))
    else:
        await ask(store.set_offenders, [])
    return Restored(await ask(store.checkpoints), bool(last) and abs(now - last) > DAY)


async def _mend(parts: Parts, within: float | None = None) -> None:
    """Correct or delete rows that can't be read, so that the others can."""
    found = await parts.calls.run(parts.store.mend, within=within)
    if found:
        parts.announcer.mended(parts.store.path, found)


async def _restore_bans(parts: Parts, remember: int, now: int) -> None:
    """Restore the stored bans, except of friends: theirs are removed from the kernel."""
    if await parts.calls.run(parts.store.count_bans) > parts.judge.limits.max_remembered:
        parts.ceiling.reached.set()
    async for rows in _stored_bans(parts, remember, now):
        for subject, start, until in rows:
            if parts.bans.may_be_banned(subject):
                parts.judge.add_ban(subject, start, until)
            elif until > now:
                parts.bans.now_friends.append(subject)
        await parts.ceiling.evict(now)


async def read_back(parts: Parts, remember: int, now: int) -> None:
    """Replace the bans in memory by the stored ones; keep them if the store fails."""
    before = parts.judge.bans.exchange({})
    try:
        await _mend(parts, within=COMMAND_PATIENCE)
        async for rows in _stored_bans(parts, remember, now, within=COMMAND_PATIENCE):
            for subject, start, until in rows:
                if parts.bans.may_be_banned(subject):
                    parts.judge.bans.add(subject, start, until)
    except StoreError:
        parts.judge.bans.exchange(before)


async def _stored_bans(
    parts: Parts, remember: int, now: int, within: float | None = None
) -> AsyncIterator[list[tuple[Subject, int, int]]]:
    """Yield the stored bans that are still remembered, in pages.

    Args:
        parts: with the store.
        remember: how long ended bans are remembered, microseconds.
        now: the clock, microseconds.
        within: seconds that each page may take; None for no limit.

    Raises:
        StoreError: the store fails, or a page does not come in time.
    """
    stored = parts.store.remembered(now - remember, now, parts.judge.limits.max_remembered)
    while rows := await parts.calls.run(next, stored, None, within=within):
        yield rows
