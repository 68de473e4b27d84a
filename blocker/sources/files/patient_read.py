"""One reading at a time, in a thread that may hang with it."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from blocker.sources.files.disk_threads import PATIENCE, begun_in_thread
from blocker.sources.files.disks import Disks

_T = TypeVar("_T")


class PatientRead(Generic[_T]):
    """Reads in a thread, and leaves a reading that hangs to it.

    Attributes:
        asked: when the reading began, in the seconds of the caller's clock.
    """

    def __init__(self, disks: Disks, device: int) -> None:
        self._disks, self._device = disks, device
        self._task: asyncio.Task[_T] | None = None
        self._since = self.asked = 0.0
        self._is_left = False

    @property
    def is_under_way(self) -> bool:
        """Whether a reading was begun whose result was not taken."""
        return self._task is not None

    @property
    def hangs(self) -> bool:
        """Whether a reading has not come back: nothing else may touch the file meanwhile."""
        return self._task is not None and not self._task.done()

    @property
    def hangs_for(self) -> float:
        """Seconds since when a reading has not come back; 0 while there is none."""
        return time.monotonic() - self._since if self.hangs else 0.0

    def begin(self, call: Callable[[int], _T], limit: int, asked: float) -> None:
        """Begin to read."""
        self.asked = asked
        self._task = begun_in_thread(call, limit)
        self._since = time.monotonic()

    async def result(self) -> "asyncio.Task[_T] | None":
        """Return the reading that has ended, None if it does not come back in time.

        Raises:
            CancelledError: a reading that came back meanwhile is dropped.
        """
        task = self._task
        if task is None:
            return None
        try:
            await asyncio.wait({task}, timeout=PATIENCE)
        except asyncio.CancelledError:
            # The file is closed next, and a thread must not find another one in its place.
            await asyncio.wait({task}, timeout=PATIENCE)
            if task.done():
                self._task = None
                task.exception()  # has been looked at: the cancellation is the news
            raise
        for _ in range(2):
            if not task.done():
                await asyncio.sleep(0)  # it may be back, and the loop too busy to say so
        if task.done():
            self._task = None
            return task
        if not self._is_left:
            self._is_left = True
            self._disks.leave(self._device)
            task.add_done_callback(self._come_back)
        return None

    def _come_back(self, _task: "asyncio.Task[_T]") -> None:
        self._is_left = False
        self._disks.take_back(self._device)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Call something now, or when the thread that still reads has come back."""
        if self._task is not None and not self._task.done():
            self._task.add_done_callback(lambda _task: call())
        else:
            call()
