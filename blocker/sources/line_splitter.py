"""Cuts a stream of bytes into whole lines.  Pure."""

from blocker.sources.stream import BLOCK


class LineSplitter:
    """Keeps the beginning of a line until its end arrives.

    A line that is longer than the longest that is judged is dropped as a whole, and counted.

    Args:
        longest: bytes of a line, its newline included.
    """

    def __init__(self, longest: int = BLOCK) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False

    def lines(self, data: bytes) -> tuple[bytes, int]:
        """Return the lines that end in the data, and how many were dropped."""
        dropped = 0
        if self._skipping:
            end = data.find(b"\n") + 1
            if not end:
                return b"", 0
            data, self._skipping = data[end:], False
        first = data.find(b"\n") + 1
        if len(self._rest) + (first or len(data)) > self._longest:
            dropped, self._skipping = 1, not first
            data, self._rest = data[first:] if first else b"", b""
        last = data.rfind(b"\n") + 1
        if not last:
            self._rest += data
            return b"", dropped
        whole, self._rest = self._rest + data[:last], data[last:]
        return whole, dropped

    def end(self) -> bytes:
        """Return the last line, if it has no newline, as if it had one."""
        rest, self._rest = self._rest, b""
        return rest + b"\n" if rest else b""
