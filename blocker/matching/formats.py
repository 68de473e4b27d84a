r"""The named log formats, and the rules that the grammar of a line follows.  Pure.

The attacker may choose any field, so a field is taken from its *place* in a full parse of the
line, never from a search.  A regular expression, anchored at the start of the line and without
nested repetition that could backtrack (every repetition is possessive), runs through the line once.
A possessive group consists of single bytes followed by what can't fail, such as ``[a-z]*+``: Python
before 3.11.5 would continue where the group failed, not at its beginning (CPython's issue 106052).

The grammar relies on what servers guarantee (measured with nginx 1.22 and Apache 2.4): a
quote, a backslash or a control byte that a client sent is written as ``\"``, ``\\``, ``\xHH`` or
``\n``; so an unescaped quote always ends a quoted field.  A user name (chosen by the client, not
verified) may hold spaces and brackets but no unescaped quote; the time stamp is therefore the
bracket right before the first unescaped quote.  Apache writes an empty user as ``""``.
"""

from blocker.errors import ConfigError
from blocker.matching.grammar import (
    CLIENT,
    IDENT_ANY,
    IDENT_DASH,
    JSON_KEYS,
    PLAIN,
    QUOTED,
    REQUEST,
    STATUS,
    TAIL,
    USER_TIME,
    VHOST,
    VHOST_MAYBE,
    LineFormat,
    Piece,
)

_CLF_TIME = rb"[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2}"
_TIME = Piece("[time]", rb"\[(?P<time>" + _CLF_TIME + rb" [+-][0-9]{4})\] ")

NPM = (
    _TIME,
    Piece("upstream", rb"(?:[A-Z-]++ (?:[0-9]{3}|-)(?:(?:, | : )(?:[0-9]{3}|-))* )?"),
    STATUS,
    Piece("method", rb'- (?P<method>[^ "]++) '),
    Piece("scheme and host", rb'[^ "]++ [^ "]++ '),
    Piece("target", rb'"(?P<target>' + QUOTED + rb')" '),
    Piece("client address", rb"\[Client (?P<address>[0-9A-Fa-f.:]++)\] "),
)
"""Nginx Proxy Manager: its formats ``proxy`` and ``standard``."""

LIGHTTPD = (
    CLIENT,
    # An address there could be the client's, behind a virtual host that the client chose; not so
    # if one word stands between it and the time.
    Piece("virtual host", rb'(?:(?![0-9A-Fa-f.:]++ |- )[^ "]++ |[0-9A-Fa-f.:]++ (?=- \[))'),
    *TAIL,
)
"""The default of lighttpd: the virtual host stands in the place of the identity."""

OPENLITESPEED = (
    Piece("quote", rb'"'),
    VHOST_MAYBE,
    CLIENT,
    IDENT_DASH,
    USER_TIME,
    # The quote that opens the request is the server's own, not the end of a field in quotes.
    Piece("method", rb"(?=[A-Za-z])"),
    REQUEST,
    STATUS,
)
"""OpenLiteSpeed; with the configuration that panels generate, a whole line is in quotes."""

HAPROXY = (
    Piece("client address and port", rb"(?P<address>[0-9A-Fa-f.:]+):[0-9]++ "),
    Piece("[time]", rb"\[(?P<time>" + _CLF_TIME + rb"(?:\.[0-9]{1,6})?(?: [+-][0-9]{4})?)\] "),
    Piece("frontend and server", rb"[^ ]++ [^ /]++/[^ ]++ "),
    Piece("timers", rb"[0-9/+-]++ "),
    Piece("status", rb"(?P<status>[0-9]{3}|-1) "),
    Piece("size", rb"\+?[0-9]++ "),
    Piece("cookies and state", rb"[^ ]*+ [^ ]*+ [^ ]{2,8} "),
    Piece("connections and queues", rb"[0-9/+]++ [0-9/]++ "),
    Piece("captures", rb'(?:\{[^}"]*+\} ){0,2}'),
    Piece("request", rb'"(?P<request>' + QUOTED + rb')(?:"|\Z)'),
)
"""HAProxy's ``option httplog`` and ``option httpslog``; its time has no zone, and is local."""

NAMED: dict[str, tuple[Piece, ...]] = {
    "auto": PLAIN,
    "common": (CLIENT, IDENT_ANY, *TAIL),
    "combined": (CLIENT, IDENT_ANY, *TAIL),
    "vhost_combined": (VHOST, CLIENT, IDENT_ANY, *TAIL),
    "json": PLAIN,
    "npm": NPM,
    "lighttpd": LIGHTTPD,
    "openlitespeed": OPENLITESPEED,
    "haproxy": HAPROXY,
}

OTHERS = ("npm", "openlitespeed", "haproxy", "lighttpd")
"""The formats that ``auto`` tries, in this order, for a line that it can't read itself."""


def line_format(text: str, forwarded: str = "") -> LineFormat:
    """Return the grammar for a ``format`` of the configuration.

    Args:
        text: a name, or a format string.
        forwarded: the field in which a proxy names the client, "" for none.

    Raises:
        ConfigError: the format is unknown, or an attacker could forge fields in it.
    """
    if text in NAMED:
        if not forwarded:
            return LineFormat(NAMED[text])
        if NAMED[text] is not PLAIN:
            raise ConfigError(
                f"proxy: lines of the format {text} have no {forwarded}; set `format` to the"
                " log_format or LogFormat of the server, with that field in quotes"
            )
        return LineFormat(PLAIN, JSON_KEYS._replace(forwarded=(forwarded,)))
    if "%" in text or "$" in text:
        # Imported only if needed: most logs have one of the named formats.
        from blocker.matching.format_strings import compile_format  # noqa: PLC0415 - start-up time

        return compile_format(text, forwarded)
    known = ", ".join(NAMED)
    raise ConfigError(f"format: {text!r} is unknown; use one of {known}, or a format string")
