"""Request lines: the canonical path, and which trap a request falls into.  Pure."""

import re
from collections.abc import Sequence
from typing import Protocol

from blocker.matching.verdict import printable_bytes

MAX_REQUESTS = 4096
"""Ceiling of the cached requests."""
MAX_CACHED_REQUEST = 1024
"""Longest request that is cached, bytes."""


class Rule(Protocol):
    """The part of a trap's configuration that the matcher reads."""

    @property
    def path(self) -> str:
        """The end of the canonical path, such as ``/xmlrpc.php``."""

    @property
    def methods(self) -> Sequence[str]:
        """The request methods that count, in capitals; none in a trap of events."""


# Expressions that are rarely needed are bytes here; ``re`` compiles and caches them on first use.
_ESCAPE = rb'\\(?:x([0-9A-Fa-f]{2})|(["\\])|([abfnrtv]))'
_CONTROL = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_SCHEME = rb"[A-Za-z][A-Za-z0-9+.-]*+://[^/?#]*+"
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++) ++(.+)", re.DOTALL)
_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9])?")


def _unescaped(found: re.Match[bytes]) -> bytes:
    hexadecimal, literal, control = found.groups()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    return literal or bytes([_CONTROL[control[0]]])


def _decoded(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def canonical(target: bytes) -> bytes:
    r"""Return the path that a server would look up for a request target as logged.

    In this order: the log's own escapes undone, absolute form (RFC 9112, section 3.2.2) reduced
    to its path, cut at ``?`` or ``#``, percent-decoded once, empty, ``.`` and ``..`` segments
    collapsed (RFC 3986, section 5.2.4), cut behind the first segment that ends in ``.php``
    (PATH_INFO, RFC 3875, section 4.1.5).

    >>> canonical(b"http://host//a/../%78mlrpc.php/x?y")
    b'/xmlrpc.php'
    """
    if b"\\" in target:
        target = re.sub(_ESCAPE, _unescaped, target)
    path = target
    if not path.startswith(b"/") and (scheme := re.match(_SCHEME, path)):
        path = path[scheme.end() :]
    path = path.partition(b"?")[0].partition(b"#")[0]
    if b"%" in path:
        path = _PERCENT.sub(_decoded, path)
    if not path.startswith(b"/"):
        return path
    return _collapsed(path)


def _collapsed(path: bytes) -> bytes:
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    for index, segment in enumerate(kept):
        if segment.endswith(b".php"):
            return b"/" + b"/".join(kept[: index + 1])
    slash = b"/" if kept and segments[-1] in {b"", b".", b".."} else b""
    return b"/" + b"/".join(kept) + slash


def split_request(request: bytes) -> tuple[bytes, bytes] | None:
    """Return method and target of a request line, or None if it is none (TLS, empty).

    Old nginx accepts spaces in a target, so the target reaches up to the version, with any number
    of spaces around it.  Without a version (HTTP/0.9, or a cut line) it must be one word.
    """
    found = _REQUEST.match(request)
    if found is None:
        return None
    method, rest = found.groups()
    rest = rest.rstrip(b" ")
    # Not a regular expression: "spaces, then a version" would try again from each of many spaces.
    before, space, last = rest.rpartition(b" ")
    if space and _VERSION.fullmatch(last):
        return method, before.rstrip(b" ")
    return None if space else (method, rest)


class Requests:
    """Classifies request lines: which trap, or why none."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        # The longest path comes first: the most specific trap gets the hit.
        counted = (index for index, rule in enumerate(rules) if rule.methods)
        order = sorted(counted, key=lambda index: -len(rules[index].path))
        self._rules = [
            (index, rules[index].path.encode(), frozenset(m.encode() for m in rules[index].methods))
            for index in order
        ]

    def classify(self, request: bytes) -> tuple[int, str]:
        """Return the index of the trap (-1 for none) and the reason."""
        parts = split_request(request)
        if parts is None:
            return -1, "no HTTP request line"
        method, target = parts
        path = canonical(target)
        wrong_method = False
        for index, tail, methods in self._rules:
            if path.endswith(tail):
                if method in methods:
                    return index, "path and method match"
                wrong_method = True
        shown = printable_bytes(path[:200].decode("utf-8", "backslashreplace"))
        if wrong_method:
            return -1, f"path {shown} matches, method {method[:20].decode()} does not"
        return -1, f"path is {shown}"
