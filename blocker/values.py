"""How the values of a configuration are read: TOML's in, ours out.  Pure.

A reader takes what TOML gave and returns the value, or raises ValueError with what is right.
Durations are whole microseconds, as everywhere.  Expressions are texts, compiled when they are
needed: without a configuration there is nothing to read.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from math import isfinite
from typing import Any, Literal, NamedTuple

from blocker.friends import LIST_NAMES
from blocker.model import SECOND

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

MAX_DURATION = 3650 * DAY
"""Ten years; what is meant to last longer is a firewall rule."""

FORMATS = ("auto", "common", "combined", "vhost_combined", "json")


class Reads(NamedTuple):
    """How an attribute is read; stands, for cattrs, in the place of its type."""

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


_UNITS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_DURATION = "".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS)
_DURATION_HELP = 'a duration above zero and up to ten years, such as "90s", "5m", "1h30m", "2w"'


def duration(value: object) -> int:
    """Return the microseconds of a duration: units in falling order, a plain number is seconds.

    >>> duration("1h30m") // SECOND
    5400

    Raises:
        ValueError: it is none, or zero, or longer than ten years.
    """
    length = _length(value)
    if not 0 < length <= MAX_DURATION:
        raise ValueError(_DURATION_HELP)
    return length


def _length(value: object) -> int:
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return int(value) * SECOND
        parts = re.fullmatch(_DURATION, value)
        counts = zip(parts.groups(), _UNITS.values(), strict=True) if parts else ()
        return sum(int(count) * unit for count, unit in counts if count)
    if isinstance(value, int) and not isinstance(value, bool):
        return value * SECOND
    if isinstance(value, float) and isfinite(value) and abs(value) < MAX_DURATION:
        return round(value * SECOND)
    return 0


def format_duration(length: int) -> str:
    """Return the shortest text that ``duration`` reads as ``length``, cut to whole seconds.

    >>> format_duration(5400 * SECOND)
    '1h30m'
    """
    single = [(unit, size) for unit, size in _UNITS.items() if length and length % size == 0]
    if single and single[0][0] in "wd":
        return f"{length // single[0][1]}{single[0][0]}"
    text = ""
    for unit, size in list(_UNITS.items())[1:]:
        count, length = divmod(length, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _string(value: object, advice: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise ValueError(advice)
    if any(char < " " or char == "\x7f" for char in value):
        raise ValueError("control characters have no place here")
    return value


def list_of(
    read: Callable[[object], Any], advice: str, *, may_be_empty: bool = False
) -> Callable[[object], tuple[Any, ...]]:
    """Return a reader of lists, which reads each item with another."""

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
"""What cattrs notes on the error of an attribute, the attribute's name behind it."""

ITEM = "@ item "
"""What is noted here on the error of an item of a list."""


def gather(calls: Iterator[tuple[str, Callable[[], Any]]]) -> list[Any]:
    """Call all, and raise what went wrong together, each error with the note beside its call."""
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


def glob(value: object) -> str:
    """Read a pattern of log files."""
    text = _string(value, "the path of a log, or a pattern of paths")
    if not text.startswith("/"):
        raise ValueError('write the whole path, such as "/var/log/nginx/*access*.log"')
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
    """Read the path of a socket, as long as the kernel lets it be."""
    text = file(value)
    if len(text.encode(errors="replace")) > 107:
        raise ValueError("the path of a socket has at most 107 bytes; choose a shorter one")
    return text


def log_format(value: object) -> str:
    """Read a format of lines: a known name, or a format string."""
    if isinstance(value, str) and value.lstrip().startswith(("'", "log_format")):
        # nginx's parts in quotes stand on lines of their own.
        value = value.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    if isinstance(value, str):
        value = value.replace("\t", "\\t")  # as servers write it in their configuration
    text = _string(value, f"one of {', '.join(FORMATS)}, or a LogFormat or log_format string")
    if text in FORMATS or "%" in text or "$" in text:
        return text
    hint = nearest(text, FORMATS) or f"one of {', '.join(FORMATS)}"
    raise ValueError(f"{hint}; or a string with % (Apache LogFormat) or $ (nginx log_format)")


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
    if network.version == 6 and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        mapped = f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"
        raise ValueError(f"logs are read as IPv4 here: {mapped}")
    return str(network)


_METHOD = r"[A-Z][A-Z0-9_-]{0,31}"


def method(value: object) -> str:
    """Read a request method."""
    if isinstance(value, str) and re.fullmatch(_METHOD, value):
        return value
    hint = f': "{value.upper()}"' if isinstance(value, str) and len(value) < 32 else ""
    raise ValueError(f"a method of HTTP in capitals{hint}")


def url_path(value: object) -> str:
    """Read the path that a trap looks for."""
    text = _string(value, 'the end of a path, such as "/xmlrpc.php"')
    segments = text.split("/")
    if segments[0] or len(segments) < 2 or not segments[-1]:
        raise ValueError('begins with / and ends in a name, such as "/xmlrpc.php"')
    if set(text) & set("?#% "):
        raise ValueError("written as decoded by the server, without query: no ?, #, % or space")
    if set(segments[1:]) & {"", ".", ".."}:
        raise ValueError("written as simplified by the server: no //, /./ or /../")
    if any(segment.endswith(".php") for segment in segments[:-1]):
        raise ValueError("never matches: a path ends at its first segment in .php")
    return text


# Names that other programs and the usual examples give to their own table: loading ours over it
# would be an accident, and deleting it a worse one.
_FOREIGN_TABLES = ("crowdsec", "filter", "firewalld", "fw4", "mangle", "nat", "raw", "security")


def table(value: object) -> str:
    """Read the name of a table of nftables."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z_][a-z0-9_]{0,31}", value):
        raise ValueError("a name of at most 32 small letters, digits and _, not led by a digit")
    if value in _FOREIGN_TABLES:
        raise ValueError("usually the table of somebody else; choose a name of its own")
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
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(_LISTEN_HELP)
    try:
        # A name would have to be resolved; the one that everybody writes is known.
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
    """Return a hint at the nearest of the words that are right, or nothing."""
    close = closest(word, known)
    return f"did you mean {close}?" if close else ""


def closest(word: str, known: Sequence[str]) -> str:
    """Return the nearest of the words that are right, or nothing if none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only when something is wrong

    return next(iter(get_close_matches(word[:64].lower(), known, n=1)), "")
