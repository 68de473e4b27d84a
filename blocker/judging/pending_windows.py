"""The windows of all subjects, their ceiling, and which of them have to be stored.  Pure.

Memory has a ceiling: ``max_tracked`` windows in two generations.  When the younger one is full
(half the ceiling), the older one is forgotten and the generations shift; a subject that goes on
hitting is always in the younger one, so what is forgotten is what has been quiet longest.  Each
window forgotten is counted.
"""

from collections.abc import Iterable

from blocker.judging.windows import Window
from blocker.model import Subject


class PendingWindows:
    """Holds the window of each subject that has hits but no ban yet.

    Args:
        ceiling: how many windows are held.

    Attributes:
        evicted: number of windows that were evicted since the start.
    """

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._young: dict[Subject, Window] = {}
        self._old: dict[Subject, Window] = {}
        self._changed: set[Subject] = set()
        self._forgotten: list[Subject] = []
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, subject: Subject) -> Window:
        """Return the window of a subject, which is empty if there is none."""
        return self._young.get(subject) or self._old.get(subject, b"")

    def put(self, subject: Subject, window: Window, *, changed: bool = True) -> None:
        """Set the window of a subject, and mark it as changed."""
        if changed:
            self._changed.add(subject)
        if subject not in self._young:
            self._old.pop(subject, None)
            if len(self._young) * 2 >= self._ceiling:
                self._evict()
        self._young[subject] = window

    def restore(self, subject: Subject, window: Window) -> None:
        """Set the window of a subject to the one that the store holds."""
        if window:
            self.put(subject, window, changed=False)

    def _evict(self) -> None:
        """Forget the older generation; the younger one becomes the older."""
        self.evicted += len(self._old)
        self._forgotten += self._old
        self._old, self._young = self._young, {}

    def drop(self, subject: Subject) -> None:
        """Forget the window of a subject, and mark it as changed."""
        self._changed.add(subject)
        self.forget(subject)

    def forget(self, subject: Subject) -> bool:
        """Forget the window of a subject; False if there was none."""
        young, old = self._young.pop(subject, b""), self._old.pop(subject, b"")
        return bool(young or old)

    def clear(self) -> None:
        """Forget all windows, and what has to be stored."""
        self._young, self._old, self._forgotten = {}, {}, []
        self._changed = set()

    def subjects(self) -> list[Subject]:
        """Return all subjects with a window."""
        return [*self._young, *self._old]

    # Storing -----------------------------------------------------------------------------------

    @property
    def changed(self) -> int:
        """Number of windows that changed since they were last taken."""
        return len(self._changed)

    def take_changed(self) -> set[Subject]:
        """Return the subjects whose window changed, and reset; the caller stores the windows."""
        changed, self._changed = self._changed, set()
        return changed

    def put_back(self, subjects: Iterable[Subject]) -> None:
        """Count windows as changed again that were taken and could not be stored."""
        self._changed.update(subjects)

    def take_forgotten(self, count: int) -> list[Subject]:
        """Return up to ``count`` subjects whose window was evicted, each of them once.

        Half a million windows are evicted at a time: too many for one transaction of the store.
        """
        taken, self._forgotten[-count:] = self._forgotten[-count:], []
        return taken
