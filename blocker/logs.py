"""Our own log lines: on stderr, with the journal's priorities where the journal listens.

``JOURNAL_STREAM`` in the environment says that it does (systemd.exec(5)); the priority stands in
front of the line as sd-daemon(3) has it.
"""

import logging
import os
import sys
import time
from collections import Counter
from typing import ClassVar, TextIO

from blocker.model import SECOND
from blocker.report import format_time

log = logging.getLogger("blocker")


class _Formatter(logging.Formatter):
    """One line per event."""

    PRIORITIES: ClassVar = {
        logging.DEBUG: 7,
        logging.INFO: 6,
        logging.WARNING: 4,
        logging.ERROR: 3,
        logging.CRITICAL: 2,
    }

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._journal:
            return f"<{self.PRIORITIES.get(record.levelno, 6)}>" + text.replace("\n", "\n ")
        now = format_time(int(time.time()) * SECOND)
        return f"{now} {record.levelname.lower()}: {text}"


told: Counter[str] = Counter({"warning": 0, "error": 0})
"""Warnings and errors of this process, as logging itself is one for all of it."""


class _Teller(logging.StreamHandler[TextIO]):
    """Counts what it tells."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            told["error" if record.levelno >= logging.ERROR else "warning"] += 1
        super().emit(record)


def set_up_logging() -> None:
    """Send everything from ``INFO`` on to stderr."""
    handler = _Teller(sys.stderr)
    handler.setFormatter(_Formatter(journal="JOURNAL_STREAM" in os.environ))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
