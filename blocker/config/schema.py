"""The keys of the configuration: types, defaults, help.  Add a new key here.  Pure."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import field, frozen

from blocker import times
from blocker.config import readers
from blocker.model import ACCESS, EVENT, EVENTS, LogFormat, Proxied
from blocker.sources.schemes import scheme_of

if TYPE_CHECKING:
    from attrs import Attribute


def _about(
    text: str, reads: Callable[[Any], Any], write: Callable[[Any], str] | None = None
) -> dict[str, Any]:
    """Return the metadata of an attribute: help, reader from TOML, writer for the example."""
    return {"help": text, "reads": readers.Reads(reads), "write": write or as_toml}


def _about_duration(text: str) -> dict[str, Any]:
    return _about(text, times.duration, lambda length: f'"{times.format_duration(length)}"')


def as_toml(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _readable(_: type, attributes: "list[Attribute[Any]]") -> "list[Attribute[Any]]":
    """Set each attribute's type to its reader, because cattrs selects hooks by the type."""
    return [a.evolve(type=a.metadata.get("reads", a.type)) for a in attributes]


@frozen(kw_only=True, field_transformer=_readable)
class LogConfig:
    """A log with a format of its own, beside "logs"; the first whose path fits a log decides."""

    path: str = field(metadata=_about('The log, as in "logs".', readers.log))
    format: str = field(
        default="auto", metadata=_about('How it is written, as "format" below.', readers.log_format)
    )
    fields: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata=_about(
            "The members of its JSON lines by name, or by path with dots: address, time, request"
            " (or method and target), status; instead of a format.",
            readers.json_fields,
            lambda fields: (
                "{" + ", ".join(f"{key} = {as_toml(name)}" for key, name in fields) + "}"
            ),
        ),
    )

    senders: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "Of a Unix socket: the users that may send lines, by name or number, beside the"
            " daemon's own; if empty, root and the usual users of web servers and syslog.",
            readers.list_of(readers.user, 'a list of users, such as ["www-data"]'),
        ),
    )

    proxy: tuple[tuple[str, ...], str] = field(
        default=((), ""),
        metadata=_about(
            "Whose word about the client is believed: the addresses of your proxies (networks and"
            " shipped lists, too), and the field of a line in which they name it.",
            readers.log_proxy,
            lambda proxy: f"{{addresses = {as_toml(proxy[0])}, field = {as_toml(proxy[1])}}}",
        ),
    )

    @property
    def reading(self) -> LogFormat:
        """How its lines are read: the format, and with a proxy also what is believed."""
        proxies, name = self.proxy
        return Proxied(self.line_format, name, proxies) if name else self.line_format

    @property
    def line_format(self) -> str:
        """The format of its lines; for ``fields``, as nginx would have it."""
        members = (f'"{name}":"{readers.JSON_ROLES[key]}"' for key, name in self.fields)
        return f"{{{','.join(members)}}}" if self.fields else self.format


Logs: TypeAlias = tuple[LogConfig, ...]


@frozen(kw_only=True, field_transformer=_readable)
class TrapConfig:
    """One rule with its policy; without arguments, the default trap ``xmlrpc``.

    A trap of the kind "access" has a path and methods, one of the kind "event" has events.
    """

    kind: str = field(
        default=ACCESS,
        metadata=_about(
            'What it counts: "access", requests in access logs, or "event", failures that WordPress'
            ' reports (see "events" above).',
            readers.trap_kind,
        ),
    )
    path: str = field(
        default="/xmlrpc.php",
        metadata=_about(
            "The path that is attacked, in any directory: this and all that ends in it.",
            readers.url_path,
        ),
    )
    methods: tuple[str, ...] = field(
        default=("POST",),
        metadata=_about(
            "The methods that count.", readers.list_of(readers.method, 'a list, such as ["POST"]')
        ),
    )
    events: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            'What counts: "login" and "multicall" (failed logins), "pingback" (failed pingbacks),'
            ' "users" (listed users), "disabled" (logins where XML-RPC is disabled). The same wrong'
            " password again is counted once within findtime.",
            readers.list_of(readers.event_name, 'a list, such as ["login", "pingback"]'),
        ),
    )
    maxretry: int = field(
        default=3,
        metadata=_about(
            "Number of hits within findtime that make a ban.", readers.whole(1, 10_000)
        ),
    )
    findtime: int = field(
        default=times.HOUR,
        metadata=_about_duration("Length of the sliding window in which hits are counted."),
    )
    bantime: int = field(default=times.DAY, metadata=_about_duration("Length of a first ban."))
    bantime_factor: float = field(
        default=1.0,
        metadata=_about(
            "Each further ban of an address is this many times as long as the previous one.",
            readers.factor,
        ),
    )
    max_bantime: int = field(
        default=30 * times.DAY, metadata=_about_duration("Maximum length of a ban.")
    )


@frozen(kw_only=True, field_transformer=_readable)
class FirewallConfig:
    """What is blocked in the kernel, and where."""

    table: str = field(
        default="xmlrpc_blocker",
        metadata=_about(
            "The nftables table (family inet); nothing outside it is touched.", readers.table
        ),
    )
    ports: tuple[int, ...] | Literal["all"] = field(
        default=(80, 443),
        metadata=_about(
            "The ports that are closed to banned addresses, TCP and UDP, as the client dials"
            ' them; "all" drops all their packets, SSH too.',
            readers.ports,
        ),
    )
    set_size: int = field(
        default=1_048_576,
        metadata=_about(
            "Capacity of each of the two sets of bans (IPv4, IPv6), in addresses.",
            readers.whole(1, 16_777_216),
        ),
    )


@frozen(kw_only=True, field_transformer=_readable)
class MetricsConfig:
    """Metrics for Prometheus."""

    listen: str = field(
        default="127.0.0.1:9947",
        metadata=_about(
            'Where /metrics is served: address:port ("[::1]:9947" for IPv6) or unix:/path;'
            ' "" or false disables it.',
            readers.listen,
        ),
    )
    web_config: str = field(
        default="",
        metadata=_about(
            "A web.config.file as of Prometheus' exporter-toolkit, for TLS and basic"
            ' authentication; "" for neither. Needs python3-yaml, and python3-bcrypt for users.',
            readers.file_if_any,
        ),
    )
    top_offenders: int = field(
        default=20,
        metadata=_about(
            "Number of top offenders (last 24 h) exported by address; 0 disables it.",
            readers.whole(0, 100),
        ),
    )
    per_log: bool = field(
        default=True,
        metadata=_about(
            'Export metrics per log; false aggregates them as log="all" (for hundreds of logs).',
            readers.flag,
        ),
    )

    @property
    def endpoint(self) -> tuple[str, int] | str | None:
        """Where to listen: address and port, or the path of a socket; None if disabled."""
        if not self.listen:
            return None
        if self.listen.startswith("unix:"):
            return self.listen.removeprefix("unix:")
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


@frozen(kw_only=True, field_transformer=_readable)
class OriginsConfig:
    """Databases (MaxMind DB files of any publisher) with the country or network of an address."""

    country_db: str = field(
        default="",
        metadata=_about(
            'Of countries, such as "/var/lib/GeoIP/GeoLite2-Country.mmdb"; "" for none. Needs'
            " python3-maxminddb. Read again on a reload.",
            readers.file_if_any,
        ),
    )
    asn_db: str = field(
        default="", metadata=_about('Of autonomous systems; "" for none.', readers.file_if_any)
    )


Traps: TypeAlias = Mapping[str, TrapConfig]

WORDPRESS = TrapConfig(kind=EVENT, path="", methods=(), events=("login", "multicall", "pingback"))
"""The default trap ``wordpress``."""


def _frozen_traps(value: Traps) -> Traps:
    return MappingProxyType(dict(value))


@frozen(kw_only=True, field_transformer=_readable)
class Config:
    """The whole configuration; without arguments, the defaults."""

    traps: Traps = field(
        factory=lambda: {"xmlrpc": TrapConfig(), "wordpress": WORDPRESS}, converter=_frozen_traps
    )
    logs: tuple[str, ...] = field(
        default=("/var/log/nginx/*access*.log", "/var/log/apache2/*access*.log"),
        metadata=_about(
            "The access logs, by name or pattern (xmlrpc-blocker logs proposes them, docs/logs.md"
            " lists the usual places); files that appear later are picked up."
            ' A unit of the systemd journal is "journal:nginx.service", a program that logs by'
            ' syslog "journal:identifier=nginx". Sockets that web servers send lines to are'
            ' "unix:/run/xmlrpc-blocker/access.sock" and "udp:127.0.0.1:5140", a pipe is'
            ' "fifo:/run/xmlrpc-blocker/access.fifo", and "-" the standard input of run.',
            readers.list_of(readers.log, 'a list, such as ["/var/log/nginx/*access*.log"]'),
        ),
    )
    format: str = field(
        default="auto",
        metadata=_about(
            'Their format: "auto" (recognised for each line), "common", "combined",'
            ' "vhost_combined", "json", "npm" (Nginx Proxy Manager), "lighttpd", "openlitespeed",'
            ' "haproxy", or a LogFormat of Apache or a log_format of nginx as it is in the'
            " server's own configuration.",
            readers.log_format,
        ),
    )
    events: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "Where WordPress reports failed logins and pingbacks, by a plugin (docs/wordpress.md):"
            ' "journal", the file of a syslog daemon such as "/var/log/auth.log", or a'
            ' socket of the plugin, "unix:/run/xmlrpc-blocker/events.sock". Name one of them for'
            " each site, or its failures count twice.",
            readers.list_of(readers.event_log, 'a list, such as ["journal"]', may_be_empty=True),
        ),
    )
    event_users: tuple[str, ...] = field(
        default=("www-data",),
        metadata=_about(
            "The users that WordPress runs as, by name or number: in the journal and at a socket"
            " only theirs and root's reports count. A file does not say who wrote a line.",
            readers.list_of(readers.user, 'a list of users, such as ["www-data"]'),
        ),
    )
    allow: tuple[str, ...] = field(
        default=("127.0.0.0/8", "::1"),
        metadata=_about(
            "Never banned: addresses, networks and shipped lists by name, such as"
            ' "@jetpack". The lists of several files add up.',
            readers.list_of(readers.friend, 'a list, such as ["192.0.2.0/24"]', may_be_empty=True),
        ),
    )
    ban_private: bool = field(
        default=False,
        metadata=_about(
            "Ban private and link-local addresses too (RFC 1918, 4193, 6598); often these are"
            " proxies or hosts of your own network.",
            readers.flag,
        ),
    )
    ban_proxies: bool = field(
        default=False,
        metadata=_about(
            "Ban the addresses of known CDNs, proxies and NAT64 too; one of them carries the"
            " requests of many visitors.",
            readers.flag,
        ),
    )
    dry_run: bool = field(
        default=False, metadata=_about("Judge and log, but block no address.", readers.flag)
    )
    lookback: int = field(
        metadata=_about_duration(
            "How far back a log is read that is seen for the first time. Default: the longest"
            " findtime."
        )
    )
    ipv6_prefix: int = field(
        default=64,
        metadata=_about(
            "IPv6 is judged and banned by networks of this length.", readers.whole(32, 128)
        ),
    )
    remember: int = field(
        default=90 * times.DAY,
        metadata=_about_duration(
            "How long a ban is remembered; the next one within that time is a further offence."
        ),
    )
    max_tracked: int = field(
        default=1_000_000,
        metadata=_about(
            "Maximum number of addresses with pending hits; beyond it, those that have been quiet"
            " longest are evicted.",
            readers.whole(1, 100_000_000),
        ),
    )
    max_remembered: int = field(
        default=1_000_000,
        metadata=_about(
            "Maximum number of remembered bans; beyond it, ended bans are evicted, of addresses"
            " with the fewest bans first.",
            readers.whole(1, 100_000_000),
        ),
    )
    state: str = field(
        default="/var/lib/xmlrpc-blocker/state.db",
        metadata=_about("The database of bans, windows and positions.", readers.file),
    )
    control: str = field(
        default="/run/xmlrpc-blocker/control.sock",
        metadata=_about(
            "The socket by which status, ban and unban reach the daemon.", readers.socket
        ),
    )
    log: Logs = ()
    firewall: FirewallConfig = field(factory=FirewallConfig)
    metrics: MetricsConfig = field(factory=MetricsConfig)
    origins: OriginsConfig = field(factory=OriginsConfig)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of all logs, each once."""
        return tuple(dict.fromkeys((*self.logs, *(log.path for log in self.log), *self.events)))

    def of_scheme(self, scheme: str) -> tuple[str, ...]:
        """The logs of one kind, such as the patterns of files; see ``sources.schemes``."""
        return tuple(each for each in self.patterns if scheme_of(each) == scheme)

    @property
    def own_formats(self) -> tuple[tuple[str, LogFormat], ...]:
        """The patterns of the logs with a format of their own, each with that format."""
        reports = ((name, EVENTS) for name in self.events)
        return (*reports, *((log.path, log.reading) for log in self.log))

    @property
    def used_traps(self) -> Traps:
        """The traps that may ban: without a source of events, those of events never do."""
        return {
            name: trap for name, trap in self.traps.items() if trap.kind == ACCESS or self.events
        }

    @property
    def event_writers(self) -> tuple[str, ...]:
        """The users whose word about events counts, where the system says who wrote it."""
        return ("root", *self.event_users)

    @property
    def never_banned(self) -> tuple[str, ...]:
        """The entries of ``allow``, and the proxies that are believed: all clients come by them."""
        return (*self.allow, *(each for log in self.log for each in log.proxy[0]))

    @lookback.default
    def _longest_findtime(self) -> int:
        return max((trap.findtime for trap in self.used_traps.values()), default=times.HOUR)
