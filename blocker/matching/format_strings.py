"""Compiles an Apache ``LogFormat`` or an nginx ``log_format`` string into a grammar.  Pure.

Only the needed fields are read: client address, time, request and, if it precedes them, the
status; the rest of the line after the last of them is ignored.  A field that the client chooses
must be in quotes if a needed field follows it, or the client could forge that field; such a format
is refused with advice.  There are two exceptions, because servers escape the quotes of clients: the
classic ``%u %t "%r"``, where the time stamp is the bracket right before the first unescaped quote,
and a field right before a text with a quote, as in ``$http_host "$request"``.  A format that can't
parse its own sample line is refused as well.

Sources: Apache's mod_log_config, nginx's ngx_http_log_module; ``server_variables`` has the table of
what the server alone writes.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from blocker.addresses import parse_address
from blocker.errors import ConfigError
from blocker.matching.grammar import PLAIN, QUOTED, Fields, JsonKeys, LineFormat, Piece, user_time
from blocker.matching.json_lines import parse_json
from blocker.matching.server_variables import (
    APACHE_ARGUMENTS,
    APACHE_WORDS,
    NGINX_HOSTS,
    NGINX_MAYBE_EMPTY,
    NGINX_UPSTREAM,
    NGINX_WORDS,
)
from blocker.times import SECOND, parse_time

# A time may be composed of several fields: %{%FT%T}t.%{msec_frac}tZ
_APACHE = re.compile(
    r"%\{(?P<stamp>[^}]*)\}t(?P<more>(?:[.,]%\{(?:begin:|end:)?[mu]sec_frac\}t)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2}| ?%\{%z\}t)?)"
    r"|%[<>!,0-9]*(?:\{(?P<argument>[^}]*)\})?[<>!,0-9]*(?P<letter>\^t[io]|\^FB|[A-Za-z%])"
)
_NGINX = re.compile(r"\$\{?(?P<name>[a-z_0-9]+)\}?")

_CLF = rb"(?P<time>[0-9]{2}/.{23})"
_ISO = rb"(?P<time>[0-9]{4}-[0-9T:.,Z+-]{15,30})"
_FINE_CLF = (
    rb"(?P<time>[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}[: ][0-9:]{8}(?:[.,][0-9]{1,6})? [+-][0-9]{4})"
)
_SPACED_ISO = rb"(?P<time>[0-9-]{10}[T ][0-9:]{8}(?:[.,][0-9]{1,9})?(?: ?[+-][0-9:]{4,5}|Z))"
_EPOCH = rb"(?P<time>[0-9]{16}|[0-9]{13}|[0-9]{1,11}(?:\.[0-9]{1,9})?)"
_WORD = rb'[^ "\[\]]++'
_WORD_OR_NONE = rb'[^ "\[\]]*+'
_VALUES = rb'[^ ",\[\]][^ ",\[\]]*+(?:, [^ ",\[\]][^ ",\[\]]*+)*+'
_UPSTREAM = _VALUES + b"(?: : " + _VALUES + b")*+"
"""One value for each server that was tried, in groups: ngx_http_upstream_module."""
_HOST = rb'[^ "]*+'
"""A host, brackets of IPv6 included; empty if nginx answers 400 to the host of the request."""
_QUOTED_USER = rb'(?:""(?="))?' + QUOTED
"""A user in quotes; Apache writes an empty user as two quotes, inside those of the format."""
_WORD_DELIMITED = rb'[^ "\[\]%b]'
_HERE_PORT = rb"\[?[0-9A-Fa-f.:]{1,45}\]?"
"""The server's own address before ``:port``; nginx writes IPv6 without brackets."""
_HOST_PORT = rb'(?:\[[^ "\]]*+\]|[^ ":]*+)'
"""A host before ``:port``: it holds colons in brackets only."""
_HOST_BRACKET = rb'[^ "]*'
"""A host before ``]``: it may itself hold a ``]``."""
_HOST_TAB = rb'[^ "\t]*+'
"""A host before a tab."""
_ADDRESS = rb"(?P<address>[0-9A-Fa-f.:]++)"
_ADDRESS_PORT = rb"\[?(?P<address>[0-9A-Fa-f.:]{2,45})\]?"
"""An address before ``:port``; the repetition can backtrack, so its length is bounded."""
_TAB = re.escape(b"\t")
_REST = rb"(?:[!-~]{1,32} [!-~]++ HTTP/[0-9](?:\.[0-9])?|.*+)"
"""A request line at the end, without what follows its version; another request with all of it."""
_GROUP = re.compile(rb"\(\?P<([a-z]+)>")
_NEEDED = ("client address", "time", "request")


class _Token(NamedTuple):
    """A literal (no name), or a field: its pattern, or None if the client chooses its content.

    ``width`` is the length of a time within its brackets, bytes; 0 for other fields.
    """

    name: str
    pattern: bytes | None
    width: int = 0


_FIELDS: dict[str, _Token] = {
    "address": _Token("client address", _ADDRESS),
    "clf": _Token("time", _CLF, 26),
    "bracketed": _Token("time", rb"\[" + _CLF + rb"\]", 26),
    "iso": _Token("time", _ISO, 25),
    "epoch": _Token("time", _EPOCH, 14),
    "fine_clf": _Token("time", _FINE_CLF),
    "spaced_iso": _Token("time", _SPACED_ISO),
    "request": _Token("request", None),
    "method": _Token("method", rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]++)"),
    "target": _Token("target", None),
    "status": _Token("status", rb"(?P<status>[0-9]{3}|-)"),
    "user": _Token("user", None),
}
_PEER = _Token("peer address", _WORD)
"""The host that connected; the client if no other address is logged (mod_remoteip)."""
_FORWARDED = _Token("forwarded", None)
"""The field in which a proxy names the client."""
_GROUPS = {"request": b"request", "target": b"target", "forwarded": b"forwarded"}

_APACHE_FIELDS = {
    "h": "address", "a": "address", "t": "bracketed", "r": "request", "m": "method",
    "U": "target", "s": "status", "u": "user",
}  # fmt: skip
_NGINX_FIELDS = {
    "remote_addr": "address", "time_local": "clf", "time_iso8601": "iso", "msec": "epoch",
    "request": "request", "request_method": "method", "request_uri": "target",
    "status": "status", "remote_user": "user",
}  # fmt: skip
_HERE = frozenset({"$server_addr", "$proxy_protocol_server_addr", "%A"})
_PER_SECOND = {"sec": 1, "%s": 1, "msec": 10**3, "usec": 10**6}


def compile_format(text: str, forwarded: str = "") -> LineFormat:
    """Return the grammar of a format string.

    Args:
        text: the format.
        forwarded: the field in which a proxy names the client, "" for none.

    Raises:
        ConfigError: a needed field is missing, or the client could forge one.
    """
    text = _joined(_unescaped(_as_read_by_the_server(text)))
    if text.lstrip().startswith("{"):
        return _json_format(text, forwarded)
    tokens = _tokens(text, forwarded)
    if forwarded and _FORWARDED not in tokens:
        raise ConfigError(
            f"proxy: the format has no {forwarded}; write the field as it stands there, such as"
            " $http_x_forwarded_for or %{X-Forwarded-For}i"
        )
    if _FIELDS["address"] not in tokens:
        tokens = [_FIELDS["address"] if token is _PEER else token for token in tokens]
    names = {token.name for token in tokens}
    if {"method", "target"} <= names:
        names.add("request")
    for needed in _NEEDED:
        if needed not in names:
            raise _missing(needed, text)
    last = max(i for i, token in enumerate(tokens) if _matters(token))
    end = last + 1 if _runs_to_the_end(tokens, last) else last + 2
    made = LineFormat(tuple(_once(_pieces(tokens[:end]))))
    _check_sample(text, made)
    return made


_REMEDIES = {
    "client address": "$remote_addr or %h (a header such as X-Forwarded-For is the client's word)",
    "time": "$time_iso8601 or %t",
    "request": '"$request" or "%r"',
}


def _missing(needed: str, text: str) -> ConfigError:
    remedy = _REMEDIES[needed]
    return ConfigError(
        f"format: no {needed} in {text!r}; it can't be judged without: let the server log {remedy}"
    )


# A format pasted with its directive: the words around it, and nginx's parts in quotes.
_LOG_FORMAT_PART = re.compile(r"'((?:[^'\\]|\\.)*+)'\s*+")
_LOG_FORMAT = re.compile(
    r"(?:log_format\s+\S++\s++(?:escape=\w++\s++)?+)?+"
    r"((?:" + _LOG_FORMAT_PART.pattern + r")++);?\s*"
)
_LOGFORMAT = re.compile(r'LogFormat\s+"((?:[^"\\]|\\.)*+)"(?:\s+[^\s"]+)?\s*', re.IGNORECASE)


def _as_read_by_the_server(text: str) -> str:
    """Return the format without its directive, and nginx's quoted parts as one text.

    Raises:
        ConfigError: the directive has ``escape=none``.
    """
    if found := _LOGFORMAT.fullmatch(text.strip()):
        return found[1]
    if found := _LOG_FORMAT.fullmatch(text.strip()):
        if re.match(r"log_format\s+\S+\s+escape=none\b", text.strip()):
            raise ConfigError(
                "format: with escape=none a client could forge fields; let nginx write it with"
                " escape=default or escape=json"
            )
        return "".join(part[1] for part in _LOG_FORMAT_PART.finditer(found[1]))
    return text


def _unescaped(text: str) -> str:
    """Return a format without the escapes of the server's configuration file."""
    return re.sub(r"\\([\"'\\t])", lambda found: {"t": "\t"}.get(found[1], found[1]), text)


_REQUEST_LINE = re.compile(
    r"%[<>]?m %U(?:%q)? %H"
    r"|\$\{?request_method\}? (?:\$\{?scheme\}?://\$\{?(?:http_host|host|server_name)\}?"
    r"(?::\$\{?server_port\}?)?)?\$\{?request_uri\}? \$\{?server_protocol\}?"
)


def _joined(text: str) -> str:
    """Return a format with one field instead of several that together write the same text.

    Apache documents "%m %U%q %H" as equivalent to "%r"; with a scheme and a host in it, it is a
    request line in absolute form (RFC 9112, section 3.2.2).
    """
    text = _REQUEST_LINE.sub(lambda found: "%r" if "%" in found[0] else "$request", text)
    return text.replace("%U%q", "%U")


# Samples ---------------------------------------------------------------------------------------

_PEERS = {("a", "c"), ("h", "c")}
_MOMENT = datetime(2026, 3, 10, 12, tzinfo=UTC)
_SAMPLES = {
    "address": "192.0.2.1", "clf": "10/Mar/2026:12:00:00 +0000",
    "bracketed": "[10/Mar/2026:12:00:00 +0000]", "iso": "2026-03-10T12:00:00+00:00",
    "epoch": "1773144000.000", "request": "POST /xmlrpc.php HTTP/1.1", "method": "POST",
    "target": "/xmlrpc.php", "status": "200", "user": "-",
}  # fmt: skip


def _sample(text: str) -> str:
    """Return a sample line as a server writes it with this format."""
    nginx = _NGINX.search(text) is not None

    def value(found: re.Match[str]) -> str:
        if nginx:
            return _SAMPLES.get(_NGINX_FIELDS.get(found["name"], ""), "1")
        if found["stamp"] is not None:
            return _stamp(found["stamp"], found["more"])
        letter, argument = found["letter"], found["argument"]
        if letter == "%" or (argument is not None and (letter, argument) not in _PEERS):
            return "%" if letter == "%" else "1"
        return _SAMPLES.get(_APACHE_FIELDS.get(letter, ""), "1")

    return (_NGINX if nginx else _APACHE).sub(value, text)


def _stamp(argument: str, more: str) -> str:
    """Return what Apache writes for ``%{argument}t`` and the parts of the time after it."""
    template = argument.removeprefix("begin:").removeprefix("end:")
    if template in _PER_SECOND:
        text = str(int(_MOMENT.timestamp()) * _PER_SECOND[template])
    else:
        text = _MOMENT.strftime(template) if "%" in template else template
    more = re.sub(r"%\{[^}]*msec_frac\}t", "000", more)
    return text + re.sub(r"%\{[^}]*usec_frac\}t", "000000", more).replace("%{%z}t", "+0000")


def _check_sample(text: str, made: LineFormat) -> None:
    """Raise ``ConfigError`` if a format can't parse its own sample line."""
    sample = _sample(text).encode()
    fields = made.parse(sample)
    if fields is None:
        name, offset = made.broken_at(sample)
        raise ConfigError(
            f"format: it can match no line: of the sample {sample.decode()!r} the {name} at byte"
            f" {offset} can't be read; copy the LogFormat or log_format as the server has it"
        )
    if parse_address(fields.address) is None or parse_time(fields.time) is None:
        raise ConfigError(
            f"format: it can match no line: {fields.address.decode()!r} is read as the address and"
            f" {fields.time.decode()!r} as the time of the sample {sample.decode()!r}"
        )


# JSON ------------------------------------------------------------------------------------------

_MEMBER = re.compile(r'"([^"]+)"\s*:\s*(?:"([^"]*)"|((?:%[^\s",{}]*\{[^}]*\}|[^",{}\[\]\s])+))')
_OPENING = re.compile(r'"([^"]+)"\s*:\s*\{')
MAX_DEPTH = 8
"""Ceiling of the objects that a member is within."""
_ROLES = {
    "address": "address", "clf": "time", "bracketed": "time", "iso": "time", "epoch": "time",
    "request": "request", "method": "method", "target": "target", "status": "status",
}  # fmt: skip
_PARTS = re.compile(r"(?:\$\{?request_method\}?|%m) (?:\$\{?request_uri\}?|%U)")


class _JsonFormat(LineFormat):
    """Lines in JSON whose members have other names than those of ``JSON_KEYS``."""

    def parse(self, line: bytes) -> Fields | None:
        """Return the fields of a line without its newline, or None if one is missing."""
        return parse_json(line, self.keys)


def _json_format(text: str, forwarded: str) -> LineFormat:
    """Return the grammar of lines in JSON whose members have the names in the format."""
    names: dict[str, list[str]] = {role: [] for role in JsonKeys._fields}
    names["forwarded"] += filter(None, [forwarded])
    for name, value in _members(text):
        role = _role_of(value)
        if role:
            names[role].append(name)
    for role, needed in (("address", "client address"), ("time", "time")):
        if not names[role]:
            raise _missing(needed, text)
    if not names["request"] and not (names["method"] and names["target"]):
        raise _missing("request", text)
    made = _JsonFormat(PLAIN, JsonKeys(*map(tuple, names.values())))
    _check_sample(text, made)
    return made


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each member; a name is the path of the member, with dots.

    Raises:
        ConfigError: objects are nested too deeply.
    """
    path: list[str] = []
    at = 0
    while at < len(text):
        if found := _OPENING.match(text, at):
            path.append(found[1])
            if len(path) > MAX_DEPTH:
                raise ConfigError(f"format: more than {MAX_DEPTH} objects within each other")
        elif found := _MEMBER.match(text, at):
            yield ".".join((*path, found[1])), found[2] or found[3] or ""
        elif text[at] == "}" and path:
            path.pop()
        at = found.end() if found else at + 1


def _role_of(value: str) -> str:
    """Return the role of a member by its value in the format, or ""."""
    if _PARTS.match(value):
        return "request"
    value = value.strip("[]").removesuffix(":$remote_port")
    if found := _NGINX.fullmatch(value):
        return _ROLES.get(_NGINX_FIELDS.get(found["name"], ""), "")
    found = _APACHE.fullmatch(value)
    if found is None:
        return ""
    if found["stamp"] is not None:
        _time(found["stamp"], found["more"])
        return "time"
    plain = found["argument"] is None or found["letter"] == "a"
    return _ROLES.get(_APACHE_FIELDS.get(found["letter"], ""), "") if plain else ""


# Text ------------------------------------------------------------------------------------------


def _once(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces; if a field is logged twice, the first one counts."""
    seen: set[bytes] = set()
    for name, pattern in pieces:
        groups = set(_GROUP.findall(pattern))
        for group in groups & seen:
            pattern = pattern.replace(b"(?P<%s>" % group, b"(?:")  # noqa: PLW2901 - the same piece
        seen |= groups
        yield Piece(name, pattern)


def _matters(token: _Token) -> bool:
    return token.name in {*_NEEDED, "method", "target", "forwarded"}


def _runs_to_the_end(tokens: list[_Token], last: int) -> bool:
    """Return whether the last field that matters is a request without quotes around it.

    What stands behind it is then read as a part of it, and ignored.
    """
    is_open = tokens[last].name == "request" and not _starts(tokens, last + 1, b'"', _TAB)
    return is_open and "method" not in {token.name for token in tokens}


def _tokens(text: str, forwarded: str) -> list[_Token]:
    nginx = _NGINX.search(text) is not None
    pattern = _NGINX if nginx else _APACHE
    tokens, at = [], 0
    for found in pattern.finditer(text):
        if found.start() > at:
            tokens.append(_Token("", re.escape(text[at : found.start()].encode())))
        if found[0] == forwarded:
            tokens.append(_FORWARDED)
        else:
            tokens.append(_nginx(found["name"]) if nginx else _apache(found))
        at = found.end()
    if at < len(text):
        tokens.append(_Token("", re.escape(text[at:].encode())))
    return tokens


def _nginx(name: str) -> _Token:
    if name in _NGINX_FIELDS:
        return _FIELDS[_NGINX_FIELDS[name]]
    kinds = (
        (NGINX_WORDS, _WORD), (NGINX_MAYBE_EMPTY, _WORD_OR_NONE), (NGINX_HOSTS, _HOST),
        (NGINX_UPSTREAM, _UPSTREAM),
    )  # fmt: skip
    pattern = next((pattern for names, pattern in kinds if name in names), None)
    return _Token(f"${name}", pattern)


def _apache(found: re.Match[str]) -> _Token:
    if found["stamp"] is not None:
        return _time(found["stamp"], found["more"])
    letter, argument = found["letter"], found["argument"]
    if letter == "%":
        return _Token("", b"%")
    if letter in "ah" and argument == "c":
        return _PEER
    if letter == "V":
        return _Token("%V", _HOST)
    if argument is None and letter in _APACHE_FIELDS:
        return _FIELDS[_APACHE_FIELDS[letter]]
    is_word = letter in APACHE_WORDS or argument in APACHE_ARGUMENTS.get(letter, ())
    written = f"%{{{argument}}}{letter}" if letter in APACHE_ARGUMENTS else f"%{letter}"
    return _Token(written, _WORD if is_word else None)


def _time(argument: str, more: str) -> _Token:
    """Return the field of ``%{argument}t`` with the parts of the time after it.

    Raises:
        ConfigError: the time has no zone, or can't be parsed.
    """
    stamp, expected = _stamp(argument, more).encode(), int(_MOMENT.timestamp()) * SECOND
    for kind in ("clf", "iso", "epoch", "fine_clf", "spaced_iso"):
        field = _FIELDS[kind]
        if re.fullmatch(field.pattern or b"", stamp) and parse_time(stamp) == expected:
            return field._replace(width=len(stamp))
    zoneless = {parse_time(stamp + zone) for zone in (b"+0000", b" +0000")} != {None}
    why = "has no time zone (%z)" if zoneless else "can't be read"
    raise ConfigError(
        f"format: %{{{argument}}}t{more}: this time {why}; use %t, %{{sec}}t or"
        " %{%Y-%m-%dT%H:%M:%S%z}t"
    )


def _pieces(tokens: list[_Token]) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if _is_user_time(tokens[at:]):
            pieces.append(user_time(tokens[at + 2].width))
            # The quote that opens the request is part of the piece.
            at += 4
        elif piece := _up_to_a_quote(tokens[at : at + 2]):
            pieces.append(piece)
            at += 2
        else:
            pieces.append(Piece(token.name or "delimiter", _pattern(tokens, at)))
            at += 1
    return pieces


def _up_to_a_quote(tokens: list[_Token]) -> Piece | None:
    """Return the piece of a field that the client chooses, before a text with a quote; or None.

    The next quote that is not escaped is that of the text, so the field ends in front of it.
    """
    if len(tokens) < 2 or tokens[0].pattern is not None or tokens[0].name in {"user", *_GROUPS}:
        return None
    before, quote, behind = (tokens[1].pattern or b"").partition(b'"')
    if tokens[1].name or not quote or not before or before.startswith(_TAB):
        return None
    return Piece(tokens[0].name, QUOTED + b"(?<=" + before + b")" + quote + behind)


def _is_user_time(tokens: list[_Token]) -> bool:
    """Return whether the tokens begin with ``%u %t "``, or nginx's equivalent of it."""
    if len(tokens) < 4 or tokens[0].name != "user" or tokens[2].name != "time":
        return False
    between = (tokens[1].pattern, tokens[3].pattern)
    return between in {(rb"\ ", rb'\ "'), (rb"\ \[", rb'\]\ "')}


def _starts(tokens: list[_Token], at: int, *literals: bytes) -> bool:
    """Return whether the token at an index has a pattern that starts with one of the literals."""
    return at < len(tokens) and (tokens[at].pattern or b"").startswith(literals)


def _host(before: bytes, after: bytes) -> bytes:
    """Return the pattern of a host between two literals."""
    if before.endswith(b'"') and after.startswith(b'"'):
        return QUOTED
    if after.startswith(b":"):
        return _HOST_PORT
    if after.startswith(rb"\]"):
        return _HOST_BRACKET
    if after.startswith(_TAB):
        return _HOST_TAB
    if after and not after.startswith((rb"\ ", b'"')):
        mark = after.decode().removeprefix("\\")[:1]
        raise ConfigError(
            f"format: a host may hold {mark} itself, so a client could forge what follows it; put"
            " it in quotes, or a space or a tab behind it"
        )
    return _HOST


def _word(token: _Token, literal: bytes) -> bytes:
    """Return the pattern of a word that the client can't choose, before this literal."""
    if literal.startswith(b":"):
        return _HERE_PORT if token.name in _HERE else _HOST_PORT
    first = literal[:2] if literal.startswith(b"\\") else re.escape(literal[:1])
    count = b"*+" if token.pattern == _WORD_OR_NONE else b"++"
    return _WORD_DELIMITED % first + count


def _pattern(tokens: list[_Token], at: int) -> bytes:
    token = tokens[at]
    if token.pattern == _ADDRESS and _starts(tokens, at + 1, rb":"):
        return _ADDRESS_PORT
    before = tokens[at - 1].pattern or b"" if at else b""
    after = tokens[at + 1].pattern or b"" if at + 1 < len(tokens) else b""
    if token.pattern == _HOST:
        return _host(before, after)
    is_before_literal = at + 1 < len(tokens) and not tokens[at + 1].name
    if token.pattern in {_WORD, _WORD_OR_NONE} and is_before_literal:
        return _word(token, after)
    if token.pattern is not None:
        return token.pattern
    # The server escapes quotes and tabs that a client sends, so the next one is the server's.
    if after.startswith(b'"'):
        chosen = _QUOTED_USER if token.name == "user" else QUOTED
    elif _starts(tokens, at + 1, _TAB):
        chosen = rb"[^\t]*+"
    elif at + 1 == len(tokens):
        chosen = _REST if token.name == "request" else rb".*+"
    else:
        raise ConfigError(
            f"format: {token.name} is not in quotes, so a client could forge what follows it; "
            "put it in quotes, or behind the address, the time and the request"
        )
    group = _GROUPS.get(token.name)
    return chosen if group is None else b"(?P<" + group + b">" + chosen + b")"
