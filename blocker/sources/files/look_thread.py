"""The thread that looks at the logs; one that hangs is left behind with its path."""

from threading import get_ident
from time import monotonic

from blocker.sources.files.rotation_set import RotationSet


class LeftBehindError(Exception):
    """Another look goes on instead of this one."""


class LookThread:
    """Knows which thread looks; when that hangs, it is left behind, and another one looks.

    Attributes:
        step: the path that the look is at, and since when (monotonic seconds).
        late: what looks that were left behind have opened at last.
    """

    def __init__(self) -> None:
        self.step: tuple[str, float] = "", 0.0
        self.late: list[RotationSet] = []
        self._thread = 0

    def prepare(self) -> None:
        """Note that a look begins soon."""
        self.step = "", monotonic()

    def begin(self) -> None:
        """Note that the calling thread looks from now on."""
        self._thread = get_ident()

    def leave(self) -> None:
        """Leave the thread that looks behind."""
        self._thread = 0

    @property
    def is_left_behind(self) -> bool:
        """Whether another look goes on instead of the one in this thread."""
        return get_ident() != self._thread

    def at(self, path: str) -> None:
        """Note what the look asks the disk about next; one that was left behind ends here."""
        if self.is_left_behind:
            raise LeftBehindError
        self.step = path, monotonic()
