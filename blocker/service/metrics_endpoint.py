"""The metrics of one runtime: served, retried when their address is taken, and kept up to date."""

import asyncio

from blocker.errors import ConfigError
from blocker.service.health import Health
from blocker.service.intervals import Intervals
from blocker.service.parts import RuntimeParts
from blocker.service.snapshot import SnapshotReader
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.telemetry.exposition import Durations, Metrics
from blocker.telemetry.server import Listener, MetricsServer

DROPS_PATIENCE = 0.05
"""Seconds that a scrape waits for the kernel's counters; it exports the previous ones otherwise."""


class MetricsEndpoint:
    """Serves the metrics.

    Args:
        parts: the parts of the runtime.
        health: what is wrong at the moment; the errors of the metrics are written to it.
        durations: the histograms.
        listener: a listener that stays open over reloads; by default the server makes its own.
    """

    def __init__(
        self,
        parts: RuntimeParts,
        health: Health,
        durations: Durations,
        listener: Listener | None = None,
    ) -> None:
        self._config, self._engine, self._health = parts.config.metrics, parts.engine, health
        self._server = MetricsServer(
            Metrics(SnapshotReader(parts, health), durations),
            self._refresh_drops,
            self._config.web_config,
            listener,
            parts.metrics_clients,
        )
        if listener is not None and self._config.endpoint is None:
            listener.close()
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve the metrics, if an address is configured; if that fails, log why."""
        endpoint, where = self._config.endpoint, self._config.listen
        if endpoint is None:
            return
        health = self._health
        try:
            await self._server.start(endpoint)
        except (OSError, ConfigError) as error:
            why = getattr(error, "strerror", "") or error
            if not health.metrics_error:
                advice = (
                    "free the address, or set [metrics] listen"
                    if isinstance(error, OSError)
                    else ""
                )
                words = [f"no metrics at {where}: {why}", advice, "trying again every minute"]
                emit(events.METRICS_REFUSED, MESSAGE="; ".join(filter(None, words)), REASON=why)
            health.metrics_error = f"no metrics at {where}: {why}"
        else:
            if health.metrics_error:
                emit(events.METRICS_SERVED, MESSAGE=f"metrics are served at {where} now")
            health.metrics_error = ""

    async def keep(self, intervals: Intervals) -> None:
        """Retry while the metrics are not served, and reread the ``web.config.file``.

        Metrics are optional for blocking: the daemon runs without them while their port is taken.
        """
        while True:
            rereads = self._config.web_config and not self._health.metrics_error
            await asyncio.sleep(intervals.web if rereads else intervals.metrics)
            if self._health.metrics_error:
                await self.start()
            else:
                await self._reread_web_config()

    async def close(self) -> None:
        """Stop serving."""
        await self._server.close()

    async def _reread_web_config(self) -> None:
        try:
            if await self._server.reread():
                path = self._config.web_config
                emit(events.WEB_CONFIG_READ, MESSAGE=f"metrics: reloaded {path}")
                self._health.web_config_error = ""
        except ConfigError as error:
            if str(error) != self._health.web_config_error:
                emit(events.WEB_CONFIG_REFUSED, REASON=error)
            self._health.web_config_error = str(error)

    async def _refresh_drops(self) -> None:
        """Read the kernel's counters, but do not wait long for transactions of other programs."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_drops())
        await asyncio.wait({self._reading}, timeout=DROPS_PATIENCE)

    async def _read_drops(self) -> None:
        enforcer, health = self._engine.enforcer, self._health
        health.drops = await enforcer.drops() or health.drops
        health.senders = await enforcer.senders(self._engine.offenders.members)
