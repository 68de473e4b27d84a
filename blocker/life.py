"""One life: one configuration at work, from the ruleset to the last commit.

Everything that a configuration decides is built here, once, and nothing is changed afterwards;
another configuration is another life.
"""

import asyncio
import errno
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import sdnotify

from blocker import events
from blocker.config import Config
from blocker.configfile import lasting, own_addresses, shipped_lists
from blocker.control import ControlServer
from blocker.desk import Desk
from blocker.enforce import Enforcer
from blocker.engine import Engine, Stages
from blocker.errors import BlockerError, ConfigError, FirewallError, StoreError
from blocker.escape import printable
from blocker.firewall import Drops, Firewall, Sender, delete_table
from blocker.friends import Friends, ShippedList
from blocker.generation import Log, at_end_if_shorter
from blocker.judge import AHEAD, DAY, Judge, Limits
from blocker.logfile import (
    Position,
    first_line_behind,
    first_line_since,
    leave_alone,
    start_of_unknown,
)
from blocker.logs import tell
from blocker.match import Matcher
from blocker.metrics import Metrics
from blocker.metricsserver import Listener, MetricsServer
from blocker.model import SECOND, Address
from blocker.offenders import Offenders
from blocker.origins import Origins
from blocker.ruleset import Layout
from blocker.store import COMPANIONS, Store
from blocker.tail import Tails
from blocker.troubles import LogTroubles

CLOCK_STEP = 60
DROPS_PATIENCE = 0.05
OPEN_ATTEMPTS = 5
LAG_WINDOW, LAG_SLOT = 60.0, 5.0
STANDSTILL = 45.0
"""Seconds without a look at the logs and without a batch after which the watchdog is not fed."""
SETTLING = 0.5
"""Seconds between two looks at the logs while the backlog of the start is read."""
IDLE = 0.02
"""Share of a core below which the loop is not watched closely: to look costs as much."""


class Pace(NamedTuple):
    """How many seconds pass between one turn of a chore and the next."""

    reconcile: float = 300.0
    tidy: float = 86400.0
    status: float = 10.0
    store: float = 5.0
    metrics: float = 60.0
    web: float = 5.0
    addresses: float = 60.0
    addresses_again: float = 3600.0
    probe: float = 0.25
    probe_idle: float = 4.0


_PACE = Pace()


def wall_clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


def _friends(config: Config, own: Iterable[Address], lists: Mapping[str, ShippedList]) -> Friends:
    return Friends.build(
        allow=config.allow,
        own=own,
        ban_private=config.ban_private,
        ban_proxies=config.ban_proxies,
        lists=lists,
        ipv6_prefix=config.ipv6_prefix,
    )


def _layout(config: Config, friends: Friends) -> Layout:
    ports = config.firewall.ports
    return Layout(
        table=config.firewall.table,
        ports=None if ports == "all" else ports,
        allow4=friends.networks4,
        allow6=friends.networks6,
        ipv6_prefix=config.ipv6_prefix,
        ban_size=config.firewall.set_size,
    )


class Kept(NamedTuple):
    """What stays open from one life to the next.

    Attributes:
        control: listens for the command line.
        listener: listens for whoever asks for metrics.
        store: has the state of this life's configuration open.
    """

    control: ControlServer | None = None
    listener: Listener | None = None
    store: Store | None = None


_NOTHING = Kept()


class Life:
    """One configuration at work.

    Args:
        config: what to do.
        notifier: tells the service manager.
        clock: returns microseconds since the epoch.
        pace: of the chores.
        lists: of networks, by name; if not given, those that are on disk now.
        kept: what stays over all lives; what is not given is made for this one.
    """

    def __init__(
        self,
        config: Config,
        notifier: sdnotify.SystemdNotifier,
        clock: Callable[[], int] = wall_clock,
        pace: Pace = _PACE,
        lists: Mapping[str, ShippedList] | None = None,
        kept: Kept = _NOTHING,
    ) -> None:
        self.config = config
        # Kept, so that this life can begin again whatever has become of the files meanwhile.
        self.lists = shipped_lists() if lists is None else lists
        self._pace = pace
        self._notifier = notifier
        self._clock = clock
        self._own = own_addresses()
        self._owned: Store | None = None
        self._engine, self._firewall = self._stages(kept.store or self._open_store())
        self._engine.offenders = Offenders(config.metrics.top_offenders, config.ipv6_prefix)
        self.origins = Origins()
        self.desk = Desk(config, self._engine, self, clock)
        metrics = Metrics(self.desk.figures)
        self._engine.on_latency = metrics.observe_latency
        if self._firewall is not None:
            self._firewall.on_operation = metrics.observe_operation
        web = config.metrics.web_config
        self.metrics_server = MetricsServer(metrics, self._refresh_drops, web, kept.listener)
        if kept.listener is not None and config.metrics.endpoint is None:
            kept.listener.close()
        self.control = kept.control or ControlServer()
        self._owns_control = kept.control is None
        self.tails: Tails | None = None
        self._asking: asyncio.Task[None] | None = None
        self.drops: Drops | None = None
        self.senders: Sequence[Sender] = []
        self.catching_up = True
        self.reload_failed = self._stands_still = False
        self._troubles = LogTroubles(config.logs, Config().logs)
        self.metrics_refusal = ""
        """Why nobody can ask for metrics, or nothing."""
        self._web_refusal = ""
        self.clock_steps = 0
        self._clock_in_doubt = False
        self._loop_lags = deque([0.0], maxlen=round(LAG_WINDOW / LAG_SLOT))
        """The largest delay of the loop in each of the latest slots of time."""

    def _open_store(self) -> Store:
        make_parent(self.config.state)
        self._owned = Store(self.config.state, dry=self.config.dry_run)
        return self._owned

    def _stages(self, store: Store) -> tuple[Engine, Firewall | None]:
        config = self.config
        friends = _friends(config, self._own, self.lists)
        self._matcher = Matcher(list(config.traps.values()), config.format, friends.is_proxy)
        limits = Limits(
            config.remember, config.max_tracked, config.ipv6_prefix, config.max_remembered
        )
        judge = Judge(list(config.traps.items()), limits, friends.why)
        firewall = None if config.dry_run else Firewall(_layout(config, friends))
        enforcer = Enforcer(firewall, friends, self._clock, config.ipv6_prefix)
        stages = Stages(self._matcher, judge, enforcer, store)
        return Engine(stages, list(config.traps), self._clock, config.ipv6_prefix), firewall

    @property
    def log_errors(self) -> Mapping[str, str]:
        """What is wrong with the logs, by path or pattern, a sentence each."""
        return self._troubles.texts

    @property
    def loop_lag(self) -> float:
        """Largest delay of the loop in the last minute, seconds."""
        return max(self._loop_lags)

    # Beginning and end -------------------------------------------------------------------------

    async def begin(self) -> None:
        """Store, ruleset, stored bans: when this returns, everybody due is blocked.

        Raises:
            BlockerError: it can't be, and why.
        """
        config, engine = self.config, self._engine
        make_parent(config.control)
        await self.control.start(config.control)
        wanted = {"country": config.origins.country_db, "asn": config.origins.asn_db}
        await asyncio.to_thread(self.origins.open, wanted, Path(config.state).parent)
        if self.origins.knows_countries:
            engine.country_of = self.origins.country
        places = await engine.restore(config.remember)
        if self._firewall is None:
            _take_down(config.firewall.table)
        else:
            await _open(self._firewall)
            self._firewall.watch(engine.enforcer.changed_by_others)
        await engine.enforce_all()
        await self._leave_former_table()
        leave_alone(f"{config.state}{ending}" for ending in ("", *COMPANIONS))
        self.tails = Tails(
            config.logs, [place.position for place in places], start_of=self._start_of
        )
        await self._start_metrics()
        self.control.serve(self.desk.handlers())

    async def _leave_former_table(self) -> None:
        """Take down the table of the configuration before, now that this one blocks."""
        table = self.config.firewall.table
        former = await self._engine.former_table(table)
        if former:
            await asyncio.to_thread(_take_down, former)
        await self._engine.note_table(table)

    async def _start_of(self, file: Log) -> int:
        """Say where a log never seen before begins to matter, or one that lost its end goes on."""
        if file.lost is not None:
            return await self._go_on(file, file.lost)
        file.cutoff = self._clock() - self.config.lookback
        look = file.cutoff, self._matcher.time_of
        return await start_of_unknown(
            file.fd, await first_line_since(file.fd, file.size, *look), *look
        )

    async def _go_on(self, file: Log, lost: Position) -> int:
        """Say where new lines begin in a log that lost its end, and may have grown since.

        Their times say so, unless the clock was set back.
        """
        latest = self._engine.latest(file.path)
        if latest > self._clock() + AHEAD:
            return await at_end_if_shorter(file)
        return await first_line_behind(file.fd, lost.tail, latest, self._matcher.time_of)

    async def live(self, stop: asyncio.Event) -> None:
        """Follow the logs until stopped; what is in hand is judged.  May be called again."""
        async with asyncio.TaskGroup() as group:
            keeping = self._engine.enforcer.keep(self._pace.reconcile, self._reconcile)
            chores = [
                group.create_task(keeping),
                group.create_task(self._keep_house()),
                group.create_task(self._report_status()),
                group.create_task(self._keep_metrics()),
                group.create_task(self._keep_store()),
                group.create_task(self._keep_ceiling()),
                group.create_task(self._engine.ledger.keep_committed()),
                group.create_task(self._watch_logs()),
                group.create_task(self._watch_addresses()),
                group.create_task(self._watch_loop()),
            ]
            await self._digest(stop)
            for chore in chores:
                chore.cancel()

    async def all_stored(self) -> str:
        """Commit everything that was judged; return what the disk has against it, or nothing."""
        return await self._engine.all_stored()

    async def end(self) -> bool:
        """Close everything; the kernel goes on blocking.

        Returns:
            whether the store has come to rest; a disk that hangs still holds a commit otherwise.
        """
        await self.control.pause()
        if self._owns_control:
            await self.control.close()
        await self.metrics_server.close()
        if self.tails is not None:
            self.tails.close()
        at_rest = await self._engine.close()
        if self._owned is not None and at_rest:
            self._owned.close()
        self.origins.close()
        if self._firewall is not None:
            self._firewall.unwatch()
            await self._firewall.close()
        return at_rest

    async def _digest(self, stop: asyncio.Event) -> None:
        tails = self.tails
        if tails is None:
            return
        stopping = asyncio.ensure_future(stop.wait())
        await tails.scan()
        followed = list(dict.fromkeys(each.path for each in tails.logs))
        paths = ", ".join(map(printable, followed[:10])) or "no log yet"
        tell(events.FOLLOWING, MESSAGE=f"following {paths}")
        while not stop.is_set():
            while await self._engine.digest(tails) and not stop.is_set():
                pass
            if self.catching_up and not stop.is_set():
                self.catching_up = False
                await self._engine.caught_up()
            waiting = asyncio.ensure_future(tails.wait())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            # To its end: a look at the disk goes on in a thread, and what it looks at is closed
            # next.
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                waiting.result()
        stopping.cancel()

    # Chores ------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Delete what no longer matters, but nothing while the clock may be wrong.

        That is for one turn after a start whose clock is more than a day away from the last
        commit, and after the clock was set by more than a day.
        """
        self._clock_in_doubt |= self._engine.clock_in_doubt
        while True:
            if not self._clock_in_doubt:
                await self._unless_refused(self._engine.tidy(self.config.remember))
            self._clock_in_doubt = False
            await asyncio.sleep(self._pace.tidy)

    async def _keep_store(self) -> None:
        """Notice when another program deletes or replaces the database."""
        while True:
            await asyncio.sleep(self._pace.store)
            await self._unless_refused(self._engine.keep_store())

    async def _keep_ceiling(self) -> None:
        """Forget ended bans when more are remembered than may be."""
        while True:
            await self._engine.ceiling.reached.wait()
            await self._unless_refused(self._engine.evict())

    async def _watch_addresses(self) -> None:
        """Begin another life when the host has other addresses: they are friends from then on."""
        now = asyncio.get_running_loop().time
        known = asked = lasting(self._own)
        again = 0.0
        while True:
            found = lasting(own_addresses())
            # A reload may be refused, for what is on disk is broken; then this life goes on and has
            # to ask again.  Each refusal is told as an error, so not at every look: when there are
            # yet other addresses, or after an hour.  The files are not looked at, for whoever mends
            # them reloads; an hour is for those who forget.
            if found != known and (found != asked or now() >= again):
                asked, again = found, now() + self._pace.addresses_again
                tell(events.ADDRESSES_CHANGED)
                signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(self._pace.addresses)

    async def _watch_logs(self) -> None:
        """Look for what is wrong with the logs; apart from the watchdog, for a disk may hang."""
        while self.tails is not None:
            await self._troubles.update(self.tails, settled=not self.catching_up)
            if not self.catching_up:
                followed = [each.path for each in self.tails.standings()]
                await self._unless_refused(self._engine.fold_gone(followed))
            await asyncio.sleep(SETTLING if self.catching_up else self._pace.status)

    async def _watch_loop(self) -> None:
        """Notice how late the loop is to do what is due; seldom while it has nothing to do."""
        loop, pause = asyncio.get_running_loop(), self._pace.probe
        while True:
            slot, due, used = loop.time() // LAG_SLOT, loop.time() + pause, time.thread_time()
            await asyncio.sleep(pause)
            now = loop.time()
            self._loop_lags.extend([0.0] * int(now // LAG_SLOT - slot))
            self._loop_lags[-1] = max(self._loop_lags[-1], now - due)
            idle = time.thread_time() - used < IDLE * (now - due + pause)
            pause = min(pause * 2, self._pace.probe_idle) if idle else self._pace.probe

    async def _reconcile(self) -> None:
        await self._unless_refused(self._engine.reconcile())

    async def _unless_refused(self, chore: Awaitable[None]) -> None:
        """Do a chore; a store that refuses it (the disk is full) stops nobody from blocking."""
        try:
            await chore
        except StoreError as error:
            tell(events.CHORE_REFUSED, REASON=error)

    async def _report_status(self) -> None:
        """Tell the service manager how it goes, and notice when the clock is set."""
        offset = self._clock_offset()
        while True:
            parts = filter(None, (self.desk.status_line(), self.metrics_refusal))
            alive = "WATCHDOG=1\n" if self._works() else ""
            self._notifier.notify(f"{alive}STATUS={', '.join(parts)}")
            self._engine.committer.tell_if_it_hangs()
            await asyncio.sleep(self._pace.status)
            step = round((self._clock_offset() - offset) / SECOND)
            if abs(step) > CLOCK_STEP:
                self.clock_steps += 1
                tell(events.CLOCK_SET, SECONDS=step)
                offset = self._clock_offset()
                self._clock_in_doubt |= abs(step) > DAY // SECOND
                await self._unless_refused(self._engine.resync(self.config.remember))
                if not self.catching_up:  # else it comes to that anyway
                    await self._engine.caught_up()

    def _works(self) -> bool:
        """Whether work goes round: the logs are looked at, or batches are judged.

        If it does not, the service manager is to start the daemon anew.
        """
        if self.tails is None:
            return True
        still = time.monotonic() - max(self.tails.looked_at, self._engine.judged_at)
        if still >= STANDSTILL and not self._stands_still:
            tell(events.STANDSTILL, SECONDS=f"{still:.0f}")
        self._stands_still = still >= STANDSTILL
        return not self._stands_still

    def _clock_offset(self) -> int:
        return self._clock() - time.monotonic_ns() // 1000

    async def _start_metrics(self) -> None:
        endpoint = self.config.metrics.endpoint
        if endpoint is None:
            return
        where = self.config.metrics.listen
        try:
            await self.metrics_server.start(endpoint)
        except (OSError, ConfigError) as error:
            why = getattr(error, "strerror", "") or error
            if not self.metrics_refusal:
                advice = "free it, or set [metrics] listen" if isinstance(error, OSError) else ""
                words = [f"no metrics at {where}: {why}", advice, "trying again every minute"]
                tell(events.METRICS_REFUSED, MESSAGE="; ".join(filter(None, words)), REASON=why)
            self.metrics_refusal = f"no metrics at {where}: {why}"
        else:
            if self.metrics_refusal:
                tell(events.METRICS_SERVED, MESSAGE=f"metrics at {where} after all")
            self.metrics_refusal = ""

    async def _keep_metrics(self) -> None:
        """Blocking does not need the metrics: whoever has their port may have it for a while."""
        while True:
            rereads = self.config.metrics.web_config and not self.metrics_refusal
            await asyncio.sleep(self._pace.web if rereads else self._pace.metrics)
            if self.metrics_refusal:
                await self._start_metrics()
            else:
                await self._reread_web_config()

    async def _reread_web_config(self) -> None:
        try:
            if await self.metrics_server.reread():
                path = self.config.metrics.web_config
                tell(events.WEB_CONFIG_READ, MESSAGE=f"metrics: took the changed {path}")
                self._web_refusal = ""
        except ConfigError as error:
            if str(error) != self._web_refusal:
                tell(events.WEB_CONFIG_REFUSED, REASON=error)
            self._web_refusal = str(error)

    async def _refresh_drops(self) -> None:
        """Ask the kernel for its counters, but never wait long for somebody else's transaction."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask_drops())
        await asyncio.wait({self._asking}, timeout=DROPS_PATIENCE)

    async def _ask_drops(self) -> None:
        enforcer = self._engine.enforcer
        self.drops = await enforcer.drops() or self.drops
        self.senders = await enforcer.senders(self._engine.offenders.listed)


async def _open(firewall: Firewall) -> None:
    """Open a firewall; when somebody takes the table away meanwhile, again."""
    for _ in range(OPEN_ATTEMPTS - 1):
        try:
            await firewall.open()
        except FirewallError as error:
            if error.errno != errno.ENOENT:
                raise
            tell(events.TABLE_TAKEN)
        else:
            return
    await firewall.open()


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


def _take_down(table: str) -> None:
    try:
        if delete_table(table):
            words = f"took the table {table} down: it blocks no longer"
            tell(events.TABLE_DOWN, MESSAGE=words)
    except BlockerError as error:
        tell(events.TABLE_UNKNOWN, REASON=error)
