r"""The grammar of a log line: bytes in, the fields that matter out.  Pure.

Every field is chosen by the attacker, so a field is taken from its *place* in a full parse of the
line, never from a search: a regular expression anchored at the line's start, without nested
repetition that could backtrack (every repetition is possessive), runs through the line once.

What servers guarantee, and the grammar relies on (measured with nginx 1.22 and Apache 2.4): a
quote, a backslash or a control byte that a client sent is written as ``\"``, ``\\``, ``\xHH`` or
``\n``; so an unescaped quote always ends a quoted field.  A user name (chosen by the client, not
verified) may hold spaces and brackets but no unescaped quote; the time stamp is therefore the
bracket right before the first unescaped quote.  Apache writes an empty user as ``""``.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import cached_property
from operator import methodcaller
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from blocker.errors import ConfigError
from blocker.model import SECOND, Address


class Fields(NamedTuple):
    """The raw fields of one line, as written by the server.

    ``request`` is the request line (``POST /xmlrpc.php HTTP/1.1``), escapes and all.
    """

    address: bytes
    time: bytes
    request: bytes
    status: bytes


class Piece(NamedTuple):
    """One step of a grammar: what it is called when a line breaks there, and its pattern."""

    name: str
    pattern: bytes


QUOTED = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_CLIENT = Piece("client address", rb"(?P<address>[0-9A-Fa-f.:]++) ")
_IDENT_DASH = Piece("identity", rb"- ")
_IDENT_ANY = Piece("identity", rb'[^ "]++ ')


def user_time(width: int) -> Piece:
    """Return the grammar of ``user [time] "``, for a time of so many bytes.

    Servers write an empty user as "-" or "", so a missing one is a line that was misunderstood.
    """
    stamp = rb"\[(?P<time>.{%d})\] " % width
    nobody = rb'(?!\[.{%d}\] ")(?:"")?+' % width
    return Piece("user and [time]", nobody + QUOTED + rb"(?<= " + stamp + rb')"')


USER_TIME = user_time(26)
_REQUEST = Piece("request", rb"(?P<request>" + QUOTED + rb')" ')
_STATUS = Piece("status", rb"(?P<status>[0-9]{3}|-) ")
_SIZE = Piece("size", rb"(?:[0-9]++|-)(?=[ \r]|\Z)")
# "client, proxy" in front is a forwarded header, and which of them is true can't be told: an
# address with a comma behind it is no virtual host.  A name may hold commas, for a client chooses
# it where the Host header is logged.
_LISTED = rb"(?!(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?)(?::[0-9]+)?,)"
_VHOST = Piece("virtual host", _LISTED + rb'[^ "]++ ')
# Tried without a virtual host first.  The two can't be confused: with one in front, the field
# after the client would be the client itself, and that is never "-".
_VHOST_MAYBE = Piece("virtual host", rb"(?:" + _LISTED + rb'[^ "]++ )??')

_TAIL = (USER_TIME, _REQUEST, _STATUS, _SIZE)


_WHOLE = methodcaller("group", "address", "time", "request", "status")


def _joined(found: re.Match[bytes]) -> tuple[bytes, ...]:
    """Fields of a format that may lack a status, or that has method and target apart."""
    groups = found.groupdict()
    request = groups.get("request")
    if not request:
        # A decoded path may hold spaces; no version stands behind it.
        request = b"%s %s" % (groups["method"], groups["target"].replace(b" ", b"%20"))
    return groups["address"], groups["time"], request, groups.get("status", b"-")


class JsonKeys(NamedTuple):
    """Names of the members of a JSON line that matter, for each role in order of preference.

    Attributes:
        address: of the peer, as the server saw it.
        forwarded: the client as a proxy named it; believed only if the peer is a known proxy.
        time: of the request.
        request: a request line, an object that holds the other members, or only a path.
        method: of the request.
        target: of the request.
        status: of the answer.
    """

    address: tuple[str, ...]
    forwarded: tuple[str, ...]
    time: tuple[str, ...]
    request: tuple[str, ...]
    method: tuple[str, ...]
    target: tuple[str, ...]
    status: tuple[str, ...]

    @property
    def wanted(self) -> frozenset[str]:
        """All of the names."""
        return frozenset(name for names in self for name in names)


JSON_KEYS = JsonKeys(
    address=("remote_addr", "remote_ip", "ClientAddr", "client"),
    forwarded=("client_ip", "ClientHost"),
    time=(
        "time_iso8601",
        "time_local",
        "msec",
        "ts",
        "StartUTC",
        "time",
        "@timestamp",
        "StartLocal",
    ),
    request=("request",),
    method=("request_method", "method", "RequestMethod"),
    target=("request_uri", "uri", "RequestPath", "path"),
    status=("status", "DownstreamStatus", "OriginStatus"),
)
"""The names that nginx's variables, Caddy and Traefik have."""


class LineFormat:
    """A grammar for one kind of line.

    Attributes:
        keys: names of the members, where a line is JSON.
        pattern: the whole grammar.
        fields: turns a match of it into address, time, request and status.
    """

    def __init__(self, name: str, pieces: tuple[Piece, ...], keys: JsonKeys = JSON_KEYS) -> None:
        self.name = name
        self.keys = keys
        self._pieces = pieces
        self.pattern = re.compile(b"".join(piece.pattern for piece in pieces), re.DOTALL)
        whole = self.pattern.groupindex.keys() >= {"request", "status"}
        self.fields: Callable[[re.Match[bytes]], tuple[bytes, ...]] = _WHOLE if whole else _joined

    def parse(self, line: bytes) -> Fields | None:
        """Return the fields of a line without its newline, or None where it breaks."""
        found = self.pattern.match(line)
        return Fields(*self.fields(found)) if found else None

    @cached_property
    def _prefixes(self) -> tuple[tuple[str, re.Pattern[bytes]], ...]:
        so_far = b""
        prefixes = []
        for piece in self._pieces:
            so_far += piece.pattern
            prefixes.append((piece.name, re.compile(so_far, re.DOTALL)))
        return tuple(prefixes)

    def broken_at(self, line: bytes) -> tuple[str, int]:
        """Return what could not be read in a line that does not parse, and its offset in bytes."""
        offset = 0
        for name, prefix in self._prefixes:
            found = prefix.match(line)
            if found is None:
                return name, offset
            offset = found.end()
        return "end of line", offset


NAMED: dict[str, tuple[Piece, ...]] = {
    "auto": (_VHOST_MAYBE, _CLIENT, _IDENT_DASH, *_TAIL),
    "common": (_CLIENT, _IDENT_ANY, *_TAIL),
    "combined": (_CLIENT, _IDENT_ANY, *_TAIL),
    "vhost_combined": (_VHOST, _CLIENT, _IDENT_ANY, *_TAIL),
    "json": (_VHOST_MAYBE, _CLIENT, _IDENT_DASH, *_TAIL),
}


def line_format(text: str) -> LineFormat:
    """Return the grammar for a ``format`` of the configuration.

    Raises:
        ConfigError: the format is unknown, or an attacker could forge fields in it.
    """
    if text in NAMED:
        return LineFormat(text, NAMED[text])
    if "%" in text or "$" in text:
        # Compiled only for those who need it: most logs are of the three known formats.
        from blocker.logformat import compile_format  # noqa: PLC0415 - start-up time

        return compile_format(text)
    known = ", ".join(NAMED)
    raise ConfigError(f"format: {text!r} is unknown; use one of {known}, or a format string")


# Values ----------------------------------------------------------------------------------------

_MAPPED = bytes(10) + b"\xff\xff"


def parse_address(text: bytes) -> Address | None:
    """Return the packed address, or None for what is no client's address.

    Dotted quads are strict, as inet_pton(3) is (RFC 6943, section 3.1.1: no octal, no missing
    parts).  IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2) becomes IPv4.  Unspecified, multicast and
    broadcast addresses are nobody's.
    """
    try:
        packed = inet_pton(AF_INET6 if b":" in text else AF_INET, text.decode("ascii"))
    except (OSError, ValueError):
        return None
    if packed.startswith(_MAPPED):
        packed = packed[12:]
    if len(packed) == 4:
        nobody = 224 <= packed[0] < 240 or packed in {b"\0\0\0\0", b"\xff\xff\xff\xff"}
    else:
        nobody = packed[0] == 0xFF or packed == bytes(16)
    return None if nobody else packed


_CLF_TIME = re.compile(
    rb"([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})"
    rb" ([+-])([0-9]{2})([0-9]{2})"
)
# Texts, compiled when they are needed: most logs have neither.
_ISO_TIME = (
    rb"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    rb"(?:[.,]([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):?([0-9]{2}))"
)
_EPOCH_TIME = rb"([0-9]{1,11})(?:\.([0-9]{1,20}))?"
# 13, 16 and 19 digits are milli-, micro- and nanoseconds of the years 2001 to 2286.
_FINE_EPOCH_TIME = rb"([0-9]{13}(?:[0-9]{3}){0,2})(?:\.([0-9]{1,20}))?"
_MONTH_NAMES = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LATEST = 64_060_588_800  # the year 4000, in seconds: a window has room until 4253


def _instant(day: tuple[int, int, int], clock: tuple[int, int, int], offset: int) -> int | None:
    """Return microseconds since the epoch; ``offset`` is seconds east of UTC."""
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 60 or abs(offset) >= 86400:
        return None
    try:
        days = date(*day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * SECOND if 0 <= seconds < _LATEST else None


def _offset(sign: bytes | None, hours: bytes | None, minutes: bytes | None) -> int:
    seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60
    return -seconds if sign == b"-" else seconds


def _fraction(digits: bytes | None) -> int:
    return int(digits[:6].ljust(6, b"0")) if digits else 0


def parse_time(text: bytes) -> int | None:
    """Return microseconds since the epoch, or None for what is no time.

    Understood are the common log format (``25/Mar/2015:05:22:15 -0700``), RFC 3339
    (``2015-03-25T05:22:15.5-07:00``), and seconds since the epoch with an optional fraction, or
    milli-, micro- or nanoseconds.
    """
    if found := _CLF_TIME.fullmatch(text):
        day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
        moment = (int(year), _MONTHS.get(month, 0), int(day))
        clock = (int(hour), int(minute), int(second))
        return _instant(moment, clock, _offset(sign, hours, minutes))
    if found := re.fullmatch(_ISO_TIME, text):
        *numbers, digits, sign, hours, minutes = found.groups()
        values = [int(number) for number in numbers]
        moment = (values[0], values[1], values[2])
        clock = (values[3], values[4], values[5])
        whole = _instant(moment, clock, _offset(sign, hours, minutes))
        return None if whole is None else whole + _fraction(digits)
    if found := re.fullmatch(_EPOCH_TIME, text):
        instant = int(found[1]) * SECOND + _fraction(found[2])
        return instant if instant < _LATEST * SECOND else None
    if found := re.fullmatch(_FINE_EPOCH_TIME, text):
        return int((found[1] + (found[2] or b""))[:16].ljust(16, b"0"))
    return None
