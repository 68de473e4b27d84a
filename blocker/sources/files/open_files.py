"""An index of the files that are open, and of those that are known."""

from collections.abc import Callable, Iterable
from functools import cached_property

from blocker.sources.files.generation import Generation
from blocker.sources.files.logfile import LogFile
from blocker.sources.position import Position
from blocker.sources.stream import HEAD


def is_copy_likely(path: str, other: str, size: int) -> bool:
    """Whether two files that begin with so many equal bytes are one log and its copy.

    The logs of two sites may begin with the same requests, but not with 4 KiB of them, and the
    name of neither begins with the other's.
    """
    return size >= HEAD or path.startswith(other) or other.startswith(path)


class OpenFiles:
    """Finds what is open and what is known by the first line, among very many.

    Args:
        generations: the open ones of all logs.
        known: returns all positions that are known.
    """

    def __init__(
        self,
        generations: Iterable[Generation] = (),
        known: Callable[[], Iterable[Position]] = list,
    ) -> None:
        self._all_known = known
        self._generations: dict[bytes, list[Generation]] = {}
        self._open: dict[tuple[int, int], Generation] = {}
        self.add(generations)

    @cached_property
    def _known(self) -> dict[bytes, list[Position]]:
        """What is known, by first line; gathered late, for most looks find no new file."""
        found: dict[bytes, list[Position]] = {}
        for position in self._all_known():
            found.setdefault(position.head, []).append(position)
        return found

    def add(self, generations: Iterable[Generation]) -> None:
        """Add logs that were opened."""
        for generation in generations:
            self._generations.setdefault(generation.head, []).append(generation)
            self._open[generation.file.identity] = generation

    def is_open(self, file: LogFile) -> bool:
        """Whether a file is an open one, under any name."""
        generation = self._open.get(file.identity)
        return generation is not None and not generation.state.released

    def has_copied(self, file: LogFile) -> bool:
        """Whether a file is an open one, or a copy of the beginning of one."""
        if self.is_open(file):
            return True
        generations = [
            generation
            for generation in self._generations.get(file.head(), ())
            if not generation.state.released
        ]
        size = file.stat().st_size
        return any(
            is_copy_likely(file.path, generation.path, size) and generation.file.covers(file)
            for generation in generations
        )

    def positions(self, file: LogFile) -> list[Position]:
        """Return the positions behind something that was read of a file, under any path."""
        return [
            position
            for position in self._known.get(file.head(), ())
            if position.offset
            and (
                position.identity == file.identity
                or is_copy_likely(file.path, position.path, position.offset)
            )
            and file.holds(position)
        ]

    def under_other_names(self, file: LogFile, path: str) -> list[Position]:
        """Return how far this very file was read under other paths, as positions of this one.

        Its content alone is no proof here: logs of two sites may begin with the same request.
        """
        known = [each for each in self.positions(file) if each.path != path]
        same = [each for each in known if each.identity == file.identity]
        return [each._replace(path=path) for each in same]
