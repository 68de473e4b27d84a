"""The server of the control socket: each request and each answer is one line of JSON.

A request is ``{"command": NAME, …}``, an answer ``{"ok": true, …}`` or ``{"ok": false, "code":
N, "error": TEXT}`` with the exit code of the command line.

Root, the daemon's user and the group of the socket may send requests.  That group is the daemon's
or, in a directory with the setgid bit, the group of the directory.  The mode of the socket enforces
it, and the credentials of the peer (SO_PEERCRED, unix(7)) are checked as well.

There are ceilings for the length of a request, for the time that a client may be idle or not read
its answer, and for the number of clients.  When it is reached, the client that has been idle
longest is evicted, so that idle clients can't lock out others.

The client is ``cli/client.py``, which does not load asyncio, because that takes longer than the
whole command ``status``.
"""

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from blocker.errors import BlockerError, NotPermittedError, NotReachableError, UsageError
from blocker.service.protocol import MAX_REQUEST, NOT_FOR_THIS_USER
from blocker.telemetry.server import ClientCounts

MAX_CLIENTS = 64
"""Ceiling of the connections."""
PATIENCE = 30.0
"""Timeout for a client's request, and for a client to read its answer, seconds."""
RELOAD = 45.0
"""Timeout of a request that waits for the end of a reload, seconds; less than the client's."""
FINISH = 10.0
"""Timeout for finishing the requests under way before a reload, seconds."""

_SO_PEERGROUPS = 59
"""From asm-generic/socket.h; Python's socket module does not define it."""
_A_REQUEST = 'write one object a line, with a command, such as {"command": "status"}'

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class ControlServer:
    """Serves a Unix socket that root and one group may write to.

    It keeps listening during a reload: requests that arrive while there are no handlers wait.

    Args:
        handlers: handlers by command; None until ``serve`` is called.
        patience: timeout for a request, and for a client to read its answer, seconds.

    Attributes:
        counts: counts the clients that were closed.
    """

    def __init__(
        self, handlers: Mapping[str, Handler] | None = None, patience: float = PATIENCE
    ) -> None:
        self._handlers = handlers
        self._patience = patience
        self._waiting: list[asyncio.Future[None]] = []
        self._answering = 0
        self._quiet: asyncio.Event | None = None
        self._server: asyncio.Server | None = None
        self._path = ""
        self._group = -1
        # Ordered by the last request: the first one has been idle longest.
        self._idle: dict[asyncio.StreamWriter, None] = {}
        self._busy: set[asyncio.StreamWriter] = set()
        self.counts = ClientCounts()

    async def start(self, path: str) -> None:
        """Listen at a path, and close the previous socket.

        A stale socket is replaced; the socket of a running daemon and any other file are not.

        Raises:
            BlockerError: another daemon answers there, or the path is not a socket.
            OSError: the directory is missing or not writable.
        """
        if self._server is not None and path == self._path and _is_socket(path):
            return
        _make_room(path)
        server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST)
        os.chmod(path, 0o660)  # noqa: PTH101 - does not block: the socket is ours
        before, self._server = self._server, server
        if before is not None:
            before.close()
            if path != self._path:
                _remove(self._path)
        self._group = os.stat(path).st_gid  # noqa: PTH116 - does not block either
        self._path = path

    def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Use these handlers from now on, also for the requests that wait."""
        self._handlers = handlers
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def pause(self) -> None:
        """Finish the requests under way; further requests wait until ``serve`` is called."""
        self._handlers = None
        if self._answering:
            self._quiet = asyncio.Event()
            try:
                async with asyncio.timeout(FINISH):
                    await self._quiet.wait()
            except TimeoutError:
                pass
            self._quiet = None

    async def close(self) -> None:
        """Stop listening, close all connections, and delete the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for client in [*self._idle, *self._busy]:
                client.transport.abort()
            _remove(self._path)

    async def _serve(self, reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter") -> None:
        refusal = self._refusal_for(writer)
        if refusal is not None:
            self.counts.refused += 1
            # The kernel buffers one line of a new connection at once; nothing waits for the client.
            writer.write(json.dumps(refusal).encode() + b"\n")
            writer.close()
            return
        # With a limit of 0, drain() returns when everything has been sent.
        writer.transport.set_write_buffer_limits(high=0)
        self._idle[writer] = None
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, TimeoutError):
            self.counts.refused += 1  # the client timed out or disconnected
        finally:
            self._idle.pop(writer, None)
            self._busy.discard(writer)
            writer.transport.abort()

    def _refusal_for(self, writer: "asyncio.StreamWriter") -> dict[str, Any] | None:
        """Return the answer to a client that is not served, with the reason; None to serve it."""
        if not self._permitted(writer):
            return _refusal(NotPermittedError.exit_code, NOT_FOR_THIS_USER)
        if not self._make_room_for_one():
            return _refusal(NotReachableError.exit_code, "too many clients at a time; try again")
        return None

    def _make_room_for_one(self) -> bool:
        """Evict the client idle longest at the ceiling; return False if none is idle."""
        if len(self._idle) + len(self._busy) < MAX_CLIENTS:
            return True
        if not self._idle:
            return False
        longest = next(iter(self._idle))
        del self._idle[longest]
        longest.transport.abort()
        self.counts.evicted += 1
        return True

    async def _serve_one(
        self, reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter"
    ) -> bool:
        """Answer one request; return False if it was the last of the connection."""
        try:
            async with asyncio.timeout(self._patience):
                line = await reader.readline()
        except ValueError:
            line = b""
            answer = _refusal(2, f"a request has at most {MAX_REQUEST} bytes")
        else:
            if not line.endswith(b"\n"):
                return False
            self._idle.pop(writer, None)
            self._busy.add(writer)
            answer = await self._answer(line)
        writer.write(json.dumps(answer).encode() + b"\n")
        async with asyncio.timeout(self._patience):
            await writer.drain()
        self._busy.discard(writer)
        self._idle[writer] = None
        await asyncio.sleep(0)  # a client that sends requests without end must not block the loop
        return bool(line)

    def _permitted(self, writer: "asyncio.StreamWriter") -> bool:
        """Return whether the peer is root, the daemon's user or a member of the socket's group."""
        peer = writer.get_extra_info("socket")
        packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, gid = struct.unpack("3i", packed)
        return uid in {0, os.getuid()} or self._group in {gid, *_supplementary_groups(peer)}

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = _request_in(line)
            handlers = self._handlers if self._handlers is not None else await self._reloaded()
            handler = handlers.get(request["command"])
            if handler is None:
                raise UsageError(f"unknown command; there are {', '.join(handlers)}")
            self._answering += 1
            try:
                return {"ok": True, **await handler(request)}
            finally:
                self._answering -= 1
                if not self._answering and self._quiet is not None:
                    self._quiet.set()
        except BlockerError as error:
            return _refusal(error.exit_code, str(error))
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
            return _refusal(UsageError.exit_code, "a field of the request holds a wrong value")

    async def _reloaded(self) -> Mapping[str, Handler]:
        """Wait for the end of a reload, and return the handlers."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(RELOAD):
                await future
        except TimeoutError:
            self._waiting.remove(future)
        if self._handlers is None:
            raise NotReachableError("the daemon is starting or reloading; try again")
        return self._handlers


def _request_in(line: bytes) -> dict[str, Any]:
    """Return the request in a line.

    Raises:
        UsageError: the line is not a request.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError(f"not JSON; {_A_REQUEST}") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise UsageError(f"not a request; {_A_REQUEST}")
    return request


def _refusal(code: int, text: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "error": text}


def _supplementary_groups(peer: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups that the peer had when it connected.

    They are read from the kernel, because a look-up of the user may go over the network.  If there
    are more groups than the buffer holds, only the primary group is known.
    """
    try:
        packed = peer.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(packed) // 4}I", packed)


def _make_room(path: str) -> None:
    if _answers(path):
        raise BlockerError(f"{path}: another daemon answers there; stop it first")
    if os.path.lexists(path) and not _is_socket(path):
        raise BlockerError(f"{path}: is not a socket; name another path, or move that file away")
    _remove(path)


def _remove(path: str) -> None:
    """Delete a socket; another kind of file at its path is left alone."""
    if _is_socket(path):
        Path(path).unlink(missing_ok=True)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
