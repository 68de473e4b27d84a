"""Reads compressed files: gzip, bzip2, xz, zstd."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO

from blocker.sources.files.plain import PIECE, behind_nuls
from blocker.sources.stream import BLOCK, Block, LogFileError, tail_of


class RawFile(io.RawIOBase):
    """Reads a descriptor by offset: any number of these share one descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd, self._at = fd, 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return how many bytes that were."""
        count = os.preadv(self._fd, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset; return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = (os.fstat(self._fd).st_size if base is None else base) + offset
        return self._at

    def seekable(self) -> bool:
        """Whether it can seek: always."""
        return True


def _unpack(module: str) -> Callable[[BinaryIO], Iterator[bytes]]:
    """Return what unpacks by a module that opens like gzip, loaded when it is needed."""

    def unpacked(file: BinaryIO) -> Iterator[bytes]:
        with import_module(module).open(file) as stream:
            while piece := stream.read1(PIECE):
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


MAGIC = {
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


class ByteStream:
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
            before = tail_of(before, piece)
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
                behind, ended = self._end_of_line(tail_of(before, data))
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
            line = behind_nuls(piece)
            before = tail_of(before, piece[: len(piece) - len(line)])
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
                return tail_of(before, piece[:end]), True
            before = tail_of(before, piece)
        return before, False


class PackedReader:
    """Cuts a packed file into blocks, like ``BlockReader``; such a file has an end."""

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


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield what is in a stream that is not packed."""
    while piece := file.read1(PIECE):  # type: ignore[attr-defined]
        yield piece
