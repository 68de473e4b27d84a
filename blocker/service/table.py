"""Opens the table of this configuration, and takes down one that blocks no longer."""

import errno

from blocker.errors import BlockerError, FirewallError
from blocker.firewall.firewall import Firewall, delete_own_table
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit

OPEN_ATTEMPTS = 5
"""Attempts to open a firewall whose table another program deletes at the same time."""


async def open_firewall(firewall: Firewall) -> None:
    """Open a firewall; try again if another program deletes the table at the same time.

    Raises:
        FirewallError: the kernel refuses, or the table was deleted at each attempt.
    """
    for _ in range(OPEN_ATTEMPTS - 1):
        try:
            await firewall.open()
        except FirewallError as error:
            if error.errno != errno.ENOENT:
                raise
            emit(events.TABLE_TAKEN)
        else:
            return
    await firewall.open()


def take_down(table: str) -> None:
    """Delete a table of ours and log it; if it is not ours, or that is refused, log why."""
    try:
        if delete_own_table(table):
            words = f"deleted the table {table}: it no longer blocks"
            emit(events.TABLE_DOWN, MESSAGE=words)
    except BlockerError as error:
        emit(events.TABLE_UNKNOWN, REASON=error)
