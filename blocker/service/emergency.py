"""``unban --all`` without a daemon: deletes the table, and ends every ban in the store."""

import time
from pathlib import Path
from typing import NamedTuple

from blocker.config.schema import Config
from blocker.errors import StoreError
from blocker.firewall.firewall import delete_table
from blocker.store.store import Store


class Unbanned(NamedTuple):
    """The result.

    Attributes:
        table_deleted: whether the table existed.
        bans: number of bans that were ended in the store.
    """

    table_deleted: bool
    bans: int


def unban_all(config: Config) -> Unbanned:
    """End all bans; only while no daemon is running.

    Raises:
        FirewallError: the kernel refuses.
        StoreError: the database can't be written; the table has been deleted already.
    """
    deleted, bans = delete_table(config.firewall.table), 0
    if Path(config.state).exists():
        try:
            store = Store(config.state)
            bans = store.end_all(time.time_ns() // 1000)
        except StoreError as error:
            raise StoreError(
                f"all bans are lifted (the table {config.firewall.table} is deleted), but the"
                f" daemon restores them at its next start: their end could not be stored: {error}"
            ) from None
        store.close()
    return Unbanned(deleted, bans)
