"""HTTP for ``/metrics``: a ceiling on clients that holds from the accept on.

Rules:

* A connection counts from accept(2) on, before any TLS handshake, and until it is closed.
* When all places are taken, the client that has been idle longest gives way, so that idle clients
  keep no scraper out.  A client is idle until its request has arrived, and again when it has its
  answer.  It keeps its place for ``GRACE`` seconds; until then newcomers wait in the kernel's
  queue.
* Whatever goes wrong with a client, its connection is closed, and the server goes on.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from blocker.errors import ConfigError
from blocker.metrics import Metrics
from blocker.webconfig import Doorkeeper, WebConfig, changed, load

MAX_REQUEST = 8192
"""Bytes of a request's head."""
TIMEOUT = 10.0
"""Seconds that a client has for everything: handshake, request and answer."""
FAREWELL = 1.0
"""Seconds that a TLS client has to confirm the end of the connection."""
MAX_CLIENTS = 64
GRACE = 0.25
"""Seconds that an idle client keeps its place when others wait for one, or at the end."""
PAUSE = 1.0
"""Seconds until accept is tried again when the process has no descriptor left."""


class _Client:
    """One accepted connection.

    Attributes:
        connection: its socket.
        since: when it became idle, seconds of the loop.
        busy: whether a request has arrived and is not answered yet.
        task: what serves it.
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

    Connections wait in the kernel's queue meanwhile, and nobody else gets the port.
    """

    def __init__(self) -> None:
        self._endpoint: tuple[str, int] | str | None = None
        self._socket: socket.socket | None = None

    async def open(self, endpoint: tuple[str, int] | str) -> socket.socket:
        """Listen there, and no longer where it listened before.

        Raises:
            OSError: the address is taken.
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
        metrics: what to serve.
        refresh: awaited before each scrape.
        web: a ``web.config.file``, which says which clients are served and how; all of them if
            there is none.
        listener: what it listens on, kept by somebody else; if not given, one of its own.

    Attributes:
        refused: clients that were too silent, or sent something that is no request.
        evicted: idle clients that had to make room for others.
    """

    def __init__(
        self,
        metrics: Metrics,
        refresh: Callable[[], Awaitable[None]] | None = None,
        web: str = "",
        listener: Listener | None = None,
    ) -> None:
        self._metrics = metrics
        self._refresh = refresh
        self._web_file = web
        self._web = WebConfig()
        self._doorkeeper = Doorkeeper()
        self._listener = listener or Listener()
        self._owns_listener = listener is None
        self._accepting: asyncio.Task[None] | None = None
        # In the order in which they became idle.
        self._clients: dict[_Client, None] = {}
        self._left = asyncio.Event()
        self.refused = 0
        self.evicted = 0

    async def start(self, endpoint: tuple[str, int] | str) -> None:
        """Listen.

        Raises:
            OSError: the address is taken.
            ConfigError: the ``web.config.file`` is wrong, so nothing is served.
        """
        if self._web_file:
            try:
                self._web = await asyncio.to_thread(load, Path(self._web_file))
            except ConfigError:
                self._listener.close()  # or clients would wait for somebody to accept them
                raise
        listening = await self._listener.open(endpoint)
        self._accepting = asyncio.ensure_future(self._accept(listening))

    async def reread(self) -> bool:
        """Use the ``web.config.file`` if it changed, for connections from now on.

        Returns:
            False if it did not change.

        Raises:
            ConfigError: it is wrong; the one before stays in use.
        """
        if self._accepting is None or not self._web_file:
            return False
        if not await asyncio.to_thread(changed, self._web):
            return False
        self._web = await asyncio.to_thread(load, Path(self._web_file))
        return True

    async def close(self) -> None:
        """Accept nobody any more and close all connections; stop listening on an own socket."""
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
        self._doorkeeper.close()

    # Clients -----------------------------------------------------------------------------------

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections, each when there is a place for it."""
        loop = asyncio.get_running_loop()
        while True:
            await self._room()
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # EMFILE, ENFILE, ENOMEM, or a client that has gone: accept(2)
                await asyncio.sleep(PAUSE)
                continue
            client = _Client(connection, loop.time())
            self._clients[client] = None
            client.task = asyncio.ensure_future(self._serve(client))

    async def _room(self) -> None:
        """Wait until a place is free; take that of the client that has been idle longest."""
        loop = asyncio.get_running_loop()
        while len(self._clients) >= MAX_CLIENTS:
            self._left.clear()
            idlest = next((client for client in self._clients if not client.busy), None)
            left = GRACE if idlest is None else idlest.since + GRACE - loop.time()
            if idlest is not None and left <= 0:
                self.evicted += 1
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
        except Exception:  # noqa: BLE001 - a client chose every byte: none may end the server
            self.refused += 1
        finally:
            del self._clients[client]
            client.connection.close()
            self._left.set()

    async def _converse(self, client: _Client) -> None:
        """Speak TLS if that is configured, then answer one request."""
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
        """Return status, content type and body of the answer to a request."""
        method, _, rest = head[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if not await self._doorkeeper.lets_in(self._web.users, _header(head, "authorization")):
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
    """Return a header's first value, or nothing."""
    start = f"{name}:"
    return next((line[len(start) :] for line in head[1:] if line.lower().startswith(start)), "")


def _listening(endpoint: tuple[str, int] | str) -> socket.socket:
    """Return a non-blocking socket that listens; the socket of a dead daemon is replaced."""
    made = _bound(endpoint)
    made.settimeout(0)
    return made


def _answers(path: str) -> bool:
    """Whether a process listens on a socket."""
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
