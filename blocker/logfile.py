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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    import asyncio

    from blocker.threads import Threads

BLOCK = 1 << 20
"""Bytes in a block, and so in the longest line that is read whole."""
PATIENCE = 0.25
"""Seconds that a disk may take to answer until others go on without it …"""
HANGS = 1.0
"""… and until it is said to hang."""
MAX_THREADS = 24
"""Threads that may be touching logs at once, those that hang included."""
_TURN = 8
"""Blocks that are searched at once for the end of a line or of a hole: other logs wait."""
HEAD = 4096
"""Bytes of the first line that make the head."""
TAIL = 4096
"""Bytes before a position that are known and read again: they hold tens of lines, as a rule."""
SHORT_TAIL = 1024
"""Bytes that remain known of files that were read long ago."""

_T = TypeVar("_T")
_PIECE = 1 << 18
_PROBE = 1 << 16
_NULS = bytes(BLOCK)
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # a FIFO must not hold us up


class Position(NamedTuple):
    """How far one file has been judged, and how to recognise it.

    Attributes:
        path: the live path that the file belongs to, also after it was renamed.
        device: of the file, when it was read.
        inode: the same.
        head: digest of the first line; empty while there is none.
        offset: of the first byte that has not been judged.
        tail: at most 4 KiB just before the offset.
    """

    path: str
    device: int
    inode: int
    head: bytes
    offset: int
    tail: bytes

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file when it was read: proof of nothing by themselves."""
        return self.device, self.inode

    def shortened(self) -> "Position":
        """Return the position with fewer bytes before it."""
        return self._replace(tail=self.tail[-SHORT_TAIL:])


class Block(NamedTuple):
    """Whole lines, as they stand in the file, or the beginning of one beyond the ceiling.

    Attributes:
        data: the lines with their newlines.
        start: offset of the data in the file.
        before: at most 4 KiB just before the data.
        cut: of one line that was cut, where it ends in the file and the bytes before that.
    """

    data: bytes
    start: int
    before: bytes = b""
    cut: tuple[int, bytes] | None = None

    @property
    def lines_cut(self) -> int:
        """How many of the lines were cut."""
        return int(self.cut is not None)

    def place(self, end: int) -> tuple[int, bytes]:
        """Return the offset behind the first ``end`` bytes of the data, and the bytes before it."""
        if self.cut is not None and end == len(self.data):
            return self.cut
        return self.start + end, _tail(self.before, self.data[max(0, end - TAIL) : end])


class LogFileError(OSError):
    """The file can't be read, or not any further; what was read before is good."""


_left_alone: list[str] = []


def leave_alone(paths: Iterable[str]) -> None:
    """Never open these files as logs, in this process.

    Whoever closes one of them ends all locks that the process has on it, those of SQLite among
    them; then another program may delete what is open here: fcntl(2), advisory record locking.
    """
    _left_alone[:] = paths


def _is_left_alone(path: str) -> bool:
    with suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - a path as text, often
        for each in _left_alone:
            with suppress(OSError):
                if os.path.samestat(found, os.stat(each)):  # noqa: PTH116 - the same
                    return True
    return False


def head_of(beginning: bytes) -> bytes:
    """Return the digest of a file's first line, or nothing while that is half-written.

    >>> head_of(b"half a li")
    b''
    """
    end = beginning.find(b"\n", 0, HEAD) + 1
    if not end and len(beginning) < HEAD:
        return b""
    from hashlib import blake2b  # noqa: PLC0415 - start-up time, and only the daemon asks

    return blake2b(beginning[: end or HEAD], digest_size=16).digest()


def _tail(before: bytes, data: bytes) -> bytes:
    """Return the bytes that stand before whatever follows the data."""
    return data[-TAIL:] if len(data) >= TAIL else (before + data)[-TAIL:]


@cache
def disk_threads() -> "Threads":
    """Return the threads for what touches logs; one that hangs keeps nobody else waiting."""
    from blocker.threads import Threads  # noqa: PLC0415 - the offline commands do without

    return Threads(MAX_THREADS, "logs")


async def in_thread(call: Callable[..., _T], *arguments: object) -> _T:
    """Run what touches the disk in a thread, and don't leave before it has ended.

    Whoever is cancelled closes descriptors next, and a thread must not find others in their place.
    A call that hangs is waited for a second; who closes descriptors has to leave out what it uses.
    """
    # Here, for the offline commands read files without a loop and start in half the time.
    import asyncio  # noqa: PLC0415

    task = begun_in_thread(call, *arguments)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=PATIENCE)
        if task.done() and not task.cancelled():
            task.exception()  # has been looked at: the cancellation is the news
        raise


def begun_in_thread(call: Callable[..., _T], *arguments: object) -> "asyncio.Task[_T]":
    """Begin to run what touches the disk in a thread; nobody has to wait for its end."""
    import asyncio  # noqa: PLC0415

    from aiofiles.os import wrap  # noqa: PLC0415

    return asyncio.ensure_future(wrap(call)(*arguments, executor=disk_threads()))


# Plain files -------------------------------------------------------------------------------------


class Reader:
    """Cuts an open plain file into blocks; the file may grow meanwhile.

    Attributes:
        offset: where the next block starts.
        before: at most 4 KiB just before that.
        at_end: whether the last look saw the end of the file.
    """

    def __init__(self, fd: int, offset: int = 0, before: bytes | None = None) -> None:
        self._fd = fd
        self.offset = offset
        self.before = read_tail(fd, offset) if before is None else before
        self.at_end = False
        self._start = offset
        """Where the next line begins: NULs before it are skipped."""
        self._searched = 0

    def block(self, limit: int = BLOCK) -> Block | None:
        """Return the next whole lines without moving on, or None where there are none yet.

        None before the end was seen means that the search for them has to be continued.
        """
        start = self._start
        if self._searched <= start:
            data = os.pread(self._fd, limit, start)
            end = data.rfind(b"\n") + 1
            self.at_end = len(data) < limit
            if end:
                return Block(data[:end], start, self._before())
            if self.at_end:
                return None
            if limit < BLOCK:
                return self.block(BLOCK)
            if data.startswith(b"\0"):
                return self.block(limit) if self._skip_nuls() else None
            self._searched = start + len(data)
        end = self._end_of_line()
        return self._cut(end) if end else None

    def _before(self) -> bytes:
        start = self._start
        return self.before if start == self.offset else read_tail(self._fd, start)

    def _skip_nuls(self) -> bool:
        """Move the start to the next byte that is no NUL; False where none was found yet."""
        with suppress(OSError):  # no data behind that, or a file system that can't tell
            self._start = max(self._start, os.lseek(self._fd, self._start, os.SEEK_DATA))
        for _ in range(_TURN):
            piece = os.pread(self._fd, BLOCK, self._start)
            line = _behind_nuls(piece)
            self._start += len(piece) - len(line)
            self.at_end = not piece
            if line or self.at_end:
                return bool(line)
        return False

    def _end_of_line(self) -> int:
        """Return the offset behind the newline of a line beyond the ceiling, or 0."""
        for _ in range(_TURN):
            piece = os.pread(self._fd, BLOCK, self._searched)
            end = piece.find(b"\n") + 1
            self.at_end = not end and len(piece) < BLOCK
            if end:
                return self._searched + end
            self._searched += len(piece)
            if self.at_end:
                break
        return 0

    def _cut(self, end: int) -> Block:
        """Return the beginning of a line beyond the ceiling, which ends there, as a line."""
        data = os.pread(self._fd, BLOCK - 1, self._start) + b"\n"
        return Block(data, self._start, self._before(), (end, read_tail(self._fd, end)))

    def advance(self, block: Block) -> None:
        """Move on behind a block."""
        self.offset, self.before = block.place(len(block.data))
        self._start, self._searched = self.offset, 0

    def is_intact(self) -> bool:
        """Whether the bytes before the offset are still those that were read.

        Asked after a block was read, it proves that the block is of the same file: had the file
        been truncated before or during the reading, these bytes would be gone.
        """
        known = self.before
        return not known or os.pread(self._fd, len(known), self.offset - len(known)) == known

    def last(self) -> Block | None:
        """Return a last line without newline as a line, which it is in a file that is closed."""
        if self._searched > self._start:
            return self._cut(self._searched)
        data = os.pread(self._fd, BLOCK, self._start)
        return Block(data + b"\n", self._start, self._before()) if data else None


def _behind_nuls(piece: bytes) -> bytes:
    """Return a piece without the NULs that it begins with."""
    # A piece of nothing else is found out a hundred times as fast this way.
    return b"" if _NULS.startswith(piece) else piece.lstrip(b"\0")


def read_tail(fd: int, offset: int, count: int = TAIL) -> bytes:
    """Return at most so many bytes before an offset; fewer where the file is shorter."""
    start = max(0, offset - count)
    return os.pread(fd, offset - start, start)


# Packed files and streams ------------------------------------------------------------------------


class _Raw(io.RawIOBase):
    """Reads a descriptor by offset: any number of these share one descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd, self._at = fd, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._fd, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = (os.fstat(self._fd).st_size if base is None else base) + offset
        return self._at

    def seekable(self) -> bool:
        return True


def _unpack(module: str) -> Callable[[BinaryIO], Iterator[bytes]]:
    """Return what unpacks by a module that opens like gzip, loaded when it is needed."""

    def unpacked(file: BinaryIO) -> Iterator[bytes]:
        with import_module(module).open(file) as stream:
            while piece := stream.read1(_PIECE):
                yield piece

    return unpacked


def _unpack_zstd(file: BinaryIO) -> Iterator[bytes]:
    with suppress(ImportError):
        import_module("compression.zstd")  # Python 3.14
        yield from _unpack("compression.zstd")(file)
        return
    try:
        zstandard = import_module("zstandard")
    except ImportError:
        raise LogFileError("install python3-zstandard, or pipe it through zstdcat") from None
    yield from _unpack_frames(file, zstandard.ZstdDecompressor())


def _unpack_frames(file: BinaryIO, decompressor: Any) -> Iterator[bytes]:
    """Yield what is in the frames, in small steps: few bytes of zstd can hold very many."""
    frame, data = decompressor.decompressobj(), b""
    while data := data or file.read(2048):
        if frame.eof:
            frame = decompressor.decompressobj()
        yield frame.decompress(data)
        data = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise EOFError("the end is missing")


PACKED: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    ".gz": _unpack("gzip"),
    ".xz": _unpack("lzma"),
    ".lzma": _unpack("lzma"),
    ".bz2": _unpack("bz2"),
    ".zst": _unpack_zstd,
}
"""What unpacks a file, by the end of its name."""


_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\0": ".xz",
    b"\x5d\0\0": ".lzma",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
}
"""How packed files begin: RFC 1952, RFC 8878, the .xz file format, bzip2(1), lzma(1)."""


def suffix_of(path: str) -> str:
    """Return the end of the name that says how a file is packed, if it is."""
    end = path[path.rfind(".") :] if "." in path else ""
    return end if end in PACKED else ""


class _Stream:
    """Bytes that come in pieces, taken in exact amounts.  An error waits until all is taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._spare = b""
        self.error: Exception | None = None
        self.at = 0

    def take(self, count: int) -> bytes:
        """Return that many bytes, fewer only at the end."""
        parts, missing = [self._spare], count - len(self._spare)
        while missing > 0:
            piece = self._next()
            if piece is None:
                break
            parts.append(piece)
            missing -= len(piece)
        data = b"".join(parts)
        self._spare, data = data[count:], data[:count]
        self.at += len(data)
        return data

    def _next(self) -> bytes | None:
        try:
            return next(self._pieces, None)
        except Exception as error:  # noqa: BLE001 - each way of packing has errors of its own
            self.error = error
            return None

    def _give_back(self, data: bytes) -> None:
        self._spare = data + self._spare
        self.at -= len(data)

    def skip(self, count: int) -> bytes:
        """Move on and return the bytes just before."""
        before = b""
        while self.at < count and (piece := self.take(min(BLOCK, count - self.at))):
            before = _tail(before, piece)
        return before

    def blocks(self, start: int, *, final: bool) -> Iterator[Block]:
        """Yield blocks from an offset on; ``final``: a last line without newline is a line."""
        before = self.skip(start)
        while True:
            data = self.take(BLOCK)
            end = data.rfind(b"\n") + 1
            if not end and len(data) < BLOCK:
                break
            if end:
                self._give_back(data[end:])
                block = Block(data[:end], self.at - end, before)
            elif data.startswith(b"\0"):
                before = self._skip_nuls(data, before)
                continue
            else:
                begin = self.at - len(data)
                behind, ended = self._end_of_line(_tail(before, data))
                if not ended and not final:
                    data = b""
                    break
                block = Block(data[:-1] + b"\n", begin, before, (self.at, behind))
            before = block.place(len(block.data))[1]
            yield block
        if data and final:
            yield Block(data + b"\n", self.at - len(data), before)
        if self.error is not None:
            raise LogFileError(f"damaged after {self.at} bytes: {self.error}") from self.error

    def _skip_nuls(self, piece: bytes, before: bytes) -> bytes:
        """Drop NULs up to the next other byte; return the bytes just before that."""
        while piece:
            line = _behind_nuls(piece)
            before = _tail(before, piece[: len(piece) - len(line)])
            if line:
                self._give_back(line)
                break
            piece = self.take(BLOCK)
        return before

    def _end_of_line(self, before: bytes) -> tuple[bytes, bool]:
        """Drop the rest of a line beyond the ceiling; return the last bytes, whether it ended."""
        while piece := self.take(BLOCK):
            end = piece.find(b"\n") + 1
            if end:
                self._give_back(piece[end:])
                return _tail(before, piece[:end]), True
            before = _tail(before, piece)
        return before, False


class Unpacked:
    """Cuts a packed file into blocks, like ``Reader``; such a file has an end."""

    def __init__(self, blocks: Iterator[Block], offset: int, before: bytes) -> None:
        self._blocks = blocks
        self._held: Block | None = None
        self.offset = offset
        self.before = before
        self.at_end = False

    def block(self, limit: int = BLOCK) -> Block | None:
        """Return the next whole lines, or None at the end."""
        del limit  # what has been unpacked can't be put back
        if self._held is None:
            self._held = next(self._blocks, None)
        self.at_end = self._held is None
        return self._held

    def advance(self, block: Block) -> None:
        """Move on behind a block."""
        self._held = None
        self.offset, self.before = block.place(len(block.data))

    def is_intact(self) -> bool:
        """Nobody truncates a packed file."""
        return True


# Files -------------------------------------------------------------------------------------------


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
        if _is_left_alone(path):
            raise LogFileError("it is a file of the daemon's own, and no log")
        self.fd = os.open(path, _OPEN)
        info = os.fstat(self.fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(self.fd)
            kind = "a directory" if stat.S_ISDIR(info.st_mode) else "not a regular file"
            raise LogFileError(f"it is {kind}, so it can't be read as a log")
        self.device, self.inode = info.st_dev, info.st_ino
        kind = suffix_of(path)
        if by_content:
            beginning = os.pread(self.fd, 6, 0)
            kind = next((each for magic, each in _MAGIC.items() if beginning.startswith(magic)), "")
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

    def _stream(self) -> _Stream:
        unpack = self._unpack or _pieces
        return _Stream(unpack(io.BufferedReader(_Raw(self.fd), _PIECE)))

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

    def source(self, offset: int, before: bytes | None = None) -> Reader | Unpacked:
        """Return what cuts the file into blocks from an offset on; a half line is none."""
        if not self.packed:
            return Reader(self.fd, offset, before)
        return Unpacked(self._stream().blocks(offset, final=False), offset, before or b"")

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks; a last line without newline is a line."""
        return self._stream().blocks(0, final=True) if self.packed else self._plain_blocks()

    def _plain_blocks(self) -> Iterator[Block]:
        reader = Reader(self.fd)
        while (block := reader.block(BLOCK)) or not reader.at_end:
            if block:
                reader.advance(block)
                yield block
        if last := reader.last():
            yield last


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield what is in a stream that is not packed."""
    while piece := file.read1(_PIECE):  # type: ignore[attr-defined]
        yield piece


def blocks(path: str) -> Iterator[Block]:
    """Yield the blocks of a file, packed or not; ``-`` is standard input.

    Raises:
        OSError: it can't be opened or read, or not any further.  The message names the file.
    """
    try:
        if path == "-":
            yield from _Stream(_pieces(sys.stdin.buffer)).blocks(0, final=True)
        elif Path(path).is_fifo() or Path(path).is_char_device():
            with Path(path).open("rb") as stream:
                yield from _Stream(_pieces(stream)).blocks(0, final=True)
        else:
            with LogFile(path) as file:
                yield from file.blocks()
    except LogFileError as error:
        text = str(error)
        raise LogFileError(text if text.startswith(path) else f"{path}: {text}") from error


# Time --------------------------------------------------------------------------------------------


async def first_line_since(
    fd: int, size: int, cutoff: int, time_of: Callable[[bytes], int | None]
) -> int:
    """Return the offset of the first line stamped at or after the cutoff, by bisection.

    Args:
        fd: an open plain file.
        size: how much of it is looked at.
        cutoff: microseconds since the epoch.
        time_of: returns the time of a line (without its newline), or None; called in a thread.

    Returns:
        The offset of a line's start; behind the last newline if no line is that young.
    """
    return await in_thread(_first_line_since, fd, size, cutoff, time_of)


def _first_line_since(
    fd: int, size: int, cutoff: int, time_of: Callable[[bytes], int | None]
) -> int:
    low, high = 0, size
    found = _end_of_lines(fd, size)
    while high - low > _PROBE:
        middle = (low + high) // 2
        for start, line in _lines(fd, middle, high):
            stamp = time_of(line)
            if stamp is None:
                continue
            if stamp >= cutoff:
                found, high = start, middle
            else:
                low = start + len(line) + 1
            break
        else:
            high = middle
    for start, line in _lines(fd, low, min(high, found)):
        stamp = time_of(line)
        if stamp is not None and stamp >= cutoff:
            return start
    return found


async def first_line_behind(
    fd: int, known: bytes, latest: int, time_of: Callable[[bytes], int | None]
) -> int:
    """Return where new lines start in a log that lost its end with all that is known of it.

    Lines stamped later than the middle of those that are known are new.  Where all of these have
    one time, lines of that time are new, too: what counts twice is better than a hit that is lost.

    Args:
        fd: an open plain file.
        known: the last bytes that were read of it; they do not stand in it now.
        latest: the last time that was read in it, in case those bytes hold no line; 0 if unknown.
        time_of: as in ``first_line_since``.

    Returns:
        The offset of the first new line, the end of the file if there is none, and 0 if the first
        line or those that are known have no time.
    """
    return await in_thread(_first_line_behind, fd, known, latest, time_of)


def _first_line_behind(
    fd: int, known: bytes, latest: int, time_of: Callable[[bytes], int | None]
) -> int:
    stamps = sorted(
        stamp for line in known.split(b"\n")[1:-1] if (stamp := time_of(line)) is not None
    )
    stamps = stamps or [latest]
    begin = os.pread(fd, HEAD, 0).partition(b"\n")[0]
    if not stamps[-1] or time_of(begin) is None:
        return 0
    size = os.fstat(fd).st_size
    cutoff = min(stamps[len(stamps) // 2] + 1, stamps[-1])
    found = _first_line_since(fd, size, cutoff, time_of)
    # Behind the last newline stands half a line: a power failure left it, or somebody writes it.
    return size if found == _end_of_lines(fd, size) else found


async def start_of_unknown(
    fd: int, found: int, cutoff: int, time_of: Callable[[bytes], int | None]
) -> int:
    """Return where to start in a log none of whose last lines has a time that can be read.

    Such a log would be skipped as too old, and that it is not understood would show in new lines
    only.  Its last MiB is read instead, if it was written after the cutoff: lines without a
    time make no hits.

    Args:
        fd: an open plain file.
        found: what ``first_line_since`` returned.
        cutoff: microseconds since the epoch.
        time_of: as there.
    """
    return await in_thread(_start_of_unknown, fd, found, cutoff, time_of)


def _start_of_unknown(
    fd: int, found: int, cutoff: int, time_of: Callable[[bytes], int | None]
) -> int:
    if os.fstat(fd).st_mtime_ns // 1000 < cutoff:
        return found
    data = os.pread(fd, min(found, _PROBE), max(0, found - _PROBE))
    if any(time_of(line) is not None for line in data.split(b"\n")[-_LAST_LINES:]):
        return found
    start = found - _UNKNOWN
    while 0 < start < found:
        newline = os.pread(fd, _PROBE, start).find(b"\n")
        if newline >= 0:
            return start + newline + 1
        start += _PROBE
    return max(0, min(start, found))


_UNKNOWN = 1 << 20
"""Bytes that are read of a log that can't be understood."""
_LAST_LINES = 50


def _lines(fd: int, low: int, high: int) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines that start between two offsets, with where they start."""
    reader = Reader(fd, max(0, low - 1), b"")
    while reader.offset < high and ((block := reader.block(_PROBE)) or not reader.at_end):
        if block is None:
            continue
        at = block.start
        for line in block.data.split(b"\n")[:-1]:
            if low <= at < high:
                yield at, line
            at += len(line) + 1
        reader.advance(block)


def _end_of_lines(fd: int, size: int) -> int:
    """Return the offset behind the last newline."""
    while size > 0:
        start = max(0, size - _PROBE)
        end = os.pread(fd, size - start, start).rfind(b"\n") + 1
        if end:
            return start + end
        size = start
    return 0
