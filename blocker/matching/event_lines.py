r"""Lines that hold a message of WordPress: of syslog's files and of the journal's exports.  Pure.

Read are entries of the journal as ``sources`` hands them out, files of rsyslog, syslog-ng and
``journalctl -o short-iso-precise`` (a time, a host, an identifier, a message), lines of
``journalctl -o json``, datagrams with a priority, and the message alone, as the plugin sends it to
a socket.

Rules:

* The identifier ends at the first blank: the Host header in it holds none.
* Only the journal knows who wrote a message; in a file any local program may have done so.

Sources: RFC 3164, RFC 5424 (times), journalctl(1), systemd.journal-fields(7), rsyslog's templates
``RSYSLOG_FileFormat`` and ``RSYSLOG_TraditionalFileFormat``.
"""

import json
import re
from collections.abc import Container
from datetime import datetime, timedelta
from typing import NamedTuple

from blocker.matching.event_messages import Event, NoEvent, read_message
from blocker.matching.wrappers import ISO, TRADITIONAL
from blocker.times import DAY, SECOND, parse_time

_BARE = b"xmlrpc-blocker: addr="
_HEADER = re.compile(
    rb"(?:<[0-9]{1,3}>)?(" + ISO % rb"[.,]" + rb"|" + TRADITIONAL + rb") "
    rb"(?:[^ ]{1,255}+(?<!:) )?([^ ]{1,1024}+)(?<=:)(?: (.*))?\Z",
    re.DOTALL,
)
_REPORT = re.compile(rb"([0-9]{16}) ([0-9]{1,10}) ([^ ]{1,1024}): (.*)\Z", re.DOTALL)
"""An entry as ``sources.journal_reader`` writes it: microseconds, user, identifier, message."""
_PROCESS = re.compile(rb"\[[0-9]{1,10}\]\Z")
_MAX_JSON = 1 << 16
"""Ceiling of an exported entry, bytes."""


class Entry(NamedTuple):
    """A line that was split.

    Attributes:
        time: as it stands there, or microseconds of the journal in digits; empty for none.
        identifier: of the program.
        message: its text; None if the export left it out.
        user: id of the user that wrote it; None if that is not known.
    """

    time: bytes
    identifier: bytes
    message: bytes | None
    user: int | None = None


def split_line(line: bytes) -> Entry | None:
    """Return the parts of a line; None if it is neither of syslog nor of the journal.

    >>> split_line(b"Nov 28 13:55:29 www wordpress[17619]: hello").message
    b'hello'
    """
    if line.startswith(b"{"):
        return _of_export(line)
    if line.startswith(_BARE):
        return Entry(b"", b"wordpress", line)
    if found := _REPORT.match(line):
        time, user, identifier, message = found.groups()
        return Entry(time, identifier, message, int(user))
    found = _HEADER.match(line)
    if found is None:
        return None
    time, identifier, message = found.groups()
    return Entry(time, _PROCESS.sub(b"", identifier[:-1]), message or b"")


def _of_export(line: bytes) -> Entry | None:
    if len(line) > _MAX_JSON or b'"MESSAGE"' not in line:
        return None
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or "__CURSOR" not in fields:
        return None
    user = _text(fields.get("_UID"))
    return Entry(
        _text(fields.get("__REALTIME_TIMESTAMP")),
        _text(fields.get("SYSLOG_IDENTIFIER")),
        _bytes(fields.get("MESSAGE")),
        int(user) if user.isdigit() and len(user) <= 10 else -1,
    )


def _text(value: object) -> bytes:
    """Return a field's value; of a field that was given several times, the first one."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = value[0]
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""


def _bytes(value: object) -> bytes | None:
    """Return a message; where it is not UTF-8, the export has a list of its bytes."""
    if isinstance(value, list) and all(isinstance(each, int) for each in value):
        return bytes(each & 255 for each in value)
    return _text(value) if isinstance(value, str | list) else None


def read_line(entry: Entry, users: Container[int]) -> Event | NoEvent:
    """Return what a line reports.

    Args:
        entry: the line.
        users: ids of the users that are believed, where the journal says who wrote it.
    """
    if entry.message is None:
        return NoEvent("its message was left out, being too long: export it with --all")
    found = read_message(entry.identifier, entry.message)
    if isinstance(found, Event) and entry.user is not None and entry.user not in users:
        return NoEvent(f"it was written by user {entry.user}, not by the web server's")
    return found


def time_of(text: bytes, now: int) -> int | None:
    """Return the time of an entry, microseconds since the epoch; None if it has none.

    A time without a year is in the latest year in which it is at most a day ahead, and in the zone
    of this process (tzset(3)): across a change of summer time it may be an hour wrong.

    Args:
        text: as ``Entry`` has it.
        now: when the line was written at the latest, microseconds.
    """
    if not re.fullmatch(TRADITIONAL, text):
        return parse_time(text) if text else None
    latest = datetime.fromtimestamp((now + DAY) // SECOND)  # noqa: DTZ006 - local, as the text is
    for year in range(latest.year, latest.year - 8, -1):
        try:
            found = datetime.strptime(f"{year} {text.decode()}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - local
        except ValueError:  # no such day in this year
            continue
        if found <= latest + timedelta(seconds=1):
            return int(found.timestamp()) * SECOND
    return None
