"""A disk whose cache is lost with the power, for a real file system: a process that is a block.

The kernel's loop driver makes a block device of a file; this process is that file, by the kernel's
own FUSE protocol (``linux/fuse.h``), without a library.  So it sees every write and every flush of
the file system above.  What was written since the last flush is in the disk's cache: when the
power fails, any of its sectors may be on the platter and any may not, in any order.

Its standard input takes one command a line, its standard output answers each with one line:

``cut``
    The power fails: every write and flush from now on is refused, and changes nothing.
``on HOW SEED``
    The power is back.  Of what was in the cache, so much is there: ``none``, ``all``, ``first``
    (writes up to one of them), ``some`` (any writes), ``torn`` (any sectors of any write).
"""

import ctypes
import errno
import mmap
import os
import random
import select
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
"""Bytes that a disk writes all or none of."""
MAX_WRITE = 1 << 17
HOW = ("none", "all", "first", "some", "torn")

_HEADER = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_IO = struct.Struct("<QQIIQII")
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ATTR = struct.Struct("<QIIQQQQQQIIIIIIIIII")
_OPEN_OUT = struct.Struct("<QIi")
_STATFS = struct.Struct("<QQQQQIIII24x")
_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS_OP = 3, 4, 14, 15, 16, 17
_RELEASE, _FSYNC, _FLUSH, _INIT, _ACCESS, _INTERRUPT = 18, 20, 25, 26, 34, 36
_FORGET, _BATCH_FORGET, _DESTROY = 2, 42, 38
_SILENT = {_FORGET, _BATCH_FORGET, _INTERRUPT}
_BIG_WRITES, _MAX_PAGES, _DIRECT_IO = 1 << 5, 1 << 22, 1


class Write(NamedTuple):
    """What a write changed."""

    offset: int
    before: bytes
    after: bytes

    def sectors(self) -> Iterator["Write"]:
        """Yield the writes of its single sectors."""
        for at in range(0, len(self.after), SECTOR):
            part = slice(at, at + SECTOR)
            yield Write(self.offset + at, self.before[part], self.after[part])


class Disk:
    """The bytes on a disk, and which of them are in its cache only.

    Args:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        self.size, self.powered = size, True
        self._bytes = mmap.mmap(-1, size)
        self._cache: list[Write] = []
        self.flushes = 0

    def read(self, offset: int, count: int) -> bytes:
        return self._bytes[offset : min(offset + count, self.size)]

    def write(self, offset: int, data: bytes) -> bool:
        """Take a write into the cache; False without power."""
        if self.powered:
            end = offset + len(data)
            self._cache.append(Write(offset, self._bytes[offset:end], data))
            self._bytes[offset:end] = data
        return self.powered

    def flush(self) -> bool:
        """Bring the cache onto the platter; False without power."""
        if self.powered:
            self._cache.clear()
            self.flushes += 1
        return self.powered

    def cut(self) -> str:
        """Lose the power."""
        self.powered = False
        return f"{len(self._cache)} {self.flushes}"

    def on(self, how: str, seed: int) -> str:
        """Get the power back, with some of what was in the cache."""
        for write in reversed(self._cache):
            self._put(write.offset, write.before)
        kept = list(survivors(self._cache, how, random.Random(seed)))
        for write in kept:
            self._put(write.offset, write.after)
        had, left = (
            sum(len(each.after) for each in writes) // SECTOR for writes in (self._cache, kept)
        )
        self._cache.clear()
        self.powered = True
        return f"{had} {left}"

    def _put(self, offset: int, data: bytes) -> None:
        self._bytes[offset : offset + len(data)] = data


def survivors(cache: list[Write], how: str, rng: random.Random) -> Iterator[Write]:
    """Yield what of a cache reached the platter, in the order of writing."""
    share = rng.random()
    if how == "first":
        yield from cache[: rng.randrange(len(cache) + 1)]
    elif how == "some":
        yield from (write for write in cache if rng.random() < share)
    elif how == "torn":
        sectors = (sector for write in cache for sector in write.sectors())
        yield from (sector for sector in sectors if rng.random() < share)
    elif how == "all":
        yield from cache


class Served:
    """The disk as the one file of a FUSE file system, mounted over a file."""

    def __init__(self, disk: Disk, target: Path) -> None:
        self.disk = disk
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        target.touch()
        options = f"fd={self.fd},rootmode=100000,user_id=0,group_id=0"
        libc = ctypes.CDLL(None, use_errno=True)
        words = [word.encode() for word in ("disk", str(target), "fuse.disk", options)]
        if libc.mount(words[0], words[1], words[2], 0, words[3]):
            raise OSError(ctypes.get_errno(), f"{target}: {os.strerror(ctypes.get_errno())}")

    def answer(self) -> bool:
        """Answer one request of the kernel; False when no further one will come."""
        try:
            request = os.read(self.fd, MAX_WRITE + 4096)
        except OSError as error:
            return error.errno in {errno.EINTR, errno.EAGAIN, errno.ENOENT}
        _, code, unique, *_ = _HEADER.unpack_from(request)
        if code not in _SILENT:
            found = self._reply(code, memoryview(request)[_HEADER.size :])
            failed, data = (found, b"") if isinstance(found, int) else (0, found)
            os.write(self.fd, _ANSWER.pack(_ANSWER.size + len(data), -failed, unique) + data)
        return code != _DESTROY

    def _reply(self, code: int, body: memoryview) -> bytes | int:
        """Return the data that answers a request, or an error number."""
        if code == _READ:
            _, offset, size, *_ = _IO.unpack_from(body)
            return self.disk.read(offset, size)
        if code == _WRITE:
            _, offset, size, *_ = _IO.unpack_from(body)
            data = bytes(body[_IO.size : _IO.size + size])
            return struct.pack("<II", size, 0) if self.disk.write(offset, data) else errno.EIO
        if code == _FSYNC:
            return b"" if self.disk.flush() else errno.EIO
        return self._about(code, body)

    def _about(self, code: int, body: memoryview) -> bytes | int:
        """Answer what is no reading and no writing."""
        if code == _INIT:
            _, minor, ahead, flags = struct.unpack_from("<IIII", body)
            flags &= _BIG_WRITES | _MAX_PAGES
            return _INIT_OUT.pack(7, min(minor, 38), ahead, flags, 16, 12, MAX_WRITE, 1, 32, 0, 0)
        if code in {_GETATTR, _SETATTR}:
            size, mode = self.disk.size, 0o100600
            return _ATTR.pack(
                3600, 0, 0, 1, size, size // SECTOR, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0
            )
        if code == _OPEN:
            return _OPEN_OUT.pack(1, _DIRECT_IO, 0)
        if code == _STATFS_OP:
            return _STATFS.pack(0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        return b"" if code in {_RELEASE, _FLUSH, _ACCESS, _DESTROY} else errno.ENOSYS


def serve(target: Path, size: int) -> None:
    """Be a disk until standard input ends; say so with a line when it is there."""
    disk = Disk(size)
    served = Served(disk, target)
    sys.stdout.write("there\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([served.fd, sys.stdin], [], [])
        if served.fd in ready and not served.answer():
            return
        if sys.stdin in ready:
            command = sys.stdin.readline().split()
            if not command:
                return
            said = disk.cut() if command == ["cut"] else disk.on(command[1], int(command[2]))
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
