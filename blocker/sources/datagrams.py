"""Sockets that receive one line with each datagram: Unix sockets and UDP at a loopback address.

``recvmmsg(2)`` receives many datagrams in one call, and is called with the interpreter's lock held
(``ctypes.PyDLL``): it never waits, and with a call for each datagram the lock would have to be got
back each time while lines are judged, up to a millisecond later.
"""

import ctypes
import errno
import os
import socket
import stat
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path

from blocker.sources.inbox import COMMON_ADVICE, KERNEL, SENDER, Received, identity_at
from blocker.sources.schemes import UDP, endpoint_of, path_of, scheme_of
from blocker.sources.senders import Allowed, shown

KERNEL_BUFFER = 16 << 20
"""Bytes that the kernel is asked to hold for a UDP socket; it counts about 700 for a line."""
SIZE, MANY = 256 << 10, 32
"""Bytes of a datagram, and datagrams in one call.  A Unix socket carries some 208 KiB, by
``net.core.wmem_default``; UDP 64 KiB."""
SEPARATOR = b"\x1e"
"""Stands for a newline within a datagram: no format takes it for the end of a line or a field."""
MODE = 0o666
"""Of a Unix socket, as that of /dev/log: the senders are checked, and their groups differ."""
_SO_BINDTODEVICE, _SO_RCVBUFFORCE, _SO_MEMINFO = 25, 33, 55
_MEMINFO = struct.Struct("9I")
_DROPS = 8
"""Place of SK_MEMINFO_DROPS in what SO_MEMINFO returns: datagrams that the kernel dropped."""
_CREDENTIALS = struct.Struct("@Niiiii")
"""A control message (cmsg(3)) with a struct ucred: length, level, type, pid, uid, gid."""
_CONTROL = socket.CMSG_SPACE(12)
"""Bytes for these credentials and no more, so that a sender can't pass us descriptors."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)), ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


class Messages:
    """Buffers for the datagrams of one call.  Memory that is never written to is never used."""

    def __init__(self) -> None:
        self.data, self.control = bytearray(MANY * SIZE), bytearray(MANY * _CONTROL)
        at_data = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        at_control = ctypes.addressof(ctypes.c_char.from_buffer(self.control))
        self._vectors = (_Vector * MANY)()
        self.headers = (_Message * MANY)()
        for n in range(MANY):
            self._vectors[n] = _Vector(at_data + n * SIZE, SIZE)
            header = self.headers[n].header
            header.vectors, header.vector_count = ctypes.pointer(self._vectors[n]), 1
            header.control = at_control + n * _CONTROL
            header.control_length = _CONTROL

    def receive(self, fd: int) -> int:
        """Receive what is there, without waiting; return the number of datagrams."""
        call = _recvmmsg()
        while True:
            count = int(call(fd, self.headers, MANY, socket.MSG_DONTWAIT, None))
            number = ctypes.get_errno() if count < 0 else 0
            if number != errno.EINTR:
                break
        if number not in {0, errno.EAGAIN}:
            raise OSError(number, os.strerror(number))
        return max(count, 0)

    def sender(self, n: int) -> int:
        """Return the user that sent a datagram, and make room for the next; -1 if unknown."""
        header = self.headers[n].header
        length, header.control_length = header.control_length, _CONTROL
        if length < _CREDENTIALS.size:
            return -1
        _, level, kind, _, uid, _ = _CREDENTIALS.unpack_from(self.control, n * _CONTROL)
        return int(uid) if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) else -1

    def line(self, n: int) -> bytes | None:
        """Return a datagram as one line; None if it was cut, nothing if it is empty."""
        message = self.headers[n]
        if message.header.flags & socket.MSG_TRUNC:
            return None
        # Python's SysLogHandler ends a message with NUL.
        text = bytes(self.data[n * SIZE : n * SIZE + message.length]).rstrip(b"\n\x00")
        return text.replace(b"\n", SEPARATOR) + b"\n" if text else b""


@cache
def _recvmmsg() -> "ctypes._NamedFuncPointer":
    call = ctypes.PyDLL(None, use_errno=True).recvmmsg
    call.argtypes = (
        ctypes.c_int, ctypes.POINTER(_Message), ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
    )  # fmt: skip
    call.restype = ctypes.c_int
    return call


class Datagrams:
    """An open socket.

    Args:
        log: name of the log.
        allowed: the users that may send to a Unix socket.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, log: str, allowed: Allowed) -> None:
        self._path, self._identity = "", (0, 0)
        self._allowed = allowed
        self._udp = scheme_of(log) == UDP
        self._last_refused, self._dropped = -1, 0
        if self._udp:
            self._socket = _open_udp(*endpoint_of(log))
        else:
            self._path = path_of(log)
            self._socket = _open_unix(self._path)
            self._identity = identity_at(self._path)
        self._messages = Messages()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def receive(self) -> Received:
        """Return the lines of the datagrams that are there."""
        messages = self._messages
        count = messages.receive(self._socket.fileno())
        lines: list[bytes] = []
        refused = oversize = 0
        for n in range(count):
            if not self._udp and (uid := messages.sender(n)) not in self._allowed:
                self._last_refused = uid
                refused += 1
            elif (line := messages.line(n)) is None:
                oversize += 1
            else:
                lines.append(line)
        return Received(b"".join(lines), refused, oversize, self._drops(), more=count == MANY)

    def _drops(self) -> int:
        """Return how many datagrams the kernel dropped meanwhile; it drops none of Unix sockets."""
        if not self._udp:
            return 0
        found = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        before, self._dropped = self._dropped, int(_MEMINFO.unpack(found)[_DROPS])
        return (self._dropped - before) % (1 << 32)

    def gone(self) -> bool:
        """Return whether the socket is no longer at its path."""
        return bool(self._path) and identity_at(self._path) != self._identity

    def close(self) -> None:
        """Close the socket, and delete its file."""
        if self._path and not self.gone():
            with suppress(OSError):
                Path(self._path).unlink()
        self._socket.close()

    def advice(self, reason: str) -> str:
        """Return what to do about lines that are lost for this reason."""
        if reason == SENDER:
            return (
                f"lines from user {shown(self._last_refused)} are refused: if that is the web"
                " server, name it in `senders` of this log's [[log]]"
            )
        if reason == KERNEL:
            size = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >> 11
            return (
                f"the kernel dropped lines, because its buffer of {size:,} KiB was full:"
                " the host is overloaded, or net.core.rmem_max is small"
            )
        return COMMON_ADVICE.get(reason, "")


def _open_udp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Where route_localnet is set, other hosts reach loopback addresses, but not this device.
        with suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo\0")
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, KERNEL_BUFFER)
        except PermissionError:  # without CAP_NET_ADMIN, as much as net.core.rmem_max allows
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
        made.bind((address, port))
    except OSError as error:
        made.close()
        advice = "; another program has this port" if error.errno == errno.EADDRINUSE else ""
        raise OSError(error.errno, f"{error.strerror}{advice}") from None
    return made


def _open_unix(path: str) -> socket.socket:
    _make_room(path)
    made = socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        made.bind(path)
        os.chmod(path, MODE)  # noqa: PTH101 - pathlib has no reason here
    except OSError as error:
        made.close()
        advice = "make its directory, writable for the daemon's user"
        raise OSError(error.errno, f"{error.strerror}; {advice}") from None
    return made


def listener(path: str) -> bool:
    """Return whether a program listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno == errno.EPROTOTYPE  # a stream
        return True


def _make_room(path: str) -> None:
    """Delete a socket that no program listens at; leave any other file alone.

    Raises:
        OSError: the path is taken.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "is not a socket; name another path, or move that file away")
    if listener(path):
        raise OSError(errno.EADDRINUSE, "another program listens there; name another path")
    Path(path).unlink()
