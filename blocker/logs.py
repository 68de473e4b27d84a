"""Our own log: events with their fields for the journal, lines of text for everybody else.

Where standard error is the journal's (``JOURNAL_STREAM``, systemd.exec(5)), entries go to its
native socket, in its native protocol; what ``events`` names as fields are fields there.  What it
does not take at once is written to standard error after all, with the priority in front as
sd-daemon(3) has it: that is a buffer of its own.  The daemon waits for neither, nor for any other
reader of standard error (a pipe, a terminal that is stopped): what does not fit at once is dropped
and counted.
"""

import logging
import os
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from blocker.escape import printable, printable_lines
from blocker.events import Event
from blocker.model import SECOND
from blocker.report import format_time

JOURNAL = "/run/systemd/journal/socket"
IDENTIFIER = "xmlrpc-blocker"
MAX_VALUE = 16 << 10
"""Bytes of a field; all of an entry must fit into a datagram."""
PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger("blocker")

told: Counter[str] = Counter({"warning": 0, "error": 0, "dropped": 0})
"""What this process told, as logging itself is one for all of it: warnings, errors, and messages
that neither the journal nor stderr took."""


def tell(event: Event, **fields: object) -> None:
    """Tell an event, with its fields."""
    values = [{name: _safe(name, value) for name, value in fields.items()}] if fields else []
    log.log(_LEVELS[event.level], event.text, *values, extra={"event": event})


def _safe(name: str, value: object) -> object:
    """Return a field with its control characters escaped; newlines stay where a text has lines."""
    if isinstance(value, int | float):
        return value
    return printable(str(value)) if name == "LOG" else printable_lines(str(value))


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


class _Formatter(logging.Formatter):
    """One line per event."""

    def format(self, record: logging.LogRecord) -> str:
        now = format_time(int(time.time()) * SECOND)
        return f"{now} {record.levelname.lower()}: {_text(record)}"


class _JournalFormatter(logging.Formatter):
    """The same for a stream of the journal's, which has the time by itself."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{PRIORITIES.get(record.levelno, 6)}>" + _text(record).replace("\n", "\n ")


class Teller(logging.StreamHandler[TextIO]):
    """Writes lines, and counts warnings, errors and what could not be written.

    The descriptor is written to directly, and only after select(2) has said that it is writable:
    then a pipe takes ``PIPE_BUF`` bytes without blocking (pipe(7)).  It can't be made non-blocking,
    because that would change it for every process that shares it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if record.levelno >= logging.WARNING:
            told["error" if record.levelno >= logging.ERROR else "warning"] += 1
        self.tell(record)

    def tell(self, record: logging.LogRecord) -> None:
        """Write a line, or as much of it as there is room for."""
        line = (self.format(record) + self.terminator).encode("utf-8", "backslashreplace")
        try:
            descriptor = self.stream.fileno()
            for at in range(0, len(line), select.PIPE_BUF):
                if not select.select([], [descriptor], [], 0)[1]:
                    told["dropped"] += 1
                    return
                os.write(descriptor, line[at : at + select.PIPE_BUF])
        except (OSError, ValueError):  # closed, a reader that has gone (EPIPE), a full disk
            told["dropped"] += 1


class JournalTeller(Teller):
    """Sends entries to the journal.

    Args:
        stream: where lines go while the journal takes none.
        path: of the journal's socket.
    """

    def __init__(self, stream: TextIO, path: str = JOURNAL) -> None:
        super().__init__(stream)
        self.setFormatter(_JournalFormatter())
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def tell(self, record: logging.LogRecord) -> None:
        """Send an entry, whatever becomes of it."""
        try:
            # By the path each time: the journal may have been started anew.
            self._socket.sendto(entry(record), self._path)
        except OSError:
            super().tell(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def entry(record: logging.LogRecord) -> bytes:
    """Return what the journal takes: one field after the other."""
    fields: dict[str, object] = {
        "MESSAGE": _text(record),
        "PRIORITY": PRIORITIES.get(record.levelno, 6),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    event: Event | None = getattr(record, "event", None)
    if event is not None:
        fields |= {"EVENT": event.name, "MESSAGE_ID": event.message_id}
        values = record.args if isinstance(record.args, Mapping) else {}
        fields |= {name: values[name] for name in event.fields if name in values}
    return b"".join(_field(name, str(value)) for name, value in fields.items())


def _field(name: str, text: str) -> bytes:
    """Return a field; what holds a newline is sent with its length, and so can't end early."""
    value = text.encode("utf-8", "backslashreplace")[:MAX_VALUE]
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def is_journal(stream: TextIO) -> bool:
    """Whether what is written to a stream goes to the journal."""
    with suppress(OSError, ValueError):
        info = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
    return False


def set_up_logging() -> None:
    """Send everything from ``INFO`` on to the journal, or to stderr."""
    if is_journal(sys.stderr):
        handler: Teller = JournalTeller(sys.stderr)
    else:
        handler = Teller(sys.stderr)
        handler.setFormatter(_Formatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
