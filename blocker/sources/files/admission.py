"""Whether a path that is not followed yet is a log of its own."""

import os
from collections.abc import Callable, Container, Sequence

from blocker.sources.files.directories import Directories
from blocker.sources.files.logfile import LogFile
from blocker.sources.files.open_files import OpenFiles
from blocker.sources.files.rotation_set import RotationSet
from blocker.sources.position import Position


class Admission:
    """Decides in one look which new paths become logs.

    Args:
        known: how far files were judged in earlier runs.
        contents: what is in the directories.
        followed: returns the paths that are followed; a look that hung meets those of a later one.
        opened: returns the index of what is open, the same.

    Attributes:
        refused: why files are no logs, by path.
        doubles: paths that lead to, or are copies of, files that are open.
    """

    def __init__(
        self,
        known: Sequence[Position],
        contents: Directories,
        followed: Callable[[], Container[str]],
        opened: Callable[[], OpenFiles],
    ) -> None:
        self._known, self._contents = known, contents
        self._followed, self._opened = followed, opened
        self.refused: dict[str, str] = {}
        self.doubles: set[str] = set()

    def refuse(self, path: str, why: str) -> None:
        """Note why a path is no log."""
        self.refused[path] = f"{path}: {why}"

    def admit(self, path: str, order: int) -> RotationSet | None:
        """Return a rotation set for a path, if it is a log of its own."""
        try:
            known = self._met(path)
        except OSError as error:
            self.refuse(path, error.strerror or str(error))
            return None
        return None if known is None else RotationSet(path, order, self._contents, known)

    def _met(self, path: str) -> list[Position] | None:
        """Return what is known of a path not followed yet; None: it is no log of its own."""
        if os.path.realpath(path) in self._followed():
            self.doubles.add(path)  # perhaps of a file that was made after the look at its log
            return None
        with LogFile(path) as file:
            if file.packed:
                return None
            if self._opened().has_copied(file):
                self.doubles.add(path)
                return None
            own = [position for position in self._known if position.path == path]
            return own or [each._replace(path=path) for each in self._opened().positions(file)]
