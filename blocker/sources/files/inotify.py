"""Events of changes: read at once, then after a pause, which is longer under lasting load."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from contextlib import suppress

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
OVERFLOW, IGNORED, ONLYDIR = 0x4000, 0x8000, 0x1000000
SHORTEST, LONGEST, CREDIT = 0.002, 0.05, 1500  # seconds of rest, readings before the longer one
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Calls back with each set of (watch, mask, name of the entry) until it is closed."""

    def __init__(self, callback: Callable[[set[tuple[int, int, str]]], None]) -> None:
        self._callback, self._loop = callback, asyncio.get_running_loop()
        self._credit, self._last = float(CREDIT), self._loop.time()
        self._fd = self._call("init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._next = self._loop.call_soon(self._loop.add_reader, self._fd, self._drain)

    def _call(self, name: str, *arguments: object) -> int:
        if (result := int(getattr(_libc, f"inotify_{name}")(*arguments))) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def add(self, path: str, mask: int) -> int:
        """Watch a path; return the watch, the same one for the same file."""
        return self._call("add_watch", self._fd, os.fsencode(path), mask)

    def remove(self, watch: int) -> None:
        """End a watch, if it still is one."""
        _libc.inotify_rm_watch(self._fd, watch)

    def close(self) -> None:
        """End all of them."""
        self._next.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _drain(self) -> None:
        self._loop.remove_reader(self._fd)
        now, add = self._loop.time(), self._loop.add_reader
        self._credit = min(CREDIT, self._credit + (now - self._last) / LONGEST) - 1
        self._last = now
        rest = SHORTEST if self._credit > 0 else LONGEST
        self._next = self._loop.call_later(rest, add, self._fd, self._drain)
        events = set()
        with suppress(BlockingIOError):
            while data := memoryview(os.read(self._fd, 1 << 16)):
                while data:
                    watch, mask, _, size = struct.unpack_from("iIII", data)
                    name, data = data[16 : 16 + size].tobytes(), data[16 + size :]
                    events.add((watch, mask, os.fsdecode(name.rstrip(b"\0"))))
        self._callback(events)
