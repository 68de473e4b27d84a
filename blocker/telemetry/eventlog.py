"""The daemon's own log: entries with fields for the journal, or lines of text on standard error.

If standard error is connected to the journal (``JOURNAL_STREAM``, systemd.exec(5)), entries are
sent to the journal's socket in its native protocol, with the fields that ``events`` names.  An
entry that the socket does not accept at once is written to standard error, which has a buffer of
its own, with the priority in front (sd-daemon(3)).  The daemon never waits for the journal, nor for
another reader of standard error (a pipe, a stopped terminal): a message that can't be written at
once is dropped and counted.
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
from blocker.telemetry.events import Event
from blocker.times import SECOND, format_time

JOURNAL = "/run/systemd/journal/socket"
IDENTIFIER = "xmlrpc-blocker"
MAX_VALUE = 16 << 10
"""Ceiling of a field, bytes: an entry must fit into one datagram."""
PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger("blocker")

emitted: Counter[str] = Counter({"warning": 0, "error": 0, "dropped": 0})
"""Messages that this process logged, by level: warnings, errors, and messages that were dropped
because neither the journal nor standard error accepted them.  Global, as ``logging`` is."""


def emit(event: Event, **fields: object) -> None:
    """Log an event with its fields."""
    values = [{name: _safe(name, value) for name, value in fields.items()}] if fields else []
    log.log(_LEVELS[event.level], event.text, *values, extra={"event": event})


def _safe(name: str, value: object) -> object:
    """Return a field with control characters escaped; newlines are kept, except in ``LOG``."""
    if isinstance(value, int | float):
        return value
    return printable(str(value)) if name == "LOG" else printable_lines(str(value))


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


class _Formatter(logging.Formatter):
    """Formats one line per event, with the time and the level."""

    def format(self, record: logging.LogRecord) -> str:
        now = format_time(int(time.time()) * SECOND)
        return f"{now} {record.levelname.lower()}: {_text(record)}"


class _JournalFormatter(logging.Formatter):
    """Formats lines for a stream to the journal, which adds the time: priority and text."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{PRIORITIES.get(record.levelno, 6)}>" + _text(record).replace("\n", "\n ")


class StreamHandler(logging.StreamHandler[TextIO]):
    """Writes lines; counts warnings, errors and dropped messages.

    Lines are written to the descriptor directly, and only if select(2) reports it as writable: then
    a pipe accepts ``PIPE_BUF`` bytes without blocking (pipe(7)).  The descriptor must not be set
    to non-blocking, because that affects every process that shares it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record by its level, and write it."""
        if record.levelno >= logging.WARNING:
            emitted["error" if record.levelno >= logging.ERROR else "warning"] += 1
        self.write(record)

    def write(self, record: logging.LogRecord) -> None:
        """Write a line, or its beginning if the reader does not accept all of it."""
        line = (self.format(record) + self.terminator).encode("utf-8", "backslashreplace")
        try:
            descriptor = self.stream.fileno()
            for at in range(0, len(line), select.PIPE_BUF):
                if not select.select([], [descriptor], [], 0)[1]:
                    emitted["dropped"] += 1
                    return
                os.write(descriptor, line[at : at + select.PIPE_BUF])
        except (OSError, ValueError):  # closed, the reader has exited (EPIPE), the disk is full
            emitted["dropped"] += 1


class JournalHandler(StreamHandler):
    """Sends entries to the journal.

    Args:
        stream: fallback for entries that the journal does not accept.
        path: path of the journal's socket.
    """

    def __init__(self, stream: TextIO, path: str = JOURNAL) -> None:
        super().__init__(stream)
        self.setFormatter(_JournalFormatter())
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def write(self, record: logging.LogRecord) -> None:
        """Send an entry to the journal, or write a line to the stream if that fails."""
        try:
            # Not connected: the journal may be restarted, with a new socket at the path.
            self._socket.sendto(entry(record), self._path)
        except OSError:
            super().write(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def entry(record: logging.LogRecord) -> bytes:
    """Return a record as an entry in the journal's native protocol."""
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
    """Return an encoded field; a value with a newline is sent with its length."""
    value = text.encode("utf-8", "backslashreplace")[:MAX_VALUE]
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def is_journal(stream: TextIO) -> bool:
    """Return whether a stream is connected to the journal."""
    with suppress(OSError, ValueError):
        info = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
    return False


def set_up_logging() -> None:
    """Log messages of level ``INFO`` and above to the journal, or else to standard error."""
    if is_journal(sys.stderr):
        handler: StreamHandler = JournalHandler(sys.stderr)
    else:
        handler = StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
