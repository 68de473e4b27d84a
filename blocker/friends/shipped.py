"""Reads the lists of networks: those that come with the program, or refreshed ones in /etc."""

from functools import lru_cache
from pathlib import Path

from blocker.errors import ConfigError
from blocker.friends.network_list import LIST_NAMES, ShippedList
from blocker.textfile import DIRECTORY, read_text, unreadable

MAX_SIZE = 1 << 20
"""Ceiling of a list, characters."""
LISTS = DIRECTORY / "lists"
"""Directory of the refreshed lists, which take precedence."""
SHIPPED = Path(__file__).parent / "lists"
"""Directory of the lists that come with the program."""


def shipped_lists(directory: Path = LISTS) -> dict[str, ShippedList]:
    """Return all lists by name, each refreshed or as it comes with the program.

    Raises:
        ConfigError: a refreshed list can't be read, or is invalid.
    """
    return {name: _refreshed_list(directory, name) or _shipped_list(name) for name in LIST_NAMES}


_parse = lru_cache(maxsize=len(LIST_NAMES))(ShippedList.parse)
"""A reload shares the lists whose text is the same: they take a megabyte, and 30 ms to parse."""


def _shipped_list(name: str) -> ShippedList:
    return _parse((SHIPPED / f"{name}.txt").read_text("utf-8"))


def _refreshed_list(directory: Path, name: str) -> ShippedList | None:
    path = directory / f"{name}.txt"
    try:
        if not path.exists():
            return None
        found = _parse(read_text(path, MAX_SIZE))
    except OSError as error:  # raised by exists(): this user may not search the directory
        raise unreadable(path, error) from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; {_ADVICE}") from None
    if found.name != name or not found.networks:
        raise ConfigError(f"{path}: not the list {name}; {_ADVICE}")
    return found


_ADVICE = "refresh it again, or delete it to use the one that comes with the program"
