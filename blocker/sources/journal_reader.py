"""Reads entries of the systemd journal through libsystemd: blocking, for one thread alone.

libsystemd is part of every Debian with systemd; ``ctypes`` needs no package beside it.  All calls
release the interpreter's lock, so a journal on a disk that hangs holds up only the thread that
reads it.  See sd-journal(3).
"""

import ctypes
import errno
import os
import re
import select
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeAlias

from blocker.sources.files.access import current_account, quoted
from blocker.sources.schemes import REPORTS
from blocker.sources.stream import BLOCK, Block

PREFIX = "journal:"
"""How a journal's name begins among the logs."""
SEPARATOR = b"\x1e"
"""Stands for a newline within a message: no format takes it for the end of a line or a field."""
MOST = 4096
"""Entries in a block; each needs about 170 bytes for its cursor."""
ACTIVE, LOOK = 10.0, 0.03
"""Seconds after an entry in which the journal is looked at so often: its word is 0.5 s late."""
IDLE, CHECK = 5.0, 30.0
"""Seconds between two looks otherwise, and until a quiet journal is opened again: word of a new
file may get lost, or the right to read it."""
_PLACES = ("/var/log/journal", "/run/log/journal")
_LOCAL_ONLY, _NOTHING_NEW = 1, 0
_FIELD = b"MESSAGE="
MAX_REPORT = 8192
"""Ceiling of a message in which WordPress reports a failure, bytes."""
_TIME = re.compile(r"(?:^|;)t=([0-9a-f]{1,16})(?:;|$)")
_HANDLE, _TEXT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
_CALLS: Sequence[tuple[str, Sequence[object]]] = (
    ("open", (_HANDLE, ctypes.c_int)),
    ("open_directory", (_HANDLE, _TEXT, ctypes.c_int)),
    ("set_data_threshold", (_HANDLE, _SIZE)),
    ("add_match", (_HANDLE, _TEXT, _SIZE)),
    ("add_disjunction", (_HANDLE,)),
    ("seek_cursor", (_HANDLE, _TEXT)),
    ("seek_realtime_usec", (_HANDLE, ctypes.c_uint64)),
    ("test_cursor", (_HANDLE, _TEXT)),
    ("next", (_HANDLE,)),
    ("get_data", (_HANDLE, _TEXT, _HANDLE, _HANDLE)),
    ("get_cursor", (_HANDLE, _HANDLE)),
    ("get_realtime_usec", (_HANDLE, _HANDLE)),
    ("get_fd", (_HANDLE,)),
    ("process", (_HANDLE,)),
)


class JournalError(OSError):
    """The journal can't be read; the message says why, with advice."""


class Mark(NamedTuple):
    """A place in the journal: behind the entry of a cursor or, without one, from a time on."""

    cursor: str
    time: int


class Entries(NamedTuple):
    """Lines of some entries.

    Attributes:
        data: the lines, each with a newline.
        ends: offset of each line's end.
        cursors: the entry of each line.
        cut: whether the only line was cut at the ceiling.
        more: whether further entries may wait.
    """

    data: bytes
    ends: Sequence[int]
    cursors: Sequence[str]
    cut: bool
    more: bool


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libsystemd.so.0")
    except OSError:
        text = "libsystemd.so.0 can't be loaded: install the package libsystemd0"
        raise JournalError(errno.ENOENT, text) from None
    for name, arguments in _CALLS:
        call = getattr(library, f"sd_journal_{name}")
        call.argtypes, call.restype = arguments, ctypes.c_int
    library.sd_journal_close.argtypes, library.sd_journal_close.restype = (_HANDLE,), None
    return library


@cache
def _free() -> "ctypes._NamedFuncPointer":
    call = ctypes.CDLL(None).free
    call.argtypes, call.restype = (_HANDLE,), None
    return call


Matches: TypeAlias = Sequence[Sequence[bytes]]
"""Fields and values: entries are selected that fit all matches of one of these (of the matches of
one field, any)."""
_IDENTIFIERS = (b"wordpress", b"wp")
_REPORTS: Matches = (
    (b"SYSLOG_FACILITY=4", b"SYSLOG_FACILITY=10"),
    tuple(b"SYSLOG_IDENTIFIER=" + each for each in _IDENTIFIERS),
)
"""The facilities auth and authpriv, since an identifier such as ``wordpress(HOST)`` can't be
matched by its beginning; and our plugin's identifier with any facility."""


def matches_of(name: str) -> Matches:
    """Return the journal's matches for the name of a log.

    >>> matches_of("journal:nginx.service"), matches_of("journal:identifier=nginx")
    (((b'_SYSTEMD_UNIT=nginx.service',),), ((b'SYSLOG_IDENTIFIER=nginx',),))
    """
    if name == REPORTS:
        return _REPORTS
    what = name.removeprefix(PREFIX)
    identifier = what.removeprefix("identifier=")
    field = "_SYSTEMD_UNIT" if identifier == what else "SYSLOG_IDENTIFIER"
    return ((f"{field}={identifier}".encode(),),)


def time_of(cursor: str) -> int:
    """Return when the journal received the entry of a cursor, microseconds; 0 if it does not say.

    >>> time_of("s=1f;i=2;b=3;m=4;t=ff;x=5")
    255
    """
    found = _TIME.search(cursor)
    return int(found[1], 16) if found else 0


def journal_blocks(name: str, directory: str = "") -> Iterator[Block]:
    """Yield what the journal holds of a log, from its oldest entry on.

    Raises:
        JournalError: it can't be read.
    """
    if text := obstacle(directory):
        raise JournalError(errno.EACCES, text)
    reader, at = JournalReader(name, Mark("", 0), directory), 0
    try:
        while reader.peek():
            entries = reader.block(BLOCK)
            if entries.ends:
                yield Block(entries.data, at)
                at += len(entries.data)
    finally:
        reader.close()


def obstacle(directory: str = "") -> str:
    """Return why this process can't read the journal, with advice; "" if it can."""
    places = [directory] if directory else _places()
    there = False
    for place in places:
        try:
            names, there = {each.name for each in Path(place).iterdir()}, True
            if "system.journal" in names:
                os.close(os.open(f"{place}/system.journal", os.O_RDONLY | os.O_CLOEXEC))
        except PermissionError as error:
            return _denied(str(error.filename), place)
        except OSError:
            continue
    return "" if there else f"systemd-journald keeps no journal in {' or '.join(places)}"


def _places() -> list[str]:
    machine = ""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
    return [f"{place}/{machine}" for place in _PLACES]


def _denied(path: str, place: str) -> str:
    user = current_account().name
    return (
        f"{path}: Permission denied; as root, `adduser {user} systemd-journal` and a restart of the"
        f" daemon let it read the journal, or `setfacl -R -m u:{user}:rX,d:u:{user}:rX"
        f" {quoted(place)}`"
    )


def _on_one_line(text: bytes) -> bytes:
    return text.rstrip(b"\n").replace(b"\n", SEPARATOR) + b"\n"


class JournalReader:
    """Reads the entries of one log, in the order of the journal.

    Args:
        name: of the log; it selects the entries.
        start: where to begin.
        directory: of the journal's files; "" for the host's own.

    Attributes:
        gaps: how often the entry to go on behind was not there any more.
        damaged: entries whose message could not be read.
        is_open: whether the journal can be read; the stream sets it to False after an error.
    """

    def __init__(self, name: str, start: Mark, directory: str = "") -> None:
        self._name, self._at, self._directory = name, start, directory
        self._handle: ctypes.c_void_p | None = None
        self._standing = False  # the entry that the journal stands on was not handed out
        self._missed = ""  # the last cursor that was not there any more
        self._fd = -1
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopped = False
        self._active_until = self._check_at = 0.0
        self._busy_since = 0.0  # a call of the library is under way since then
        self.gaps = self.damaged = 0
        self.is_open = False

    @property
    def hangs_for(self) -> float:
        """Seconds since which the journal does not answer; 0 if it does."""
        since = self._busy_since
        return monotonic() - since if since else 0.0

    def wait(self) -> bool:
        """Return True when an entry waits, False when stopped.

        Files that were rotated away are read to their end before they are let go of.
        """
        try:
            while not self._stopped:
                self._busy_since = monotonic()
                if self.peek() or (self._process() and self.peek()):
                    self._active_until = monotonic() + ACTIVE
                    return True
                self._sleep()
            return False
        finally:
            self._busy_since = 0.0

    def peek(self) -> bool:
        """Return whether an entry waits.

        Raises:
            JournalError: the journal can't be read; it is opened again by the next call.
        """
        if self._handle is None:
            self._open()
        if not self._standing:
            self._standing = self._ask("next", self._handle) > 0
        return self._standing

    def block(self, limit: int) -> Entries:
        """Return the lines of the next entries, about so many bytes at most."""
        lines: list[bytes] = []
        ends: list[int] = []
        cursors: list[str] = []
        size, cut, more, last = 0, False, True, ""
        try:
            for _ in range(MOST):
                self._busy_since = monotonic()
                if not self.peek():
                    more = False
                    break
                line = self._report() if self._name == REPORTS else self._message()
                if line is None:
                    last, self._standing = self._cursor(), False
                    continue
                cut = len(line) > BLOCK
                if lines and (cut or size + len(line) > limit):
                    cut = False
                    break
                lines.append(line[: BLOCK - 1] + b"\n" if cut else line)
                size += len(lines[-1])
                last = self._cursor()
                cursors.append(last)
                ends.append(size)
                self._standing = False
                if cut:
                    break
        except OSError:
            self._let_go()
            if not ends:
                raise
        finally:
            self._busy_since = 0.0
        if last:
            self._at = Mark(last, time_of(last))
        return Entries(b"".join(lines[: len(ends)]), ends, cursors, cut, more)

    def stop(self) -> None:
        """End a wait, from another thread."""
        self._stopped = True
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Let go of everything."""
        self._let_go()
        os.close(self._stop)

    def _open(self) -> None:
        text = obstacle(self._directory)
        if text:
            raise JournalError(errno.EACCES, text)
        handle = ctypes.c_void_p()
        if self._directory:
            path = os.fsencode(self._directory)
            self._ask("open_directory", ctypes.byref(handle), path, 0)
        else:
            self._ask("open", ctypes.byref(handle), _LOCAL_ONLY)
        self._handle, self._check_at = handle, monotonic() + CHECK
        try:
            self._ask("set_data_threshold", handle, BLOCK + len(_FIELD) + 1)
            for n, group in enumerate(matches_of(self._name)):
                if n:
                    self._ask("add_disjunction", handle)
                for match in group:
                    self._ask("add_match", handle, match, len(match))
            self._fd = self._ask("get_fd", handle)
            self._seek(handle)
        except BaseException:
            self._let_go()
            raise
        self.is_open = True

    def _seek(self, handle: ctypes.c_void_p) -> None:
        """Go to the first entry that was not handed out.

        An entry that is not there any more was deleted with its file.  Then the journal stands on
        the next one that is there, which was not handed out either.
        """
        cursor, moment = self._at
        self._standing = False
        if not cursor:
            self._ask("seek_realtime_usec", handle, moment)
            return
        text = cursor.encode()
        if _library().sd_journal_seek_cursor(handle, text) < 0:  # it is none
            self._ask("seek_realtime_usec", handle, moment + 1)
        elif self._ask("next", handle) > 0:
            self._standing = _library().sd_journal_test_cursor(handle, text) <= 0
            if not self._standing:
                return
        self.gaps += self._missed != cursor
        self._missed = cursor

    def _let_go(self) -> None:
        if self._handle is not None:
            _library().sd_journal_close(self._handle)
        self._handle, self._standing, self._fd = None, False, -1

    def _ask(self, name: str, *arguments: object) -> int:
        code: int = getattr(_library(), f"sd_journal_{name}")(*arguments)
        if code < 0:
            self._let_go()
            hint = (
                "; raise fs.inotify.max_user_instances"
                if -code == errno.EMFILE and name == "get_fd"
                else ""
            )
            text = f"the journal can't be read: sd_journal_{name}: {os.strerror(-code)}{hint}"
            raise JournalError(-code, text)
        return code

    def _process(self) -> bool:
        """Take word of entries and of new, renamed and deleted files; return whether there was any.

        journald counts an entry before it lists it under its fields.  A look in between finds
        nothing, and libsystemd looks no further until it counts another entry, unless it seeks.
        Word of an entry comes long after it was listed.
        """
        if self._ask("process", self._handle) == _NOTHING_NEW:
            return False
        # Everything was read, so nothing is lost if the last entry was deleted meanwhile.
        self._missed = self._at.cursor
        if self._handle is not None:
            self._seek(self._handle)
        return True

    def _sleep(self) -> None:
        now = monotonic()
        if now >= self._check_at and now >= self._active_until:
            self._missed = self._at.cursor
            self._let_go()
            return
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        self._busy_since = 0.0
        ready = poll.poll((LOOK if now < self._active_until else IDLE) * 1000)
        if any(fd == self._fd for fd, _ in ready):
            self._active_until = now + ACTIVE

    def _message(self) -> bytes | None:
        """Return the message of the entry as one line, or None if it has none."""
        text = self._field(b"MESSAGE", BLOCK)
        return None if text is None else _on_one_line(text)

    def _report(self) -> bytes | None:
        """Return what WordPress may have written: time, user, identifier and message; or None.

        The user is a trusted field, set by journald itself; the identifier is the writer's word.
        """
        identifier = self._field(b"SYSLOG_IDENTIFIER", 1024)
        if identifier is None or not identifier.startswith(_IDENTIFIERS) or b" " in identifier:
            return None
        user, text = self._field(b"_UID", 16), self._field(b"MESSAGE", MAX_REPORT)
        if user is None or text is None:
            return None
        moment = ctypes.c_uint64()
        self._ask("get_realtime_usec", self._handle, ctypes.byref(moment))
        return _on_one_line(b"%016d %b %b: %b" % (moment.value, user, identifier, text))

    def _field(self, name: bytes, limit: int) -> bytes | None:
        """Return the beginning of a field's value, or None if the entry has none."""
        data, length = ctypes.c_void_p(), ctypes.c_size_t()
        code = _library().sd_journal_get_data(
            self._handle, name, ctypes.byref(data), ctypes.byref(length)
        )
        if code < 0 or not data.value:
            self.damaged += code != -errno.ENOENT
            return None
        begin = len(name) + 1
        return ctypes.string_at(data.value + begin, min(length.value - begin, limit))

    def _cursor(self) -> str:
        text = ctypes.c_void_p()
        self._ask("get_cursor", self._handle, ctypes.byref(text))
        try:
            return ctypes.string_at(text.value or 0).decode("ascii", "replace")
        finally:
            _free()(text)
