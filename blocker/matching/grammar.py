"""The grammar of a log line: pieces, fields, and the compiled expression.  Pure."""

import re
from collections.abc import Callable
from functools import cached_property
from operator import methodcaller
from typing import NamedTuple

from blocker.matching.forwarded import client_of
from blocker.model import Address


class Fields(NamedTuple):
    """The raw fields of one line, as written by the server.

    ``request`` is the request line (``POST /xmlrpc.php HTTP/1.1``), with the log's escapes.
    """

    address: bytes
    time: bytes
    request: bytes
    status: bytes


class Piece(NamedTuple):
    """One step of a grammar: its name in messages, and its pattern."""

    name: str
    pattern: bytes


QUOTED = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
CLIENT = Piece("client address", rb"(?P<address>[0-9A-Fa-f.:]++) ")
IDENT_DASH = Piece("identity", rb"- ")
IDENT_ANY = Piece("identity", rb'[^ "]++ ')


def user_time(width: int) -> Piece:
    """Return the grammar of ``user [time] "``, for a time of ``width`` bytes.

    Servers write an empty user as "-" or "", so a line without a user has another format.
    """
    stamp = rb"\[(?P<time>.{%d})\] " % width
    no_user = rb'(?!\[.{%d}\] ")(?:"")?+' % width
    return Piece("user and [time]", no_user + QUOTED + rb"(?<= " + stamp + rb')"')


USER_TIME = user_time(26)
REQUEST = Piece("request", rb"(?P<request>" + QUOTED + rb')" ')
STATUS = Piece("status", rb"(?P<status>[0-9]{3}|-) ")
_SIZE = Piece("size", rb"(?:[0-9]++|-)(?=[ \r]|\Z)")
# "client, proxy" in front is a forwarded header, and either address may be forged: an address
# followed by a comma is no virtual host.  A name may hold commas, because the client chooses it if
# the Host header is logged.
_LISTED = rb"(?!(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]?)(?::[0-9]+)?,)"
VHOST = Piece("virtual host", _LISTED + rb'[^ "]++ ')
# A match without a virtual host is tried first.  The two can't be confused: with a virtual host in
# front, the field after it would be the client's address, which is never "-".
VHOST_MAYBE = Piece("virtual host", rb"(?:" + _LISTED + rb'[^ "]++ )??')

TAIL = (USER_TIME, REQUEST, STATUS, _SIZE)
PLAIN = (VHOST_MAYBE, CLIENT, IDENT_DASH, *TAIL)
"""A line of the common format, perhaps behind a virtual host."""


_WHOLE = methodcaller("group", "address", "time", "request", "status")


def _joined(found: re.Match[bytes]) -> tuple[bytes, ...]:
    """Return the fields for a format without a status, or with separate method and target."""
    groups = found.groupdict()
    request = groups.get("request")
    if request is None:
        # A decoded path may hold spaces; no version follows it.
        request = b"%s %s" % (groups["method"], groups["target"].replace(b" ", b"%20"))
    return groups["address"], groups["time"], request, groups.get("status", b"-")


class JsonKeys(NamedTuple):
    """Names of the members of a JSON line, for each role in order of preference.

    Attributes:
        address: address of the peer that connected.
        forwarded: the client as named by a proxy; used only if the peer is a known proxy.
        time: time of the request.
        request: a request line, an object that holds the other members, or only a path.
        method: method of the request.
        target: target of the request.
        status: status of the response.
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
        """The names of all roles."""
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
"""The names of nginx's variables, and those in the logs of Caddy and Traefik."""


class LineFormat:
    """The grammar of one log format.

    Attributes:
        keys: names of the members if a line is JSON.
        pattern: the compiled expression for a whole line.
        fields: returns address, time, request and status from a match of ``pattern``.
    """

    def __init__(self, pieces: tuple[Piece, ...], keys: JsonKeys = JSON_KEYS) -> None:
        self.keys = keys
        self._pieces = pieces
        self.pattern = re.compile(b"".join(piece.pattern for piece in pieces), re.DOTALL)
        whole = self.pattern.groupindex.keys() >= {"request", "status"}
        self.fields: Callable[[re.Match[bytes]], tuple[bytes, ...]] = _WHOLE if whole else _joined

    def believe(self, is_ours: Callable[[Address], bool]) -> None:
        """Let the client be the one that a proxy of ours names in the field ``forwarded``."""
        read = self.fields

        def fields(found: re.Match[bytes]) -> tuple[bytes, ...]:
            address, *others = read(found)
            return client_of(address, found["forwarded"], is_ours), *others

        if "forwarded" in self.pattern.groupindex:
            self.fields = fields

    def parse(self, line: bytes) -> Fields | None:
        """Return the fields of a line without its newline, or None if it does not match."""
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
        """Return the name of the piece at which a line stops matching, and its offset, bytes."""
        offset = 0
        for name, prefix in self._prefixes:
            found = prefix.match(line)
            if found is None:
                return name, offset
            offset = found.end()
        return "end of line", offset
