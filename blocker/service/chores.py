"""The periodic tasks of a runtime."""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any

from blocker.config.schema import Config
from blocker.errors import StoreError
from blocker.friends.host import lasting, own_addresses
from blocker.model import Address
from blocker.service.health import Health
from blocker.service.intervals import Intervals
from blocker.service.log_troubles import LogTroubles
from blocker.service.notifier import Notifier
from blocker.service.parts import RuntimeParts
from blocker.service.status import Status
from blocker.service.watchdog import Watchdog
from blocker.sources.schemes import FILE
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.times import DAY, SECOND

CLOCK_STEP = 60
"""Seconds by which the clock must change to count as set."""
LAG_WINDOW, LAG_SLOT = 60.0, 5.0
"""Seconds over which the largest delay of the loop is kept, and the resolution of that window."""
SETTLING = 0.5
"""Seconds between two looks at the logs while the backlog of the start is read."""
IDLE = 0.02
"""Share of a core below which the loop is probed less often; probing costs about as much."""


class Chores:
    """Runs the periodic tasks.

    Args:
        parts: the parts of the runtime.
        health: what the tasks find out is written to it.
        intervals: how often each task runs.
        notifier: sends the status to the service manager.
        own: the addresses of this host that are friends.
    """

    def __init__(
        self,
        parts: RuntimeParts,
        health: Health,
        intervals: Intervals,
        notifier: Notifier,
        own: Iterable[Address],
    ) -> None:
        self._parts, self._health, self._intervals = parts, health, intervals
        self._engine, self._upkeep = parts.engine, parts.upkeep
        self._remember = parts.config.remember
        self._watchdog, self._status = Watchdog(parts, notifier), Status(parts, health)
        self._own = lasting(own)
        self._troubles = LogTroubles(
            parts.config.of_scheme(FILE),
            usual=Config().logs,
            reports=parts.config.events,
            is_of_events=lambda path: parts.engine.logs.matchers.of(path).is_of_events,
        )
        self._clock_in_doubt = False

    def all(self) -> list[Coroutine[Any, Any, None]]:
        """Return every task; each runs until it is cancelled."""
        return [
            self._upkeep.keep_in_step(self._intervals.reconcile),
            self._tidy(),
            self._report_status(),
            self._keep_store(),
            self._keep_ceiling(),
            self._engine.ledger.keep_committed(),
            self._watch_logs(),
            self._watch_addresses(),
            self._watch_loop(),
        ]

    # The engine's state ------------------------------------------------------------------------

    async def _tidy(self) -> None:
        """Delete what is no longer needed, but nothing while the clock may be wrong.

        One run is skipped after a start whose clock is more than a day away from the last commit,
        and after the clock was set by more than a day.
        """
        self._clock_in_doubt |= self._health.start_in_doubt
        while True:
            if not self._clock_in_doubt:
                await self._unless_refused(self._upkeep.tidy(self._remember))
            self._clock_in_doubt = False
            await asyncio.sleep(self._intervals.tidy)

    async def _keep_store(self) -> None:
        """Notice if another program deletes or replaces the database."""
        while True:
            await asyncio.sleep(self._intervals.store)
            await self._unless_refused(self._upkeep.keep_store())

    async def _keep_ceiling(self) -> None:
        """Evict ended bans when more are remembered than the limit."""
        while True:
            await self._engine.ceiling.reached.wait()
            await self._unless_refused(self._upkeep.evict())

    async def _unless_refused(self, chore: Awaitable[None]) -> None:
        """Await a task; if the store refuses it (the disk is full), log that and keep blocking."""
        try:
            await chore
        except StoreError as error:
            emit(events.CHORE_REFUSED, REASON=error)

    # The host ----------------------------------------------------------------------------------

    async def _watch_addresses(self) -> None:
        """Reload when the addresses of this host change, because its addresses are friends."""
        now = asyncio.get_running_loop().time
        known = asked = self._own
        again = 0.0
        while True:
            # A router's table of routes, from which they are read, may take seconds.
            found = lasting(await asyncio.to_thread(own_addresses))
            # The reload may be refused if the configuration on disk is invalid; this runtime
            # continues then and has to repeat it.  Each refusal is logged as an error, so it is
            # repeated when the addresses change once more, or after an hour, and not at every look.
            # An administrator who repairs the files reloads anyway.
            if found != known and (found != asked or now() >= again):
                asked, again = found, now() + self._intervals.addresses_again
                emit(events.ADDRESSES_CHANGED)
                signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(self._intervals.addresses)

    async def _watch_logs(self) -> None:
        """Look for problems with the logs; not in the watchdog's task, because a disk may hang."""
        while (sources := self._parts.sources) is not None:
            settled = not self._health.catching_up
            await self._troubles.update(
                sources.files, settled=settled, others=sources.errors, losses=sources.losses
            )
            self._health.log_errors = self._troubles.texts
            if not self._health.catching_up:
                followed = [each.path for each in self._parts.log_statuses()]
                await self._unless_refused(self._upkeep.fold_gone(followed))
            await asyncio.sleep(SETTLING if self._health.catching_up else self._intervals.status)

    async def _watch_loop(self) -> None:
        """Measure the delay of the event loop, less often while it is idle."""
        loop, pause = asyncio.get_running_loop(), self._intervals.probe
        # The largest delay in each slot of the window.
        lags = deque([self._health.loop_lag], maxlen=round(LAG_WINDOW / LAG_SLOT))
        while True:
            slot, due, used = loop.time() // LAG_SLOT, loop.time() + pause, time.thread_time()
            await asyncio.sleep(pause)
            now = loop.time()
            lags.extend([0.0] * int(now // LAG_SLOT - slot))
            lags[-1] = max(lags[-1], now - due)
            self._health.loop_lag = max(lags)
            idle = time.thread_time() - used < IDLE * (now - due + pause)
            pause = min(pause * 2, self._intervals.probe_idle) if idle else self._intervals.probe

    # The service manager -----------------------------------------------------------------------

    async def _report_status(self) -> None:
        """Report to the service manager, and notice when the clock is set."""
        offset = self._clock_offset()
        while True:
            parts = filter(None, (self._status.line(), self._health.metrics_error))
            self._watchdog.feed(", ".join(parts))
            self._engine.committer.log_if_hanging()
            await asyncio.sleep(self._intervals.status)
            step = round((self._clock_offset() - offset) / SECOND)
            if abs(step) > CLOCK_STEP:
                offset = self._clock_offset()
                await self._clock_set(step)

    async def _clock_set(self, step: int) -> None:
        self._health.clock_steps += 1
        emit(events.CLOCK_SET, SECONDS=step)
        self._clock_in_doubt |= abs(step) > DAY // SECOND
        await self._unless_refused(self._upkeep.resync(self._remember))
        if not self._health.catching_up:  # otherwise it is called when that ends
            await self._upkeep.caught_up()

    def _clock_offset(self) -> int:
        """Return the difference between wall clock and monotonic clock, microseconds."""
        return self._parts.clock() - time.monotonic_ns() // 1000
