"""The states that this process has locked and opened: two while a reload changes the path."""

from blocker.config.schema import Config
from blocker.service.runtime import make_parent
from blocker.store.lock import StateLock
from blocker.store.store import Store

LOCK_PATIENCE = 5.0
"""Seconds that a start waits for the lock of the state: another daemon may be stopping, or an
``unban --all`` running."""


class States:
    """Locks and stores by path; both are kept over reloads that do not change the path."""

    def __init__(self) -> None:
        self._locks: dict[str, StateLock] = {}
        self._stores: dict[str, Store] = {}

    def open(self, config: Config) -> Store:
        """Lock and open the state of a configuration.

        Raises:
            BlockerError: another process holds it, or it can't be opened.
        """
        state = config.state
        make_parent(state)
        if state not in self._locks:
            self._locks[state] = StateLock(state, LOCK_PATIENCE)
        if state not in self._stores:
            self._stores[state] = Store(state)
        self._stores[state].dry = config.dry_run
        return self._stores[state]

    def keep(self, state: str) -> None:
        """Close all states but this one."""
        for path in [path for path in self._locks if path != state]:
            if path in self._stores:
                self._stores.pop(path).close()
            self._locks.pop(path).release()

    def abandon(self) -> None:
        """Leave the stores to a disk that hangs: closing them would wait for it."""
        self._stores.clear()

    def close(self) -> None:
        """Close the stores, and release the locks."""
        for store in self._stores.values():
            store.close()
        for lock in self._locks.values():
            lock.release()
