"""Keeps what strangers make grow below a ceiling: remembered bans, and counters of logs.

The judge decides whose bans are evicted, from memory, at once.  The store is swept afterwards, for
whatever ended ban of it the judge does not remember: so rows are deleted too that an eviction left
behind because the disk refused, or the daemon was killed.  A ban that stands is never evicted, nor
is its row deleted.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from blocker.catalogue import GONE
from blocker.judge import Judge
from blocker.store import Store

MAX_GONE = 64
"""Logs that are followed no longer and keep counters of their own; of more all are put together."""


class Ceiling:
    """Watches how many bans are remembered.

    Args:
        judge: remembers them.
        store: has them, too.
        write: runs a call of the store in its thread.
        lock: held by whoever exchanges what the judge remembers.

    Attributes:
        reached: set when there is something to evict, or to sweep.
    """

    def __init__(
        self,
        judge: Judge,
        store: Store,
        write: Callable[..., Awaitable[Any]],
        lock: asyncio.Lock,
    ) -> None:
        self._judge, self._store, self._write, self._lock = judge, store, write, lock
        self.reached = asyncio.Event()

    def look(self) -> None:
        """Notice that the ceiling is reached."""
        if self._judge.full:
            self.reached.set()

    async def evict(self, now: int) -> int:
        """Evict from memory, if it is full; return how many repeat offenders that were."""
        evicted = 0
        if self._judge.full:
            for repeat_offenders in self._judge.evict(now):
                evicted += repeat_offenders
                await asyncio.sleep(0)
        return evicted

    async def sweep(self, now: int) -> None:
        """Delete ended bans from the store that are not remembered.

        Raises:
            StoreError: they can't be deleted; the next sweep does it.
        """
        after = 0
        while page := await self._write(self._store.ended, now, after):
            after = page[-1][0]
            async with self._lock:
                gone = [row for row, subject in page if not self._judge.bans_of(subject)]
            if gone:
                await self._write(self._store.delete_bans, gone)
        await self.give_back()

    async def give_back(self) -> None:
        """Give free space of the store back to the disk, a little at a time."""
        more = True
        while more:
            more = await self._write(self._store.give_back)


def fold_gone(counters: Counter[tuple[str, str]], followed: Iterable[str]) -> set[str]:
    """Add the counters of logs that are gone to those of one, if those logs are many.

    Returns:
        the logs whose counters these were.
    """
    gone = {log for log, _ in counters} - {"", GONE, *followed}
    if len(gone) <= MAX_GONE:
        return set()
    for log, name in [key for key in counters if key[0] in gone]:
        counters[GONE, name] += counters.pop((log, name))
    return gone
