"""What a source of lines hands out: blocks of whole lines."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from blocker.sources.position import Position

BLOCK = 1 << 20
"""Bytes in a block, and so in the longest line that is read whole."""
HEAD = 4096
"""Bytes of the first line that make the head."""
TAIL = 4096
"""Bytes before a position that are known and read again: they hold tens of lines, as a rule."""


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
        return self.start + end, tail_of(self.before, self.data[max(0, end - TAIL) : end])


class Stream(Protocol):
    """One log from one beginning to its end, as the engine sees it, for any kind of source.

    The engine keeps streams as keys of dictionaries: a stream equals only itself.
    """

    @property
    def path(self) -> str:
        """The log's name in positions, counters and the label ``log``."""

    @property
    def head(self) -> bytes:
        """Digest that identifies the content at that path; empty while it is not known."""

    @property
    def fresh_end(self) -> int:
        """Offset up to which lines were there when the log was first seen; 0 if it was known."""

    @property
    def cutoff(self) -> int:
        """Microseconds; hits before ``fresh_end`` that are older are not judged. 0 for none."""

    async def read(self, limit: int) -> Block | None:
        """Return the next whole lines, or None while there are none.

        ``limit`` is in bytes; only a longer line makes a longer block, of ``BLOCK`` at most.
        """

    def position(self, block: Block, end: int) -> Position:
        """Return the position that says: judged up to byte ``end`` of this block, a line's end."""


class Source(Protocol):
    """The logs of one kind.  It retries failures by itself."""

    def ready(self) -> Sequence[Stream]:
        """Return the streams that may have something new, in the order to read them."""

    def new_positions(self) -> Sequence[Position]:
        """Return the positions since the last call that no block brings, to be stored as well."""


class LogFileError(OSError):
    """The file can't be read, or not any further; what was read before is good."""


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


def tail_of(before: bytes, data: bytes) -> bytes:
    """Return the last bytes known before the end of the data."""
    return data[-TAIL:] if len(data) >= TAIL else (before + data)[-TAIL:]
