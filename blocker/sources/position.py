"""How far a log has been judged.  Pure."""

from typing import NamedTuple

SHORT_TAIL = 1024
"""Bytes that remain known of files that were read long ago."""


class Position(NamedTuple):
    """How far one log has been judged, and how to recognise it.

    The engine reads ``path`` and ``head`` only; the rest is for the source and the store.

    Attributes:
        path: the live path that the file belongs to, also after it was renamed.
        device: of the file, when it was read.
        inode: the same.
        head: digest of the first line; empty while there is none.
        offset: of the first byte that has not been judged.
        tail: at most 4 KiB just before the offset.
        cursor: of a journal's last entry that was judged, as systemd writes it; "" for a file.  A
            journal's offset is the time of that entry, microseconds; device, inode and head are
            empty.
    """

    path: str
    device: int
    inode: int
    head: bytes
    offset: int
    tail: bytes
    cursor: str = ""

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file when it was read: proof of nothing by themselves."""
        return self.device, self.inode

    def shortened(self) -> "Position":
        """Return the position with fewer bytes before it."""
        return self._replace(tail=self.tail[-SHORT_TAIL:])
