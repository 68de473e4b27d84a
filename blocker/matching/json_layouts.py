"""Reads JSON lines whose members stand in a known order, with one expression for a line.  Pure.

A server writes each line with the same members in the same order.  The first line is decoded
(``json_lines``); from then on, an expression with the names as they stand there reads lines of
this layout, and only the values differ.  It accepts less than a decoder: a flat object, values of
the same kind, and no escapes in them.  What it does not accept is decoded, so both ways give the
same fields, which is tested.

The names are the server's, so a client can't add a layout by what it sends, except by a value that
is missing once; their number has a ceiling.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from blocker.matching.grammar import JsonKeys

MAX_LAYOUTS = 8
"""Ceiling of the layouts of one format: each costs an expression."""
MAX_MEMBERS = 64
"""Ceiling of the members of a layout."""
MAX_LEARNED = 1000
"""Decoded lines that are looked at for a layout: those of many servers have none."""

_ANY = rb'(?:"[^"\\\x00-\x1f]*+"|-?[0-9]++(?:\.[0-9]++)?|null|true|false)'
_MEMBER = re.compile(rb'([{,][\t ]*+"([^"\\]{1,64})"[\t ]*+:[\t ]*+)' + _ANY + rb"[\t ]*+(?=[,}])")
# Values that can be taken from the line unchanged; others are decoded.
_VALUES = {
    "address": rb'"([0-9.]++|[0-9A-Fa-f.]*+:[0-9A-Fa-f.]*+:[0-9A-Fa-f.:]*+)"',
    "forwarded": rb'"([^"\\\x00-\x1f]*+)"',
    "time": rb'"\[?([0-9][^"\\\]\x00-\x1f]++)\]?"',
    "request": rb'"([A-Z]{1,16} [!#-\[\]-~]++ HTTP/[0-9](?:\.[0-9])?)"',
    "status": rb'"([0-9]{3})"',
}
# A number with more digits would lose some when it is decoded.
_NUMBERS = {"time": rb"([1-9][0-9]{0,9}(?:\.[0-9]{1,5})?)", "status": rb"([1-9][0-9]{2})"}


class _Layout(NamedTuple):
    """An expression for whole lines, and the groups of address, time, request and status."""

    pattern: re.Pattern[bytes]
    groups: tuple[int, ...]
    forwarded: int


class JsonLayouts:
    """The layouts of the lines of one format.

    Args:
        keys: names of the members.
    """

    def __init__(self, keys: JsonKeys) -> None:
        self._keys = keys
        self._layouts: list[_Layout] = []
        self._left = MAX_LEARNED

    def fields(self, block: bytes, start: int, end: int) -> tuple[bytes, ...] | None:
        """Return address, time, request and status; None: the line has to be decoded.

        Args:
            block: whole lines.
            start: offset of the line.
            end: offset of its newline.
        """
        for layout in self._layouts:
            found = layout.pattern.fullmatch(block, start, end)
            if found is not None:
                fields = found.group(*layout.groups)
                if layout.forwarded and found[layout.forwarded] not in {b"", b"-", fields[0]}:
                    return None  # a proxy names another client
                return fields if len(fields) == 4 else (*fields, b"-")
        return None

    def learn(self, line: bytes) -> None:
        """Note the layout of a line that was decoded."""
        if not self._left or len(self._layouts) >= MAX_LAYOUTS:
            return
        self._left -= 1
        layout = self._layout(line)
        if layout and all(layout.pattern != known.pattern for known in self._layouts):
            self._layouts.append(layout)

    def _layout(self, line: bytes) -> _Layout | None:
        members = list(_MEMBER.finditer(line))
        if not 0 < len(members) <= MAX_MEMBERS or line[members[-1].end() :].rstrip() != b"}":
            return None
        if any(one.end() != other.start() for one, other in pairwise(members)):
            return None
        names = [member[2].decode("utf-8", "surrogateescape") for member in members]
        roles = {
            role: next((name for name in getattr(self._keys, role) if name in names), "")
            for role in ("address", "forwarded", "time", "request", "status")
        }
        if len(set(names)) < len(names):
            return None
        groups = dict.fromkeys(roles, 0)
        parts = []
        for name, member in zip(names, members, strict=True):
            role = next((role for role, chosen in roles.items() if chosen == name), "")
            first = line[member.end(1) : member.end(1) + 1]
            kinds = _VALUES if first == b'"' else _NUMBERS if first.isdigit() else {}
            value = kinds.get(role, _ANY)
            if value is not _ANY:
                groups[role] = 1 + sum(map(bool, groups.values()))
            parts.append(re.escape(member[1]) + value + rb"[\t ]*+")
        if not (groups["address"] and groups["time"] and groups["request"]):
            return None
        if any(roles[role] and not groups[role] for role in roles):
            return None
        pattern = re.compile(b"".join(parts) + rb"\}[\t \r]*+")
        wanted = tuple(
            groups[role] for role in ("address", "time", "request", "status") if groups[role]
        )
        return _Layout(pattern, wanted, groups["forwarded"])
