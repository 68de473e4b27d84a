"""Readers for the values of the configuration.  Pure.

A reader takes a value from TOML and returns ours, or raises ValueError with what is expected.
Durations are whole microseconds.  Expressions are texts, compiled on first use: without a
configuration file no reader runs.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Literal, NamedTuple

from blocker.friends.network_list import LIST_NAMES
from blocker.model import ACCESS, EVENT
from blocker.sources.schemes import FILE, REPORTS, UNIX, check_name, scheme_of

FORMATS = (
    "auto",
    "common",
    "combined",
    "vhost_combined",
    "json",
    "npm",
    "lighttpd",
    "openlitespeed",
    "haproxy",
)


class Reads(NamedTuple):
    """The reader of an attribute; used as the attribute's type for cattrs."""

    reader: Callable[[Any], Any]


def flag(value: object) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError("write true or false, without quotes")


def whole(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers between two bounds."""

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"a whole number from {low} to {high}, without quotes")

    return read


def factor(value: object) -> float:
    """Read a number of one or more."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 1000:
        return float(value)
    raise ValueError("a number from 1 to 1000, without quotes")


def _string(value: object, advice: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise ValueError(advice)
    if any(char < " " or char == "\x7f" for char in value):
        raise ValueError("control characters have no place here")
    return value


def list_of(
    read: Callable[[object], Any], advice: str, *, may_be_empty: bool = False
) -> Callable[[object], tuple[Any, ...]]:
    """Return a reader of lists, which reads each item with ``read`` and drops duplicates."""

    def read_list(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not (value or may_be_empty):
            raise ValueError(advice)
        return tuple(
            dict.fromkeys(gather((f"{ITEM}{i}", _bind(read, v)) for i, v in enumerate(value)))
        )

    return read_list


def _bind(read: Callable[[object], Any], value: object) -> Callable[[], Any]:
    return lambda: read(value)


ATTRIBUTE = "@ attribute "
"""Prefix of the note that cattrs adds to an attribute's error; the attribute's name follows."""

ITEM = "@ item "
"""Prefix of the note that ``list_of`` adds to an item's error; the index follows."""


def gather(calls: Iterator[tuple[str, Callable[[], Any]]]) -> list[Any]:
    """Return the results of all calls, or raise their errors as a group, each with its note."""
    results: list[Any] = []
    errors: list[Exception] = []
    for note, call in calls:
        try:
            results.append(call())
        except (TypeError, ValueError, ExceptionGroup) as error:
            error.add_note(note)
            errors.append(error)
    if errors:
        raise ExceptionGroup("parts", errors)
    return results


def log(value: object) -> str:
    """Read a pattern of log files, or the name of a log of another kind."""
    text = _string(value, "the path of a log, or a pattern of paths")
    if scheme_of(text) != FILE:
        check_name(text)
        return text
    if not text.startswith("/"):
        raise ValueError('write the whole path, such as "/var/log/nginx/*access*.log"')
    return text


def event_log(value: object) -> str:
    """Read a log in which WordPress reports its failures."""
    advice = f'"{REPORTS}", the path of a file such as "/var/log/auth.log", or "unix:/…"'
    text = _string(value, advice)
    if text != REPORTS and scheme_of(text) not in {FILE, UNIX}:
        raise ValueError(f"write {advice}: the others can't say who reports a failure, or when")
    return text if text == REPORTS else log(text)


EVENT_NAMES = ("login", "multicall", "pingback", "users", "disabled")
"""What WordPress reports."""


def event_name(value: object) -> str:
    """Read what WordPress reports."""
    text = _string(value, f"one of {', '.join(EVENT_NAMES)}")
    if text not in EVENT_NAMES:
        raise ValueError(nearest(text, EVENT_NAMES) or f"one of {', '.join(EVENT_NAMES)}")
    return text


def trap_kind(value: object) -> str:
    """Read what a trap counts."""
    if value not in (ACCESS, EVENT):
        raise ValueError(f'"{ACCESS}" for requests, or "{EVENT}" for what WordPress reports')
    return str(value)


def user(value: object) -> str:
    """Read a user's name or number."""
    text = _string(value, "the name of a user")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?|0|[1-9][0-9]{0,9}", text):
        raise ValueError('the name or number of a user, such as "www-data" or "33"')
    return text


def file(value: object) -> str:
    """Read the absolute path of a file."""
    text = _string(value, "the path of a file")
    if not text.startswith("/") or text.endswith("/"):
        raise ValueError("write the whole path of a file, from / on")
    return text


def file_if_any(value: object) -> str:
    """Read the absolute path of a file, or nothing."""
    return "" if value == "" else file(value)


def socket(value: object) -> str:
    """Read the path of a Unix socket; at most 107 bytes, see unix(7)."""
    text = file(value)
    if len(text.encode()) > 107:
        raise ValueError("the path of a socket has at most 107 bytes; choose a shorter one")
    return text


_QUOTED_OR_GAP = r"('(?:[^'\\]|\\.)*+')|[\r\n\t]"
"""A quoted part of nginx's log_format, or a blank that may separate two parts."""


def log_format(value: object) -> str:
    """Read a format of lines: a known name, or a format string."""
    if isinstance(value, str) and value.lstrip().startswith(("'", "log_format")):
        # nginx's quoted parts are on separate lines; a tab within a part belongs to the format.
        value = re.sub(_QUOTED_OR_GAP, lambda found: found[1] or " ", value)
    if isinstance(value, str):
        value = value.replace("\t", "\\t")  # as servers write it in their configuration
    text = _string(value, f"one of {', '.join(FORMATS)}, or a LogFormat or log_format string")
    if text in FORMATS or "%" in text or "$" in text:
        return text
    hint = nearest(text, FORMATS) or f"one of {', '.join(FORMATS)}"
    raise ValueError(f"{hint}; or a string with % (Apache LogFormat) or $ (nginx log_format)")


JSON_ROLES = {
    "address": "$remote_addr",
    "time": "$time_iso8601",
    "request": "$request",
    "method": "$request_method",
    "target": "$request_uri",
    "status": "$status",
}
"""What a JSON line has to say, each with nginx's variable for it."""
_JSON_NAME = r'[^"\\{}$%.]{1,64}(?:\.[^"\\{}$%.]{1,64}){0,7}'


def json_fields(value: object) -> tuple[tuple[str, str], ...]:
    """Read the names of the members of a JSON line, by what they say."""
    advice = 'a table of names, such as {address = "client.ip", time = "ts", request = "req"}'
    if not isinstance(value, dict) or not value:
        raise ValueError(advice)
    for role, name in value.items():
        if role not in JSON_ROLES:
            hint = nearest(role, tuple(JSON_ROLES)) or f"there are {', '.join(JSON_ROLES)}"
            raise ValueError(f"{role} is none of the fields; {hint}")
        if not re.fullmatch(_JSON_NAME, _string(name, advice)):
            raise ValueError(f"{role}: the name of a member, or its path with dots")
    missing = [role for role in ("address", "time") if role not in value]
    if "request" not in value and not {"method", "target"} <= value.keys():
        missing.append("request (or method and target)")
    if missing:
        raise ValueError(f"name {' and '.join(missing)} too")
    return tuple(value.items())


def log_proxy(value: object) -> tuple[tuple[str, ...], str]:
    """Read which proxies are believed about the client, and in which field of a line."""
    advice = (
        'a table such as {addresses = ["192.0.2.10", "@cloudflare"],'
        ' field = "$http_x_forwarded_for"}'
    )
    if not isinstance(value, dict) or value.keys() != {"addresses", "field"}:
        raise ValueError(advice)
    addresses = value["addresses"]
    if not isinstance(addresses, list) or not addresses:
        raise ValueError("addresses: a list of those of your proxies")
    named = tuple(map(_proxy, addresses))
    name = _string(value["field"], "field: a variable of the format, or the name of a JSON member")
    if '"' in name or "\\" in name or " " in name:
        raise ValueError("field: a variable of the format, or the name of a JSON member")
    return named, name


def _proxy(value: object) -> str:
    try:
        text = friend(value)
    except ValueError as error:
        raise ValueError(f"addresses: {value!r}: {error}") from None
    length = text.partition("/")[2]
    if length and int(length) < (16 if ":" in text else 8):
        raise ValueError(f"addresses: {text}: these can't all be proxies of yours")
    return text


def friend(value: object) -> str:
    """Read an address, a network or the @name of a shipped list."""
    text = _string(value, 'an address, a network or the name of a list, such as "@jetpack"')
    if text.startswith("@"):
        if text[1:] in LIST_NAMES:
            return text
        names = [f"@{name}" for name in LIST_NAMES]
        raise ValueError(f"no such list; {nearest(text, names) or 'there are ' + ' '.join(names)}")
    try:
        return _network(text) if "/" in text else _address(text)
    except ValueError as error:
        raise ValueError(str(error) or "neither an address nor a network") from None


def _address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(
            "neither an address, nor a network, nor the @name of a shipped list"
        ) from None
    if address.version == 6:
        if address.scope_id is not None:
            raise ValueError(f"leave the interface out: {text.partition('%')[0]}")
        if address.ipv4_mapped is not None:
            raise ValueError(f"logs are read as IPv4 here: {address.ipv4_mapped}")
    return str(address)


_NETWORK = r"[0-9A-Fa-f:.]+/[0-9]{1,3}"


def _network(text: str) -> str:
    if not re.fullmatch(_NETWORK, text):
        raise ValueError('write a network as address/length, such as "192.0.2.0/24"')
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("neither an address nor a network") from None
    if ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"has bits set behind its length; the network is {network}")
    if network.version == 6 and network.network_address.ipv4_mapped:
        mapped = f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"
        raise ValueError(f"logs are read as IPv4 here: {mapped}")
    return str(network)


_METHOD = r"[A-Z][A-Z0-9_-]{0,31}"


def method(value: object) -> str:
    """Read a request method."""
    right = re.fullmatch(_METHOD, value.upper()) if isinstance(value, str) else None
    if right and value == right[0]:
        return right[0]
    hint = f': "{right[0]}"' if right else ""
    raise ValueError(f"a method of HTTP in capitals{hint}")


def url_path(value: object) -> str:
    """Read the path of a trap."""
    text = _string(value, 'the end of a path, such as "/xmlrpc.php"')
    segments = text.split("/")
    if segments[0] or not segments[-1]:
        raise ValueError('begins with / and ends in a name, such as "/xmlrpc.php"')
    if set(text) & set("?#% "):
        raise ValueError("written as decoded by the server, without query: no ?, #, % or space")
    if set(segments[1:]) & {"", ".", ".."}:
        raise ValueError("written as simplified by the server: no //, /./ or /../")
    if any(segment.endswith(".php") for segment in segments[:-1]):
        raise ValueError("never matches: a path ends at its first segment in .php")
    return text


# Table names of other programs and of common examples: our table must neither be loaded over such
# a table nor delete it.
_FOREIGN_TABLES = ("crowdsec", "filter", "firewalld", "fw4", "mangle", "nat", "raw", "security")


def table(value: object) -> str:
    """Read the name of a table of nftables."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value):
        raise ValueError("a name of at most 32 small letters, digits and _, led by a letter")
    if value in _FOREIGN_TABLES:
        raise ValueError("usually the table of another program; choose a name of its own")
    return value


def ports(value: object) -> tuple[int, ...] | Literal["all"]:
    """Read the ports to be protected, or "all"."""
    if value == "all":
        return "all"
    ports: tuple[int, ...] = _PORTS(value)
    return ports


_PORTS = list_of(whole(1, 65535), 'a list of ports, such as [80, 443], or "all"')


def listen(value: object) -> str:
    """Read where to listen: an address and port, a socket, or false."""
    if value is False or value == "":
        return ""
    text = _string(value, _LISTEN_HELP)
    if text.startswith("unix:"):
        return "unix:" + socket(text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(_LISTEN_HELP)
    try:
        # Names are not resolved; localhost is the only one accepted.
        address = ip_address(
            {"localhost": "127.0.0.1"}.get(host, host[1:-1] if bracketed else host)
        )
    except ValueError:
        raise ValueError(_LISTEN_HELP) from None
    if bracketed != (address.version == 6):
        raise ValueError(_LISTEN_HELP)
    return f"[{address}]:{int(port)}" if bracketed else f"{address}:{int(port)}"


_LISTEN_HELP = 'address:port, such as "127.0.0.1:9947" or "[::1]:9947"; unix:/path; or "" for off'


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a hint at the known word that is nearest, or ""."""
    close = closest(word, known)
    return f"did you mean {close}?" if close else ""


def closest(word: str, known: Sequence[str]) -> str:
    """Return the known word that is nearest, or "" if none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only when something is wrong

    return next(iter(get_close_matches(word[:64].lower(), known, n=1)), "")
