"""Windows of pending hits, packed: eight bytes a mark.  Pure."""

import struct
from typing import TypeAlias

from blocker.model import attempt_of

LATE = 128
"""Added to the index of the trap in the mark of a late hit; there are at most 65 traps."""
MARK = struct.Struct(">Q")
NO_MARK = b"\xff" * 8
"""Compares greater than every mark."""

Window: TypeAlias = bytes
"""Pending hits of one subject in order of time: eight bytes each, big-endian, microseconds * 256
+ index of the trap.  The mark of a late hit has the time when it arrived, and ``LATE`` added to the
index.  The time of an event may hold an attempt (``model.attempt_time``).  This takes a third of
the memory of a list of numbers, and is stored as it is."""


def without_attempt(window: Window, mark: bytes, findtime: int) -> Window | None:
    """Return a window without the earlier marks of an attempt; None if it has a later one.

    A late attempt changes nothing here.

    Args:
        window: the window.
        mark: of the attempt; see ``model.attempt_time``.
        findtime: of its trap, microseconds.
    """
    (new,) = MARK.unpack(mark)
    trap, attempt, marks = new & 255, attempt_of(new >> 8), marks_of(window)
    same = {m for m in marks if m & 255 == trap and attempt_of(m >> 8) == attempt}
    if not same or new >> 8 <= (marks[-1] >> 8) - findtime:
        return window
    if max(same) >= new:
        return None
    kept = [each for each in marks if each not in same]
    return struct.pack(f">{len(kept)}Q", *kept)


def marks_of(window: Window) -> tuple[int, ...]:
    """Return the marks of a window as numbers: the time shifted by eight bits, plus the trap."""
    return struct.unpack(f">{len(window) // 8}Q", window)
