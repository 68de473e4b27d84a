"""Reads one line in full: text, JSON, and either of them within what a collector wrote.  Pure.

The order is the rule: a line is read as its format says; only what that can't read is tried as one
of the other known formats (``auto``), and then without its wrapper.  So a client, who can choose
what stands inside a field but not what stands around it, never decides how its line is read.
"""

import re
from collections.abc import Callable
from functools import cached_property

from blocker.addresses import parse_address
from blocker.matching.candidates import BLANK
from blocker.matching.formats import NAMED, OTHERS, line_format
from blocker.matching.grammar import Fields, LineFormat
from blocker.matching.json_lines import explain_json, parse_json
from blocker.matching.verdict import excerpt
from blocker.matching.wrappers import inner_text
from blocker.model import Address, LogFormat, Proxied

MAX_LINE = (1 << 20) - 1
"""Longest line without its newline, bytes; a line of this length may have been cut."""
DEPTH = 2
"""Wrappers that may stand around a line, one within the other."""

_FORMAT_CURE = "set `format` to the LogFormat or log_format of the server that writes this log"
ADDRESS_CURE = "let the server log one address, that of the client that connected"
TIME_CURE = (
    "this time can't be read; let the server log it as $time_iso8601, $time_local or $msec"
    " (nginx), %t (Apache), StartUTC (Traefik) or with time_format rfc3339 (Caddy)"
)
_ZONE_CURE = "only neighbours have an address with a zone: let the server log it without"
_ADDRESS_AND_MORE = re.compile(rb"([0-9A-Fa-f.:]{3,45})(?:(,| ,)|%)")

_CONSOLE = re.compile(
    rb"([0-9]{4})/([0-9]{2})/([0-9]{2}) ([0-9:]{8}(?:\.[0-9]{1,9})?)[\t ]++"
    rb"(?:\x1b\[[0-9;]*m)?[A-Za-z]++(?:\x1b\[[0-9;]*m)?[\t ]++"
    rb"[^ \t{]++[\t ]++handled request[\t ]++(?=\{)"
)
"""What Caddy's encoder ``console`` writes before the object, which holds no time; it is UTC."""


class LineParser:
    """Reads lines of one format.

    Args:
        log_format: ``format`` of the configuration.
        is_proxy: returns whether a peer is a known proxy, which may name the client; for a log
            with proxies of its own, whether it is one of these.

    Attributes:
        format: the grammar of a line of text.
    """

    def __init__(self, log_format: LogFormat, is_proxy: Callable[[Address], bool]) -> None:
        proxied = log_format if isinstance(log_format, Proxied) else Proxied(log_format, "", ())
        self.format = line_format(proxied.format, proxied.field)
        self.format.believe(is_proxy)
        self._is_proxy = is_proxy
        self._is_auto = proxied.format == "auto"

    @cached_property
    def _others(self) -> list[LineFormat]:
        return [LineFormat(NAMED[name]) for name in OTHERS]

    def parse(self, line: bytes) -> Fields | None:
        """Return the fields of a line without its newline, or None if it can't be read."""
        return self._parse(line, DEPTH)

    def _parse(self, line: bytes, depth: int) -> Fields | None:
        text = line.lstrip(BLANK)
        # A line with a brace need not be JSON: in a format that begins with the Host header, the
        # client chooses the first byte.
        found = self._json(text) if text.startswith(b"{") else None
        # The unchanged line is tried first: a leading tab may be the end of an empty field.
        found = found or self.format.parse(line) or self.format.parse(text)
        found = found or self._as_other(text)
        if found is None and len(line) >= MAX_LINE:
            found = self._cut(line) or self._cut(text)
        if found is None and depth:
            inner = inner_text(text)
            found = None if inner is None else self._parse(inner, depth - 1)
        return found

    def _json(self, text: bytes, time: str = "") -> Fields | None:
        return parse_json(text, self.format.keys, self._is_proxy, time)

    def _as_other(self, text: bytes) -> Fields | None:
        if not self._is_auto:
            return None
        for each in self._others:
            if found := each.parse(text):
                return found
        if front := _CONSOLE.match(text):
            year, month, day, clock = (part.decode() for part in front.groups())
            return self._json(text[front.end() :], f"{year}-{month}-{day}T{clock}Z")
        return None

    def _cut(self, line: bytes) -> Fields | None:
        """Return the fields of a line of text that was cut in the query of its request."""
        fields = self.format.parse(line.rstrip(b"\\") + b'" - -')
        if fields is None or b"?" not in fields.request:
            return None
        return fields._replace(request=fields.request.partition(b"?")[0] + b"?")

    def why_not(self, line: bytes) -> str:
        """Return why a line can't be read, with advice."""
        text = line.lstrip(BLANK)
        for _ in range(DEPTH):
            inner = inner_text(text)
            text = text if inner is None else inner
        if why := explain_json(text, self.format.keys):
            return why
        name, offset = self.format.broken_at(text)
        shown = excerpt(text[offset : offset + 40])
        cure = _cure_of_address(text, offset) or _FORMAT_CURE
        place = f"byte {offset + line.find(text)}" if text in line else f"byte {offset} of the text"
        return f"no {name} at {place}: {shown}; {cure}"


def _cure_of_address(line: bytes, offset: int) -> str:
    """Return the advice for a line that breaks at an address followed by more, or ""."""
    # A format with a fixed text behind the address breaks behind the address, a format that begins
    # with a host breaks before it.
    here = len(line[:offset].rstrip(b"0123456789ABCDEFabcdef.:"))
    for start in (here, line.find(b" ", offset) + 1):
        found = _ADDRESS_AND_MORE.match(line, start)
        if found and parse_address(found[1]) is not None:
            return ADDRESS_CURE if found[2] else _ZONE_CURE
    return ""
