"""Sends requests to the daemon over its control socket."""

import errno
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from blocker.errors import BlockerError, NotPermittedError, NotReachableError
from blocker.service.protocol import NOT_FOR_THIS_USER, SAME_VERSION

CLIENT_TIMEOUT = 60.0
"""Timeout of a request, seconds; longer than the firewall waits for the kernel's lock."""
QUICK_TIMEOUT = 10.0
"""Timeout of a request that the daemon answers from memory, seconds."""
MAX_ANSWER_PARTS = 4096
"""Ceiling of an answer, in parts of up to 64 KiB."""


class Answer(dict[str, Any]):
    """The daemon's answer; a missing key raises an error with advice, not ``KeyError``."""

    def __missing__(self, key: str) -> Any:
        """Raise the error about a missing key."""
        raise NotReachableError(f"the daemon's answer has no {key!r}; {SAME_VERSION}")


def ask(path: str, request: Mapping[str, Any], patience: float = CLIENT_TIMEOUT) -> Answer:
    """Send a request to the daemon, and return its answer.

    Args:
        path: path of the socket.
        request: the command and its arguments.
        patience: timeout, seconds.

    Raises:
        NotReachableError: no daemon answers there, or it closed the connection before it answered.
        NotPermittedError: this user may not use the socket.
        BlockerError: the daemon refused the request; the error has the exit code.
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
            f"{path}: the daemon closed the connection before it answered: it may be restarting;"
            " try again"
        )
    return _understood(path, text)


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    """Return the answer to a request, or the part received before the connection was closed."""
    with suppress(BrokenPipeError, ConnectionResetError):
        # A daemon that refuses a client sends the reason and closes the connection, so the reason
        # may already be readable.  Without the flag, SIGPIPE would end this process before that.
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
    """Return a decoded answer, or raise the error that it reports."""
    try:
        answer = dict(json.loads(text))
        if answer.pop("ok") is True:
            return Answer(answer)
        refusal = BlockerError(str(answer["error"]))
        refusal.exit_code = int(answer["code"])
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
        raise NotReachableError(
            f"{path}: the answer is not in the daemon's protocol; {SAME_VERSION}"
        ) from None
    raise refusal


def _unreachable(path: str, error: OSError, patience: float) -> BlockerError:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermittedError(f"{path}: {NOT_FOR_THIS_USER}")
    if isinstance(error, TimeoutError):
        return NotReachableError(
            f"{path}: the daemon does not answer within {patience:.0f} s; "
            "see: systemctl status xmlrpc-blocker"
        )
    return NotReachableError(
        f"{path}: no daemon answers ({os.strerror(error.errno or errno.ETIMEDOUT)}); "
        "is it running, with this configuration?"
    )
