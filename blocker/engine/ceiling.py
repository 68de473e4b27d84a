"""Limits what attackers can make grow: remembered bans, and counters of logs.

The judge decides which bans are evicted, and evicts them from memory at once.  Afterwards all ended
bans that the judge does not remember are deleted from the store, including those that an earlier
eviction left behind because the disk failed or the daemon was killed.  A standing ban is never
evicted, nor is its row deleted.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from blocker.judging.remembered_bans import RememberedBans
from blocker.store.counter_names import GONE, NO_LOG
from blocker.store.store import Store

MAX_GONE = 64
"""Logs that are no longer followed and keep counters of their own; beyond it they are summed."""


class Ceiling:
    """Evicts remembered bans beyond the limit, from memory and store.

    Args:
        bans: the remembered bans, with their limit.
        store: the database.
        write: runs a call of the store in its thread.
        lock: held while the bans are exchanged.

    Attributes:
        reached: set when there is something to evict, or to sweep.
    """

    def __init__(
        self,
        bans: RememberedBans,
        store: Store,
        write: Callable[..., Awaitable[Any]],
        lock: asyncio.Lock,
    ) -> None:
        self._bans, self._store, self._write, self._lock = bans, store, write, lock
        self.reached = asyncio.Event()

    def look(self) -> None:
        """Set ``reached`` if the bans are at their limit."""
        if self._bans.full:
            self.reached.set()

    async def evict(self, now: int) -> int:
        """Evict from memory, if it is full; return how many repeat offenders were evicted."""
        evicted = 0
        if self._bans.full:
            for repeat_offenders in self._bans.evict(now):
                evicted += repeat_offenders
                await asyncio.sleep(0)
        return evicted

    async def sweep(self, now: int) -> None:
        """Delete ended bans from the store that are not remembered.

        Raises:
            StoreError: they can't be deleted; the next sweep retries.
        """
        after = 0
        while page := await self._write(self._store.ended, now, after):
            after = page[-1][0]
            async with self._lock:
                gone = [row for row, subject in page if not self._bans.count(subject)]
            if gone:
                await self._write(self._store.delete_bans, gone)
        await self.give_back()

    async def give_back(self) -> None:
        """Return free pages of the database to the file system, in small steps."""
        more = True
        while more:
            more = await self._write(self._store.give_back)


def fold_gone(counters: Counter[tuple[str, str]], followed: Iterable[str]) -> set[str]:
    """Sum the counters of logs that are gone under one name, if those are too many.

    Returns:
        the logs whose counters were summed.
    """
    gone = {log for log, _ in counters} - {NO_LOG, GONE, *followed}
    if len(gone) <= MAX_GONE:
        return set()
    for log, name in [key for key in counters if key[0] in gone]:
        counters[GONE, name] += counters.pop((log, name))
    return gone
