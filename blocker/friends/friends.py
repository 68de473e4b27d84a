"""Friends: the addresses that are never banned, each with the reason.

Rules:

* pure: the shipped lists are arguments, nothing is read here;
* a look-up costs one dictionary access per prefix length in use, however long the lists are;
* a literal entry of ``allow`` wins; otherwise the longest prefix gives the reason;
* documentation and benchmarking ranges (RFC 5737, 2544, 3849) are ordinary addresses, so
  ``is_private`` of ``ipaddress`` is not used.

The keys of the tables come from the configuration and the lists, never from a log, so that an
attacker can't choose keys that collide.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import NamedTuple, TypeAlias

from blocker.errors import ConfigError
from blocker.friends.network_list import Network, ShippedList
from blocker.model import Address, Subject

LOOPBACK = ("127.0.0.0/8", "::1/128")
LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
NAT64 = ("64:ff9b::/96", "64:ff9b:1::/48")

_NAT64_STARTS = tuple(int(IPv6Network(prefix).network_address) for prefix in NAT64)


class _Entry(NamedTuple):
    network: Network
    reason: str


_Level: TypeAlias = tuple[int, dict[int, str]]
"""The networks of one prefix length: number of host bits, and the reasons by network bits."""


class Friends:
    """Answers which addresses are never banned, and why.

    Immutable: for a changed configuration, build another.

    Attributes:
        reasons: all reasons that occur, sorted.
    """

    def __init__(
        self,
        allow: list[_Entry],
        rest: list[_Entry],
        passing: list[Network],
        lists: Mapping[str, ShippedList],
    ) -> None:
        self._entries, self._lists = (allow, rest), lists
        self._passing = passing
        # The first two bytes are enough to recognise most addresses that are no friends.
        self._near = {length: _near(allow + rest, length) for length in (4, 16)}
        self.reasons = tuple(sorted({entry.reason for entry in (*allow, *rest)}))
        self._nat64 = any(entry.reason == "nat64" for entry in rest)

    # Computed on first use: most commands need few of these.

    @cached_property
    def _levels4(self) -> tuple[_Level, ...]:
        return tuple(level for entries in self._entries for level in _levels(entries, 4))

    @cached_property
    def _levels6(self) -> tuple[_Level, ...]:
        return tuple(level for entries in self._entries for level in _levels(entries, 6))

    @cached_property
    def networks4(self) -> tuple[IPv4Network, ...]:
        """IPv4 networks that the kernel accepts even if a ban covers them; collapsed, sorted."""
        return tuple(collapse_addresses(n for n in self._passing if isinstance(n, IPv4Network)))

    @cached_property
    def networks6(self) -> tuple[IPv6Network, ...]:
        """The same for IPv6, including proxies whose network is smaller than a banned one."""
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
        """Return the friends for a configuration; ``own`` are the addresses of the host.

        Raises:
            ConfigError: ``allow`` names a list that is not in ``lists``, or has an invalid network.
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
        return cls(literal, always + proxies, passing, lists)

    def why(self, address: Address) -> str | None:
        """Return why an address (4 or 16 bytes) is never banned, or None if it may be banned.

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
        """Return whether an address is a known proxy, whose log field for the client is trusted.

        A private address is not: a proxy there may forward a header that the client chose.
        """
        return (self.why(address) or "").startswith("proxy:")

    def among(self, names: Iterable[str]) -> Callable[[Address], bool]:
        """Return a function: whether an address is in one of these networks or lists.

        Raises:
            ConfigError: a list is unknown, or a network is invalid.
        """
        entries = [entry for each in _allowed(names, self._lists) for entry in each]
        levels = {length: _levels(entries, 4 if length == 4 else 6) for length in (4, 16)}

        def is_among(address: Address) -> bool:
            value = int.from_bytes(address)
            return any(value >> shift in networks for shift, networks in levels[len(address)])

        return is_among

    def covers(self, subject: Subject, ipv6_prefix: int = 64) -> str | None:
        """Return why a whole subject is a friend, or None if it may be banned.

        A network that only contains a friend may be banned, because the kernel lets the friend
        pass.  A network that overlaps a NAT64 prefix may not: it represents all of IPv4.
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
    """Return a flag for each value of an address's first two bytes: 1 if it may be a friend."""
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
    """Return the literal entries of ``allow``, and the entries of the lists that it names."""
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
    """Return networks by prefix length, longest first; of two reasons the first one wins."""
    by_shift: dict[int, dict[int, str]] = {}
    for network, reason in _merged(entry for entry in entries if entry.network.version == version):
        shift = network.max_prefixlen - network.prefixlen
        by_shift.setdefault(shift, {}).setdefault(int(network.network_address) >> shift, reason)
    return tuple(sorted(by_shift.items()))


def _merged(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """Join adjacent networks with the same reason, so that two halves cover their whole."""
    by_reason: dict[str, list[Network]] = {}
    for network, reason in entries:
        by_reason.setdefault(reason, []).append(network)
    for reason, networks in by_reason.items():
        for network in collapse_addresses(networks):  # type: ignore[type-var]
            yield _Entry(network, reason)
