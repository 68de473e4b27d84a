"""The parts of a runtime, which chores, status and metrics share."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from blocker.config.schema import Config
from blocker.engine.enforcer import Enforcer
from blocker.engine.engine import Engine
from blocker.engine.parts import assemble
from blocker.engine.upkeep import Upkeep
from blocker.firewall.firewall import Firewall
from blocker.firewall.ruleset import Layout
from blocker.friends.friends import Friends
from blocker.friends.network_list import ShippedList
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.judging.top_offenders import TopOffenders
from blocker.matching.matchers import Matchers
from blocker.model import Address, Subject
from blocker.service.log_sources import FollowedFiles, LogSources
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.files.log_status import LogStatus
from blocker.sources.senders import Allowed
from blocker.store.store import Store
from blocker.telemetry.exposition import Durations
from blocker.telemetry.origins import Origins
from blocker.telemetry.server import ClientCounts


@dataclass(slots=True)
class RuntimeParts:
    """What one configuration is carried out with.

    Attributes:
        config: the configuration.
        engine: judges, enforces and commits.
        upkeep: what is done beside the batches.
        clock: returns microseconds since the epoch.
        since: when this configuration took effect, microseconds since the epoch.
        firewall: None in a dry run.
        origins: the databases of countries and networks.
        control_clients: clients of the control socket that were closed.
        metrics_clients: clients of the metrics server that were closed.
        sources: the followed logs; None until the stored positions have been read.
    """

    config: Config
    engine: Engine
    upkeep: Upkeep
    clock: Callable[[], int]
    since: int
    firewall: Firewall | None = None
    origins: Origins = field(default_factory=Origins)
    control_clients: ClientCounts = field(default_factory=ClientCounts)
    metrics_clients: ClientCounts = field(default_factory=ClientCounts)
    sources: LogSources | None = None

    def log_statuses(self) -> list[LogStatus]:
        """Return the status of each followed log."""
        return self.sources.statuses() if self.sources is not None else []

    def other_statuses(self) -> list[LogStatus]:
        """Return the status of each log that is no file."""
        return self.sources.other_statuses() if self.sources is not None else []

    @property
    def tailer(self) -> FollowedFiles | None:
        """The followed files; None until the stored positions have been read."""
        return self.sources.files if self.sources is not None else None


def make_friends(
    config: Config, own: Iterable[Address], lists: Mapping[str, ShippedList]
) -> Friends:
    """Return the friends of a configuration.

    Args:
        config: the configuration.
        own: addresses of this host.
        lists: the lists of networks, by name.
    """
    return Friends.build(
        allow=config.never_banned,
        own=own,
        ban_private=config.ban_private,
        ban_proxies=config.ban_proxies,
        lists=lists,
        ipv6_prefix=config.ipv6_prefix,
    )


def make_parts(
    config: Config,
    friends: Friends,
    store: Store,
    clock: Callable[[], int],
    durations: Durations,
    since: int = 0,
) -> RuntimeParts:
    """Return the parts for a configuration.

    Args:
        config: the configuration.
        friends: the addresses that are never banned.
        store: the store of the configuration's state.
        clock: returns microseconds since the epoch.
        durations: the histograms.
        since: when the configuration took effect, microseconds since the epoch; 0 for now.
    """
    prefix, origins = config.ipv6_prefix, Origins()
    limits = Limits(config.remember, config.max_tracked, prefix, config.max_remembered)
    firewall = None if config.dry_run else _firewall(config, friends, durations)

    def country_of(subject: Subject) -> str | None:
        return origins.country(subject) if origins.knows_countries else None

    parts = assemble(
        judge=Judge(list(config.traps.items()), limits, friends.why),
        enforcer=Enforcer(firewall, friends, clock, prefix),
        store=store,
        clock=clock,
        offenders=TopOffenders(config.metrics.top_offenders, prefix),
        country_of=country_of,
    )
    formats = LogFormats(config.format, config.own_formats)
    writers = Allowed(config.event_writers)
    matchers = Matchers(list(config.traps.values()), formats, friends, writers)
    engine = Engine(matchers, parts, durations.observe_latency)
    return RuntimeParts(
        config, engine, Upkeep(engine), clock, since or clock(), firewall=firewall, origins=origins
    )


def _firewall(config: Config, friends: Friends, durations: Durations) -> Firewall:
    ports = config.firewall.ports
    layout = Layout(
        table=config.firewall.table,
        ports=None if ports == "all" else ports,
        allow4=friends.networks4,
        allow6=friends.networks6,
        ipv6_prefix=config.ipv6_prefix,
        ban_size=config.firewall.set_size,
    )
    return Firewall(layout, durations.observe_operation)
