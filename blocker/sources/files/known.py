"""Positions that were stored: which to keep, and which is furthest."""

from collections.abc import Iterable, Sequence

from blocker.sources.position import Position

HOUR, DAY = 3600.0, 86400.0
KNOWN = 64
"""Finished files that are remembered of each log: more than any rotated set holds by default."""
EMPTY = 2
"""Empty files that are remembered of each log: the path's own, and the newest of the rotated."""
SEARCHED = 8
"""Positions that are searched in a file that may be an earlier one rewritten."""
_TAIL = Position._fields.index("tail")
"""What stands before it says which position it is; the tail itself is shortened later."""


class KnownPositions:
    """Where reading ended in the files of one log that are not open.

    Args:
        known: in the order in which they were stored.

    Attributes:
        ends: the positions, from earlier runs or this one.
    """

    def __init__(self, known: Iterable[Position]) -> None:
        self.ends = without_stale(known)
        self._earlier = {each[:_TAIL] for each in self.ends}
        self._new: list[Position] = []

    @property
    def earlier(self) -> list[Position]:
        """Those of earlier runs whose files have not been open in this one."""
        return [each for each in self.ends if each[:_TAIL] in self._earlier]

    @property
    def is_marked(self) -> bool:
        """Whether the rotated files that were there at first sight are known."""
        return any(not position.head for position in self.ends)

    def note(self, position: Position) -> None:
        """Note a position that no block brings, for the store."""
        self._new.append(position)

    def take_new(self) -> list[Position]:
        """Return the positions that were noted since the last call."""
        new, self._new = self._new, []
        return new

    def meet(self, positions: Sequence[Position]) -> None:
        """Begin with what is there at the first sight of a log."""
        self.ends = list(positions)
        self._new += positions

    def add(self, positions: Iterable[Position]) -> None:
        """Add what was read under other names."""
        self.ends += positions

    def add_empty(self, position: Position) -> None:
        """Add, for the store as well, an empty file that is not known yet."""
        if position not in self.ends:
            self.ends.append(position)
            self._new.append(position)

    def remember(self, position: Position) -> None:
        """Keep in mind how far a file was read that will not be open any more."""
        if position.head:
            self.ends.append(position)
        known = without_stale(self.ends)
        self.ends = [each.shortened() for each in known[:-SEARCHED]] + known[-SEARCHED:]
        while sum(bool(position.head) for position in self.ends) > KNOWN:
            self.ends.remove(next(position for position in self.ends if position.head))

    def forget(self, positions: Iterable[Position]) -> None:
        """Drop positions of files that are open; that the log was met is never forgotten."""
        gone = {position for position in positions if position.head}
        self.ends = [position for position in self.ends if position not in gone]
        self._earlier -= {position[:_TAIL] for position in gone}


def without_stale(known: Iterable[Position]) -> list[Position]:
    """Return positions without those of empty files that were written later, or replaced.

    Nothing but the inode says which file was empty, and inodes are used again: only the latest
    are kept, and only where nothing was read of that file afterwards.

    Args:
        known: in the order in which they were stored.
    """
    known = list(known)
    last = {position.identity: index for index, position in enumerate(known)}
    empty = [index for index, position in enumerate(known) if not position.head]
    kept = [index for index in empty[-EMPTY:] if last[known[index].identity] == index]
    if empty and not kept:
        kept = empty[-1:]
        known[kept[0]] = known[kept[0]]._replace(device=0, inode=0)  # the log was met; still true
    return [each for index, each in enumerate(known) if each.head or index in kept]


def under_last_device(known: Iterable[Position]) -> list[Position]:
    """Return positions without those of files that were read later under another device number.

    A disk may get another number at each boot.  An earlier position of the same file would be taken
    for the place to go on if the file lost its end, and its lines would be counted twice.

    Args:
        known: in the order in which they were stored.
    """
    known = list(known)
    last = {(each.path, each.inode, each.head): each.device for each in known}
    return [
        each
        for each in known
        if not each.head or last[each.path, each.inode, each.head] == each.device
    ]


def furthest(known: Iterable[Position]) -> list[Position]:
    """Return the positions, each as far as its file was read under any of its names."""
    known = list(known)
    ends: dict[tuple[int, int, bytes], Position] = {}
    for each in sorted(known, key=lambda position: position.offset):
        ends[each.device, each.inode, each.head] = each
    return [ends[each.device, each.inode, each.head]._replace(path=each.path) for each in known]
