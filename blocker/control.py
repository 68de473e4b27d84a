"""The control socket: one line of JSON asked, one line of JSON answered.

A request is ``{"command": NAME, …}``, an answer ``{"ok": true, …}`` or ``{"ok": false, "code":
N, "error": TEXT}`` with the exit code of the command line.  Everything has a ceiling: the length
of a request, the clients at a time, the time a client may be silent.

The client half is blocking and imports little: ``status`` answers before asyncio would be loaded.
"""

import errno
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocker.config import duration
from blocker.errors import BlockerError, NotPermittedError, NotReachableError, UsageError
from blocker.lines import parse_address
from blocker.model import Subject, subject_of

if TYPE_CHECKING:
    import asyncio

MAX_REQUEST = 4096
MAX_CLIENTS = 64
IDLE = 30.0
CLIENT_TIMEOUT = 60.0

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


# Server ----------------------------------------------------------------------------------------


class ControlServer:
    """Answers on a socket that root and one group may write to.

    Args:
        handlers: by command.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._path = ""
        self._clients = 0
        self.refused = 0

    async def start(self, path: str) -> None:
        """Listen; a socket that a dead daemon left is replaced, a living one is not.

        Raises:
            BlockerError: another daemon answers there.
            OSError: the directory is missing or not writable.
        """
        import asyncio  # noqa: PLC0415 - the client half does without

        _make_room(path)
        self._server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST)
        os.chmod(path, 0o660)  # noqa: PTH101 - on a socket of our own it does not block
        self._path = path

    async def close(self) -> None:
        """Stop listening and take the socket away."""
        if self._server is not None:
            self._server.close()
            self._server = None
            _remove(self._path)

    async def _serve(self, reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter") -> None:
        import asyncio  # noqa: PLC0415

        self._clients += 1
        try:
            if self._clients > MAX_CLIENTS or not self._permitted(writer):
                self.refused += 1
                return
            while True:
                async with asyncio.timeout(IDLE):
                    line = await reader.readline()
                if not line:
                    return
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                async with asyncio.timeout(IDLE):
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            self.refused += 1  # too long, too silent, or gone: the client's own problem
        finally:
            self._clients -= 1
            writer.close()

    @staticmethod
    def _permitted(writer: "asyncio.StreamWriter") -> bool:
        """Root, the daemon's own user, or whom the socket's group let connect (unix(7))."""
        peer = writer.get_extra_info("socket")
        packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, gid = struct.unpack("3i", packed)
        groups = {os.getgid(), *os.getgroups()}
        return uid in {0, os.getuid()} or gid in groups or _is_member(uid, os.getgid())

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            handler = self._handlers.get(request["command"])
            if handler is None:
                return {"ok": False, "code": 2, "error": "unknown command"}
            return {"ok": True, **await handler(request)}
        except BlockerError as error:
            return {"ok": False, "code": error.exit_code, "error": str(error)}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            return {"ok": False, "code": 2, "error": f"not a request: {error}"}


def _is_member(uid: int, gid: int) -> bool:
    """Whether a user is in a group by the host's own files."""
    import grp  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(uid).pw_name in grp.getgrgid(gid).gr_mem
    except KeyError:
        return False


def _make_room(path: str) -> None:
    if _answers(path):
        raise BlockerError(f"{path}: another daemon answers there; stop it first")
    _remove(path)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def requested_subject(text: str, ipv6_prefix: int) -> Subject:
    """Return the subject that an administrator names: an address, or a network as printed.

    Raises:
        UsageError: it is neither.
    """
    host, slash, length = text.strip().partition("/")
    address = parse_address(host.encode("utf-8", "replace"))
    if address is None:
        raise UsageError(f"{text!r} is no address of a client")
    whole = 32 if len(address) == 4 else ipv6_prefix
    if slash and length != str(whole):
        raise UsageError(f"{text}: bans are made for /{whole} here; name an address")
    return subject_of(address, ipv6_prefix)


def requested_length(text: str) -> int:
    """Return the microseconds of a duration that an administrator names.

    Raises:
        UsageError: it is none.
    """
    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from None


# Client ----------------------------------------------------------------------------------------


def ask(path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the daemon and return its answer.

    Raises:
        NotReachableError: nobody answers there.
        NotPermittedError: the socket is not for this user.
        BlockerError: with the exit code of the daemon's refusal.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CLIENT_TIMEOUT)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                text = lines.readline()
    except OSError as error:
        raise _unreachable(path, error) from None
    if not text:
        raise NotPermittedError(f"{path}: the daemon does not talk to this user; try as root")
    answer: dict[str, Any] = json.loads(text)
    if not answer.pop("ok"):
        refusal = BlockerError(answer["error"])
        refusal.exit_code = answer["code"]
        raise refusal
    return answer


def _unreachable(path: str, error: OSError) -> BlockerError:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermittedError(f"{path}: not for this user; try as root")
    return NotReachableError(
        f"{path}: no daemon answers ({os.strerror(error.errno or errno.ETIMEDOUT)}); "
        "is it running? try: systemctl status xmlrpc-blocker"
    )
