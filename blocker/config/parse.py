"""Parses TOML documents into a Config.  Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from operator import is_
from posixpath import normpath
from typing import Any, NamedTuple

from attrs import evolve

from blocker.config import fail2ban, readers
from blocker.config.problems import KeyPath, Problem, Table, dotted, on_one_line, problems_of
from blocker.config.schema import (
    WORDPRESS,
    Config,
    FirewallConfig,
    LogConfig,
    Logs,
    MetricsConfig,
    OriginsConfig,
    TrapConfig,
    Traps,
)
from blocker.errors import ConfigError
from blocker.model import ACCESS, EVENT, MANUAL
from blocker.sources.schemes import FIFO, UNIX, scheme_of

MAX_SIZE = 1024 * 1024
"""Ceiling of one file, characters."""

MAX_TRAPS = 65
"""Ceiling of the traps; a mark has seven bits for a trap's index (``judging.windows``)."""
COMPANIONS = ("-wal", "-shm", "-journal", ".lock")
"""Suffixes of the files that the store creates beside ``state``."""


def parse(documents: Sequence[tuple[str, str]]) -> Config:
    """Return the configuration from documents, pairs of name and TOML text, merged in order.

    Raises:
        ConfigError: the message has one line for each mistake.
    """
    merged: Table = {}
    origins: dict[KeyPath, str] = {}
    mistakes: list[str] = []
    for name, text in documents:
        try:
            _merge(merged, _load(name, text), _Origin(origins, name))
        except ConfigError as error:
            mistakes.append(str(error))
    config, found = _structure(merged) if merged else (Config(), [])
    found += [*_shared_paths(config), *_both(config)] if config else []
    mistakes += [f"{_origin(origins, problem.path)}: {problem.text}" for problem in found]
    if mistakes or config is None:
        raise ConfigError("\n".join(mistakes))
    return config


def _load(name: str, text: str) -> Table:
    import tomllib  # noqa: PLC0415 - start-up time without a file

    if len(text) > MAX_SIZE:
        raise ConfigError(f"{name}: larger than {MAX_SIZE} characters: not a configuration")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        end = text.count("\n") + 1
        where = str(error).replace("(at end of document)", f"(at line {end}, the end)")
        hint = _hint_at_line(text, where)
        raise ConfigError(f"{name}: not TOML: {on_one_line(where)}{hint}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not TOML: nested too deeply") from None


_LINE = re.compile(r"\(at line ([0-9]+),")
_KEY = re.compile(r"[\s[]*([\w.-]+)\s*[]=]")


def _hint_at_line(text: str, error: str) -> str:
    """Return the advice for a fail2ban key in the line of an error, or ""."""
    place = _LINE.search(error)
    lines = text.split("\n", int(place[1]))[: int(place[1])] if place else []
    # The parser may report an unterminated value in the following line.
    found = (_KEY.match(line) for line in reversed(lines[-2:]))
    hints = (fail2ban.advice(key[1]) for key in found if key)
    return next((f"; as for this key: {hint}" for hint in hints if hint), "")


class _Origin(NamedTuple):
    """Records which document set which key.

    Attributes:
        record: name of the document by path of the key.
        name: name of the document that is being merged.
    """

    record: dict[KeyPath, str]
    name: str


_ADDED_UP = {("allow",), ("log",)}


def _merge(into: Table, table: Table, origin: _Origin, path: KeyPath = ()) -> None:
    """Add a document: tables merge, a scalar or a list replaces; ``allow`` and ``log`` add up."""
    for key, value in table.items():
        here = (*path, key)
        old = into.get(key)
        # Tables have at most two levels; deeper ones are mistakes, to be reported and not merged.
        if isinstance(value, dict) and len(path) < 2:
            if not isinstance(old, dict):
                into[key] = old = {}
                origin.record[here] = origin.name
            _merge(old, value, origin, here)
        elif here in _ADDED_UP and isinstance(old, list) and isinstance(value, list):
            new = range(len(old), len(old) + len(value))
            origin.record.update({(*here, index): origin.name for index in new})
            old.extend(value)
        else:
            into[key] = value
            origin.record[here] = origin.name


def _origin(origins: Mapping[KeyPath, str], path: KeyPath) -> str:
    return next(origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins)


def _structure(document: Table) -> tuple[Config | None, list[Problem]]:
    from cattrs.errors import BaseValidationError  # noqa: PLC0415 - start-up time

    try:
        return _converter().structure(document, Config), []
    except BaseValidationError as errors:
        return None, list(problems_of(errors, (), document))


def _shared_paths(config: Config) -> list[Problem]:
    """Return a problem for each key that names the same file as another key."""
    places: list[tuple[tuple[str, ...], str]] = [
        (("state",), config.state),
        (("control",), config.control),
        (("metrics", "listen"), config.metrics.listen),
        *(
            ((_key_of(each, config),), each)
            for kind in (UNIX, FIFO)
            for each in config.of_scheme(kind)
        ),
    ]
    taken = {_normal(f"{config.state}{ending}"): "state" for ending in COMPANIONS}
    found = []
    for key, place in places:
        # An address does not begin with a slash, so it never equals a path.
        owner = taken.setdefault(_normal(place.removeprefix("unix:").removeprefix("fifo:")), key[0])
        if owner != key[0]:
            text = f'{dotted(key)} "{on_one_line(place)}": {owner} has this file; choose another'
            found.append(Problem(key, text))
    return found


def _both(config: Config) -> list[Problem]:
    """Return a problem for each log that is named as an access log and for events."""
    access = {*config.logs, *(log.path for log in config.log)}
    text = 'events holds "{}", which is an access log, too: name it once'
    return [Problem(("events",), text.format(each)) for each in config.events if each in access]


def _key_of(log: str, config: Config) -> str:
    """Return the key that names a log."""
    return "logs" if log in config.logs else "events" if log in config.events else "log"


def _normal(path: str) -> str:
    """Return a path in normal form; the third slash avoids that normpath keeps a leading ``//``."""
    return normpath(f"//{path}")


@cache
def _converter() -> Any:
    """Return the converter that uses the readers of the attributes and refuses unknown keys.

    Making it compiles code: a daemon that reloads for months does that once.
    """
    from cattrs import Converter  # noqa: PLC0415 - start-up time
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415 - start-up time

    converter = Converter()
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, readers.Reads), lambda value, kind: kind.reader(value)
    )
    converter.register_structure_hook_func(
        lambda kind: kind == Traps, lambda value, _: _structure_traps(value, converter)
    )
    converter.register_structure_hook_func(
        lambda kind: kind == Logs, lambda value, _: _structure_logs(value, converter)
    )
    for cls in (LogConfig, TrapConfig, FirewallConfig, MetricsConfig, OriginsConfig, Config):
        structure = make_dict_structure_fn(
            cls, converter, _cattrs_forbid_extra_keys=True, traps=override(rename="trap")
        )
        # Not ``register_structure_hook``, which would resolve the attributes' types again.
        converter.register_structure_hook_func(partial(is_, cls), _only_tables(structure))
    return converter


def _only_tables(structure: Callable[[Any, Any], Any]) -> Callable[[object, Any], Any]:
    def checked(value: object, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError("a table, with keys of its own")
        return structure(value, kind)

    return checked


def _structure_logs(value: object, converter: Any) -> Logs:
    if not isinstance(value, list):
        raise TypeError("tables of logs, each under [[log]]")

    def reading(table: object) -> Callable[[], LogConfig]:
        # None is refused like any invalid value: a log without a path is none.
        whole = {"path": None, **table} if isinstance(table, dict) else table
        return lambda: _structure_log(whole, converter)

    calls = ((f"{readers.ITEM}{index}", reading(table)) for index, table in enumerate(value))
    return tuple(readers.gather(calls))


def _structure_log(table: object, converter: Any) -> LogConfig:
    if isinstance(table, dict) and {"format", "fields"} <= table.keys():
        raise ValueError("format and fields: write one of them, each says how lines are read")
    log: LogConfig = converter.structure(table, LogConfig)
    if log.senders and scheme_of(log.path) != UNIX:
        raise ValueError("senders: only a Unix socket knows who sends, such as unix:/run/…")
    return log


def _structure_traps(value: object, converter: Any) -> Traps:
    if not isinstance(value, dict):
        raise TypeError("a table of traps, each named as in [trap.xmlrpc]")
    tables = {"xmlrpc": {}, **value}
    tables.setdefault("wordpress", {})
    if len(tables) > MAX_TRAPS:
        raise ValueError(f"at most {MAX_TRAPS} traps, the two default ones among them")

    def reading(name: str) -> Callable[[], TrapConfig]:
        return lambda: _structure_trap(name, tables[name], converter)

    traps = readers.gather((f"{readers.ATTRIBUTE}{name}", reading(name)) for name in tables)
    return dict(zip(tables, traps, strict=True))


_TRAP_NAME = r"[a-z][a-z0-9_-]{0,31}"


def _structure_trap(name: str, table: object, converter: Any) -> TrapConfig:
    if not re.fullmatch(_TRAP_NAME, name) or name == MANUAL:
        raise ValueError('a trap is named in small letters, digits, _ and -, and not "manual"')
    if not isinstance(table, dict):
        raise TypeError("a table, with keys of its own")
    kind = _kind(name, table)
    trap: TrapConfig = converter.structure(
        {"kind": kind, **_given(name, kind), **table}, TrapConfig
    )
    if trap.kind == EVENT:
        return evolve(trap, path="", methods=())
    return trap


def _given(name: str, kind: str) -> Table:
    """Return what a trap counts if it does not say so itself.

    Only default traps have an answer; None is refused like any invalid value.
    """
    if kind == ACCESS:
        return {} if name == "xmlrpc" else {"path": None}
    return {"events": list(WORDPRESS.events) if name == "wordpress" else None}


_FOREIGN_KEYS = {ACCESS: ("events",), EVENT: ("path", "methods")}


def _kind(name: str, table: Table) -> str:
    """Return the kind of a trap: as it says, or as its keys do.

    Raises:
        ValueError: it has keys of another kind.
    """
    usual = EVENT if name == "wordpress" and "path" not in table else ACCESS
    kind = table.get("kind", EVENT if "events" in table and "path" not in table else usual)
    if not isinstance(kind, str) or kind not in _FOREIGN_KEYS:
        return ACCESS  # which the reader of the key refuses
    for key in _FOREIGN_KEYS[kind]:
        if key in table:
            other = ACCESS if kind == EVENT else EVENT
            raise ValueError(f'a trap of the kind "{kind}" has no {key}: kind = "{other}" has')
    return kind
