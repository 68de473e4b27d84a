"""Windows of pending hits, packed: eight bytes a mark.  Pure."""

import struct
from typing import TypeAlias

LATE = 128
"""Added to the index of the trap in the mark of a late hit; there are at most 64 traps."""
MARK = struct.Struct(">Q")
NO_MARK = b"\xff" * 8
"""Compares greater than every mark."""

Window: TypeAlias = bytes
"""Pending hits of one subject in order of time: eight bytes each, big-endian, microseconds * 256
+ index of the trap.  The mark of a late hit has the time when it arrived, and ``LATE`` added to the
index.  This takes a third of the memory of a list of numbers, and is stored as it is."""


def marks_of(window: Window) -> tuple[int, ...]:
    """Return the marks of a window as numbers: the time shifted by eight bits, plus the trap."""
    return struct.unpack(f">{len(window) // 8}Q", window)
