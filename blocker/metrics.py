"""What Prometheus sees: a view of the truth, read when it is asked for.

No thread, no second bookkeeping: a collector over a snapshot of the figures, in the words of the
catalogue; its own registry per daemon, and a few lines of HTTP on the loop.  No label is the
attacker's to choose: ``log`` is a path that the configuration's globs found, ``trap`` a configured
name; ``client_ip`` is who he is, and only so many are told.

The counters are stored with the positions, so that they go on where they were after a restart.
"""

import asyncio
import socket
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.samples import Sample

from blocker.catalogue import CATALOGUE, PREFIX, Entry
from blocker.figures import Samples, Snapshot
from blocker.firewall import OPERATIONS
from blocker.webconfig import Doorkeeper, WebConfig, changed, load

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
OPERATION_BUCKETS = (0.0005, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 60.0)
TURN = 0.005
"""Seconds that a scrape may hold the loop before it is somebody else's turn."""
_END = b"# EOF\n"
MAX_REQUEST = 8192
TIMEOUT = 10.0
MAX_CLIENTS = 64


class HasSnapshot(Protocol):
    """Who can be asked."""

    def snapshot(self) -> Snapshot:
        """Return how everything stands."""


class Collector:
    """Turns a snapshot into metric families, in the order of the catalogue."""

    def __init__(self, source: HasSnapshot) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Promise nothing at registration: a snapshot may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family, fresh."""
        snapshot = self._source.snapshot()
        for name, entry in CATALOGUE.items():
            if name in snapshot:
                yield _family(entry, snapshot[name])


def _family(entry: Entry, samples: Samples) -> Metric:
    """Return one family: what the library's classes would make, without a call per sample."""
    family = Metric(PREFIX + entry.name, entry.text, entry.kind)
    series = entry.series
    family.samples = [
        Sample(series, dict(zip(entry.labels, labels, strict=True)), float(value))
        for labels, value in samples.items()
    ]
    return family


class Histogram:
    """Counts durations in buckets, many of one value at once: the library takes each by itself.

    Args:
        name: in the catalogue.
        bounds: of the buckets, seconds, rising; what is longer has one more.
        series: values of its label, if it has one.
    """

    def __init__(self, name: str, bounds: Sequence[float], series: Iterable[str] = ("",)) -> None:
        self._entry, self._bounds = CATALOGUE[name], bounds
        self._counts = {each: [0] * (len(bounds) + 1) for each in series}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, seconds: float, count: int, series: str = "") -> None:
        """Count so many of that length."""
        self._counts[series][bisect_left(self._bounds, seconds)] += count
        self._sums[series] += seconds * count

    def collect(self) -> Iterator[Metric]:
        """Yield the family, fresh."""
        entry, bounds = self._entry, [*map(str, self._bounds), "+Inf"]
        family = HistogramMetricFamily(PREFIX + entry.name, entry.text, labels=entry.labels)
        for series, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([series] if series else [], buckets, self._sums[series])
        yield family


class Metrics:
    """The registry of one daemon."""

    def __init__(self, source: HasSnapshot) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Collector(source))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._latency = Histogram("ban_latency_seconds", LATENCY_BUCKETS)
        self._operations = Histogram(
            "nft_operation_duration_seconds", OPERATION_BUCKETS, OPERATIONS
        )
        self.registry.register(self._latency)
        self.registry.register(self._operations)

    def observe_latency(self, seconds: float, count: int) -> None:
        """Note how long so many bans took, all at once."""
        self._latency.observe(seconds, count)

    def observe_operation(self, name: str, seconds: float) -> None:
        """Note how long the kernel took."""
        self._operations.observe(seconds, 1, name)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type.

        It is written on the loop, in turns: with a thousand logs it takes a tenth of a second.  Not
        in a thread: while a disk hangs, and the threads with it, somebody has to tell.
        """
        encoder, content_type = choose_encoder(accept)
        text, pause = b"", monotonic() + TURN
        for family in self.registry.collect():
            text += encoder(_One(family)).removesuffix(_END)
            if monotonic() >= pause:
                await asyncio.sleep(0)
                pause = monotonic() + TURN
        return text + _END * ("openmetrics" in content_type), content_type


class _One(NamedTuple):
    """One family, where the library wants a registry."""

    family: Metric

    def collect(self) -> list[Metric]:
        """Return it."""
        return [self.family]


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
        return await self._metrics.exposition(accept)


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
