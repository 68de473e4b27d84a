"""Reads plain files in blocks of whole lines, while they may grow."""

import os
from contextlib import suppress

from blocker.sources.stream import BLOCK, TAIL, Block

_TURN = 8
"""Blocks that are searched at once for the end of a line or of a hole: other logs wait."""
PIECE = 1 << 18
_NULS = bytes(BLOCK)


class BlockReader:
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
            line = behind_nuls(piece)
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


def behind_nuls(piece: bytes) -> bytes:
    """Return a piece without the NULs that it begins with."""
    # A piece of nothing else is found out a hundred times as fast this way.
    return b"" if _NULS.startswith(piece) else piece.lstrip(b"\0")


def read_tail(fd: int, offset: int, count: int = TAIL) -> bytes:
    """Return at most so many bytes before an offset; fewer where the file is shorter."""
    start = max(0, offset - count)
    return os.pread(fd, offset - start, start)
