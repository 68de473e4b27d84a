"""The parser of JSON lines: bytes in, fields out.  Pure.

Rules:

* A member is taken by its name from the top of the object, or from the object ``request`` in it
  (Caddy); nothing is searched for, and no header is read.  A name with dots is the path of a
  member within other objects, unless the object has a member of that very name.
* A member that is not needed never makes a line unparsed.
* The peer that connected is the client.  The address that a proxy names is used only if the peer is
  a known proxy, and only if it is a single address; a list is read only from the field that the
  configuration names (``forwarded``).

Sources: RFC 8259; nginx's ``log_format … escape=json``, Caddy's and Traefik's access logs.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from blocker.matching.forwarded import client_of
from blocker.matching.grammar import JSON_KEYS, Fields, JsonKeys
from blocker.model import Address

_WANTED = JSON_KEYS.wanted
_NUMBER = (int, float)
_BLANK = "\0 \t\r"
_VERSION = re.compile(r"HTTP/[0-9](?:\.[0-9])?")
_REQUEST_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]++ ")


class _TwiceError(ValueError):
    """An object has a name twice, with two values."""


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object with these members; ValueError if a name occurs twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


_decode = json.JSONDecoder(strict=False, object_pairs_hook=_each_once).raw_decode
"""Takes half the time of ``json.loads``, which detects the encoding and skips leading blanks."""


def _never(_address: Address) -> bool:
    """Return False: no peer is a known proxy."""
    return False


def parse_json(
    line: bytes,
    keys: JsonKeys = JSON_KEYS,
    is_proxy: Callable[[Address], bool] = _never,
    time: str = "",
) -> Fields | None:
    r"""Return the fields of a JSON line, or None if one is missing.

    Deviations from strict JSON are accepted: bytes that are not UTF-8, escapes that JSON lacks
    (``\xHH`` of nginx and Apache), words without quotes, a missing value, an object that was cut
    before its closing brace.  A line with a needed member twice, with two values, is unparsed,
    because one of the values may be the client's.  Headers such as ``X-Forwarded-For`` are never
    read.

    Args:
        line: without its newline.
        keys: names of the members.
        is_proxy: returns whether a peer is a known proxy, which may name the client.
        time: the time of the request, if the server wrote it in front of the object.
    """
    text = line.decode("utf-8", "surrogateescape")
    entry = _strict(text)
    if entry is None:
        entry = _lenient(text.lstrip(_BLANK), _WANTED if keys is JSON_KEYS else keys.wanted)
    return None if entry is None else _json_fields(entry, keys, is_proxy, time)


def _strict(text: str) -> dict[str, object] | None:
    """Return the object in a text of strict JSON (RFC 8259), or None."""
    try:
        entry, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and not text[end:].strip(_BLANK) else None


def _json_fields(
    entry: Mapping[str, object], keys: JsonKeys, is_proxy: Callable[[Address], bool], time: str
) -> Fields | None:
    entry = _with_paths(entry, keys)
    request = next((entry[name] for name in keys.request if name in entry), None)
    merged = {**entry, **request} if isinstance(request, dict) else entry
    address, moment = _peer_or_client(merged, keys, is_proxy), time or _first(entry, keys.time)
    line = _request_of(merged, request, keys)
    if address is None or moment is None or line is None:
        return None
    status = _first(entry, keys.status) or "-"
    # JSON's escapes are decoded by now, but canonical() decodes the escapes of a text log.
    line = line.replace("\\", "\\\\")
    return Fields(*map(_encoded, (_without_port(address), moment.strip("[]"), line, status)))


@lru_cache(maxsize=64)
def _paths(keys: JsonKeys) -> tuple[tuple[str, ...], ...]:
    """Return the names with dots, each as the names on its path."""
    return tuple(tuple(name.split(".")) for name in sorted(keys.wanted) if "." in name)


def _with_paths(entry: Mapping[str, object], keys: JsonKeys) -> Mapping[str, object]:
    """Return an object with the members within other objects that are wanted, by their paths."""
    return entry if keys is JSON_KEYS else {**dict(_within(entry, keys)), **entry}


def _within(entry: Mapping[str, object], keys: JsonKeys) -> Iterator[tuple[str, object]]:
    for path in _paths(keys):
        value: object = entry
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            yield ".".join(path), value


def _first(entry: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    """Return the first of these members that is a text or a number; "-" counts as missing."""
    for key in keys:
        value = entry.get(key)
        if value is None:
            continue
        if isinstance(value, str):
            if value and value != "-":
                return value
        elif isinstance(value, _NUMBER) and not isinstance(value, bool):
            return repr(value)
    return None


def _peer_or_client(
    entry: Mapping[str, object], keys: JsonKeys, is_proxy: Callable[[Address], bool]
) -> str | None:
    """Return the address of the peer, or that of the client if a known proxy names it."""
    peer, client = _first(entry, keys.address), _first(entry, keys.forwarded)
    is_single = keys.forwarded == JSON_KEYS.forwarded
    if peer is None:
        # A list without the address that connected may be the client's as a whole.
        return client if is_single else None
    if client is None or (is_single and "," in client):
        return peer
    return client_of(_encoded(peer), _encoded(client), is_proxy).decode("utf-8", "surrogateescape")


def _request_of(entry: Mapping[str, object], request: object, keys: JsonKeys) -> str | None:
    """Return the request line, or one composed of method and target; None if they are missing."""
    if isinstance(request, str) and (found := _REQUEST_LINE.match(request)):
        return _one_word(request, found.end())
    method, target = _first(entry, keys.method), _first(entry, keys.target)
    if method is None:
        # Only a path: the method has another name, or is not logged.
        return request if isinstance(request, str) and not request.startswith("/") else None
    if target is None and isinstance(request, str):
        target = request
    return _one_word(f"{method} {target}", len(method) + 1) if target else None


def _one_word(line: str, at: int) -> str:
    """Return a request line in which the target, which begins at ``at``, is one word.

    A decoded path ("%m %U" of Apache) may hold spaces; they are encoded unless a version follows.
    """
    if " " not in line[at:] or _VERSION.fullmatch(line.rstrip(" ").rpartition(" ")[2]):
        return line
    return line[:at] + line[at:].lstrip(" ").replace(" ", "%20")


def _encoded(text: str) -> bytes:
    """Return the bytes of a text that was decoded with surrogateescape (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a JSON escape can hold half of a surrogate pair
        return text.encode("utf-8", "surrogatepass")


def _without_port(address: str) -> str:
    """Return the host of ``host:port`` or ``[IPv6]:port``, as Traefik and older Caddy log peers."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


_FORMAT_CURE = (
    "rename it in the server's log format, or set `format` to that format, which names its fields"
)
_OWN_FORMAT_CURE = "let the server log it, or correct `format` or `fields`"


def explain_json(line: bytes, keys: JsonKeys = JSON_KEYS) -> str:
    """Return why a JSON line has no fields, with advice; "" if it has them or is not JSON."""
    text = line.decode("utf-8", "surrogateescape")
    try:
        entry: Mapping[str, object] = _read_leniently(text.lstrip(_BLANK), keys.wanted)
    except _TwiceError as error:
        return (
            f"a JSON object with {error} twice and two values, one of which may be the client's;"
            " let the server log each field once"
        )
    except ValueError:
        return ""
    entry = _with_paths(entry, keys)
    request = next((entry[name] for name in keys.request if name in entry), None)
    merged = {**entry, **request} if isinstance(request, dict) else entry
    checks = {
        "client address": (_peer_or_client(merged, keys, _never), keys.address + keys.forwarded),
        "time": (_first(entry, keys.time), keys.time),
        "request": (_request_of(merged, request, keys), keys.request + keys.method + keys.target),
    }
    for role, (value, names) in checks.items():
        if value is None:
            cure = _FORMAT_CURE if keys is JSON_KEYS else _OWN_FORMAT_CURE
            return f"a JSON object without {role}: expected one of {', '.join(names)}; {cure}"
    return ""


# Expressions for JSON that is not strict; each runs through the text once.
_STRING = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)'
# Skips words between members, as of $upstream_response_time without quotes: 0.001, 0.002
_MEMBER = re.compile(r'(?:[^"{}\[\]]*,)?\s*+' + _STRING + r'"\s*+:\s*+', re.DOTALL)
# Apache writes an empty user as "", inside the quotes of the format.
_OPEN_STRING = re.compile(r'(?:""(?="" *[,}]))?' + _STRING + '("?)', re.DOTALL)
_CLOSING = re.compile(r'[^"{}\[\]]*+\}')
_CUT = re.compile(r"[\s,]*+(?:" + _STRING + r'(?:"\s*+)?)?\\?\Z', re.DOTALL)
_BARE = re.compile(r'[^,{}\[\]"]++')
_NESTED = re.compile(r'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|([{\[])|[}\]])', re.DOTALL)
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SIMPLE = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def _lenient(text: str, wanted: frozenset[str]) -> dict[str, object] | None:
    """Return the wanted members of an object, or None if the text can't be read as one."""
    try:
        return _read_leniently(text, wanted)
    except ValueError:
        return None


def _read_leniently(text: str, wanted: frozenset[str]) -> dict[str, object]:
    """Return the wanted members of an object.

    Raises:
        ValueError: the text is no object, or has a wanted member twice (``_TwiceError``).
    """
    if not text.startswith("{"):
        raise ValueError("not an object")
    found, end = _object(text, 1, wanted, inner="request")
    if text[end:].strip(_BLANK):
        raise ValueError("something behind it")
    return found


def _object(
    text: str, at: int, wanted: frozenset[str], inner: str | None = None, path: str = ""
) -> tuple[dict[str, object], int]:
    """Return the wanted members of the object whose first member is at ``at``, and its end.

    ``inner`` names the only member whose own members are read as well, one level deep; others are
    read under their paths, if such a path is wanted.  ``path`` is in front of the names.

    Raises:
        ValueError: the text is no object, or has a wanted member twice (``_TwiceError``).
    """
    found: dict[str, object] = {}
    while (member := _MEMBER.match(text, at)) is not None:
        name = path + _json_unescaped(member[1])
        at = member.end()
        read: dict[str, object]
        is_object = text.startswith("{", at)
        if is_object and any(each.startswith(f"{name}.") for each in wanted):
            read, at = _object(text, at + 1, wanted, path=f"{name}.")
        elif is_object and name == inner:
            members, at = _object(text, at + 1, wanted)
            read = {name: members}
        else:
            simple, at = _value(text, at)
            read = {name: simple}
        for each, value in read.items():
            if each in wanted and found.setdefault(each, value) != value:
                raise _TwiceError(each)
    if closing := _CLOSING.match(text, at):
        return found, closing.end()
    if not _CUT.match(text, at):
        raise ValueError("not an object")
    return found, len(text)


def _value(text: str, at: int) -> tuple[str | float | None, int]:
    """Return the value at ``at``, None if it is missing or cut, and its end."""
    if found := _OPEN_STRING.match(text, at):
        if found[2]:
            return _json_unescaped(found[1]), found.end()
        # The string is cut: the path of a target is complete if its query has begun.
        return (_json_unescaped(found[1]) if "?" in found[1] else None), len(text)
    if text.startswith(("{", "["), at):
        return None, _end_of_nested(text, at)
    found = _BARE.match(text, at)
    bare = found[0] if found else ""
    end, word = at + len(bare), bare.strip()
    # A number at the end of a line that was cut may lack digits.
    is_value = word not in {"", "-", "null", "true", "false"} and end < len(text)
    return (_number(word) if is_value else None), end


def _number(word: str) -> str | float:
    """Return a word as a number, or unchanged if it is none (an address without quotes)."""
    try:
        return int(word) if word.removeprefix("-").isdigit() else float(word)
    except ValueError:
        return word


def _end_of_nested(text: str, at: int) -> int:
    """Return the end of the array or object at ``at``; the end of the text if it is cut."""
    depth = 0
    while found := _NESTED.match(text, at):
        at = found.end()
        if found[1]:
            depth += 1
        elif text[at - 1] in "}]":
            depth -= 1
            if not depth:
                return at
    return len(text)


def _json_unescaped(text: str) -> str:
    """Return a text with its escapes decoded, including those of nginx and Apache."""
    return _JSON_ESCAPE.sub(_json_character, text) if "\\" in text else text


def _json_character(found: re.Match[str]) -> str:
    point, byte, other = found.groups()
    if point:
        return chr(int(point, 16))
    if byte:
        value = int(byte, 16)
        return chr(value if value < 128 else 0xDC00 + value)
    return _SIMPLE.get(other) or (other if other in '"\\/' else f"\\{other}")
