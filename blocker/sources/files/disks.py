"""Which disks do not answer.

A call that does not come back in time is left to its thread.  Of one disk (``st_dev``) no more than
a few are: the other logs on it are not asked about until one of these comes back, so threads are
left for the logs on other disks.
"""

from collections import Counter
from collections.abc import Callable

FEW = 2
"""Calls that may hang on one disk until it is taken for dead."""


class Disks:
    """Counts the calls that hang, by disk.

    Args:
        on_answer: is called when one of them comes back.
    """

    def __init__(self, on_answer: Callable[[], None] = lambda: None) -> None:
        self._hanging: Counter[int] = Counter()
        self._on_answer = on_answer

    def leave(self, device: int) -> None:
        """Note that a call hangs; 0 is a disk that is not known."""
        self._hanging[device] += 1

    def take_back(self, device: int) -> None:
        """Note that one has come back."""
        self._hanging[device] -= 1
        self._on_answer()

    def is_dead(self, device: int) -> bool:
        """Whether nothing more should be asked of a disk."""
        return bool(device) and self._hanging[device] >= FEW
