"""Calls of the store from the event loop: each in a thread, and none waited for too long.

Writes, and reads that have to see them, run in one thread, one after the other.  A second thread
reads beside a commit, a third one looks for damage, which takes seconds in a large database.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from blocker.errors import StoreError
from blocker.store.store import Store
from blocker.threads import Threads

_T = TypeVar("_T")


class StoreCalls:
    """Calls one store in threads.

    Args:
        store: the database.

    Attributes:
        failures: number of calls that failed.
        trouble: returns why the store does not answer, or "".
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writer, self._reader = Threads(1, "store"), Threads(1, "look")
        self._checker = Threads(1, "check")
        self.failures = 0
        self.trouble: Callable[[], str] = str

    async def run(self, call: Callable[..., _T], *args: object, within: float | None = None) -> _T:
        """Run a call of the store in its thread, behind earlier calls.

        Raises:
            StoreError: the call fails, or has not returned within so many seconds.
        """
        return await self._run(self._writer, call, *args, within=within)

    async def look_up(self, call: Callable[..., _T], *args: object, within: float) -> _T:
        """Run a call that reads the store, concurrently with a commit.

        Raises:
            StoreError: the call fails, or has not returned within so many seconds.
        """
        return await self._run(self._reader, call, *args, within=within)

    async def look_for_damage(self) -> str:
        """Read the whole file, concurrently with other calls; return its damage, or "".

        Raises:
            StoreError: it can't be read just now.
        """
        return await self._run(self._checker, self._store.damage, within=None)

    async def _run(
        self, where: Threads, call: Callable[..., _T], *args: object, within: float | None
    ) -> _T:
        calling = asyncio.get_running_loop().run_in_executor(where, call, *args)
        try:
            async with asyncio.timeout(within):
                return await calling
        except StoreError:
            self.failures += 1
            raise
        except TimeoutError:
            raise StoreError(
                self.trouble() or f"{self._store.path}: no answer within {within} s"
            ) from None

    def start(self, call: Callable[..., _T], *args: object) -> "asyncio.Future[_T]":
        """Start a call behind earlier calls, without waiting for it."""
        return asyncio.get_running_loop().run_in_executor(self._writer, call, *args)

    def close(self) -> None:
        """Accept no more calls; those under way finish."""
        for threads in (self._writer, self._reader, self._checker):
            threads.shutdown()
