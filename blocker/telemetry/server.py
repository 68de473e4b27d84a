"""HTTP server for ``/metrics``, with a ceiling on connections.

Rules:

* A connection counts from accept(2), before any TLS handshake, until it is closed.
* At the ceiling, the client that has been idle longest is evicted, so that idle clients can't lock
  out a scraper.  A client is idle until its request has arrived, and again after the response was
  sent.  It is not evicted before ``GRACE`` seconds; new connections then wait in the kernel's
  backlog.
* After any error the connection is closed, and the server goes on.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from blocker.errors import ConfigError
from blocker.telemetry.exposition import Metrics
from blocker.telemetry.webconfig import Authenticator, WebConfig, changed, load
from blocker.threads import Patience

_T = TypeVar("_T")
FILE_PATIENCE = 1.0
"""Timeout for reading the ``web.config.file``, seconds."""
MAX_REQUEST = 8192
"""Ceiling of a request's head, bytes."""
TIMEOUT = 10.0
"""Timeout of a connection, seconds: handshake, request and response together."""
FAREWELL = 1.0
"""Timeout for a TLS client to confirm the end of the connection, seconds."""
MAX_CLIENTS = 64
"""Ceiling of the connections."""
GRACE = 0.25
"""Seconds before an idle client is evicted, and before clients are dropped at the end."""
PAUSE = 1.0
"""Seconds before accept is retried after an error, such as no free descriptor."""


@dataclass(slots=True)
class ClientCounts:
    """Clients that a server closed.

    Attributes:
        refused: number of clients that timed out or sent an invalid request.
        evicted: number of idle clients evicted at the ceiling.
    """

    refused: int = 0
    evicted: int = 0


class _Client:
    """One accepted connection.

    Attributes:
        connection: the accepted socket.
        since: time when it became idle, seconds of the loop's clock.
        busy: whether a request has arrived and the response is not sent yet.
        task: the task that serves it.
    """

    def __init__(self, connection: socket.socket, since: float) -> None:
        self.connection = connection
        self.since = since
        self.busy = False
        self.task: asyncio.Task[None] | None = None

    def drop(self) -> None:
        """Close the connection and stop serving it."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        if self.task is not None:
            self.task.cancel()


class Listener:
    """The listening socket, which stays open over reloads that keep its endpoint.

    During a reload connections wait in the kernel's backlog, and no other process gets the port.
    """

    def __init__(self) -> None:
        self._endpoint: tuple[str, int] | str | None = None
        self._socket: socket.socket | None = None

    async def open(self, endpoint: tuple[str, int] | str) -> socket.socket:
        """Listen on an endpoint, and close the previous one if it differs.

        Raises:
            OSError: the address is in use.
        """
        if self._socket is None or endpoint != self._endpoint:
            made = await asyncio.to_thread(_listening, endpoint)
            self.close()
            self._endpoint, self._socket = endpoint, made
        return self._socket

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class MetricsServer:
    """Serves ``/metrics``: HTTP/1.1, one request per connection, on the loop.

    Args:
        metrics: the metrics to serve.
        refresh: awaited before each scrape.
        web: path of a ``web.config.file`` with TLS and users; without one, every client is served
            over plain HTTP.
        listener: a listener that the caller owns and closes; by default the server makes its own.
        counts: counts the clients that were closed; by default the server makes its own.
    """

    def __init__(
        self,
        metrics: Metrics,
        refresh: Callable[[], Awaitable[None]] | None = None,
        web: str = "",
        listener: Listener | None = None,
        counts: ClientCounts | None = None,
    ) -> None:
        self._metrics = metrics
        self._refresh = refresh
        self._web_file = web
        self._files = Patience("webconfig", FILE_PATIENCE)
        self._web = WebConfig()
        self._authenticator = Authenticator()
        self._listener = listener or Listener()
        self._owns_listener = listener is None
        self._accepting: asyncio.Task[None] | None = None
        # Ordered by the time when they became idle.
        self._clients: dict[_Client, None] = {}
        self._left = asyncio.Event()
        self.counts = ClientCounts() if counts is None else counts

    async def start(self, endpoint: tuple[str, int] | str) -> None:
        """Listen and accept connections.

        Raises:
            OSError: the address is in use.
            ConfigError: the ``web.config.file`` is invalid, so nothing is served.
        """
        if self._web_file:
            try:
                self._web = await self._ask(load, Path(self._web_file))
            except ConfigError:
                self._listener.close()  # otherwise clients would wait in the backlog
                raise
        listening = await self._listener.open(endpoint)
        self._accepting = asyncio.ensure_future(self._accept(listening))

    async def reread(self) -> bool:
        """Reload the ``web.config.file`` if it changed; it applies to new connections.

        Returns:
            False if it did not change.

        Raises:
            ConfigError: the file is invalid; the previous configuration stays in use.
        """
        if self._accepting is None or not self._web_file:
            return False
        if not await self._ask(changed, self._web):
            return False
        self._web = await self._ask(load, Path(self._web_file))
        return True

    async def _ask(self, call: Callable[..., _T], about: object) -> _T:
        """Call a function that reads files, in a thread, because the disk may hang.

        Raises:
            ConfigError: the file is invalid, or the disk does not answer in time.
        """
        try:
            return await self._files.ask(call, about)
        except TimeoutError:
            raise ConfigError(f"{self._web_file}: no answer from its disk") from None

    async def close(self) -> None:
        """Stop accepting, close all connections, and close the listener if the server made it."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
            self._accepting = None
        tasks = {client.task for client in self._clients if client.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
            for client in list(self._clients):
                client.drop()
            await asyncio.wait(tasks)
        if self._owns_listener:
            self._listener.close()
        self._authenticator.close()
        self._files.close()

    # Clients -----------------------------------------------------------------------------------

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections while their number is below the ceiling."""
        loop = asyncio.get_running_loop()
        while True:
            await self._room()
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # EMFILE, ENFILE, ENOMEM, or the client has disconnected: accept(2)
                await asyncio.sleep(PAUSE)
                continue
            client = _Client(connection, loop.time())
            self._clients[client] = None
            client.task = asyncio.ensure_future(self._serve(client))

    async def _room(self) -> None:
        """Wait until there are fewer connections than the ceiling; evict the longest idle one."""
        loop = asyncio.get_running_loop()
        while len(self._clients) >= MAX_CLIENTS:
            self._left.clear()
            idlest = next((client for client in self._clients if not client.busy), None)
            left = GRACE if idlest is None else idlest.since + GRACE - loop.time()
            if idlest is not None and left <= 0:
                self.counts.evicted += 1
                idlest.drop()
                left = TIMEOUT
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._left.wait()

    async def _serve(self, client: _Client) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._converse(client)
        except asyncio.CancelledError:
            pass  # evicted, or the server is closing
        except Exception:  # noqa: BLE001 - client disconnected or sent a bad request
            self.counts.refused += 1
        finally:
            del self._clients[client]
            client.connection.close()
            self._left.set()

    async def _converse(self, client: _Client) -> None:
        """Do the TLS handshake if configured, then answer one request."""
        loop, tls = asyncio.get_running_loop(), self._web.tls
        reader = asyncio.StreamReader(MAX_REQUEST)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            client.connection,
            ssl=tls,
            ssl_handshake_timeout=TIMEOUT if tls else None,
            ssl_shutdown_timeout=FAREWELL if tls else None,
        )
        # With a limit of 0, drain() returns when everything has been sent.
        transport.set_write_buffer_limits(high=0)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._answer(reader, writer, client)
            writer.close()
            await writer.wait_closed()
        finally:
            transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: _Client
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        client.busy = True
        method = head[0].partition(" ")[0]
        status, kind, body = await self._reply(head)
        more = 'WWW-Authenticate: Basic realm="metrics", charset="UTF-8"\r\n'
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"{more * status.startswith('401')}Connection: close\r\n\r\n".encode()
        )
        if method != "HEAD":
            writer.write(body)
        await writer.drain()
        client.busy, client.since = False, asyncio.get_running_loop().time()
        self._clients[client] = self._clients.pop(client)

    async def _reply(self, head: list[str]) -> tuple[str, str, bytes]:
        """Return status, content type and body of the response to a request."""
        method, _, rest = head[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if not await self._authenticator.accepts(self._web.users, _header(head, "authorization")):
            return "401 Unauthorized", "text/plain", b"authentication required\n"
        if method not in {"GET", "HEAD"}:
            return "405 Method Not Allowed", "text/plain", b"GET only\n"
        if path != "/metrics":
            return "404 Not Found", "text/plain", b"the metrics are at /metrics\n"
        if self._refresh is not None:
            await self._refresh()
        body, kind = await self._metrics.exposition(_header(head, "accept"))
        return "200 OK", kind, body


def _header(head: list[str], name: str) -> str:
    """Return the first value of a header, or ""."""
    start = f"{name}:"
    return next((line[len(start) :] for line in head[1:] if line.lower().startswith(start)), "")


def _listening(endpoint: tuple[str, int] | str) -> socket.socket:
    """Return a non-blocking listening socket; a stale Unix socket is replaced."""
    made = _bound(endpoint)
    made.settimeout(0)
    return made


def _answers(path: str) -> bool:
    """Return whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        with suppress(OSError):
            probe.connect(path)
            return True
    return False


def _bound(endpoint: tuple[str, int] | str) -> socket.socket:
    if isinstance(endpoint, tuple):
        family = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET
        return socket.create_server(endpoint, family=family, backlog=MAX_CLIENTS)
    if Path(endpoint).is_socket() and not _answers(endpoint):
        Path(endpoint).unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(endpoint)
        made.listen(MAX_CLIENTS)
    except OSError:
        made.close()
        raise
    return made
