"""Which disks do not answer.

A call that does not come back in time is left to its thread.  Of one disk (``st_dev``) no more than
a few are: the other logs on it are not asked about until one of these comes back, so threads are
left for the logs on other disks.
"""

from collections import Counter

FEW = 2
"""Calls that may hang on one disk until it is taken for dead."""


class Disks:
    """Counts the calls that hang, by disk."""

    def __init__(self) -> None:
        self._hanging: Counter[int] = Counter()

    def leave(self, device: int) -> None:
        """Note that a call hangs; 0 is a disk that is not known."""
        self._hanging[device] += 1

    def take_back(self, device: int) -> None:
        """Note that one has come back."""
        self._hanging[device] -= 1

    def is_dead(self, device: int) -> bool:
        """Whether nothing more should be asked of a disk."""
        return bool(device) and self._hanging[device] >= FEW
