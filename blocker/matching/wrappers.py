r"""What a collector writes around the line of a server: syslog, Docker, Kubernetes, Compose.  Pure.

Rules:

* The text inside is judged by the same rules as a line of its own; what stands around it never
  supplies the client, nor the time of the request.
* A wrapper begins with words that only the collector writes, and is looked for only in a line
  that its format can't read: a client can't have its own line taken for a wrapped one.
* A record that was split is joined within its block, up to a ceiling.

Sources: RFC 3164 and RFC 5424, rsyslog's templates ``RSYSLOG_FileFormat`` and
``RSYSLOG_TraditionalFileFormat``, Docker's driver json-file, ``docker compose logs``, and the
logging format of the Kubernetes container runtime interface (CRI).
"""

import json
import re
from itertools import accumulate
from typing import NamedTuple

MAX_RECORD = 1 << 20
"""Ceiling of a joined record, bytes; the rest of it is left out."""

# A possessive group that can fail inside would not go back: see ``formats``.
ISO = rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:%b[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})"
"""A time of RFC 3339, with a place for the expression before its fraction."""
TRADITIONAL = rb"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
"""A time of RFC 3164."""
_ISO = ISO % rb"\."
# A name that consists of hexadecimal digits is the beginning of an IPv6 address.
_NAME = rb"(?![0-9A-Fa-f]++:)[^ :\[]{1,128}(?:\[[^\] ]{0,64}\])?:"
_SYSLOG = re.compile(
    rb"(?:<[0-9]{1,3}>)?"
    rb"(?:" + TRADITIONAL + rb"|" + _ISO + rb") "
    rb"(?:[^ ]{1,255}+(?<!:) (?=" + _NAME + rb"))?" + _NAME + rb" ?"
)
_SYSLOG_5424 = re.compile(
    rb"<[0-9]{1,3}>1 (?:-|" + _ISO + rb") (?:[^ ]{1,255}+ ){4}"
    rb'(?:-|(?:\[[^\]"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^\]"]*+)*\])+) (?:\xef\xbb\xbf)?',
    re.DOTALL,
)
_CRI = re.compile(_ISO + rb" (stdout|stderr) ([FP])(?::[^ ]*+)? ")
_COLOUR = rb"\x1b\[[0-9;]*+m"
_COMPOSE = re.compile(
    rb"(?:" + _COLOUR + rb")?[A-Za-z0-9_.-]{0,64}[G-Zg-z_-][A-Za-z0-9_.-]{0,64} *+\|"
    rb"(?:" + _COLOUR + rb"| )*"
)
_PREFIXES = (_CRI, _SYSLOG, _SYSLOG_5424, _COMPOSE)
_DOCKER = frozenset({"log", "stream", "time", "attrs"})
"""Members of an object of Docker's driver json-file."""


def prefix_length(line: bytes) -> int:
    """Return how many bytes a collector wrote before the server's own text; 0 for none.

    >>> prefix_length(b"Mar 10 12:00:00 web1 nginx: 203.0.113.7 - -")
    28
    """
    return next((found.end() for each in _PREFIXES if (found := each.match(line))), 0)


def docker_text(line: bytes) -> bytes | None:
    """Return the text in an object of Docker's driver json-file, or None if it is none."""
    if b'"log"' not in line:
        return None
    try:
        entry = json.loads(line)
    except ValueError:  # of bytes that are not UTF-8, too
        return None
    if not isinstance(entry, dict) or not entry.keys() <= _DOCKER or "stream" not in entry:
        return None
    text = entry.get("log")
    return text.rstrip("\r\n").encode("utf-8", "surrogatepass") if isinstance(text, str) else None


def inner_text(text: bytes) -> bytes | None:
    """Return what stands within a wrapper; None if there is none."""
    if text.startswith(b"{"):
        return docker_text(text)
    length = prefix_length(text)
    return text[length:] if length else None


class Joined(NamedTuple):
    """A block in which each record of the container runtime interface is one line.

    Attributes:
        block: its lines; a joined one keeps what stands before its first part.
        ends: by the end of each line, the end of its last part in the block before.
    """

    block: bytes
    ends: dict[int, int]


def join_records(block: bytes) -> Joined | None:
    """Join the records that were split into several lines of a block; None if none were.

    Only lines that follow one another are joined: what is written to the other stream between
    them separates them.
    """
    if _CRI.match(block) is None or b" P" not in block:
        return None
    records: list[list[bytes]] = []
    old_ends: list[int] = []
    size, open_stream = 0, b""
    for line in block.split(b"\n")[:-1]:
        found = _CRI.match(line)
        stream, tag = found.groups() if found else (b"", b"F")
        if found and stream == open_stream and size < MAX_RECORD:
            records[-1].append(line[found.end() :])
            old_ends[-1] += len(line) + 1
        else:
            records.append([line])
            old_ends.append((old_ends[-1] if old_ends else 0) + len(line) + 1)
            size = 0
        size += len(line)
        open_stream = stream if tag == b"P" else b""
    lines = [b"".join(parts) + b"\n" for parts in records]
    return Joined(b"".join(lines), dict(zip(accumulate(map(len, lines)), old_ends, strict=True)))
