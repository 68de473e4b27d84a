"""The configuration: text in, one frozen tree out, and the complete example.

Rules:

* pure: the text of the files is handed in (``configfile`` reads them);
* what is unknown is refused, with the nearest right name; nothing is guessed at;
* all mistakes of all files are told at once, each with its file, key, value and what is right;
* an attribute says how its text is read and what it means, so that checks, messages and the
  example come from one place;
* durations are whole microseconds, as everywhere;
* ``cattrs`` and ``tomllib`` are loaded only when there is something to read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from operator import is_
from posixpath import normpath
from textwrap import wrap
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from attrs import Attribute, field, fields, frozen

from blocker import fail2ban, values
from blocker.errors import ConfigError

MAX_SIZE = 1024 * 1024
"""Characters of one file: more is not a configuration."""

MAX_TRAPS = 64
COMPANIONS = ("-wal", "-shm", "-journal", ".lock")
"""Endings of the files that stand beside the state."""

# The tree --------------------------------------------------------------------------------------


def _about(
    text: str, reads: Callable[[Any], Any], write: Callable[[Any], str] | None = None
) -> dict[str, Any]:
    """Return an attribute's help, how it is read from TOML, and how the example writes it."""
    return {"help": text, "reads": values.Reads(reads), "write": write or _toml}


def _about_duration(text: str) -> dict[str, Any]:
    return _about(text, values.duration, lambda length: f'"{values.format_duration(length)}"')


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 1_000_000 else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _readable(_: type, attributes: "list[Attribute[Any]]") -> "list[Attribute[Any]]":
    """Tell cattrs how each attribute is read: what it asks for is an attribute's type."""
    return [a.evolve(type=a.metadata.get("reads", a.type)) for a in attributes]


@frozen(kw_only=True, field_transformer=_readable)
class Trap:
    """One rule with its policy; without arguments, the default trap ``xmlrpc``."""

    path: str = field(
        default="/xmlrpc.php",
        metadata=_about(
            "The path that is attacked, in any directory: this and all that ends in it.",
            values.url_path,
        ),
    )
    methods: tuple[str, ...] = field(
        default=("POST",),
        metadata=_about(
            "The methods that count.", values.list_of(values.method, 'a list, such as ["POST"]')
        ),
    )
    maxretry: int = field(
        default=3,
        metadata=_about("So many hits within findtime make a ban.", values.whole(1, 10_000)),
    )
    findtime: int = field(
        default=values.HOUR,
        metadata=_about_duration("The window, which is exact and slides with every hit."),
    )
    bantime: int = field(
        default=values.DAY, metadata=_about_duration("How long a first ban lasts.")
    )
    bantime_factor: float = field(
        default=1.0,
        metadata=_about(
            "Each further ban of an address lasts so many times as long as the one before.",
            values.factor,
        ),
    )
    max_bantime: int = field(
        default=30 * values.DAY, metadata=_about_duration("No ban lasts longer than this.")
    )


@frozen(kw_only=True, field_transformer=_readable)
class Firewall:
    """What is blocked in the kernel, and where."""

    table: str = field(
        default="xmlrpc_blocker",
        metadata=_about(
            "The table of nftables (family inet); nothing outside it is touched.", values.table
        ),
    )
    ports: tuple[int, ...] | Literal["all"] = field(
        default=(80, 443),
        metadata=_about(
            "The ports that banned addresses no longer reach, tcp and udp, as the client dials"
            ' them; "all" drops everything that they send, SSH too.',
            values.ports,
        ),
    )
    set_size: int = field(
        default=1_048_576,
        metadata=_about(
            "So many addresses each of the two sets of bans (IPv4, IPv6) can hold.",
            values.whole(1, 16_777_216),
        ),
    )


@frozen(kw_only=True, field_transformer=_readable)
class Metrics:
    """Where Prometheus finds the figures."""

    listen: str = field(
        default="127.0.0.1:9947",
        metadata=_about(
            'Where /metrics is served: address:port ("[::1]:9947" for IPv6) or unix:/path;'
            ' "" or false serves none.',
            values.listen,
        ),
    )
    web_config: str = field(
        default="",
        metadata=_about(
            "A web.config.file as of Prometheus' exporter-toolkit, for TLS and basic"
            ' authentication; "" for neither. Needs python3-yaml, and python3-bcrypt for users.',
            values.file_if_any,
        ),
    )
    top_offenders: int = field(
        default=20,
        metadata=_about(
            "So many of those who hit most in the last day are told by their address; 0 for none.",
            values.whole(0, 100),
        ),
    )
    per_log: bool = field(
        default=True,
        metadata=_about(
            'Tell of each log; false puts all together as log="all", for hundreds of them.',
            values.flag,
        ),
    )

    @property
    def endpoint(self) -> tuple[str, int] | str | None:
        """Where to listen: address and port, or the path of a socket, or None for nowhere."""
        if not self.listen:
            return None
        if self.listen.startswith("unix:"):
            return self.listen.removeprefix("unix:")
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


@frozen(kw_only=True, field_transformer=_readable)
class Origins:
    """Databases (MaxMind DB files, whoever made them) that say where the banned are from."""

    country_db: str = field(
        default="",
        metadata=_about(
            'Of countries, such as "/var/lib/GeoIP/GeoLite2-Country.mmdb"; "" for none. Needs'
            " python3-maxminddb. Read again on a reload.",
            values.file_if_any,
        ),
    )
    asn_db: str = field(
        default="", metadata=_about('Of autonomous systems; "" for none.', values.file_if_any)
    )


Traps: TypeAlias = Mapping[str, Trap]


def _frozen_traps(value: Traps) -> Traps:
    return MappingProxyType(dict(value))


@frozen(kw_only=True, field_transformer=_readable)
class Config:
    """Everything that can be set; without arguments, the defaults."""

    traps: Traps = field(factory=lambda: {"xmlrpc": Trap()}, converter=_frozen_traps)
    logs: tuple[str, ...] = field(
        default=("/var/log/nginx/*access*.log", "/var/log/apache2/*access*.log"),
        metadata=_about(
            "The access logs, by name or pattern; files that appear later are picked up.",
            values.list_of(values.glob, 'a list, such as ["/var/log/nginx/*access*.log"]'),
        ),
    )
    format: str = field(
        default="auto",
        metadata=_about(
            'How they are written: "auto" (each line tells), "common", "combined",'
            ' "vhost_combined", "json", or a LogFormat of Apache or a log_format of nginx as it'
            " stands in the server's own configuration.",
            values.log_format,
        ),
    )
    allow: tuple[str, ...] = field(
        default=("127.0.0.0/8", "::1"),
        metadata=_about(
            "Never banned: addresses, networks and shipped lists by name, such as"
            ' "@jetpack". The lists of several files add up.',
            values.list_of(values.friend, 'a list, such as ["192.0.2.0/24"]', may_be_empty=True),
        ),
    )
    ban_private: bool = field(
        default=False,
        metadata=_about(
            "Ban private and link-local addresses too (RFC 1918, 4193, 6598): often these are"
            " proxies and neighbours.",
            values.flag,
        ),
    )
    ban_proxies: bool = field(
        default=False,
        metadata=_about(
            "Ban the addresses of known CDNs, proxies and NAT64 too: one of them stands for"
            " many visitors.",
            values.flag,
        ),
    )
    dry_run: bool = field(
        default=False, metadata=_about("Judge and report, but block nobody.", values.flag)
    )
    lookback: int = field(
        metadata=_about_duration(
            "How far a log that was never seen before is read back. If not given, as far as the"
            " longest findtime."
        )
    )
    ipv6_prefix: int = field(
        default=64,
        metadata=_about(
            "IPv6 is judged and banned by networks of this length.", values.whole(32, 128)
        ),
    )
    remember: int = field(
        default=90 * values.DAY,
        metadata=_about_duration("How long earlier bans count when a ban is measured."),
    )
    max_tracked: int = field(
        default=1_000_000,
        metadata=_about(
            "So many addresses are watched at once; beyond, the quietest are forgotten.",
            values.whole(1, 100_000_000),
        ),
    )
    max_remembered: int = field(
        default=1_000_000,
        metadata=_about(
            "So many bans are remembered; beyond, those that have ended are forgotten, of addresses"
            " with the fewest bans first.",
            values.whole(1, 100_000_000),
        ),
    )
    state: str = field(
        default="/var/lib/xmlrpc-blocker/state.db",
        metadata=_about("The database of bans, windows and positions.", values.file),
    )
    control: str = field(
        default="/run/xmlrpc-blocker/control.sock",
        metadata=_about("The socket that status, ban and unban talk to.", values.socket),
    )
    firewall: Firewall = field(factory=Firewall)
    metrics: Metrics = field(factory=Metrics)
    origins: Origins = field(factory=Origins)

    @lookback.default
    def _longest_findtime(self) -> int:
        return max((trap.findtime for trap in self.traps.values()), default=values.HOUR)


# Reading ---------------------------------------------------------------------------------------

Table: TypeAlias = dict[str, Any]
KeyPath: TypeAlias = tuple[str | int, ...]
"""Names of tables and of a key; a number is the place in a list."""


def parse(documents: Sequence[tuple[str, str]]) -> Config:
    """Return the configuration that the documents, (name, TOML text) in order, make together.

    Raises:
        ConfigError: one line for each mistake.
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
    found += _shared_paths(config) if config else []
    mistakes += [f"{_origin(origins, problem.path)}: {problem.text}" for problem in found]
    if mistakes or config is None:
        raise ConfigError("\n".join(mistakes))
    return config


def _load(name: str, text: str) -> Table:
    import tomllib  # noqa: PLC0415 - start-up time of those who have no file

    if len(text) > MAX_SIZE:
        raise ConfigError(f"{name}: larger than {MAX_SIZE} characters: not a configuration")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        end = text.count("\n") + 1
        where = str(error).replace("(at end of document)", f"(at line {end}, the end)")
        hint = _hint_at_line(text, where)
        raise ConfigError(f"{name}: not TOML: {_printable(where)}{hint}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not TOML that anybody wrote: nested too deeply") from None


_LINE = re.compile(r"\(at line ([0-9]+),")
_KEY = re.compile(r"\s*\[?\s*([A-Za-z][A-Za-z0-9_.-]*)\s*[]=]")


def _hint_at_line(text: str, error: str) -> str:
    """Return what a key of fail2ban's is called here, if one stands in the line of an error."""
    place = _LINE.search(error)
    lines = text.split("\n", int(place[1]))[: int(place[1])] if place else []
    # The parser may notice only in the next line that a value did not end.
    found = (_KEY.match(line) for line in reversed(lines[-2:]))
    hints = (fail2ban.advice(key[1]) for key in found if key)
    return next((f"; as for this key: {hint}" for hint in hints if hint), "")


class _Origin(NamedTuple):
    """Who set what: the name of the document that is being merged, and the record of all."""

    record: dict[KeyPath, str]
    name: str


def _merge(into: Table, table: Table, origin: _Origin, path: KeyPath = ()) -> None:
    """Add a document: tables merge, a scalar or a list replaces, ``allow`` is the union."""
    for key, value in table.items():
        here = (*path, key)
        old = into.get(key)
        # Known tables are two deep; what lies deeper is a mistake to report, not to merge.
        if isinstance(value, dict) and len(path) < 2:
            if not isinstance(old, dict):
                into[key] = old = {}
                origin.record[here] = origin.name
            _merge(old, value, origin, here)
        elif here == ("allow",) and isinstance(old, list) and isinstance(value, list):
            new = range(len(old), len(old) + len(value))
            origin.record.update({(*here, index): origin.name for index in new})
            old.extend(value)
        else:
            into[key] = value
            origin.record[here] = origin.name


def _origin(origins: Mapping[KeyPath, str], path: KeyPath) -> str:
    return next(origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins)


class _Problem(NamedTuple):
    path: KeyPath
    text: str


def _structure(document: Table) -> tuple[Config | None, list[_Problem]]:
    from cattrs.errors import BaseValidationError  # noqa: PLC0415 - start-up time

    try:
        return _converter().structure(document, Config), []
    except BaseValidationError as errors:
        return None, list(_problems(errors, (), document))


def _shared_paths(config: Config) -> list[_Problem]:
    """Return the keys that name a file which another key has: each needs one of its own."""
    listen = config.metrics.listen
    metrics = listen.removeprefix("unix:") if listen.startswith("unix:") else ""
    places: list[tuple[tuple[str, ...], str]] = [
        (("state",), config.state),
        (("control",), config.control),
        (("metrics", "listen"), metrics),
    ]
    taken = {normpath(f"{config.state}{ending}"): "state" for ending in COMPANIONS}
    found = []
    for key, path in places:
        owner = taken.setdefault(normpath(path), key[0]) if path else key[0]
        if owner != key[0]:
            text = f'{_dotted(key)} "{_printable(path)}": {owner} has this file; choose another'
            found.append(_Problem(key, text))
    return found


def _converter() -> Any:
    """Return a converter that reads as the attributes say and refuses unknown keys."""
    from cattrs import Converter  # noqa: PLC0415 - start-up time
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415 - start-up time

    converter = Converter()
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, values.Reads), lambda value, kind: kind.reader(value)
    )
    converter.register_structure_hook_func(
        lambda kind: kind == Traps, lambda value, _: _structure_traps(value, converter)
    )
    for cls in (Trap, Firewall, Metrics, Origins, Config):
        renamed: Any = {"traps": override(rename="trap")} if cls is Config else {}
        structure = make_dict_structure_fn(
            cls, converter, _cattrs_forbid_extra_keys=True, **renamed
        )
        # Not ``register_structure_hook``: it would set the attributes' types back.
        converter.register_structure_hook_func(partial(is_, cls), _only_tables(structure))
    return converter


def _only_tables(structure: Callable[[Any, Any], Any]) -> Callable[[object, Any], Any]:
    def checked(value: object, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError("a table, with keys of its own")
        return structure(value, kind)

    return checked


def _structure_traps(value: object, converter: Any) -> Traps:
    if not isinstance(value, dict):
        raise TypeError("a table of traps, each named as in [trap.xmlrpc]")
    if len(value) > MAX_TRAPS:
        raise ValueError(f"at most {MAX_TRAPS} traps")
    tables = {"xmlrpc": {}, **value}

    def reading(name: str) -> Callable[[], Trap]:
        return lambda: _structure_trap(name, tables[name], converter)

    traps = values.gather((f"{values.ATTRIBUTE}{name}", reading(name)) for name in tables)
    return dict(zip(tables, traps, strict=True))


_TRAP_NAME = r"[a-z][a-z0-9_-]{0,31}"


def _structure_trap(name: str, table: object, converter: Any) -> Trap:
    if not re.fullmatch(_TRAP_NAME, name) or name == "manual":
        raise ValueError('a trap is named in small letters, digits, _ and -, and not "manual"')
    if isinstance(table, dict) and name != "xmlrpc":
        # Only the default trap knows its path; None is refused like any wrong value.
        table = {"path": None, **table}
    trap: Trap = converter.structure(table, Trap)
    return trap


# Saying what is wrong --------------------------------------------------------------------------


def _problems(error: BaseException, path: KeyPath, document: Table) -> Iterator[_Problem]:
    """Walk a tree of errors and tell each with its key and the value that stands there."""
    notes = [
        n for n in getattr(error, "__notes__", ()) if values.ITEM in n or values.ATTRIBUTE in n
    ]
    path = (*path, *map(_place_of, notes))
    path = ("trap", *path[1:]) if path[:1] == ("traps",) else path
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _problems(part, path, document)
    elif hasattr(error, "extra_fields") and hasattr(error, "cl"):
        for key in sorted(error.extra_fields):
            hint = _place(key, error.cl)
            name = _dotted((*path, key)).removesuffix(" =")
            yield _Problem((*path, key), f"{name}: {hint}")
            yield from _foreign((*path, key), document)
    elif foreign := list(_foreign(path, document)):
        yield from foreign
    else:
        yield _Problem(path, f"{_dotted(path)} {_show(_find(document, path))}: {error}")


def _foreign(path: KeyPath, document: Table) -> Iterator[_Problem]:
    """Tell of keys such as fail2ban's ``bantime.increment``, which make a table of ``bantime``."""
    value = _find(document, path)
    for key in value if isinstance(value, dict) else ():
        if advice := fail2ban.advice(f"{path[-1]}.{key}"):
            yield _Problem((*path, key), f"{_dotted((*path, key)).removesuffix(' =')}: {advice}")


def _place_of(note: str) -> str | int:
    if note.startswith(values.ITEM):
        return int(note.removeprefix(values.ITEM))
    return note.partition(values.ATTRIBUTE)[2]


def _place(key: str, table: type) -> str:
    """Return what may have been meant by a key that ``table`` does not know."""
    here = dict.fromkeys((name for name, _ in _keys(table)), "")
    # Of keys that two tables have, the one of this table counts.
    places = {name: where for cls, where in _PLACES.items() for name, _ in _keys(cls)} | here
    if key in places:
        return f"unknown key here; it belongs {places[key]}"
    if advice := fail2ban.advice(key):
        return f"unknown key; {advice}"
    near = values.closest(key, list(places))
    if not near:
        return f"unknown key; known are {', '.join(here)}"
    return f"unknown key; did you mean {near}{places[near] and ', ' + places[near]}?"


_PLACES: Mapping[type, str] = {
    Trap: "under [trap.xmlrpc]", Firewall: "under [firewall]", Metrics: "under [metrics]",
    Origins: "under [origins]", Config: "at the top, above all tables",
}  # fmt: skip


def _dotted(path: KeyPath) -> str:
    """Return a key's full name; an item of a list is told by its value, which follows."""
    names = [_printable(part) for part in path if isinstance(part, str)]
    return ".".join(names) + (" holds" if len(names) < len(path) else " =")


def _find(document: Table, path: KeyPath) -> object:
    value: Any = document
    for part in path:
        value = value[part] if isinstance(part, int) else value.get(part)
    return value


def _show(value: object) -> str:
    """Return a value in one short line, whatever it is."""
    if value is None:
        return "(not given)"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    return _printable(_toml(value) if isinstance(value, str | bool) else str(value))


def _printable(text: str) -> str:
    short = text if len(text) <= 120 else f"{text[:120]}…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in short)


# Telling ---------------------------------------------------------------------------------------


def _keys(cls: type) -> list[tuple[str, "Attribute[Any]"]]:
    return [("trap" if a.name == "traps" else a.name, a) for a in fields(cls)]


def example() -> str:
    """Return the complete configuration as TOML: every key, its meaning and its default."""
    config = Config()
    head = (
        "The complete configuration of xmlrpc-blocker: every key with its default, so that"
        " nothing here has to be set. Read from /etc/xmlrpc-blocker/config.toml, then from"
        " conf.d/*.toml beside it in lexical order: tables merge, and a later value replaces an"
        ' earlier one, except that the lists of "allow" add up. Durations are units in falling'
        ' order (w, d, h, m, s), such as "1h30m"; a plain number is seconds.'
    )
    trap = "A rule with its policy. Further ones are named alike; each needs a path of its own."
    parts = [
        _comment(head),
        *_entries(config),
        f"{_comment(trap)}[trap.xmlrpc]\n",
        *_entries(config.traps["xmlrpc"]),
        f"{_comment(Firewall.__doc__ or '')}[firewall]\n",
        *_entries(config.firewall),
        f"{_comment(Metrics.__doc__ or '')}[metrics]\n",
        *_entries(config.metrics),
        f"{_comment(Origins.__doc__ or '')}[origins]\n",
        *_entries(config.origins),
    ]
    return "\n".join(parts)


def _entries(table: Any) -> Iterator[str]:
    for key, attribute in _keys(type(table)):
        if "help" in attribute.metadata:
            text = attribute.metadata["write"](getattr(table, attribute.name))
            yield f"{_comment(attribute.metadata['help'])}{key} = {text}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in wrap(text, 90, break_on_hyphens=False))


def warnings(config: Config) -> list[str]:
    """Return what is allowed but deserves a word, one sentence each."""
    words = [text for applies, text in _doubts(config) if applies]
    for name, trap in config.traps.items():
        words += [f"trap.{name}: {text}" for applies, text in _trap_doubts(trap) if applies]
    return words


def _doubts(config: Config) -> list[tuple[bool, str]]:
    everyone = {"0.0.0.0/0", "::/0"} & set(config.allow)
    return [
        (config.dry_run, "dry_run: bans are judged and reported, but nobody is blocked."),
        (
            config.firewall.ports == "all",
            'firewall.ports = "all": a banned address reaches nothing here any more, SSH neither.',
        ),
        (
            config.ban_private,
            "ban_private: your own network, containers and a private proxy can be banned.",
        ),
        (
            config.ban_proxies,
            "ban_proxies: a ban of a CDN or proxy blocks everybody who comes through it.",
        ),
        (
            _is_open(config.metrics) and not config.metrics.web_config,
            "metrics.listen: open to all who reach this host; ask for a password by web_config.",
        ),
        (
            bool(everyone),
            f"allow holds {' and '.join(sorted(everyone))}: nobody there is ever banned.",
        ),
    ]


def _is_open(metrics: Metrics) -> bool:
    endpoint = metrics.endpoint
    return isinstance(endpoint, tuple) and not ip_address(endpoint[0]).is_loopback


def _trap_doubts(trap: Trap) -> list[tuple[bool, str]]:
    bantime, ceiling = (
        values.format_duration(trap.bantime),
        values.format_duration(trap.max_bantime),
    )
    return [
        (
            trap.bantime > trap.max_bantime,
            f"bantime {bantime} is longer than max_bantime: bans last {ceiling}.",
        ),
        (
            trap.maxretry == 1,
            "maxretry = 1: a single request is enough, a mistaken one of a visitor too.",
        ),
    ]
