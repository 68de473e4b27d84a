"""One log file on disk: its blocks of whole lines, and what proves that it is the same file.

Live and offline share this module; it knows files, not time.  Its rules:

* The unit is the block, up to 1 MiB of whole lines.  Of a longer line the first MiB is the line
  and the rest is dropped; it is counted.  So no line can make anything grow, or hide itself.
* NUL bytes in front of a line that fill a block are skipped: a power failure leaves them, and a
  truncation under a writer that keeps its offset.
* A file is recognised by its content: a digest of its first line, and the last bytes before a
  position.  Device and inode prove nothing, ext4 gives them away again at once.
* A packed file (gzip, xz, bzip2, zstd) is the same file as the one that was packed, and offsets in
  it are those of the unpacked bytes.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from blocker.sources.files.packed import (
    MAGIC,
    PACKED,
    ByteStream,
    PackedReader,
    RawFile,
    pieces,
    suffix_of,
)
from blocker.sources.files.plain import PIECE, BlockReader, read_tail
from blocker.sources.files.reserved import OPEN_FLAGS, is_left_alone
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK, HEAD, TAIL, Block, LogFileError, head_of


class LogFile:
    """An open file, plain or packed, as far as its content says which one it is.

    Args:
        path: where it is now; the end of the name says whether it is packed …
        by_content: … or its first bytes do.

    Raises:
        OSError: it is not there, not readable, or not a regular file.
    """

    def __init__(self, path: str, *, by_content: bool = False) -> None:
        self.path = path
        if is_left_alone(path):
            raise LogFileError("it is a file of the daemon's own, and no log")
        self.fd = os.open(path, OPEN_FLAGS)
        info = os.fstat(self.fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(self.fd)
            kind = "a directory" if stat.S_ISDIR(info.st_mode) else "not a regular file"
            raise LogFileError(f"it is {kind}, so it can't be read as a log")
        self.device, self.inode = info.st_dev, info.st_ino
        kind = suffix_of(path)
        if by_content:
            beginning = os.pread(self.fd, 6, 0)
            kind = next((each for magic, each in MAGIC.items() if beginning.startswith(magic)), "")
        self._unpack = PACKED.get(kind)
        self._head = b""
        self.packed = self._unpack is not None

    def close(self) -> None:
        """Close the file."""
        try:
            os.close(self.fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            # Its file system is gone; the descriptor is closed all the same: close(2).

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: proof only as long as the file is open."""
        return self.device, self.inode

    def stat(self) -> os.stat_result:
        """Return what the kernel says of the open file."""
        return os.fstat(self.fd)

    def _stream(self) -> ByteStream:
        unpack = self._unpack or pieces
        return ByteStream(unpack(io.BufferedReader(RawFile(self.fd), PIECE)))

    def head(self) -> bytes:
        """Return the digest of the first line, or nothing if it has none yet."""
        if not self.packed:
            return head_of(os.pread(self.fd, HEAD, 0))
        if not self._head:
            stream = self._stream()
            self._head = head_of(stream.take(HEAD))
            if not self._head and stream.error is not None:
                raise LogFileError(f"{self.path}: damaged at its start: {stream.error}")
        return self._head

    def tail_at(self, offset: int) -> bytes:
        """Return the at most 4 KiB before an offset; fewer where the file is shorter."""
        if not self.packed:
            return read_tail(self.fd, offset)
        stream = self._stream()
        before = stream.skip(offset)
        return before if stream.at == offset else b""

    def holds(self, position: Position) -> bool:
        """Whether this is the file that was judged up to the position.

        Of a file that was empty then, only the inode speaks, and a packed file is never that one.
        """
        if not position.head:
            return not self.packed and self.identity == position.identity
        if position.head != self.head():
            return False
        if not position.offset or self._written_size() == position.offset % (1 << 32):
            return True
        there = self.tail_at(position.offset)
        # An earlier version stored fewer bytes.
        is_there = len(there) == min(position.offset, TAIL)
        return is_there and bool(position.tail) and there.endswith(position.tail)

    def _written_size(self) -> int | None:
        """Return the size that gzip writes at the end, modulo 2**32: it spares the unpacking."""
        if not self.path.endswith(".gz"):
            return None
        size = self.stat().st_size
        return int.from_bytes(os.pread(self.fd, 4, max(0, size - 4)), "little")

    def lost_tail_of(self, position: Position) -> bool:
        """Whether this is the file of the position, but shorter than that."""
        if not position.head or position.head != self.head():
            return False
        return len(self.tail_at(position.offset)) < min(position.offset, TAIL)

    def covers(self, other: "LogFile") -> bool:
        """Whether the other is a copy of the beginning of this one (both plain)."""
        size = other.stat().st_size
        if self.packed or other.packed or not 0 < size <= self.stat().st_size:
            return False
        beginning = os.pread(other.fd, min(size, HEAD), 0)
        same = os.pread(self.fd, len(beginning), 0) == beginning
        return same and self.tail_at(size) == other.tail_at(size)

    def end(self, path: str) -> Position:
        """Return the position at the end of the file, for a log of that live path."""
        head, tail = self.head(), b""
        size = self._written_size()
        if size is None and not self.packed:
            size = self.stat().st_size
            tail = self.tail_at(size)
        elif size is None:
            stream = self._stream()
            tail = stream.skip(sys.maxsize)
            size = stream.at
        return Position(path, self.device, self.inode, head, size, tail)

    def has_more(self, position: Position) -> bool:
        """Whether there may be something behind the position, in a file that holds it."""
        if self.packed:
            # A position without a tail is the end of a file that was packed at first sight.
            is_end = position.offset > 0 and not position.tail
            return not is_end and self._written_size() != position.offset % (1 << 32)
        return self.stat().st_size > position.offset

    def source(self, offset: int, before: bytes | None = None) -> BlockReader | PackedReader:
        """Return what cuts the file into blocks from an offset on; a half line is none."""
        if not self.packed:
            return BlockReader(self.fd, offset, before)
        return PackedReader(self._stream().blocks(offset, final=False), offset, before or b"")

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks; a last line without newline is a line."""
        return self._stream().blocks(0, final=True) if self.packed else self._plain_blocks()

    def _plain_blocks(self) -> Iterator[Block]:
        reader = BlockReader(self.fd)
        while (block := reader.block(BLOCK)) or not reader.at_end:
            if block:
                reader.advance(block)
                yield block
        if last := reader.last():
            yield last


def blocks(path: str) -> Iterator[Block]:
    """Yield the blocks of a file, packed or not; ``-`` is standard input.

    Raises:
        OSError: it can't be opened or read, or not any further.  The message names the file.
    """
    try:
        if path == "-":
            yield from ByteStream(pieces(sys.stdin.buffer)).blocks(0, final=True)
        elif Path(path).is_fifo() or Path(path).is_char_device():
            with Path(path).open("rb") as stream:
                yield from ByteStream(pieces(stream)).blocks(0, final=True)
        else:
            with LogFile(path) as file:
                yield from file.blocks()
    except LogFileError as error:
        text = str(error)
        raise LogFileError(text if text.startswith(path) else f"{path}: {text}") from error
