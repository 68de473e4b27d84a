"""Friends: the addresses that are never banned, each with the reason why.

Rules:

* pure: the text of the shipped lists is handed in, nothing is read here;
* a look-up costs one dictionary access per prefix length in use, however long the lists are;
* what ``allow`` names literally wins; otherwise the longest prefix gives the reason;
* documentation and benchmarking ranges (RFC 5737, 2544, 3849) are ordinary addresses, so
  ``ipaddress``'s ``is_private`` is not asked.

The keys of the tables come from the configuration and the lists, never from a log, so that
nobody can choose them to collide.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import NamedTuple, TypeAlias

from blocker.errors import ConfigError
from blocker.model import Address, Subject

Network: TypeAlias = IPv4Network | IPv6Network

LIST_NAMES = (
    "akamai",
    "azure-front-door",
    "bunny",
    "cloudflare",
    "cloudflare-china",
    "cloudfront",
    "fastly",
    "google-lb",
    "imperva",
    "jetpack",
    "quic-cloud",
    "sucuri",
)
"""The shipped lists; ``allow`` may name each as ``@NAME``."""

LOOPBACK = ("127.0.0.0/8", "::1/128")
LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
NAT64 = ("64:ff9b::/96", "64:ff9b:1::/48")

_NAT64_STARTS = tuple(int(IPv6Network(prefix).network_address) for prefix in NAT64)
_HEADER = re.compile(r"#\s*(name|title|source|date|kind):\s*(\S.*?)\s*$")


class ShippedList(NamedTuple):
    """One list of networks that comes with the program.

    Attributes:
        name: as in ``@name`` and ``proxy:name``.
        title: whose addresses these are.
        source: where they are published.
        date: of the data, ``YYYY-MM-DD``: how old the list is.
        kind: ``proxy`` (a friend unless ``ban_proxies``) or ``service`` (only if ``allow`` asks).
        networks: as the file lists them.
    """

    name: str
    title: str
    source: str
    date: str
    kind: str
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, text: str) -> "ShippedList":
        """Return the list that a file's text holds; ValueError names what is wrong."""
        lines = [line.strip() for line in text.splitlines()]
        header = {match[1]: match[2] for match in map(_HEADER.match, lines) if match}
        missing = [key for key in cls._fields[:5] if key not in header]
        if missing:
            raise ValueError(f"the header lacks {', '.join(missing)}")
        if header["kind"] not in {"proxy", "service"}:
            raise ValueError(f"kind is proxy or service, not {header['kind']!r}")
        rows = (line for line in lines if line and not line.startswith("#"))
        return cls(networks=tuple(map(_network, rows)), **header)


def _network(text: str) -> Network:
    # ip_network would try IPv4 first, and take twice as long to say what is IPv6.
    return IPv6Network(text) if ":" in text else IPv4Network(text)


class _Entry(NamedTuple):
    network: Network
    reason: str


_Level: TypeAlias = tuple[int, dict[int, str]]
"""How far to shift an address, and the reasons by what is left of it."""


class Friends:
    """Who is never banned, and why.  Immutable: a changed configuration builds another."""

    def __init__(self, allow: list[_Entry], rest: list[_Entry], passing: list[Network]) -> None:
        self._entries = (allow, rest)
        self._passing = passing
        # By their first two bytes, most strangers are told at one look.
        self._near = {length: _near(allow + rest, length) for length in (4, 16)}
        self.reasons = tuple(sorted({entry.reason for entry in (*allow, *rest)}))
        """Every reason that there is."""
        self._nat64 = any(entry.reason == "nat64" for entry in rest)

    # Made when they are first asked for: most commands need few of them.

    @cached_property
    def _levels4(self) -> tuple[_Level, ...]:
        return tuple(level for entries in self._entries for level in _levels(entries, 4))

    @cached_property
    def _levels6(self) -> tuple[_Level, ...]:
        return tuple(level for entries in self._entries for level in _levels(entries, 6))

    @cached_property
    def networks4(self) -> tuple[IPv4Network, ...]:
        """What the kernel lets pass before it looks at the bans; collapsed and sorted."""
        return tuple(collapse_addresses(n for n in self._passing if isinstance(n, IPv4Network)))

    @cached_property
    def networks6(self) -> tuple[IPv6Network, ...]:
        """The same for IPv6, with the proxies that are narrower than a banned network."""
        return tuple(collapse_addresses(n for n in self._passing if isinstance(n, IPv6Network)))

    @classmethod
    def build(
        cls,
        *,
        allow: Iterable[str] = (),
        own: Iterable[Address] = (),
        ban_private: bool = False,
        ban_proxies: bool = False,
        lists: Mapping[str, ShippedList],
        ipv6_prefix: int = 64,
    ) -> "Friends":
        """Return the friends of a configuration on a host that has the addresses ``own``.

        Raises:
            ConfigError: ``allow`` names a list that is not in ``lists``, or is no network.
        """
        literal, named = _allowed(allow, lists)
        always = _named(LOOPBACK, "loopback")
        always[:0] = [_Entry(ip_network(address), "own") for address in own]
        if not ban_private:
            always += _named(LINK_LOCAL, "link-local") + _named(PRIVATE, "private")
        always += named
        proxies = [] if ban_proxies else _proxies(lists)
        narrow = [e.network for e in proxies if e.network.version == 6]
        passing = [e.network for e in literal + always]
        passing += [network for network in narrow if network.prefixlen > ipv6_prefix]
        return cls(literal, always + proxies, passing)

    def why(self, address: Address) -> str | None:
        """Return why this address, 4 or 16 bytes, is never banned; None if it may be.

        >>> Friends.build(lists={}).why(bytes([10, 1, 2, 3]))
        'private'
        """
        if not self._near[len(address)][address[0] << 8 | address[1]]:
            return None
        value = int.from_bytes(address)
        for shift, reasons in self._levels4 if len(address) == 4 else self._levels6:
            reason = reasons.get(value >> shift)
            if reason is not None:
                return reason
        return None

    def is_proxy(self, address: Address) -> bool:
        """Whether the address is that of a known proxy, whose word about its client counts.

        A private address is none: it may be a proxy that passes on what a client chose to say.
        """
        return (self.why(address) or "").startswith("proxy:")

    def covers(self, subject: Subject, ipv6_prefix: int = 64) -> str | None:
        """Return why this whole subject is a friend; None if it may be banned.

        A network that only contains a friend may be banned, for the kernel lets the friend pass.
        One that touches a NAT64 prefix may not: it stands for the whole of IPv4.
        """
        if len(subject) == 4:
            return self.why(subject)
        value = int.from_bytes(subject)
        host_bits = 128 - ipv6_prefix
        for shift, reasons in self._levels6:
            if shift >= host_bits and (reason := reasons.get(value >> shift)) is not None:
                return reason
        touched = self._nat64 and any(value >> host_bits == n >> host_bits for n in _NAT64_STARTS)
        return "nat64" if touched else None


def _near(entries: Iterable[_Entry], length: int) -> bytes:
    """Return for each first two bytes whether a network of such addresses begins so."""
    near = bytearray(1 << 16)
    for network, _ in entries:
        packed = network.network_address.packed
        if len(packed) == length:
            first, more = int.from_bytes(packed[:2]), 1 << max(0, 16 - network.prefixlen)
            near[first : first + more] = b"\1" * more
    return bytes(near)


def _named(networks: Iterable[str | Network], reason: str) -> list[_Entry]:
    return [_Entry(ip_network(n) if isinstance(n, str) else n, reason) for n in networks]


def _allowed(
    allow: Iterable[str], lists: Mapping[str, ShippedList]
) -> tuple[list[_Entry], list[_Entry]]:
    """Split ``allow`` into what it says literally and what the lists that it names hold."""
    literal: list[_Entry] = []
    named: list[_Entry] = []
    for item in allow:
        if not item.startswith("@"):
            literal += _literal(item)
        elif item[1:] in lists:
            named += _named(lists[item[1:]].networks, item)
        else:
            known = " ".join(f"@{name}" for name in lists)
            raise ConfigError(f"allow: no list is named {item}; there are: {known or 'none'}")
    return literal, named


def _literal(item: str) -> list[_Entry]:
    try:
        return _named([item], "allow")
    except ValueError as error:
        raise ConfigError(f"allow: {item!r} is neither an address nor a network: {error}") from None


def _proxies(lists: Mapping[str, ShippedList]) -> list[_Entry]:
    entries = _named(NAT64, "nat64")
    for shipped in lists.values():
        if shipped.kind == "proxy":
            entries += _named(shipped.networks, f"proxy:{shipped.name}")
    return entries


def _levels(entries: list[_Entry], version: int) -> tuple[_Level, ...]:
    """Sort networks by prefix length, longest first; of two reasons the first given stays."""
    by_shift: dict[int, dict[int, str]] = {}
    for network, reason in _merged(entry for entry in entries if entry.network.version == version):
        shift = network.max_prefixlen - network.prefixlen
        by_shift.setdefault(shift, {}).setdefault(int(network.network_address) >> shift, reason)
    return tuple(sorted(by_shift.items()))


def _merged(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """Join neighbours that share a reason, so that two halves cover their whole."""
    by_reason: dict[str, list[Network]] = {}
    for network, reason in entries:
        by_reason.setdefault(reason, []).append(network)
    for reason, networks in by_reason.items():
        for network in collapse_addresses(networks):  # type: ignore[type-var]
            yield _Entry(network, reason)
