"""A file system that stops to answer, as that of a server that is gone: FUSE, with one file in it.

Its requests and answers are those of linux/fuse.h, protocol 7.31.
"""

import contextlib
import ctypes
import errno
import os
import select
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_LOOKUP, _GETATTR, _OPEN, _READ, _RELEASE, _FLUSH, _INIT, _OPENDIR, _READDIR = (
    1, 3, 14, 15, 18, 25, 26, 27, 28,
)  # fmt: skip
_RELEASEDIR = 29
_DETACH = 2
_ROOT, _FILE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


class DeadMount:
    """One directory with the file ``access.log``; once it has died, nothing is answered.

    Attributes:
        content: of the file.
        asked: when the last request came, monotonic seconds.
    """

    def __init__(self, place: Path, content: bytes) -> None:
        self.content, self.asked = content, time.monotonic()
        self._alive = threading.Event()
        self._alive.set()
        self._fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"dead", os.fsencode(place), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._place = place
        threading.Thread(target=self._serve, daemon=True).start()

    def die(self) -> None:
        """Answer nothing from now on.

        Requests are not even taken: a process that waits for one that was taken can't be killed.
        """
        self._alive.clear()

    def revive(self) -> None:
        """Answer everything, also what has waited."""
        self._alive.set()

    def close(self) -> None:
        """Be gone; waiting processes get an error."""
        _libc.umount2(os.fsencode(self._place), _DETACH)
        os.close(self._fd)

    def _serve(self) -> None:
        ready = select.poll()
        ready.register(self._fd, select.POLLIN)
        while True:
            try:
                if ready.poll(50) and self._alive.wait(0.05):
                    self._answer(os.read(self._fd, 1 << 17))
                    self.asked = time.monotonic()
            except OSError as error:
                if error.errno not in {errno.EINTR, errno.ENOENT}:
                    return

    def _answer(self, request: bytes) -> None:
        _, kind, number, node, *_ = struct.unpack_from("<IIQQIIII", request)
        data, error = self._result(kind, node, request[40:])
        with contextlib.suppress(OSError):
            os.write(self._fd, struct.pack("<IiQ", 16 + len(data), -error, number) + data)

    def _result(self, kind: int, node: int, body: bytes) -> tuple[bytes, int]:
        if kind == _LOOKUP and body.rstrip(b"\0") != b"access.log":
            return b"", errno.ENOENT
        if kind == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.content[offset : offset + size], 0
        if kind == _READDIR:
            _, offset = struct.unpack_from("<QQ", body)
            entry = struct.pack("<QQII", _FILE, 1, 10, 8) + b"access.log".ljust(16, b"\0")
            return b"" if offset else entry, 0
        known = {
            _INIT: struct.pack("<IIIIHHIIHHI", 7, 31, 65536, 0, 16, 12, 65536, 1, 32, 0, 0)
            + bytes(24),
            _LOOKUP: struct.pack("<QQQQII", _FILE, 0, 0, 0, 0, 0) + self._attributes(_FILE),
            _GETATTR: struct.pack("<QII", 0, 0, 0) + self._attributes(node),
            **dict.fromkeys((_OPEN, _OPENDIR), struct.pack("<QII", 1, 1, 0)),  # 1: read directly
            **dict.fromkeys((_FLUSH, _RELEASE, _RELEASEDIR), b""),
        }
        return known.get(kind, b""), 0 if kind in known else errno.ENOSYS

    def _attributes(self, node: int) -> bytes:
        size = len(self.content)
        mode = 0o40755 if node == _ROOT else 0o100644
        return struct.pack(
            "<QQQQQQIIIIIIIIII", node, size, 1, 1, 1, size, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0
        )


@contextlib.contextmanager
def dead_mount(place: Path, content: bytes) -> Iterator[DeadMount]:
    """Mount it for a while."""
    place.mkdir(parents=True)
    made = DeadMount(place, content)
    try:
        yield made
    finally:
        made.close()
