"""What the kernel says of followed logs and their directories: inotify."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from blocker.sources.files import inotify
from blocker.sources.files.generation import Generation

_FILE_EVENTS = inotify.MODIFY | inotify.CLOSE_WRITE
_DIRECTORY_EVENTS = (
    inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.ONLYDIR
)


class LogWatches:
    """Watches the open files and the directories of logs.

    Args:
        clock: monotonic seconds.
        wake: is called after events.
        look: is called if the directories have to be looked at.

    Attributes:
        overflows: how often the kernel dropped events.
        error: why some events are missing, and advice; None if all are there.
    """

    def __init__(
        self, clock: Callable[[], float], wake: Callable[[], None], look: Callable[[], None]
    ) -> None:
        self._clock, self._wake, self._look = clock, wake, look
        self._notify: inotify.Inotify | None = None
        self._asked: set[int] | OSError = set()
        self._directories: set[int] = set()
        self._watched: dict[int, Generation] = {}
        self.overflows = 0
        self.error: str | None = None

    def open(self) -> None:
        """Ask the kernel for an instance, unless there is one."""
        if self._notify is None:
            try:
                self._notify = inotify.Inotify(self.take_events)
            except OSError as error:
                self.error = f"inotify: {error.strerror}; new lines are noticed by polling only"

    def close(self) -> None:
        """Close the instance."""
        if self._notify is not None:
            self._notify.close()

    def ask_for_directories(self, paths: Iterable[str], at: Callable[[str], None]) -> None:
        """Watch the directories of logs, as a step of a look in a thread: one may hang.

        Args:
            paths: of the directories.
            at: is called with each path before the kernel is asked about it.
        """
        if self._notify is None:
            self._asked = set()
            return
        watches = set[int]()
        try:
            for path in paths:
                at(path or ".")
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    watches.add(self._notify.add(path or ".", _DIRECTORY_EVENTS))
        except OSError as error:
            self._asked = error
            return
        at("")
        self._asked = watches

    def update(self, generations: Sequence[Generation]) -> None:
        """Watch what is followed now."""
        if self._notify is None:
            return
        watches = {generation.file: watch for watch, generation in self._watched.items()}
        for generation in generations:
            if (known := watches.get(generation.file)) is not None:
                self._watched[known] = generation  # perhaps the next one of the same file
        closed = [watch for watch, each in self._watched.items() if each.state.released]
        for watch in closed:
            self._notify.remove(watch)
            del self._watched[watch]
        try:
            for generation in generations:
                if generation.file not in watches and not generation.file.packed:
                    path = f"/proc/self/fd/{generation.file.fd}"
                    self._watched[self._notify.add(path, _FILE_EVENTS)] = generation
            self._update_directories(self._notify)
            self.error = None
        except OSError as error:
            self.error = (
                f"inotify: {error.strerror}; raise fs.inotify.max_user_watches: "
                "new lines of some logs are noticed by polling only"
            )

    def _update_directories(self, notify: inotify.Inotify) -> None:
        watches = self._asked
        if isinstance(watches, OSError):
            raise watches
        for watch in self._directories - watches:
            notify.remove(watch)
        if watches - self._directories:
            self._look()  # there was no event for what happened before the first watch
        self._directories = watches

    def take_events(self, events: set[tuple[int, int, str]]) -> None:
        """Note what the kernel says."""
        now, look = self._clock(), False
        self.overflows += any(mask & inotify.OVERFLOW for _, mask, _ in events)
        for watch, mask, _ in sorted(events, key=lambda event: event[1]):
            generation = self._watched.get(watch)
            if generation is None:
                look |= watch in self._directories or bool(mask & inotify.OVERFLOW)
            elif mask & inotify.IGNORED:
                del self._watched[watch]
            else:
                modified, closed = bool(mask & inotify.MODIFY), bool(mask & inotify.CLOSE_WRITE)
                generation.note_writer(now, modified=modified, closed=closed)
        if look:
            self._look()
        self._wake()
