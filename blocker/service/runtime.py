"""One configuration at work, from loading the ruleset to the last commit.

Everything that depends on the configuration is made here, once, and does not change afterwards;
another configuration is another runtime.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from blocker.config.schema import Config
from blocker.engine.restore import restore
from blocker.errors import BlockerError
from blocker.escape import printable
from blocker.firewall.facts import OPERATIONS
from blocker.friends.host import own_addresses
from blocker.friends.network_list import ShippedList
from blocker.service.admin_commands import AdminCommands
from blocker.service.chores import Chores
from blocker.service.control import ControlServer
from blocker.service.health import Health
from blocker.service.intervals import Intervals
from blocker.service.log_sources import open_sources
from blocker.service.log_start import LogStart
from blocker.service.metrics_endpoint import MetricsEndpoint
from blocker.service.notifier import Notifier
from blocker.service.origins import open_origins
from blocker.service.parts import make_friends, make_parts
from blocker.service.status import Status
from blocker.service.table import open_firewall, take_down
from blocker.sources.files.reserved import leave_alone
from blocker.sources.live import Inboxes
from blocker.store.counter_names import HITS
from blocker.store.database import COMPANIONS
from blocker.store.store import Store
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.telemetry.exposition import Durations
from blocker.telemetry.server import Listener


def wall_clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


class LoadedConfig(NamedTuple):
    """Everything that was read from files and found valid.

    Attributes:
        config: the configuration.
        lists: the lists of networks, by name.
        since: when it took effect, microseconds since the epoch; 0 if it has not yet.
    """

    config: Config
    lists: Mapping[str, ShippedList]
    since: int = 0


class Kept(NamedTuple):
    """What stays open over a reload; a runtime makes for itself what is not given.

    Attributes:
        control: the server of the control socket.
        listener: the listening socket of the metrics.
        store: the store of the configuration's state.
        inboxes: the sockets and pipes that lines are received from.
    """

    control: ControlServer | None = None
    listener: Listener | None = None
    store: Store | None = None
    inboxes: Inboxes | None = None


FINISH = 5.0
"""Seconds for judging what sockets and pipes received before a stop."""
_NOTHING = Kept()
_INTERVALS = Intervals()


class Runtime:
    """One configuration at work.

    Args:
        loaded: the configuration and the lists of networks.
        notifier: sends messages to the service manager.
        clock: returns microseconds since the epoch.
        intervals: how often the periodic tasks run.
        kept: what stays open over reloads.

    Attributes:
        loaded: the same, so that another runtime can begin with it even if the files have changed.
        health: what is wrong at the moment.
        parts: what the configuration is carried out with.
        status: the status, as JSON and as one line.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        notifier: Notifier,
        clock: Callable[[], int] = wall_clock,
        intervals: Intervals = _INTERVALS,
        kept: Kept = _NOTHING,
    ) -> None:
        config, own = loaded.config, own_addresses()
        self._owned_store: Store | None = None
        store = kept.store or self._open_store(config)
        durations, friends = Durations(OPERATIONS), make_friends(config, own, loaded.lists)
        self.health = Health()
        self.parts = make_parts(config, friends, store, clock, durations, loaded.since)
        self._control = kept.control or ControlServer()
        self._owns_control = kept.control is None
        self._inboxes, self._owns_inboxes = kept.inboxes or Inboxes(), kept.inboxes is None
        self.parts.control_clients = self._control.counts
        self.loaded = loaded._replace(since=self.parts.since)
        self.status = Status(self.parts, self.health)
        self._metrics = MetricsEndpoint(self.parts, self.health, durations, kept.listener)
        self._intervals = intervals
        self._chores = Chores(self.parts, self.health, intervals, notifier, own)

    def _open_store(self, config: Config) -> Store:
        make_parent(config.state)
        self._owned_store = Store(config.state, dry=config.dry_run)
        return self._owned_store

    async def begin(self) -> None:
        """Open the store and load the ruleset and the stored bans.

        When this returns, everyone with a stored ban is blocked, and the control socket answers.

        Raises:
            BlockerError: that is impossible; the message says why.
        """
        parts, config, engine = self.parts, self.parts.config, self.parts.engine
        make_parent(config.control)
        await self._control.start(config.control)
        await open_origins(parts, self.health)
        checkpoints, self.health.start_in_doubt = await restore(
            engine.parts, config.traps, config.remember
        )
        engine.logs.resume(checkpoints)
        counters = engine.ledger.counters.items()
        self.health.hits_at_start = sum(count for (_, name), count in counters if name == HITS)
        if parts.firewall is None:
            take_down(config.firewall.table)
        else:
            await open_firewall(parts.firewall)
            parts.firewall.watch(engine.enforcer.changed_by_others)
        await parts.upkeep.enforce_all()
        await self._leave_former_table()
        leave_alone(f"{config.state}{ending}" for ending in ("", *COMPANIONS))
        positions = [checkpoint.position for checkpoint in checkpoints]
        parts.sources = open_sources(
            config, positions, LogStart(parts).of, parts.clock(), self._inboxes
        )
        await self._metrics.start()
        self._control.serve({**self.status.handlers(), **AdminCommands(parts).handlers()})

    async def _leave_former_table(self) -> None:
        """Delete the table of the previous configuration, now that this one blocks."""
        table = self.parts.config.firewall.table
        former = await self.parts.upkeep.former_table(table)
        if former:
            await asyncio.to_thread(take_down, former)
        await self.parts.upkeep.note_table(table)

    async def live(self, stop: asyncio.Event) -> None:
        """Follow the logs until stopped, and judge what has been read; may be called again.

        The end of standard input is a stop as well.
        """
        async with asyncio.TaskGroup() as group:
            chores = [*self._chores.all(), self._metrics.keep(self._intervals)]
            tasks = [group.create_task(chore) for chore in chores]
            await self._follow(stop)
            for task in tasks:
                task.cancel()

    @property
    def input_ended(self) -> bool:
        """Whether standard input has ended, and all of it was judged."""
        return self.parts.sources is not None and self.parts.sources.ended

    async def _follow(self, stop: asyncio.Event) -> None:
        parts, sources = self.parts, self.parts.sources
        if sources is None:
            return
        stopping = asyncio.ensure_future(stop.wait())
        followed = await sources.begin()
        paths = ", ".join(map(printable, followed[:10])) or "no log yet"
        emit(events.FOLLOWING, MESSAGE=f"following {paths}")
        while not stop.is_set():
            while await parts.engine.process_batch(sources) and not stop.is_set():
                pass
            if self.health.catching_up and not stop.is_set():
                self.health.catching_up = False
                await parts.upkeep.caught_up()
            if sources.ended:
                emit(events.INPUT_ENDED)
                break
            waiting = asyncio.ensure_future(sources.wait())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            # Wait for its end: a thread may still use files that are closed next.
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                waiting.result()
        stopping.cancel()

    async def finish(self) -> None:
        """Close sockets and pipes, and judge what was received, for some seconds at most.

        Lines in files wait for the next start, these do not.
        """
        sources = self.parts.sources
        if sources is None or sources.live is None:
            return
        self._inboxes.stop()
        deadline = time.monotonic() + FINISH
        while not await sources.live.finished() or sources.live.ready():
            await self.parts.engine.process_batch(sources)
            if time.monotonic() > deadline:
                return

    async def writable(self) -> str:
        """Check whether the state can be written, while work goes on; return why not, or ""."""
        return await self.parts.engine.writable()

    async def all_stored(self) -> str:
        """Commit everything that was judged; return why that failed, or ""."""
        return await self.parts.engine.all_stored()

    async def end(self) -> bool:
        """Close everything; the kernel goes on blocking.

        Returns:
            False if a commit is still running because the disk hangs.
        """
        parts = self.parts
        await self._control.pause()
        if self._owns_control:
            await self._control.close()
        await self._metrics.close()
        if parts.sources is not None:
            parts.sources.close()
        if self._owns_inboxes:
            await self._inboxes.keep()
        at_rest = await parts.engine.close()
        if self._owned_store is not None and at_rest:
            self._owned_store.close()
        parts.origins.close()
        if parts.firewall is not None:
            parts.firewall.unwatch()
            await parts.firewall.close()
        return at_rest


def make_parent(path: str) -> None:
    """Make the directory of a file.

    Raises:
        BlockerError: it can't be made.
    """
    try:
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        advice = "make its directory, writable for this user"
        raise BlockerError(f"{path}: {error.strerror}; {advice}") from None
