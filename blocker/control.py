"""The control socket: one line of JSON asked, one line of JSON answered.

A request is ``{"command": NAME, …}``, an answer ``{"ok": true, …}`` or ``{"ok": false, "code":
N, "error": TEXT}`` with the exit code of the command line.

Who may ask: root, the daemon's own user, and the socket's one group, which is the daemon's or, in
a directory with the setgid bit, that of the directory.  The file's mode says so, and the kernel's
word on who connected (unix(7)) is asked as well.

Everything has a ceiling: the length of a request, the time a client may be silent or not read its
answer, and the clients at a time.  When those are reached, whoever has been idle longest has to
go, so that idle clients keep nobody out.

The client half is blocking and imports little: ``status`` answers before asyncio would be loaded.
"""

import errno
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocker.errors import BlockerError, NotPermittedError, NotReachableError, UsageError

if TYPE_CHECKING:
    import asyncio

MAX_REQUEST = 64 << 10
"""Bytes: some thousands of addresses.  All clients together may have twice as much waiting each."""
MAX_CLIENTS = 64
PATIENCE = 30.0
RELOAD = 45.0
"""Seconds that a request waits for the end of a reload; less than a client waits."""
FINISH = 10.0
"""Seconds that a reload waits for the answers under way."""
CLIENT_TIMEOUT = 60.0
"""Seconds: longer than the firewall waits for its turn in the kernel."""
QUICK_TIMEOUT = 10.0
"""Seconds for what the daemon answers from memory."""
MAX_ANSWER_PARTS = 4096
"""Pieces of up to 64 KiB in one answer."""

_SO_PEERGROUPS = 59
"""Of asm-generic/socket.h; Python has no name for it."""

_NOT_FOR_THIS_USER = "not for this user; try as root"
_A_REQUEST = 'write one object a line, with a command, such as {"command": "status"}'
_SAME_VERSION = "is it the daemon's socket, and the daemon of the same version?"

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


# Server ----------------------------------------------------------------------------------------


class ControlServer:
    """Answers on a socket that root and one group may write to.

    It listens on over a reload: requests that arrive while there are no handlers wait for them.

    Args:
        handlers: by command; None until ``serve`` has been called.
        patience: seconds that a client may be silent, or not read.
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
        # In the order of their last request: the first has been idle longest.
        self._idle: dict[asyncio.StreamWriter, None] = {}
        self._busy: set[asyncio.StreamWriter] = set()
        self.refused = 0
        self.evicted = 0

    async def start(self, path: str) -> None:
        """Listen there, and no longer where it listened before.

        The socket of a dead daemon is replaced; that of a living one, and any other file, is not.

        Raises:
            BlockerError: another daemon answers there, or something else has that name.
            OSError: the directory is missing or not writable.
        """
        import asyncio  # noqa: PLC0415 - the client half does without

        if self._server is not None and path == self._path and _is_socket(path):
            return
        _make_room(path)
        server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST)
        os.chmod(path, 0o660)  # noqa: PTH101 - on a socket of our own it does not block
        before, self._server = self._server, server
        if before is not None:
            before.close()
            if path != self._path:
                _remove(self._path)
        self._group = os.stat(path).st_gid  # noqa: PTH116 - nor does this
        self._path = path

    def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Answer by these handlers from now on, those first that wait."""
        self._handlers = handlers
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def pause(self) -> None:
        """Finish the answers under way, and let further requests wait until ``serve``."""
        import asyncio  # noqa: PLC0415

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
        """Stop listening, hang up, and take the socket away."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for client in [*self._idle, *self._busy]:
                client.transport.abort()
            _remove(self._path)

    async def _serve(self, reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter") -> None:
        refusal = self._refused_at_the_door(writer)
        if refusal is not None:
            self.refused += 1
            # Of a new connection the kernel takes one line at once; nothing waits for the client.
            writer.write(json.dumps(refusal).encode() + b"\n")
            writer.close()
            return
        # Drained is drained: nothing is left behind for a client that does not read.
        writer.transport.set_write_buffer_limits(high=0)
        self._idle[writer] = None
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, TimeoutError):
            self.refused += 1  # too silent, or gone: the client's own problem
        finally:
            self._idle.pop(writer, None)
            self._busy.discard(writer)
            writer.transport.abort()

    def _refused_at_the_door(self, writer: "asyncio.StreamWriter") -> dict[str, Any] | None:
        """Return the answer to a client that is not served at all, so that it can tell why."""
        if not self._permitted(writer):
            return _refusal(NotPermittedError.exit_code, _NOT_FOR_THIS_USER)
        if not self._make_room_for_one():
            return _refusal(NotReachableError.exit_code, "too many clients at a time; try again")
        return None

    def _make_room_for_one(self) -> bool:
        """Send away who has been idle longest, if need be; False if everybody is being served."""
        if len(self._idle) + len(self._busy) < MAX_CLIENTS:
            return True
        if not self._idle:
            return False
        longest = next(iter(self._idle))
        del self._idle[longest]
        longest.transport.abort()
        self.evicted += 1
        return True

    async def _serve_one(
        self, reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter"
    ) -> bool:
        """Answer one request; False if that was the last."""
        import asyncio  # noqa: PLC0415

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
        await asyncio.sleep(0)  # whoever asks without end does not hold up the loop
        return bool(line)

    def _permitted(self, writer: "asyncio.StreamWriter") -> bool:
        """Root, the daemon's own user, or a member of the socket's group."""
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
        """Wait for handlers and return them."""
        import asyncio  # noqa: PLC0415

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
    """Return the request that a line holds.

    Raises:
        UsageError: it holds none.
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
    """Return the further groups that the peer had when it connected.

    Asked of the kernel, for a look-up of the user may go over the network.  Whoever has more
    groups than an answer holds is known by the first one only.
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
    """Delete a socket; anything else that has its name by now is left alone."""
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


# Client ----------------------------------------------------------------------------------------


class Answer(dict[str, Any]):
    """What the daemon answered; a key that it lacks is an error of its own, not a ``KeyError``."""

    def __missing__(self, key: str) -> Any:
        """Refuse to guess."""
        raise NotReachableError(f"the daemon's answer has no {key!r}; {_SAME_VERSION}")


def ask(path: str, request: Mapping[str, Any], patience: float = CLIENT_TIMEOUT) -> Answer:
    """Ask the daemon and return its answer.

    Args:
        path: of the socket.
        request: the command and its arguments.
        patience: seconds that the daemon may be silent.

    Raises:
        NotReachableError: no daemon answers there, or it hangs up in the middle.
        NotPermittedError: the socket is not for this user.
        BlockerError: with the exit code of the daemon's refusal.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience)
            connection.connect(path)
            text = _exchange(connection, json.dumps(request).encode() + b"\n")
    except OSError as error:
        raise _unreachable(path, error, patience) from None
    if not text.endswith(b"\n"):
        raise NotReachableError(
            f"{path}: the daemon hung up before it had answered: it may be restarting; try again"
        )
    return _understood(path, text)


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    """Return the answer to a request, or as much of it as came before the daemon hung up."""
    with suppress(BrokenPipeError, ConnectionResetError):
        # A daemon that refuses a client says so and hangs up: that may be there to read already.
        # Without the flag a pipe's signal would end this process before a word is said.
        connection.sendall(request, socket.MSG_NOSIGNAL)
    parts: list[bytes] = []
    with suppress(ConnectionResetError):
        while not (parts and parts[-1].endswith(b"\n")):
            part = connection.recv(1 << 16)
            if not part:
                break
            parts.append(part)
            if len(parts) > MAX_ANSWER_PARTS:
                raise NotReachableError("the daemon's answer does not end; is it the right socket?")
    return b"".join(parts)


def _understood(path: str, text: bytes) -> Answer:
    """Return what an answer says, or raise what it refuses."""
    try:
        answer = dict(json.loads(text))
        if answer.pop("ok") is True:
            return Answer(answer)
        refusal = BlockerError(str(answer["error"]))
        refusal.exit_code = int(answer["code"])
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
        raise NotReachableError(
            f"{path}: what answers there does not speak as the daemon does; {_SAME_VERSION}"
        ) from None
    raise refusal


def _unreachable(path: str, error: OSError, patience: float) -> BlockerError:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermittedError(f"{path}: {_NOT_FOR_THIS_USER}")
    if isinstance(error, TimeoutError):
        return NotReachableError(
            f"{path}: the daemon does not answer within {patience:.0f} s; "
            "see: systemctl status xmlrpc-blocker"
        )
    return NotReachableError(
        f"{path}: no daemon answers ({os.strerror(error.errno or errno.ETIMEDOUT)}); "
        "is it running, with this configuration?"
    )
