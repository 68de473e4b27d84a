"""Where reading goes on in a log that was rewritten: trimmed at its head, cut off, made anonymous.

It goes on behind the last of the bytes known, wherever that stands now.  Only the bytes before a
position are known, so equal bytes are no proof before they hold two whole lines that differ.
"""

import os
from collections.abc import Iterator
from itertools import islice

from blocker.sources.files.logfile import LogFile
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK

_NEEDLE = 1024
"""Bytes before a position that are searched; those before them say which of several places."""
_CANDIDATES = 1000
"""Places with the same bytes that are compared."""


def place_behind(file: LogFile, position: Position) -> int:
    """Return where what stood before a position ends now in a rewritten file; 0: nowhere.

    A log that was trimmed at its head moves it towards the start, so the place nearest to the old
    offset counts, from there backwards; then what a rewriting of lines moved forwards; then a file
    that begins with the last whole lines of it; then, of a file whose end was cut off, what is
    left of it.  Where it stands several times (one client, one second, the same request), the
    place with the most equal bytes before it wins.
    """
    known = position.tail
    if file.packed or not position.offset or not known.endswith(b"\n"):
        return 0
    size = file.stat().st_size
    end = min(position.offset, size)
    return (
        _find_last(file.fd, known[-_NEEDLE:], known, end)
        or _find_behind(file.fd, known[-_NEEDLE:], position.offset)
        or _find_rest(file.fd, known)
        or _find_cut(file.fd, _whole_lines(position), size)
    )


def has_lost_end(file: LogFile, position: Position) -> bool:
    """Whether this is the file of a position without anything of what is known of it.

    It may have grown again.
    """
    if not position.head or not position.offset or file.packed:
        return False
    is_same = position.head == file.head() and not file.holds(position)
    return is_same and not place_behind(file, position)


def _find_last(fd: int, tail: bytes, context: bytes, end: int) -> int:
    """Return the offset behind the last place of these bytes before an offset, or 0."""
    best, longest = 0, 0
    for place in islice(_places(fd, tail, end), _CANDIDATES):
        same = _same_before(fd, place, context)
        if same > longest:
            best, longest = place, same
        if same == min(place, len(context)):
            best, longest = place, same
            break
    return best if _is_proof(context, longest, best) else 0


def _find_behind(fd: int, tail: bytes, offset: int) -> int:
    """Return the offset behind these bytes if they moved forwards, by one block at most; or 0."""
    start = max(0, offset - len(tail) + 1)
    at = os.pread(fd, BLOCK, start).find(tail)
    place = start + at + len(tail)
    return place if at >= 0 and _is_proof(tail, len(tail), place) else 0


def _find_rest(fd: int, tail: bytes) -> int:
    """Return how many bytes a file begins with that are the last whole lines of these, or 0."""
    beginning = os.pread(fd, len(tail), 0)
    at = tail.find(b"\n") + 1
    while 0 < at < len(tail):
        rest = tail[at:]
        if beginning.startswith(rest):
            return len(rest) if _is_proof(rest, len(rest), len(rest)) else 0
        at = tail.find(b"\n", at) + 1
    return 0


def _find_cut(fd: int, known: bytes, size: int) -> int:
    """Return the offset behind the first of these lines, as many as are still there, or 0.

    Of half a line at the end of the file the rest was cut off; what is written next is a new line.
    If something is written behind it already, at least half of the line must be there: two lines
    of one client begin alike.
    """
    first = _first_lines(known)
    best, longest = 0, 0
    for place in islice(_places(fd, first, size) if first else (), _CANDIDATES):
        start = place - len(first)
        same = _common(os.pread(fd, len(known), start), known)
        begin = known.rfind(b"\n", 0, same) + 1
        if start + same < size and not _is_most_of_line(known[begin:], same - begin):
            same = begin
        if same > longest:
            best, longest = start + same, same
    return best


def _is_most_of_line(lines: bytes, length: int) -> bool:
    """Return whether so many bytes are at least half of the first line, without NULs before it."""
    line = lines.partition(b"\n")[0]
    nuls = len(line) - len(line.lstrip(b"\0"))
    return 2 * (length - nuls) >= len(line) - nuls


def _whole_lines(position: Position) -> bytes:
    """Return the bytes known from the first line on that is known from its beginning."""
    known = position.tail
    return known if len(known) == position.offset else known[known.find(b"\n") + 1 :]


def _first_lines(known: bytes) -> bytes:
    """Return the first whole lines of these bytes up to one that differs from the first."""
    first = known[: known.find(b"\n") + 1]
    at = len(first)
    while at < len(known):
        start, at = at, known.find(b"\n", at) + 1
        if not at:
            break
        if known[start:at] != first:
            return known[:at]
    return b""


def _places(fd: int, tail: bytes, end: int) -> Iterator[int]:
    """Yield the offsets behind these bytes up to an offset, from the last to the first."""
    while end >= len(tail):
        start = max(0, end - BLOCK)
        data = os.pread(fd, end - start, start)
        at = data.rfind(tail)
        while at >= 0:
            yield start + at + len(tail)
            at = data.rfind(tail, 0, at + len(tail) - 1)
        end = start + len(tail) - 1 if start else 0


def _is_proof(context: bytes, same: int, place: int) -> bool:
    """Whether so many equal bytes before a place hold two whole lines that differ.

    The end of a line proves nothing, since a client sends the same long header with each request;
    nor does one line, since it sends the same request several times in one second.
    """
    lines = context[len(context) - same :].split(b"\n")[:-1]
    return len(set(lines if same == place else lines[1:])) > 1


def _same_before(fd: int, place: int, context: bytes) -> int:
    """Return how many bytes before a place are those at the end of the context."""
    length = min(place, len(context))
    there, known = os.pread(fd, length, place - length), context[len(context) - length :]
    return _common(there[::-1], known[::-1])


def _common(one: bytes, two: bytes) -> int:
    """Return how many bytes are the same at the beginning."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == two[:middle] else (low, middle - 1)
    return low


def common_lines(fd: int, start: int, other: int, other_start: int) -> int:
    """Return how many bytes of whole lines two files have in common from there on."""
    common = 0
    while True:
        one = os.pread(fd, BLOCK, start + common)
        two = os.pread(other, BLOCK, other_start + common)
        if len(one) == BLOCK and one == two:
            common += BLOCK
            continue
        same = one[: _common(one, two)].rfind(b"\n") + 1
        if same or not common:
            return common + same
        return common - BLOCK + os.pread(fd, BLOCK, start + common - BLOCK).rfind(b"\n") + 1
