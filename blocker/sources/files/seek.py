"""Finds the first line since a time, by bisection."""

import os
from collections.abc import Callable, Iterator

from blocker.sources.files.disk_threads import in_thread
from blocker.sources.files.plain import BlockReader
from blocker.sources.stream import HEAD

_PROBE = 1 << 16


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

    Lines stamped later than the middle of those that are known are new.  Where the later half of
    these has one time, lines of that time are new, too: what counts twice is better than a hit that
    is lost.

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
    # Behind the last newline stands half a line: a power failure left it, or it is being written.
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
    reader = BlockReader(fd, max(0, low - 1), b"")
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
