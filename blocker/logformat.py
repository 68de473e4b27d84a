"""Compiles an Apache ``LogFormat`` or an nginx ``log_format`` string into a grammar.  Pure.

Only what is needed is read: client address, time, request and, where it comes before them, the
status; whatever follows the last of them is left alone.  What a client chooses must stand in
quotes if anything that matters follows it, or it could forge that: such a format is refused with
advice.  The one exception is the classic ``%u %t "%r"``, where the time stamp is the bracket right
before the first unescaped quote.

Sources: Apache's mod_log_config, nginx's ngx_http_log_module.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from blocker.errors import ConfigError
from blocker.lines import QUOTED, USER_TIME, LineFormat, Piece

_APACHE = re.compile(r"%[<>]?(?:\{(?P<argument>[^}]*)\})?[!,0-9]*[<>]?(?P<letter>\^?[A-Za-z%])")
_NGINX = re.compile(r"\$\{?(?P<name>[a-z_0-9]+)\}?")

_CLF = rb"(?P<time>[0-9]{2}/.{23})"
_ISO = rb"(?P<time>[0-9]{4}-[0-9T:.,Z+-]{15,30})"
_EPOCH = rb"(?P<time>[0-9]{1,11}(?:\.[0-9]{1,9})?)"
_WORD = rb'[^ "\[\]]++'
_GROUP = re.compile(rb"\(\?P<([a-z]+)>")
_NEEDED = ("client address", "time", "request")


class _Token(NamedTuple):
    """A literal (no name), or a field: its pattern, or None for what a client chooses."""

    name: str
    pattern: bytes | None


_FIELDS: dict[str, _Token] = {
    "address": _Token("client address", rb"(?P<address>[0-9A-Fa-f.:]++)"),
    "clf": _Token("time", _CLF),
    "bracketed": _Token("time", rb"\[" + _CLF + rb"\]"),
    "iso": _Token("time", _ISO),
    "epoch": _Token("time", _EPOCH),
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
_NGINX_WORDS = frozenset({
    "body_bytes_sent", "bytes_sent", "connection", "connection_requests", "gzip_ratio", "host",
    "hostname", "pid", "pipe", "request_id", "request_length", "request_time", "scheme",
    "server_addr", "server_name", "server_port", "server_protocol", "ssl_cipher", "ssl_protocol",
})  # fmt: skip


def compile_format(text: str) -> LineFormat:
    """Return the grammar of a format string.

    Raises:
        ConfigError: a field that matters is missing, or could be forged by the client.
    """
    text = text.replace('\\"', '"')
    tokens = list(_tokens(text))
    last = max((i for i, token in enumerate(tokens) if _matters(token)), default=-1)
    names = {token.name for token in tokens}
    if {"method", "target"} <= names:
        names.add("request")
    for needed in _NEEDED:
        if needed not in names:
            raise ConfigError(f"format: no {needed} in {text!r}; it can't be judged without")
    return LineFormat(text, tuple(_once(_pieces(tokens[: last + 2]))))


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
    return _Token(f"${name}", _WORD if name in _NGINX_WORDS else None)


def _apache(found: re.Match[str]) -> _Token:
    letter, argument = found["letter"], found["argument"]
    if letter == "%":
        return _Token("", b"%")
    if letter == "t" and argument is not None:
        return _FIELDS["epoch" if argument in {"sec", "begin:sec", "%s"} else "iso"]
    if letter == "a" and argument is not None:
        return _Token("peer address", _WORD)
    if argument is None and letter in _APACHE_FIELDS:
        return _FIELDS[_APACHE_FIELDS[letter]]
    return _Token(f"%{letter}", _WORD if letter in _APACHE_WORDS else None)


def _pieces(tokens: list[_Token]) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if _is_user_time(tokens[at:]):
            pieces.append(USER_TIME)
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


def _pattern(tokens: list[_Token], at: int) -> bytes:
    token = tokens[at]
    if token.pattern is not None:
        return token.pattern
    before = tokens[at - 1].pattern or b"" if at else b""
    after = tokens[at + 1].pattern or b"" if at + 1 < len(tokens) else b""
    if not (before.endswith(b'"') and after.startswith(b'"')):
        raise ConfigError(
            f"format: {token.name} is not in quotes, so a client could forge what follows it; "
            "put it in quotes, or behind the address, the time and the request"
        )
    group = _GROUPS.get(token.name)
    return b"(?P<" + group + b">" + QUOTED + b")" if group else QUOTED
