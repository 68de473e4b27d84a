"""Opens the databases of origins without delaying the start."""

import asyncio
from pathlib import Path

from blocker.service.health import Health
from blocker.service.parts import RuntimeParts
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.threads import Threads

ORIGINS_PATIENCE = 1.0
"""Seconds that a start waits for the databases of origins."""


async def open_origins(parts: RuntimeParts, health: Health) -> None:
    """Open the configured databases; one on a disk that hangs is used when the disk answers."""
    config, origins = parts.config.origins, parts.origins
    wanted = {"country": config.country_db, "asn": config.asn_db}
    if not any(wanted.values()):
        return

    def opened(future: "asyncio.Future[None]") -> None:
        health.origins_error = ""
        future.result()

    where = Path(parts.config.state).parent
    threads = Threads(1, "origins")
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(threads, origins.open, wanted, where)
    threads.shutdown()
    opening.add_done_callback(opened)
    if not (await asyncio.wait({opening}, timeout=ORIGINS_PATIENCE))[0]:
        paths = ", ".join(filter(None, wanted.values()))
        text = f"{paths}: not read within {ORIGINS_PATIENCE:.0f} s; used as soon as it is"
        health.origins_error = f"origins are not exported: {text}"
        emit(events.ORIGINS_REFUSED, REASON=text)
