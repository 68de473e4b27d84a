"""Reads JSON lines whose members stand in a known order, with one expression for a line.  Pure.

A server writes each line with the same members in the same order.  The first line is decoded
(``json_lines``); from then on, an expression with the names as they stand there reads lines of
this layout, and only the values differ.  It accepts less than a decoder: the same members, values
of the same kind, and no escapes in the address, the time and the status.  What it does not accept
is decoded, so both ways give the same fields, which is tested.

The names are the server's, so a client can't add a layout by what it sends, except by a value that
is missing once; their number has a ceiling.
"""

import json
import re
from typing import NamedTuple

from blocker.matching.grammar import Fields, JsonKeys

MAX_LAYOUTS = 8
"""Ceiling of the layouts of one format: each costs an expression."""
MAX_MEMBERS = 64
"""Ceiling of the members of a layout."""
MAX_LENGTH = 1 << 16
"""Ceiling of a line that is read by its layout, bytes: the expression may take 150 times of it."""
MAX_LEARNED = 1000
"""Decoded lines that are looked at for a layout: those of many servers have none."""
MAX_NESTED = 3
"""Deepest nesting within a member that is not needed."""

_NAME = re.compile(rb'[\t ]*+"([^"\\]{1,64})"[\t ]*+:[\t ]*+')
_BETWEEN = re.compile(rb"[\t ]*+([,}])")
_NUMBER = rb"-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"

# The content of a string.  A quote behind a single backslash is escaped, and one
# behind another byte ends the string; one behind two backslashes is left to the decoder.  The
# alternatives exclude one another, so a line that does not match costs what its length costs.
_CONTENT = rb'[^"]*+(?:(?<!\\)|(?:(?<=[^\\]\\)"[^"]*+)+(?<!\\))'
_STRING = b'"' + _CONTENT + b'"'


def _nested(depth: int) -> bytes:
    """Return the pattern of an array or object that is not needed, nested at most this deeply."""
    between = rb'[^"{}\[\]]*+'
    inside = between + rb"(?:" + _STRING + between + rb")*"
    deeper = rb"(?:" + _nested(depth - 1) + inside + rb")*" if depth > 1 else b""
    return rb"[{\[]" + inside + deeper + rb"[}\]]"


_SIMPLE = b"(?:" + b"|".join((_STRING, _NUMBER, b"null|true|false")) + b")"
_NESTED = _nested(MAX_NESTED)
_ANY_VALUE = re.compile(_SIMPLE + b"|" + _NESTED, re.DOTALL)
_IPV4 = rb"[0-9.]++"
_IPV6 = rb"[0-9A-Fa-f.]*+:[0-9A-Fa-f.]*+:[0-9A-Fa-f.:]*+"
_ADDRESS = re.compile(_IPV4 + b"|" + _IPV6)
# Values that can be taken from the line unchanged; others are decoded.
_VALUES = {
    "address": rb'"([^"]*+)"',
    "time": rb'"([^"]*+)"',
    "method": rb'"([A-Z]{1,16})"',
    "status": rb'"([0-9]{3})"',
    "forwarded": rb'"([^"\\]*+)"',
    "request": b'"(' + _CONTENT + b')"',
    "target": b'"(' + _CONTENT + b')"',
}
_WITH_PORT = (
    rb'"\[?((?<=")' + _IPV4 + rb'(?=[":])|(?<=")' + _IPV6 + rb'(?=")|(?<=\[)[0-9A-Fa-f.:]++(?=\]))'
    rb'\]?(?::[0-9]++)?"'
)
"""An address that may have a port, and IPv6 then brackets."""
_NUMBERS = {"time": rb"([1-9][0-9]{0,18}(?:\.[0-9]{1,20})?)", "status": rb"([1-9][0-9]{2})"}

_REQUEST = re.compile(rb"[A-Z]{1,16} (?:/|[!#-\[\]-~][!#-\[\]-~]++)(?: HTTP/[0-9](?:\.[0-9])?)?")
"""A request that the decoder would leave as it is."""
_DECODABLE = re.compile(rb"(?:[ !#-\[\]-~]|\\(?:u00[2-7][0-9A-Fa-f]|/))*")
"""A text that has only such escapes as every decoder reads alike."""


class Layout(NamedTuple):
    """The expression for the lines of one layout.

    Attributes:
        pattern: matches a whole line.
        groups: the groups of address, time, request line or method, target, status and client as
            a proxy names it; for what is missing, a group that is empty.
        has_number: whether the time is a number.
    """

    pattern: re.Pattern[bytes]
    groups: tuple[int, ...]
    has_number: bool


NO_LAYOUT = Layout(re.compile(b"(?!)"), (0,) * 6, has_number=False)
"""Matches no line."""


def decoded_request(text: bytes) -> bytes | None:
    """Return a request of a line that was read by its layout; None: the line has to be decoded."""
    if b"\\" in text:
        if not _DECODABLE.fullmatch(text):
            return None
        text = json.loads(b'"' + text + b'"').encode()
    return text if _REQUEST.fullmatch(text) else None


def time_text(text: bytes, *, is_number: bool) -> bytes | None:
    """Return a time as the decoder has it; None: the line has to be decoded.

    A number with many digits loses the last of them.

    >>> time_text(b"1646861401.52410249", is_number=True)
    b'1646861401.5241025'
    """
    if is_number:
        return repr(float(text)).encode() if b"." in text else text
    return None if b"\\" in text or text == b"-" else text.strip(b"[]")


class JsonLayouts:
    """The layouts of the lines of one format.

    Args:
        keys: names of the members.

    Attributes:
        latest: the layout of the line that was read last.
        numbers: a cache of the times that are numbers, by their digits, for the caller.
    """

    def __init__(self, keys: JsonKeys) -> None:
        self._keys = keys
        self._left = MAX_LEARNED
        self._known: list[Layout] = []
        self.latest = NO_LAYOUT
        self.numbers: dict[bytes, int | None] = {}

    def find(self, block: bytes, start: int, end: int) -> re.Match[bytes] | None:
        """Return the match of the layout of a line, which is the latest then.

        Args:
            block: whole lines.
            start: offset of the line.
            end: offset of its newline.
        """
        if end - start > MAX_LENGTH:
            return None
        for layout in self._known:
            if found := layout.pattern.fullmatch(block, start, end):
                self.latest = layout
                return found
        return None

    def fields(self, block: bytes, start: int, end: int) -> Fields | None:
        """Return the fields of a line; None: the line has to be decoded."""
        found = self.find(block, start, end)
        if found is None:
            return None
        address, time, request, target, status, forwarded = found.group(*self.latest.groups)
        line = decoded_request(request + b" " + target if target else request)
        moment = time_text(time, is_number=self.latest.has_number)
        if line is None or not moment or not _ADDRESS.fullmatch(address):
            return None
        if forwarded not in {b"", b"-", address}:
            return None  # a proxy names another client
        return Fields(address, moment, line, status or b"-")

    def learn(self, line: bytes) -> None:
        """Note the layout of a line that was decoded."""
        if not self._left or len(self._known) >= MAX_LAYOUTS or len(line) > MAX_LENGTH:
            return
        self._left -= 1
        layout = layout_of(line, self._keys)
        if layout and all(layout.pattern != known.pattern for known in self._known):
            self._known.append(layout)


# How a layout is learned -----------------------------------------------------------------------


class _Member(NamedTuple):
    """A member of a line.

    Attributes:
        name: its name, or its path with dots.
        is_inner: whether it is a member of the object ``request``.
        before: the text from the end of the value before it, up to its own value.
        value: its value; the text of an object whose members are read is in ``before``.
    """

    name: str
    is_inner: bool
    before: bytes
    value: bytes


class _Walk:
    """Reads the members of an object, and of the objects in it that hold what is needed.

    Attributes:
        members: in the order of the line.
        end: end of the last value.
    """

    def __init__(self, line: bytes, keys: JsonKeys) -> None:
        self.members: list[_Member] = []
        self.end = 0
        self._line, self._keys = line, keys
        self._names: set[tuple[str, bool]] = set()

    def object(self, at: int, path: str = "", *, is_inner: bool = False) -> int:
        """Read an object whose first member is at ``at``; return its end.

        Raises:
            ValueError: lines like this have to be decoded.
        """
        while (found := _NAME.match(self._line, at)) is not None:
            name = path + found[1].decode("utf-8", "surrogateescape")
            if (name, is_inner) in self._names or len(self._names) >= MAX_MEMBERS:
                raise ValueError("a name twice, or too many of them")
            self._names.add((name, is_inner))
            at = self._value(found.end(), name, is_inner=is_inner)
            between = _BETWEEN.match(self._line, at)
            if between is None:
                break
            at = between.end()
            if between[1] == b"}":
                return at
        raise ValueError("not an object with members")

    def _value(self, at: int, name: str, *, is_inner: bool) -> int:
        """Read the value at ``at``; return its end."""
        if self._line.startswith(b"{", at) and not is_inner:
            if any(wanted.startswith(f"{name}.") for wanted in self._keys.wanted):
                return self.object(at + 1, f"{name}.")
            if name == "request" and name in self._keys.request:
                if any("." in wanted for wanted in self._keys.wanted):
                    raise ValueError("a path might lead into it as well")
                return self.object(at + 1, is_inner=True)
        found = _ANY_VALUE.match(self._line, at)
        if found is None:
            raise ValueError("not a value")
        self.members.append(_Member(name, is_inner, self._line[self.end : at], found[0]))
        self.end = found.end()
        return self.end


def layout_of(line: bytes, keys: JsonKeys) -> Layout | None:
    """Return the layout of a line, or None if lines like this have to be decoded."""
    walk = _Walk(line, keys)
    try:
        end = walk.object(1) if line.startswith(b"{") else 0
        roles = _roles(walk.members, keys)
    except ValueError:
        return None
    if not end or line[end:].strip():
        return None
    groups = {role: number for number, role in enumerate(filter(None, roles), 1)}
    if not ({"address", "time"} <= groups.keys() and ("request" in groups or "target" in groups)):
        return None
    none = len(groups) + 1
    first = groups.get("request") or groups["method"]
    others = [groups.get(role, none) for role in ("target", "status", "forwarded")]
    numbers = (groups["address"], groups["time"], first, *others)
    parts = [
        re.escape(member.before) + _pattern(role, member.value)
        for member, role in zip(walk.members, roles, strict=True)
    ]
    closing = re.escape(line[walk.end : end]) + rb"[\t \r]*+()"
    has_number = walk.members[roles.index("time")].value[:1] != b'"'
    return Layout(re.compile(b"".join(parts) + closing, re.DOTALL), numbers, has_number)


def _roles(members: list[_Member], keys: JsonKeys) -> list[str]:
    """Return the role of each member, "" for none, as the decoder would choose them.

    Raises:
        ValueError: the value of a member decides which of several is used.
    """
    outer = {member.name: index for index, member in enumerate(members) if not member.is_inner}
    inner = {member.name: index for index, member in enumerate(members) if member.is_inner}
    merged = outer | inner
    request = next((outer[name] for name in keys.request if name in outer), None)
    if (request is not None and inner) or sum(name in merged for name in keys.forwarded) > 1:
        raise ValueError("two of a kind")
    chosen = {} if request is None else {"request": request}
    for role in ("address", "forwarded", "time", "status", "method", "target"):
        if role in {"method", "target"} and request is not None:
            continue  # the request line has both
        known = outer if role in {"time", "status"} else merged
        index = next((known[name] for name in getattr(keys, role) if name in known), None)
        if index is not None:
            chosen[role] = index
    roles = [""] * len(members)
    for role, index in chosen.items():
        first = members[index].value[:1]
        if roles[index] or (first != b'"' and not (role in _NUMBERS and first.isdigit())):
            raise ValueError("a member for two roles, or without a value")
        roles[index] = role
    if ("method" in chosen) != ("target" in chosen):
        raise ValueError("half a request")
    return roles


def _pattern(role: str, value: bytes) -> bytes:
    """Return the pattern of a value like this one, for a role or none."""
    if not role:
        return _NESTED if value.startswith((b"{", b"[")) else _SIMPLE
    if role == "address" and not _ADDRESS.fullmatch(value[1:-1]):
        return _WITH_PORT
    return (_VALUES if value.startswith(b'"') else _NUMBERS)[role]
