"""Turns errors of the converter into messages: key, value, advice.  Pure."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from attrs import fields

from blocker.config import fail2ban, readers
from blocker.config.schema import (
    Config,
    FirewallConfig,
    MetricsConfig,
    OriginsConfig,
    TrapConfig,
    as_toml,
)

if TYPE_CHECKING:
    from attrs import Attribute


Table: TypeAlias = dict[str, Any]
KeyPath: TypeAlias = tuple[str | int, ...]
"""Names of tables and of a key; a number is an index in a list."""


class Problem(NamedTuple):
    """A mistake in the configuration: path of the key, and message."""

    path: KeyPath
    text: str


def problems_of(error: BaseException, path: KeyPath, document: Table) -> Iterator[Problem]:
    """Yield a problem for each leaf of a tree of errors, with its key and value."""
    from cattrs.errors import ForbiddenExtraKeysError  # noqa: PLC0415 - start-up time

    notes = [
        n for n in getattr(error, "__notes__", ()) if readers.ITEM in n or readers.ATTRIBUTE in n
    ]
    path = (*path, *map(_place_of, notes))
    path = ("trap",) if path == ("traps",) else path
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from problems_of(part, path, document)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            hint = _place(key, error.cl)
            name = dotted((*path, key)).removesuffix(" =")
            yield Problem((*path, key), f"{name}: {hint}")
            yield from _foreign((*path, key), document)
    elif foreign := list(_foreign(path, document)):
        yield from foreign
    else:
        yield Problem(path, f"{dotted(path)} {_show(_find(document, path))}: {error}")


def _foreign(path: KeyPath, document: Table) -> Iterator[Problem]:
    """Yield problems for fail2ban keys such as ``bantime.increment``: TOML reads them as tables."""
    value = _find(document, path)
    for key in value if isinstance(value, dict) else ():
        if advice := fail2ban.advice(f"{path[-1]}.{key}"):
            yield Problem((*path, key), f"{dotted((*path, key)).removesuffix(' =')}: {advice}")


def _place_of(note: str) -> str | int:
    if note.startswith(readers.ITEM):
        return int(note.removeprefix(readers.ITEM))
    return note.partition(readers.ATTRIBUTE)[2]


def _place(key: str, table: type) -> str:
    """Return the advice for a key that ``table`` does not have."""
    here = dict.fromkeys((name for name, _ in keys_of(table)), "")
    # If several tables have a key, the key of this table is meant.
    places = {name: where for cls, where in _PLACES.items() for name, _ in keys_of(cls)} | here
    if key in places:
        return f"unknown key here; it belongs {places[key]}"
    if advice := fail2ban.advice(key):
        return f"unknown key; {advice}"
    near = readers.closest(key, list(places))
    if not near:
        return f"unknown key; known are {', '.join(here)}"
    return f"unknown key; did you mean {near}{places[near] and ', ' + places[near]}?"


_PLACES: Mapping[type, str] = {
    TrapConfig: "under [trap.xmlrpc]",
    FirewallConfig: "under [firewall]",
    MetricsConfig: "under [metrics]",
    OriginsConfig: "under [origins]",
    Config: "at the top, above all tables",
}


def dotted(path: KeyPath) -> str:
    """Return the full name of a key as the beginning of a message; the value follows it."""
    names = [on_one_line(part) for part in path if isinstance(part, str)]
    return ".".join(names) + (" holds" if len(names) < len(path) else " =")


def _find(document: Table, path: KeyPath) -> object:
    value: Any = document
    for part in path:
        value = value[part] if isinstance(part, int) else value.get(part)
    return value


def _show(value: object) -> str:
    """Return a value of any type on one short line."""
    if value is None:
        return "(not given)"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    return on_one_line(as_toml(value) if isinstance(value, str | bool) else str(value))


def on_one_line(text: str) -> str:
    """Return the first 120 characters of a text, with control characters escaped."""
    short = text if len(text) <= 120 else f"{text[:120]}…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in short)


def keys_of(cls: type) -> list[tuple[str, "Attribute[Any]"]]:
    """Return the keys of a table as written in TOML, each with its attribute."""
    return [("trap" if a.name == "traps" else a.name, a) for a in fields(cls)]
