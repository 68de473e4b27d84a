"""Paths about which a thread still asks the disk, because that does not answer."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from time import monotonic

from blocker.sources.files.disk_threads import HANGS
from blocker.sources.files.disks import FEW, Disks
from blocker.sources.files.naming import directory_of
from blocker.sources.files.rotation_set import RotationSet

MAX_STUCK = 8
"""Paths that may be left to a thread each; a further one that hangs is waited for."""


class StuckPaths:
    """Says which logs must not be touched, since a thread may be at the same files.

    Args:
        disks: counts the calls that hang.
    """

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._since: dict[str, float] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._since

    def paths(self) -> Sequence[str]:
        """Return the paths."""
        return list(self._since)

    @property
    def are_many(self) -> bool:
        """Whether no further path may be left to a thread."""
        return len(self._since) >= MAX_STUCK

    def seconds(self) -> dict[str, float]:
        """Return since how many seconds the disk has not answered, by path."""
        now = monotonic()
        return {path: now - since for path, since in self._since.items()}

    def leave(
        self, path: str, rotation_set: RotationSet | None, asking: "asyncio.Future[None]"
    ) -> None:
        """Leave a path, and the log there, to the thread that asks the disk about it."""
        generations = rotation_set.generations if rotation_set is not None else ()
        device = next((generation.file.device for generation in generations), 0)
        self._since[path] = monotonic()
        self._disks.leave(device)
        asking.add_done_callback(lambda done: self._take_back(path, device, done))

    def _take_back(self, path: str, device: int, done: "asyncio.Future[None]") -> None:
        del self._since[path]
        if not done.cancelled():
            done.exception()  # the next look meets it again
        self._disks.take_back(device)

    def is_out(self, rotation_set: RotationSet) -> bool:
        """Whether threads still ask the disk about a log, or about some on the same disk."""
        dead = self._disks.is_dead
        if rotation_set.is_unreachable or any(
            generation.reading.hangs or dead(generation.file.device)
            for generation in rotation_set.generations
        ):
            return True
        return bool(self._since) and self.is_near(rotation_set.path)

    def is_down(self, rotation_set: RotationSet) -> bool:
        """Whether that has lasted long enough to be reported."""
        if rotation_set.is_unreachable or any(
            generation.reading.hangs_for >= HANGS for generation in rotation_set.generations
        ):
            return True
        since = self._since.get(rotation_set.path)
        return since is not None and monotonic() - since >= HANGS

    def is_near(self, path: str) -> bool:
        """Whether threads still ask about a path, or about some in its directory."""
        places = Counter(map(directory_of, self._since))
        return path in self._since or places[directory_of(path)] >= FEW
