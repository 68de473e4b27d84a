"""A file system in user space whose answers can be withheld, as those of a dead server are.

Files are bytes in memory, in one directory: that of the mount, or one below it.  Requests of the
kinds that hang are not answered until they are let go on; then they are answered in their order.
The protocol is that of fuse(4) and of ``linux/fuse.h``; reads are direct, so that the kernel's
cache answers none of them.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_FORCE, _MNT_DETACH = 1, 2
_DIRECT_IO = 1
_LARGEST = 1 << 17
"""Bytes of a request, and of a read."""
_ROOT, _INNER = 1, 1 << 40
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 42
_SILENT = {FORGET, BATCH_FORGET, INTERRUPT}
"""Requests that want no answer."""
_EMPTY = {RELEASE, FLUSH, RELEASEDIR}
EVERYTHING = frozenset({LOOKUP, GETATTR, OPEN, READ, OPENDIR, READDIR, FLUSH})


class SlowDisk:
    """The file system.

    Args:
        mount: an empty directory.
        inner: name of the directory of the files below it; if none, they are in the mount itself.
    """

    def __init__(self, mount: Path, inner: str = "") -> None:
        self.mount, self._inner = mount, inner
        self._files: list[tuple[str, bytearray, float]] = []
        self._hanging: frozenset[int] = frozenset()
        self._withheld: list[bytes] = []
        self._lock = threading.Lock()
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if _libc.mount(b"slow", os.fsencode(mount), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        threading.Thread(target=self._serve, daemon=True).start()

    def append(self, name: str, data: str) -> None:
        """Write to the end of a file, which is made if it is not there."""
        with self._lock:
            for number, (known, content, _) in enumerate(self._files):
                if known == name:
                    self._files[number] = name, content + data.encode(), time.time()
                    return
            self._files.append((name, bytearray(data.encode()), time.time()))

    def hang(self, *kinds: int) -> None:
        """Withhold the answers to these kinds of requests from now on."""
        with self._lock:
            self._hanging = frozenset(kinds)

    def go_on(self) -> None:
        """Answer everything, first what was withheld."""
        with self._lock:
            self._hanging = frozenset()
            withheld, self._withheld = self._withheld, []
            for request in withheld:
                self._answer(request)

    @property
    def withheld(self) -> int:
        """How many requests wait for an answer."""
        return len(self._withheld)

    def close(self) -> None:
        """Break off what waits, and unmount."""
        _libc.umount2(os.fsencode(self.mount), _MNT_FORCE | _MNT_DETACH)
        os.close(self._fd)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, _LARGEST + 4096)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT, errno.EAGAIN}:
                    continue
                return  # unmounted
            with self._lock:
                if struct.unpack_from("<I", request, 4)[0] in self._hanging:
                    self._withheld.append(request)
                else:
                    self._answer(request)

    def _answer(self, request: bytes) -> None:
        _, kind, number, node = struct.unpack_from("<IIQQ", request)
        if kind in _SILENT:
            return
        try:
            data, failed = self._content(kind, node, request[40:]), 0
        except OSError as error:
            data, failed = b"", error.errno or errno.EIO
        with contextlib.suppress(OSError):  # the process that asked was killed meanwhile
            os.write(self._fd, struct.pack("<IiQ", 16 + len(data), -failed, number) + data)

    def _content(self, kind: int, node: int, body: bytes) -> bytes:
        if kind == INIT:
            major, minor = struct.unpack_from("<II", body)
            sizes = struct.pack("<IIHHIIHHI", 65536, 0, 16, 12, 65536, 1, 32, 0, 0)
            return struct.pack("<II", major, min(minor, 31)) + sizes + bytes(28)
        if kind == LOOKUP:
            found = self._node(node, body.rstrip(b"\0").decode())
            return struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + self._attributes(found)
        if kind == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if kind in {OPEN, OPENDIR}:
            return struct.pack("<QII", node, _DIRECT_IO if kind == OPEN else 0, 0)
        if kind in {READ, READDIR}:
            _, start, size = struct.unpack_from("<QQI", body)
            content = self._names(node) if kind == READDIR else self._files[node - 2][1]
            return bytes(content[start : start + size])
        if kind in _EMPTY:
            return b""
        raise OSError(errno.ENOSYS, "not needed")

    def _node(self, directory: int, name: str) -> int:
        if self._inner and directory == _ROOT:
            if name == self._inner:
                return _INNER
            raise OSError(errno.ENOENT, name)
        for number, (known, *_) in enumerate(self._files):
            if known == name:
                return number + 2
        raise OSError(errno.ENOENT, name)

    def _attributes(self, node: int) -> bytes:
        if node in {_ROOT, _INNER}:
            size, written, mode = 0, time.time(), stat.S_IFDIR | 0o755
        else:
            _, content, written = self._files[node - 2]
            size, mode = len(content), stat.S_IFREG | 0o644
        seconds, rest = int(written), int(written % 1 * 1e9)
        times = struct.pack("<QQQIII", *[seconds] * 3, *[rest] * 3)
        return (
            struct.pack("<QQQ", node, size, 1)
            + times
            + struct.pack("<7I", mode, 1, 0, 0, 0, 4096, 0)
        )

    def _names(self, directory: int) -> bytes:
        names = [(number + 2, name, stat.S_IFREG) for number, (name, *_) in enumerate(self._files)]
        if self._inner and directory == _ROOT:
            names = [(_INNER, self._inner, stat.S_IFDIR)]
        found = b""
        for node, name, kind in names:
            encoded = name.encode()
            padded = encoded + bytes(-len(encoded) % 8)
            entry = struct.pack("<QQII", node, 0, len(encoded), kind >> 12) + padded
            found += struct.pack("<QQ", node, len(found) + len(entry)) + entry[16:]
        return found


@contextlib.contextmanager
def slow_disk(mount: Path, inner: str = "") -> Iterator[SlowDisk]:
    """Mount it, and unmount it even if something hangs."""
    mount.mkdir()
    disk = SlowDisk(mount, inner)
    try:
        yield disk
    finally:
        disk.close()
