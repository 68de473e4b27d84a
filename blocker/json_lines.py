"""The grammar of a JSON line: bytes in, the fields that matter out.  Pure.

Rules:

* A member is taken by its name from the top of the object, or from the object ``request`` in it
  (Caddy); nothing is searched for, and no header is looked at.
* A member that does not matter breaks no line, whatever it holds.
* The peer that connected decides.  What a proxy says about the client is believed only where the
  peer is a known proxy, and only if it is one address.

Sources: RFC 8259; nginx's ``log_format … escape=json``, Caddy's and Traefik's access logs.
"""

import json
import re
from collections.abc import Callable, Mapping

from blocker.lines import JSON_KEYS, Fields, JsonKeys, parse_address
from blocker.model import Address

_WANTED = JSON_KEYS.wanted
_NUMBER = (int, float)
_BLANK = "\0 \t\r"
_VERSION = re.compile(r"HTTP/[0-9](?:\.[0-9])?")
_REQUEST_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]++ ")


class _TwiceError(ValueError):
    """A name that stands in an object twice, with two values."""


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object; ValueError for a name that stands there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


_decode = json.JSONDecoder(strict=False, object_pairs_hook=_each_once).raw_decode
"""Half the time of ``json.loads``, which guesses at the encoding and looks for blanks in front."""


def _never(_address: Address) -> bool:
    """Say that no peer is a known proxy."""
    return False


def parse_json(
    line: bytes,
    keys: JsonKeys = JSON_KEYS,
    is_proxy: Callable[[Address], bool] = _never,
) -> Fields | None:
    r"""Return the fields of a JSON line, or None where it has none.

    What is no strict JSON is read as far as it goes: bytes that are no UTF-8, escapes that JSON
    does not know (``\xHH`` of nginx and Apache), words without quotes, a missing value, an object
    that ends before its brace because the line was cut.  A member that matters and stands there
    twice with two values is refused, since one of them may be the client's.  Headers such as
    ``X-Forwarded-For`` are never looked at.

    Args:
        line: without its newline.
        keys: names of the members.
        is_proxy: tells whether a peer is a known proxy, whose word about the client is believed.
    """
    text = line.decode("utf-8", "surrogateescape")
    entry = _strict(text)
    if entry is None:
        entry = _lenient(text.lstrip(_BLANK), _WANTED if keys is JSON_KEYS else keys.wanted)
    return None if entry is None else _json_fields(entry, keys, is_proxy)


def _strict(text: str) -> dict[str, object] | None:
    """Return the object that a text is by RFC 8259, or None."""
    try:
        entry, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and not text[end:].strip(_BLANK) else None


def _json_fields(
    entry: Mapping[str, object], keys: JsonKeys, is_proxy: Callable[[Address], bool]
) -> Fields | None:
    request = next((entry[name] for name in keys.request if name in entry), None)
    merged = {**entry, **request} if isinstance(request, dict) else entry
    address, time = _peer_or_client(merged, keys, is_proxy), _first(entry, keys.time)
    line = _request_of(merged, request, keys)
    if address is None or time is None or line is None:
        return None
    status = _first(entry, keys.status) or "-"
    # Undone once by JSON; canonical() undoes the escapes of a text log.
    line = line.replace("\\", "\\\\")
    return Fields(*map(_encoded, (_without_port(address), time.strip("[]"), line, status)))


def _first(entry: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    """Return the first of these members that is a text or a number; servers write - for none."""
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
    """Return the address of the peer, or of the client that a known proxy names."""
    peer, client = _first(entry, keys.address), _first(entry, keys.forwarded)
    if peer is None or client is None or peer == client:
        return peer or client
    packed = parse_address(_encoded(_without_port(peer)))
    if packed is None or not is_proxy(packed):
        return peer
    return peer if parse_address(_encoded(_without_port(client))) is None else client


def _request_of(entry: Mapping[str, object], request: object, keys: JsonKeys) -> str | None:
    """Return a request line, put together from its parts where there is none."""
    if isinstance(request, str) and (found := _REQUEST_LINE.match(request)):
        return _one_word(request, found.end())
    method, target = _first(entry, keys.method), _first(entry, keys.target)
    if method is None:
        # A path alone: the method stands under another name, or nowhere.
        return request if isinstance(request, str) and not request.startswith("/") else None
    if target is None and isinstance(request, str):
        target = request
    return _one_word(f"{method} {target}", len(method) + 1) if target else None


def _one_word(line: str, at: int) -> str:
    """Return a request line whose target, from there on, is one word if no version follows.

    A decoded path ("%m %U" of Apache) may hold spaces.
    """
    if " " not in line[at:] or _VERSION.fullmatch(line.rstrip(" ").rpartition(" ")[2]):
        return line
    return line[:at] + line[at:].lstrip(" ").replace(" ", "%20")


def _encoded(text: str) -> bytes:
    """Return the bytes of a text in which bytes that are no UTF-8 were escaped (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, as a JSON escape can write it
        return text.encode("utf-8", "surrogatepass")


def _without_port(address: str) -> str:
    """Return the host of ``host:port``, as Traefik and older Caddy write a peer; [IPv6]:port."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, colon, _ = address.partition(":")
    return host if colon and "." in host and address.count(":") == 1 else address


_FORMAT_CURE = (
    "rename it in the server's log format, or set `format` to that format, which names its fields"
)
_OWN_FORMAT_CURE = "let the server log it, or correct `format`"


def explain_json(line: bytes, keys: JsonKeys = JSON_KEYS) -> str:
    """Return why a JSON line has no fields, and what to do; "" if it has them or is no JSON."""
    text = line.decode("utf-8", "surrogateescape")
    try:
        entry = _strict(text) or _read_leniently(text.lstrip(_BLANK), keys.wanted)
    except _TwiceError as error:
        return (
            f"a JSON object with {error} twice and two values, one of which may be the client's;"
            " let the server log each field once"
        )
    except ValueError:
        return ""
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


# What is no strict JSON: each expression runs through the text once.
_STRING = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)'
# Words that stand between members, as of $upstream_response_time without quotes: 0.001, 0.002
_STRAY = r'(?:[\s,]++|[^\s",{}\[\]][^",{}\[\]]*+(?=[,}]))*+'
_MEMBER = re.compile(_STRAY + _STRING + r'"\s*+:\s*+', re.DOTALL)
# Apache writes an empty user as "", inside of the quotes of the format.
_OPEN_STRING = re.compile(r'(?:""(?="" *[,}]))?' + _STRING + '("?)', re.DOTALL)
_CLOSING = re.compile(_STRAY + r"\}")
_CUT = re.compile(r"[\s,]*+(?:" + _STRING + r'(?:"\s*+)?)?\\?\Z', re.DOTALL)
_BARE = re.compile(r'[^,{}\[\]"]*+')
_NESTED = re.compile(r'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|([{\[])|[}\]])', re.DOTALL)
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SIMPLE = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def _lenient(text: str, wanted: frozenset[str]) -> dict[str, object] | None:
    """Return the wanted members of what begins as an object; None where that is no object."""
    try:
        return _read_leniently(text, wanted)
    except ValueError:
        return None


def _read_leniently(text: str, wanted: frozenset[str]) -> dict[str, object]:
    """Return the wanted members of what begins as an object.

    Raises:
        ValueError: that is no object, or a wanted member stands there twice (``_TwiceError``).
    """
    if not text.startswith("{"):
        raise ValueError("not an object")
    found, end = _object(text, 1, wanted, inner="request")
    if text[end:].strip(_BLANK):
        raise ValueError("something behind it")
    return found


def _object(
    text: str, at: int, wanted: frozenset[str], inner: str = ""
) -> tuple[dict[str, object], int]:
    """Return the wanted members from there on, and where the object ends.

    Raises:
        ValueError: that is no object, or a wanted member stands there twice.
    """
    found: dict[str, object] = {}
    while (member := _MEMBER.match(text, at)) is not None:
        name = _json_unescaped(member[1])
        at = member.end()
        value: object
        if text.startswith("{", at) and name == inner:
            value, at = _object(text, at + 1, wanted)
        else:
            value, at = _value(text, at)
        if name in wanted and found.setdefault(name, value) != value:
            raise _TwiceError(name)
    if closing := _CLOSING.match(text, at):
        return found, closing.end()
    if not _CUT.match(text, at):
        raise ValueError("not an object")
    return found, len(text)


def _value(text: str, at: int) -> tuple[str | float | None, int]:
    """Return a value, None for one that is none or was cut, and where it ends."""
    if found := _OPEN_STRING.match(text, at):
        if found[2]:
            return _json_unescaped(found[1]), found.end()
        # Cut off in the middle: of a target the path is known, if its query has begun.
        return (_json_unescaped(found[1]) if "?" in found[1] else None), len(text)
    if text.startswith(("{", "["), at):
        return None, _end_of_nested(text, at)
    found = _BARE.match(text, at)
    word = found[0].strip() if found else ""
    end = found.end() if found else at
    # A number at the end of a line that was cut may lack digits.
    is_value = word not in {"", "-", "null", "true", "false"} and end < len(text)
    return (_number(word) if is_value else None), end


def _number(word: str) -> str | float:
    """Return the number that a word is, or the word: an address without quotes is one."""
    try:
        return int(word) if word.removeprefix("-").isdigit() else float(word)
    except ValueError:
        return word


def _end_of_nested(text: str, at: int) -> int:
    """Return where an array or object ends that begins there: behind it, or with the text."""
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
    """Return a text with its escapes undone, those of nginx and Apache too."""
    return _JSON_ESCAPE.sub(_json_character, text) if "\\" in text else text


def _json_character(found: re.Match[str]) -> str:
    point, byte, other = found.groups()
    if point:
        return chr(int(point, 16))
    if byte:
        value = int(byte, 16)
        return chr(value if value < 128 else 0xDC00 + value)
    return _SIMPLE.get(other) or (other if other in '"\\/' else f"\\{other}")
