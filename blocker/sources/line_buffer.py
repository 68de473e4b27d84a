"""Lines that were received and wait to be judged, in memory, up to a ceiling.  Pure.

The receiver must go on however slowly lines are judged, or the web server would wait; so lines
beyond the ceiling are dropped and counted.  Those that wait already are kept: they are the
earlier ones.
"""

from collections import deque

CEILING = 16 << 20
"""Bytes that wait at most; some 80,000 lines of an access log."""


class LineBuffer:
    """Whole lines in the order in which they were received.

    Args:
        ceiling: bytes that may wait.

    Attributes:
        size: bytes that wait.
        since: since when lines wait, monotonic seconds; 0.0 if none do.
    """

    def __init__(self, ceiling: int = CEILING) -> None:
        self._ceiling = ceiling
        self._parts: deque[bytes] = deque()
        self.size, self.since = 0, 0.0
        self._taken = self._judged = 0  # offsets in all lines that were ever taken
        self._out = b""

    def put(self, lines: bytes, now: float) -> int:
        """Append lines, each with a newline; return how many were dropped."""
        room = self._ceiling - self.size
        kept = lines
        if len(lines) > room:
            kept = lines[: lines.rfind(b"\n", 0, max(room, 0)) + 1]
        if kept:
            self.since = self.since or now
            self._parts.append(kept)
            self.size += len(kept)
        return lines.count(b"\n", len(kept))

    def take(self, limit: int) -> tuple[int, bytes]:
        """Return the next lines and their offset in all that was ever taken.

        They have so many bytes together; only a longer line is returned beyond that, alone.
        """
        taken: list[bytes] = []
        while self._parts and limit > 0:
            part = self._parts.popleft()
            if len(part) > limit:
                end = part.rfind(b"\n", 0, limit) + 1
                if not (end or taken):
                    end = part.index(b"\n") + 1
                if end < len(part):
                    self._parts.appendleft(part[end:])
                part, limit = part[:end], 0
            taken.append(part)
            limit -= len(part)
        self._out, start = b"".join(taken), self._taken
        self._taken += len(self._out)
        self._shrink(len(self._out))
        return start, self._out

    def _shrink(self, size: int) -> None:
        self.size -= size
        if not self.size:
            self.since = 0.0

    def judged_to(self, offset: int) -> None:
        """Note that everything up to an offset is judged."""
        self._judged = max(self._judged, offset)

    def take_back(self, now: float) -> None:
        """Put what was taken last in front again, as far as it is not judged."""
        start = self._taken - len(self._out)
        rest = self._out[max(self._judged - start, 0) :]
        self._taken, self._out = self._taken - len(rest), b""
        if rest:
            self._parts.appendleft(rest)
            self.size += len(rest)
            self.since = self.since or now
