"""What Prometheus sees: a view of the truth, read when it is asked for.

No thread, no second bookkeeping: a collector over the engine's own counters, its own registry per
daemon, and a few lines of HTTP on the loop.  No label is the attacker's to choose: ``log`` is a
path that the configuration's globs found, ``trap`` a configured name.

The counters are stored with the positions, so that they go on where they were after a restart.
"""

import asyncio
import os
import platform
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

# Before the import, for that is when it is read: a ``_created`` gauge beside every counter would
# double the exposition, and 0.16 (Debian 12) knows no other switch.
os.environ.setdefault("PROMETHEUS_DISABLE_CREATED_SERIES", "True")

from prometheus_client import CollectorRegistry, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from blocker import __version__
from blocker.firewall import Drops
from blocker.webconfig import Doorkeeper, WebConfig, changed, load

PREFIX = "xmlrpc_blocker_"
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
MAX_REQUEST = 8192
TIMEOUT = 10.0
MAX_CLIENTS = 64


class LogState(NamedTuple):
    """How one log stands."""

    path: str
    up: bool
    lag_bytes: int
    last_event: float


class Snapshot(NamedTuple):
    """Everything at one moment.

    Attributes:
        counters: by (log, name); the log is empty for those of the whole daemon.
        gauges: by name, without the prefix.
        logs: each followed log.
        drops: what the kernel dropped, None where it can't be asked.
        ignored: hits of friends by reason.
    """

    counters: dict[tuple[str, str], int]
    gauges: dict[str, float]
    logs: list[LogState]
    drops: Drops | None
    operations: dict[str, int]
    failures: dict[str, int]
    traps: list[str]


class HasSnapshot(Protocol):
    """Who can be asked."""

    def snapshot(self) -> Snapshot:
        """Return how everything stands."""


_LOG_COUNTERS = {
    "lines": ("log_lines", "Lines read from a log."),
    "requests": ("requests", "Lines that hold a request: all but the unparsed ones."),
    "unparsed": ("parse_failures", "Candidate lines that could not be parsed."),
    "oversize": ("oversize_lines", "Lines beyond the ceiling of length, skipped."),
    "hits": ("hits", "Requests that matched a trap."),
    "blocked": ("blocked_hits", "Hits stamped inside a ban: it did not stop them."),
    "late": ("late_hits", "Hits that came too late to count towards a ban."),
    "friends": ("friend_hits", "Hits of addresses that are never banned."),
    "stale": ("stale_hits", "Hits older than lookback when the log was first seen."),
}
_GAUGES = {
    "repeat_offenders": "Addresses with two or more remembered bans.",
    "offenders": "Addresses with a remembered ban.",
    "tracked_addresses": "Addresses with hits pending in their window.",
    "tracked_addresses_limit": "Ceiling of tracked addresses.",
    "waiting_bans": "Bans that the kernel refused so far.",
    "enforcing": "1 while bans are enforced, 0 in a dry run.",
    "ruleset_present": "1 while the ruleset was there when last looked at.",
    "store_writable": "1 while the store takes changes.",
    "catching_up": "1 until the logs' backlog at start is read.",
    "config_last_reload_successful": "1 if the last reload of the configuration succeeded.",
    "config_last_reload_success_timestamp_seconds": "When the configuration was last read well.",
}
_TOTALS = {
    "repeat_bans": ("repeat_bans", "Bans of addresses that had been banned before."),
    "unbans": ("unbans", "Bans ended by hand."),
    "unreached": (
        "unreached_bans",
        "Times a banned address was still in the log over a minute after its ban.",
    ),
    "evicted": ("evicted_windows", "Windows forgotten because max_tracked was reached."),
    "ahead": ("hits_ahead", "Hits stamped more than five minutes ahead of the clock."),
    "rebuilds": ("ruleset_rebuilds", "Times the ruleset was built again after others changed it."),
    "refused_friends": ("friends_not_banned", "Bans refused at the last moment: a friend."),
}


class Collector:
    """Turns a snapshot into metric families."""

    def __init__(self, source: HasSnapshot) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Promise nothing at registration: a snapshot may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family, fresh."""
        snapshot = self._source.snapshot()
        yield InfoMetricFamily(
            PREFIX + "build",
            "The running version.",
            value={"version": __version__, "python": platform.python_version()},
        )
        yield from _log_families(snapshot)
        yield from _ban_families(snapshot)
        yield from _firewall_families(snapshot)
        yield CounterMetricFamily(
            PREFIX + "ruleset_unprotected_seconds",
            "Time between changes that broke the ruleset and their repair.",
            value=snapshot.gauges.get("unprotected_seconds", 0),
        )
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, text, value=snapshot.gauges.get(name, 0))


def _log_families(snapshot: Snapshot) -> Iterator[Metric]:
    paths = [state.path for state in snapshot.logs]
    known = dict.fromkeys([*paths, *(log for log, _ in snapshot.counters if log)])
    for name, (metric, text) in _LOG_COUNTERS.items():
        family = CounterMetricFamily(PREFIX + metric, text, labels=["log"])
        for path in known:
            family.add_metric([path], _log_counter(snapshot, path, name))
        yield family
    up = GaugeMetricFamily(PREFIX + "log_up", "1 while a log can be read.", labels=["log"])
    lag = GaugeMetricFamily(
        PREFIX + "log_lag_bytes", "Bytes of a log that are not judged yet.", labels=["log"]
    )
    last = GaugeMetricFamily(
        PREFIX + "log_last_hit_timestamp_seconds", "Time in the latest hit.", labels=["log"]
    )
    for state in snapshot.logs:
        up.add_metric([state.path], state.up)
        lag.add_metric([state.path], state.lag_bytes)
        last.add_metric([state.path], state.last_event)
    yield from (up, lag, last)


def _log_counter(snapshot: Snapshot, path: str, name: str) -> int:
    if name == "requests":
        lines = snapshot.counters.get((path, "lines"), 0)
        return lines - snapshot.counters.get((path, "unparsed"), 0)
    return snapshot.counters.get((path, name), 0)


def _ban_families(snapshot: Snapshot) -> Iterator[Metric]:
    bans = CounterMetricFamily(PREFIX + "bans", "Bans made, by trap.", labels=["trap"])
    for trap in [*snapshot.traps, "manual"]:
        bans.add_metric([trap], snapshot.counters.get(("", f"bans:{trap}"), 0))
    yield bans
    friends = CounterMetricFamily(
        PREFIX + "friend_hits_by_reason", "Hits of friends, by why they are.", labels=["reason"]
    )
    for (_, name), value in sorted(snapshot.counters.items()):
        if name.startswith("friends:"):
            friends.add_metric([name.removeprefix("friends:")], value)
    yield friends
    for name, (metric, text) in _TOTALS.items():
        value = snapshot.counters.get(("", name), 0)
        yield CounterMetricFamily(PREFIX + metric, text, value=value)
    active = GaugeMetricFamily(PREFIX + "active_bans", "Bans that stand.", labels=["family"])
    for family in ("ipv4", "ipv6"):
        active.add_metric([family], snapshot.gauges.get(f"active_{family}", 0))
    yield active


def _firewall_families(snapshot: Snapshot) -> Iterator[Metric]:
    if snapshot.drops is not None:
        drops = snapshot.drops
        packets = CounterMetricFamily(
            PREFIX + "dropped_packets", "Packets of banned addresses dropped.", labels=["family"]
        )
        octets = CounterMetricFamily(
            PREFIX + "dropped_bytes", "Bytes of banned addresses dropped.", labels=["family"]
        )
        packets.add_metric(["ipv4"], drops.packets4)
        packets.add_metric(["ipv6"], drops.packets6)
        octets.add_metric(["ipv4"], drops.bytes4)
        octets.add_metric(["ipv6"], drops.bytes6)
        yield from (packets, octets)
    for name, text, values in (
        ("nft_operations", "Operations asked of the kernel's nf_tables.", snapshot.operations),
        ("nft_failures", "Operations that the kernel refused.", snapshot.failures),
    ):
        family = CounterMetricFamily(PREFIX + name, text, labels=["operation"])
        for operation in sorted(snapshot.operations):
            family.add_metric([operation], values.get(operation, 0))
        yield family


class Metrics:
    """The registry of one daemon."""

    def __init__(self, source: HasSnapshot) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Collector(source))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.latency = Histogram(
            PREFIX + "ban_latency_seconds",
            "From reading the deciding line to the kernel's acknowledgement.",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type."""
        encoder, content_type = choose_encoder(accept)
        text: bytes = encoder(self.registry)
        return text, content_type


# HTTP ------------------------------------------------------------------------------------------


class MetricsServer:
    """Serves ``/metrics``: HTTP/1.1, one request per connection, on the loop.

    Args:
        metrics: what to serve.
        refresh: awaited before each scrape.
        web: a ``web.config.file``, which says who may ask and how; everybody if there is none.
    """

    def __init__(
        self,
        metrics: Metrics,
        refresh: Callable[[], Awaitable[None]] | None = None,
        web: str = "",
    ) -> None:
        self._metrics = metrics
        self._refresh = refresh
        self._web_file = web
        self._web = WebConfig()
        self._doorkeeper = Doorkeeper()
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._clients = 0

    async def start(self, endpoint: tuple[str, int] | str) -> None:
        """Listen.

        Raises:
            OSError: the address is taken.
            ConfigError: the ``web.config.file`` is wrong: nothing rather than to everybody.
        """
        if self._web_file:
            self._web = await asyncio.to_thread(load, Path(self._web_file))
        self._socket = await asyncio.to_thread(_listening, endpoint)
        self._server = await self._serving(self._socket)

    async def reread(self) -> bool:
        """Take the ``web.config.file`` if it changed; False if it did not.

        Raises:
            ConfigError: it is wrong; the one before goes on.
        """
        if self._socket is None or not self._web_file:
            return False
        if not await asyncio.to_thread(changed, self._web):
            return False
        self._web = await asyncio.to_thread(load, Path(self._web_file))
        # The socket goes on listening meanwhile: nobody finds the door closed.
        before, self._server = self._server, await self._serving(self._socket)
        if before is not None:
            before.close()
        return True

    async def _serving(self, listening: socket.socket) -> asyncio.Server:
        tls = self._web.tls
        return await asyncio.start_server(
            self._serve,
            sock=listening.dup(),
            limit=MAX_REQUEST,
            ssl=tls,
            ssl_handshake_timeout=TIMEOUT if tls else None,
            ssl_shutdown_timeout=TIMEOUT if tls else None,
        )

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._doorkeeper.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        # Drained is drained: nothing is left behind for a client that does not read.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            if self._clients <= MAX_CLIENTS:
                async with asyncio.timeout(TIMEOUT):
                    await self._answer(reader, writer)
            writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # who went away or said nothing sensible has had his chance
        finally:
            self._clients -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, _, rest = head[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        more = ""
        if not await self._doorkeeper.lets_in(self._web.users, _header(head, "authorization")):
            status, kind, body = "401 Unauthorized", "text/plain", b"name and password, please\n"
            more = 'WWW-Authenticate: Basic realm="metrics", charset="UTF-8"\r\n'
        elif method not in {"GET", "HEAD"}:
            status, kind, body = "405 Method Not Allowed", "text/plain", b"GET only\n"
        elif path != "/metrics":
            status, kind, body = "404 Not Found", "text/plain", b"the metrics are at /metrics\n"
        else:
            body, kind = await self._scrape(_header(head, "accept"))
            status = "200 OK"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"{more}Connection: close\r\n\r\n".encode()
        )
        if method != "HEAD":
            writer.write(body)
        await writer.drain()

    async def _scrape(self, accept: str) -> tuple[bytes, str]:
        if self._refresh is not None:
            await self._refresh()
        return self._metrics.exposition(accept)


def _header(head: list[str], name: str) -> str:
    """Return a header's first value, or nothing."""
    start = f"{name}:"
    return next((line[len(start) :] for line in head[1:] if line.lower().startswith(start)), "")


def _listening(endpoint: tuple[str, int] | str) -> socket.socket:
    """Return a socket that listens; one that a dead daemon left is replaced."""
    if isinstance(endpoint, tuple):
        family = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET
        return socket.create_server(endpoint, family=family, backlog=MAX_CLIENTS)
    if Path(endpoint).is_socket():
        Path(endpoint).unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(endpoint)
        made.listen(MAX_CLIENTS)
    except OSError:
        made.close()
        raise
    return made
