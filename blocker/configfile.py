"""Where the configuration comes from: its files, the shipped lists, the host's own addresses.

The hands of ``config`` and ``friends``: here it is read, there it is understood.  Every place is
an argument, so that tests bring trees of their own; no name is looked up and no program is run.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from blocker import values
from blocker.config import MAX_SIZE, Config, Firewall, parse
from blocker.errors import ConfigError, file_advice
from blocker.friends import LIST_NAMES, ShippedList
from blocker.model import Address

DIRECTORY = Path("/etc/xmlrpc-blocker")
LISTS = DIRECTORY / "lists"
SHIPPED = Path(__file__).parent / "lists"


def load(path: Path | None = None, directory: Path = DIRECTORY) -> Config:
    """Return the configuration of ``path`` alone, or else the one of the directory.

    Raises:
        ConfigError: a file cannot be read, or says what is wrong.
    """
    paths = [path] if path else _standard(directory)
    return parse([(str(each), _read(each)) for each in paths])


def salvaged(path: Path | None = None, directory: Path = DIRECTORY) -> Config:
    """Return what a broken configuration still says of ``control``, ``state`` and the table.

    Everything else is the default.  Lines are searched in all tables and the last one that can be
    read counts: the mistake may be the table above a line, its quotes, or bytes that are no text.
    """
    found: dict[str, str] = {}
    for each in _places(path, directory):
        for match in _SALVAGED.finditer(each.decode("utf-8", "replace").replace("\r", "\n")):
            with suppress(ValueError):
                text = match["quoted"] or match["bare"]
                found[match["key"]] = _SALVAGERS[match["key"]](text.strip())
    default = Config()
    return Config(
        control=found.get("control", default.control),
        state=found.get("state", default.state),
        firewall=Firewall(table=found.get("table", default.firewall.table)),
    )


_SALVAGERS: Mapping[str, Callable[[object], str]] = {
    "control": values.socket, "state": values.file, "table": values.table,
}  # fmt: skip
# A quote that is missing may be the mistake; a string with escapes is left alone.
_SALVAGED = re.compile(
    r"""^[ \t]*(?:firewall[ \t]*[.=][ \t{]*)?["']?(?P<key>control|state|table)["']?[ \t]*=[ \t]*"""
    r"""(?:["'](?P<quoted>[^"'\\\n]++)|(?P<bare>[^\s"'#\\]++))(?!\\)""",
    re.MULTILINE,
)


def _places(path: Path | None, directory: Path) -> Iterator[bytes]:
    """Yield the content of each file that can be read."""
    paths = [path] if path else [directory / "config.toml"]
    with suppress(ConfigError):
        paths = paths if path else _standard(directory)
    for each in paths:
        with suppress(OSError):
            yield _content(each)


def _standard(directory: Path) -> list[Path]:
    main = directory / "config.toml"
    try:
        parts = sorted(part for part in (directory / "conf.d").iterdir() if _counts(part))
    except (FileNotFoundError, NotADirectoryError):
        parts = []
    except OSError as error:
        raise _unreadable(directory / "conf.d", error) from None
    # lexists: a link that leads nowhere is a mistake to be told, not an absent file.
    return [main, *parts] if main.is_symlink() or main.exists() else parts


def _counts(path: Path) -> bool:
    # Editors and package managers leave hidden files and other endings behind.
    return path.suffix == ".toml" and not path.name.startswith(".")


def _read(path: Path) -> str:
    try:
        content = _content(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        # Four bytes make at most one character, so a longer text cannot hide behind this.
        return file.read(4 * MAX_SIZE + 4)


def _unreadable(path: Path, error: OSError) -> ConfigError:
    advice = file_advice(error) or "check the file and the disk"
    return ConfigError(f"{path}: {error.strerror or error}; {advice}")


def shipped_lists(directory: Path = LISTS) -> dict[str, ShippedList]:
    """Return the lists of networks by name: refreshed ones, or else those of the program.

    Raises:
        ConfigError: a refreshed one can't be read, or is no list.
    """
    return {name: _refreshed_list(directory, name) or _shipped_list(name) for name in LIST_NAMES}


def _shipped_list(name: str) -> ShippedList:
    return ShippedList.parse((SHIPPED / f"{name}.txt").read_text("utf-8"))


def _refreshed_list(directory: Path, name: str) -> ShippedList | None:
    path = directory / f"{name}.txt"
    try:
        if not path.exists():
            return None
        found = ShippedList.parse(_read(path))
    except OSError as error:  # of the look at what is there: the directory is closed to this user
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; {_ADVICE}") from None
    if found.name != name or not found.networks:
        raise ConfigError(f"{path}: not the list {name}; {_ADVICE}")
    return found


_ADVICE = "refresh it again, or delete it to use the one that comes with the program"


def own_addresses(proc: Path = Path("/proc")) -> tuple[Address, ...]:
    """Return the host's own addresses (of its network namespace), loopback aside.

    ``self/net`` rather than ``net``: that link is hidden where a sandbox shows processes only.
    """
    found = [*_ipv4(proc / "self/net/fib_trie"), *_ipv6(proc / "self/net/if_inet6")]
    return tuple(dict.fromkeys(found))


def lasting(addresses: Iterable[Address]) -> frozenset[Address]:
    """Return those whose coming and going is worth a reload: all but the link-local ones.

    Each container that starts brings one and takes it with it, and nobody else sees it.
    """
    return frozenset(each for each in addresses if not ip_address(each).is_link_local)


def _ipv4(path: Path) -> Iterator[Address]:
    """Yield the addresses that the routing table holds as local: ``|-- A`` over ``/32 host LOCAL``.

    Read line by line, for on a router the file is as large as the internet.
    """
    address = ""
    for line in _lines(path):
        text = line.strip()
        if text.startswith("|-- "):
            address = text.removeprefix("|-- ")
        elif text == "/32 host LOCAL" and not address.startswith("127."):
            yield IPv4Address(address).packed


def _ipv6(path: Path) -> Iterator[Address]:
    loopback = IPv6Address("::1").packed
    for line in _lines(path):
        address = bytes.fromhex(line.split()[0])
        if address != loopback:
            yield address


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="ascii") as file:
            yield from file
    except FileNotFoundError:  # a kernel without this family
        return
