"""Feeds the watchdog of the service manager, as long as the daemon makes progress."""

import time

from blocker.service.notifier import Notifier
from blocker.service.parts import RuntimeParts
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit

STANDSTILL = 45.0
"""Seconds without a look at the logs and without a batch after which the watchdog is not fed."""


class Watchdog:
    """Reports the status of the daemon, and feeds the watchdog with it.

    Args:
        parts: the parts of the runtime.
        notifier: sends to the service manager.
    """

    def __init__(self, parts: RuntimeParts, notifier: Notifier) -> None:
        self._parts, self._notifier = parts, notifier
        self._stands_still = False

    def feed(self, status: str) -> None:
        """Send the status, and a sign of life unless the daemon is at a standstill.

        Without one, the service manager restarts the daemon (``WatchdogSec=``, systemd.service(5)).
        """
        alive = "WATCHDOG=1\n" if self._works() else ""
        self._notifier.notify(f"{alive}STATUS={status}")

    def _works(self) -> bool:
        """Return whether the daemon makes progress: it looks at the logs or judges batches."""
        tailer = self._parts.tailer
        if tailer is None:
            return True
        still = time.monotonic() - max(tailer.looked_at, self._parts.engine.judged_at)
        if still >= STANDSTILL and not self._stands_still:
            emit(events.STANDSTILL, SECONDS=f"{still:.0f}")
        self._stands_still = still >= STANDSTILL
        return not self._stands_still
