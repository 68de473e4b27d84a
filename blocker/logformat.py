"""Compiles an Apache ``LogFormat`` or an nginx ``log_format`` string into a grammar.  Pure.

Only what is needed is read: client address, time, request and, where it comes before them, the
status; whatever follows the last of them is left alone.  What a client chooses must stand in
quotes if anything that matters follows it, or it could forge that: such a format is refused with
advice.  The one exception is the classic ``%u %t "%r"``, where the time stamp is the bracket right
before the first unescaped quote.  A format whose own sample line can't be read is refused, too.

Sources: Apache's mod_log_config, nginx's ngx_http_log_module.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from blocker.errors import ConfigError
from blocker.json_lines import parse_json
from blocker.lines import (
    NAMED,
    QUOTED,
    Fields,
    JsonKeys,
    LineFormat,
    Piece,
    parse_address,
    parse_time,
    user_time,
)
from blocker.model import SECOND

# A time may be put together from several fields: %{%FT%T}t.%{msec_frac}tZ
_APACHE = re.compile(
    r"%\{(?P<stamp>[^}]*)\}t(?P<more>(?:[.,]%\{(?:begin:|end:)?[mu]sec_frac\}t)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2}| ?%\{%z\}t)?)"
    r"|%[<>!,0-9]*(?:\{(?P<argument>[^}]*)\})?[<>!,0-9]*(?P<letter>\^?[A-Za-z%])"
)
_NGINX = re.compile(r"\$\{?(?P<name>[a-z_0-9]+)\}?")

_CLF = rb"(?P<time>[0-9]{2}/.{23})"
_ISO = rb"(?P<time>[0-9]{4}-[0-9T:.,Z+-]{15,30})"
_EPOCH = rb"(?P<time>[0-9]{16}|[0-9]{13}|[0-9]{1,11}(?:\.[0-9]{1,9})?)"
_WORD = rb'[^ "\[\]]++'
_UPSTREAM = rb'[^ ",\[\]]++(?:(?:, | : )[^ ",\[\]]++)*+'
"""One value for each server that was tried: ngx_http_upstream_module."""
_HOST = rb'[^ "]*+'
"""A host, brackets of IPv6 included; nothing where nginx answers 400 to the one that it got."""
_QUOTED_USER = rb'(?:""(?="))?' + QUOTED
"""A user in quotes; Apache writes an empty one as two quotes, inside of those of the format."""
_WORD_DELIMITED = rb'[^ "\[\]%b]++'
_HERE_PORT = rb"\[?[0-9A-Fa-f.:]{1,45}\]?"
"""The server's own address before ``:port``; nginx writes IPv6 without brackets."""
_HOST_PORT = rb'(?:\[[^ "\]]*+\]|[^ ":]*+)'
"""A host before ``:port``: it holds colons in brackets only."""
_HOST_BRACKET = rb'[^ "]*'
"""A host before ``]``: it may hold one itself."""
_HOST_TAB = rb'[^ "\t]*+'
"""A host before a tab."""
_ADDRESS = rb"(?P<address>[0-9A-Fa-f.:]++)"
_ADDRESS_PORT = rb"\[?(?P<address>[0-9A-Fa-f.:]{2,45})\]?"
"""An address before ``:port``; the repetition is bounded, for it may have to give back."""
_TAB = re.escape(b"\t")
_GROUP = re.compile(rb"\(\?P<([a-z]+)>")
_NEEDED = ("client address", "time", "request")


class _Token(NamedTuple):
    """A literal (no name), or a field: its pattern, or None for what a client chooses.

    ``width`` is how many bytes a time has within its brackets, 0 for other fields.
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
    "request": _Token("request", None),
    "method": _Token("method", rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]++)"),
    "target": _Token("target", None),
    "status": _Token("status", rb"(?P<status>[0-9]{3}|-)"),
    "user": _Token("user", None),
}
_GROUPS = {"request": b"request", "target": b"target"}

_APACHE_FIELDS = {
    "h": "address", "a": "address", "t": "bracketed", "r": "request", "m": "method",
    "U": "target", "s": "status", "u": "user",
}  # fmt: skip
_NGINX_FIELDS = {
    "remote_addr": "address", "time_local": "clf", "time_iso8601": "iso", "msec": "epoch",
    "request": "request", "request_method": "method", "request_uri": "target",
    "status": "status", "remote_user": "user",
}  # fmt: skip
_APACHE_WORDS = frozenset("bBDfHIkLlOpPSTvVX")
# What the server alone writes; of nginx's documentation, the modules core, upstream, realip, ssl,
# gzip, geoip, limit_req and limit_conn.
_NGINX_WORDS = frozenset({
    "body_bytes_sent", "bytes_sent", "connection", "connection_requests", "connection_time",
    "geoip_country_code", "gzip_ratio", "hostname", "limit_conn_status", "limit_rate",
    "limit_req_status", "nginx_version", "pid", "pipe", "proxy_port", "proxy_protocol_addr",
    "proxy_protocol_port", "proxy_protocol_server_addr", "proxy_protocol_server_port",
    "realip_remote_addr", "realip_remote_port", "remote_port", "request_id", "request_length",
    "request_time", "scheme", "server_addr", "server_name", "server_port", "server_protocol",
    "ssl_cipher", "ssl_curve", "ssl_protocol", "ssl_session_id", "ssl_session_reused",
    "tcpinfo_rcv_space", "tcpinfo_rtt", "tcpinfo_rttvar", "tcpinfo_snd_cwnd",
})  # fmt: skip
_NGINX_UPSTREAM = frozenset(
    f"upstream_{name}"
    for name in (
        "addr", "bytes_received", "bytes_sent", "cache_status", "connect_time", "header_time",
        "queue_time", "response_length", "response_time", "status",
    )
)  # fmt: skip
_HERE = frozenset({"$server_addr", "$proxy_protocol_server_addr", "%A"})
_PER_SECOND = {"sec": 1, "%s": 1, "msec": 10**3, "usec": 10**6}


def compile_format(text: str) -> LineFormat:
    """Return the grammar of a format string.

    Raises:
        ConfigError: a field that matters is missing, or could be forged by the client.
    """
    text = _joined(_unescaped(_as_read_by_the_server(text)))
    if text.lstrip().startswith("{"):
        return _json_format(text)
    tokens = list(_tokens(text))
    last = max((i for i, token in enumerate(tokens) if _matters(token)), default=-1)
    names = {token.name for token in tokens}
    if {"method", "target"} <= names:
        names.add("request")
    for needed in _NEEDED:
        if needed not in names:
            raise ConfigError(f"format: no {needed} in {text!r}; it can't be judged without")
    made = LineFormat(text, tuple(_once(_pieces(tokens[: last + 2]))))
    _check_sample(text, made)
    return made


# What is pasted with its directive: the words round the format, and nginx's parts in quotes.
_LOG_FORMAT_PART = re.compile(r"'((?:[^'\\]|\\.)*+)'\s*+")
_LOG_FORMAT = re.compile(
    r"(?:log_format\s+\S++\s++(?:escape=\w++\s++)?+)?+"
    r"((?:" + _LOG_FORMAT_PART.pattern + r")++);?\s*"
)
_LOGFORMAT = re.compile(r'LogFormat\s+"((?:[^"\\]|\\.)*+)"(?:\s+[^\s"]+)?\s*', re.IGNORECASE)


def _as_read_by_the_server(text: str) -> str:
    """Return the format alone, of what may be the whole directive or nginx's quoted parts of it.

    Raises:
        ConfigError: nginx is told not to escape what a client sends.
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
    """Return a format without the escapes of the server's own configuration."""
    return re.sub(r"\\([\"'\\t])", lambda found: {"t": "\t"}.get(found[1], found[1]), text)


_REQUEST_LINE = re.compile(
    r"%[<>]?m %U(?:%q)? %H"
    r"|\$\{?request_method\}? \$\{?request_uri\}? \$\{?server_protocol\}?"
)


def _joined(text: str) -> str:
    """Return a format with one field in place of those that are written as that one is.

    Apache documents "%m %U%q %H" as the same as "%r".
    """
    text = _REQUEST_LINE.sub(lambda found: "%r" if "%" in found[0] else "$request", text)
    return text.replace("%U%q", "%U")


# Samples ---------------------------------------------------------------------------------------

_MOMENT = datetime(2026, 3, 10, 12, tzinfo=UTC)
_SAMPLES = {
    "address": "192.0.2.1", "clf": "10/Mar/2026:12:00:00 +0000",
    "bracketed": "[10/Mar/2026:12:00:00 +0000]", "iso": "2026-03-10T12:00:00+00:00",
    "epoch": "1773144000.000", "request": "POST /xmlrpc.php HTTP/1.1", "method": "POST",
    "target": "/xmlrpc.php", "status": "200", "user": "-",
}  # fmt: skip


def _sample(text: str) -> str:
    """Return a line as a server writes it by this format."""
    nginx = _NGINX.search(text) is not None

    def value(found: re.Match[str]) -> str:
        if nginx:
            return _SAMPLES.get(_NGINX_FIELDS.get(found["name"], ""), "1")
        if found["stamp"] is not None:
            return _stamp(found["stamp"], found["more"])
        letter, argument = found["letter"], found["argument"]
        if letter == "%" or (argument is not None and letter != "a"):
            return "%" if letter == "%" else "1"
        return _SAMPLES.get(_APACHE_FIELDS.get(letter, ""), "1")

    return (_NGINX if nginx else _APACHE).sub(value, text)


def _stamp(argument: str, more: str) -> str:
    """Return what Apache writes for ``%{argument}t`` and the parts of a time behind it."""
    template = argument.removeprefix("begin:").removeprefix("end:")
    if template in _PER_SECOND:
        text = str(int(_MOMENT.timestamp()) * _PER_SECOND[template])
    else:
        text = _MOMENT.strftime(template) if "%" in template else template
    more = re.sub(r"%\{[^}]*msec_frac\}t", "000", more)
    return text + re.sub(r"%\{[^}]*usec_frac\}t", "000000", more).replace("%{%z}t", "+0000")


def _check_sample(text: str, made: LineFormat) -> None:
    """Refuse a format that can't read what a server writes by it."""
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
_NESTED = re.compile(r'"\s*:\s*\{')
_ROLES = {
    "address": "address", "clf": "time", "bracketed": "time", "iso": "time", "epoch": "time",
    "request": "request", "method": "method", "target": "target", "status": "status",
}  # fmt: skip
_PARTS = re.compile(r"(?:\$\{?request_method\}?|%m) (?:\$\{?request_uri\}?|%U)")


class _JsonFormat(LineFormat):
    """Lines in JSON with members of other names."""

    def parse(self, line: bytes) -> Fields | None:
        """Return the fields of a line without its newline, or None where it has none."""
        return parse_json(line, self.keys)


def _json_format(text: str) -> LineFormat:
    """Return the grammar of lines in JSON, whose members are named as in the format."""
    names: dict[str, list[str]] = {role: [] for role in JsonKeys._fields}
    for name, quoted, bare in _MEMBER.findall(text):
        role = _role_of(quoted or bare)
        if role:
            names[role].append(name)
    for role, needed in (("address", "client address"), ("time", "time")):
        if not names[role]:
            raise ConfigError(f"format: no {needed} in {text!r}; it can't be judged without")
    if not names["request"] and not (names["method"] and names["target"]):
        raise ConfigError(f"format: no request in {text!r}; it can't be judged without")
    made = _JsonFormat(text, NAMED["json"], JsonKeys(*map(tuple, names.values())))
    if _NESTED.search(text) and made.parse(_sample(text).encode()) is None:
        raise ConfigError(
            "format: address, time and request are read from the top of an object, or from a"
            ' member "request" in it; let the server write them there, not in objects within'
        )
    _check_sample(text, made)
    return made


def _role_of(value: str) -> str:
    """Return what the value of a member is for, or nothing."""
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
    """Yield the pieces; of a field that is logged twice, the first counts."""
    seen: set[bytes] = set()
    for name, pattern in pieces:
        groups = set(_GROUP.findall(pattern))
        for group in groups & seen:
            pattern = pattern.replace(b"(?P<%s>" % group, b"(?:")  # noqa: PLW2901 - the same piece
        seen |= groups
        yield Piece(name, pattern)


def _matters(token: _Token) -> bool:
    return token.name in {*_NEEDED, "method", "target"}


def _tokens(text: str) -> list[_Token]:
    nginx = _NGINX.search(text) is not None
    pattern = _NGINX if nginx else _APACHE
    tokens, at = [], 0
    for found in pattern.finditer(text):
        if found.start() > at:
            tokens.append(_Token("", re.escape(text[at : found.start()].encode())))
        tokens.append(_nginx(found["name"]) if nginx else _apache(found))
        at = found.end()
    if at < len(text):
        tokens.append(_Token("", re.escape(text[at:].encode())))
    return tokens


def _nginx(name: str) -> _Token:
    if name in _NGINX_FIELDS:
        return _FIELDS[_NGINX_FIELDS[name]]
    if name == "host":
        return _Token("$host", _HOST)
    if name in _NGINX_UPSTREAM:
        return _Token(f"${name}", _UPSTREAM)
    return _Token(f"${name}", _WORD if name in _NGINX_WORDS else None)


def _apache(found: re.Match[str]) -> _Token:
    if found["stamp"] is not None:
        return _time(found["stamp"], found["more"])
    letter, argument = found["letter"], found["argument"]
    if letter == "%":
        return _Token("", b"%")
    if letter == "a" and argument is not None:
        return _Token("peer address", _WORD)
    if letter == "V":
        return _Token("%V", _HOST)
    if argument is None and letter in _APACHE_FIELDS:
        return _FIELDS[_APACHE_FIELDS[letter]]
    return _Token(f"%{letter}", _WORD if letter in _APACHE_WORDS else None)


def _time(argument: str, more: str) -> _Token:
    """Return the field of ``%{argument}t`` with the parts of a time behind it, if it can be read.

    Raises:
        ConfigError: it can't.
    """
    stamp, expected = _stamp(argument, more).encode(), int(_MOMENT.timestamp()) * SECOND
    for kind in ("clf", "iso", "epoch"):
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
            continue
        pieces.append(Piece(token.name or "delimiter", _pattern(tokens, at)))
        at += 1
    return pieces


def _is_user_time(tokens: list[_Token]) -> bool:
    """``%u %t "``, and the same in nginx's words."""
    if len(tokens) < 4 or tokens[0].name != "user" or tokens[2].name != "time":
        return False
    between = (tokens[1].pattern, tokens[3].pattern)
    return between in {(rb"\ ", rb'\ "'), (rb"\ \[", rb'\]\ "')}


def _starts(tokens: list[_Token], at: int, *literals: bytes) -> bool:
    """Whether a literal stands there that begins so."""
    return at < len(tokens) and (tokens[at].pattern or b"").startswith(literals)


def _host(before: bytes, after: bytes) -> bytes:
    """Return the pattern of a host between these."""
    if before.endswith(b'"') and after.startswith(b'"'):
        return QUOTED
    if after.startswith(b":"):
        return _HOST_PORT
    if after.startswith(rb"\]"):
        return _HOST_BRACKET
    if after.startswith(_TAB):
        return _HOST_TAB
    if after and not after.startswith((rb"\ ", b'"')):
        mark = after.removeprefix(b"\\")[:1].decode()
        raise ConfigError(
            f"format: a host may hold {mark} itself, so a client could forge what follows it; put"
            " it in quotes, or a space or a tab behind it"
        )
    return _HOST


def _word(token: _Token, literal: bytes) -> bytes:
    """Return the pattern of a word that the server alone writes, before this literal."""
    if literal.startswith(b":"):
        return _HERE_PORT if token.name in _HERE else _HOST_PORT
    first = literal[:2] if literal.startswith(b"\\") else re.escape(literal[:1])
    return _WORD_DELIMITED % first


def _pattern(tokens: list[_Token], at: int) -> bytes:
    token = tokens[at]
    if token.pattern == _ADDRESS and _starts(tokens, at + 1, rb":"):
        return _ADDRESS_PORT
    before = tokens[at - 1].pattern or b"" if at else b""
    after = tokens[at + 1].pattern or b"" if at + 1 < len(tokens) else b""
    if token.pattern == _HOST:
        return _host(before, after)
    if token.pattern == _WORD and _starts(tokens, at + 1, b"") and not tokens[at + 1].name:
        return _word(token, after)
    if token.pattern is not None:
        return token.pattern
    # Whatever a client sends, the server escapes quotes and tabs in it: the next one is its own.
    if after.startswith(b'"'):
        chosen = _QUOTED_USER if token.name == "user" else QUOTED
    elif _starts(tokens, at + 1, _TAB):
        chosen = rb"[^\t]*+"
    elif at + 1 == len(tokens):
        chosen = rb".*+"
    else:
        raise ConfigError(
            f"format: {token.name} is not in quotes, so a client could forge what follows it; "
            "put it in quotes, or behind the address, the time and the request"
        )
    group = _GROUPS.get(token.name)
    return chosen if group is None else b"(?P<" + group + b">" + chosen + b")"
