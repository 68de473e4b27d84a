"""The nftables table as text: its sets, counters, chains and rules.  Pure.

What belongs here: the layout of the table and its rendering in nft's language (of nft 1.0.6 or
later).  What must never: an element of a ban set, or anything other than a checked identifier, an
integer or an ``ipaddress`` object, so that no text from outside can reach nft's parser.

The invariant: ``render`` is one transaction, and idempotent.  Loaded over itself it keeps bans,
hits and counters; loaded over another layout it replaces ports, allowed networks and rules.

How a packet travels::

    prerouting ─ from loopback ──────────────▶ accept
       │ source in ban4 / ban6 (the only look-up that every packet pays for)
       ▼
    banned4/6 ── source in allow4/6 ─────────▶ accept
       │  └───── neighbour discovery ────────▶ accept    (only where every port is closed)
       │ destination port in ports, or all
       ▼
    drop4/6 ──── update hits4/6 ── count ────▶ drop
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import attrs

from blocker.errors import ConfigError

PRIORITY = -310
"""Before connection tracking (-200) and DNAT (-100): a banned packet creates no conntrack entry,
and forwarded traffic, for example to containers, is dropped as well."""

BASE_CHAIN = "prerouting"
BAN_SETS = ("ban4", "ban6")
HIT_SETS = ("hits4", "hits6")
COUNTERS = ("dropped4", "dropped6")
CONFIGURED_SETS = ("ports", "allow4", "allow6")
"""Sets whose elements come from the configuration: emptied and refilled by every load."""

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_NEIGHBOURS = (
    "icmpv6 type { packet-too-big, nd-router-solicit, nd-router-advert, "
    "nd-neighbor-solicit, nd-neighbor-advert } accept"
)

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def table_name(name: str) -> str:
    """Return the name of a table unchanged.

    Raises:
        ConfigError: ``name`` is not an identifier.
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise ConfigError(
            f"table {name!r} is no name for an nftables table: "
            "use a letter, then at most 63 letters, digits and underscores"
        )
    return name


def _is_table(_: "Layout", __: "attrs.Attribute[str]", value: str) -> None:
    table_name(value)


def _are_ports(_: "Layout", __: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is None:
        return
    if not value:
        raise ConfigError('ports are empty, so nothing would be blocked: name some, or "all"')
    for port in value:
        if type(port) is not int or not 0 < port < 65536:
            raise ConfigError(f"port {port!r} is no port: use 1 to 65535")


def _between(low: int, high: int) -> Callable[["Layout", "attrs.Attribute[int]", int], None]:
    def check(_: "Layout", attribute: "attrs.Attribute[int]", value: int) -> None:
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"{attribute.name} is {value!r}: use {low} to {high}")

    return check


def _are_networks(
    kind: type[_Network],
) -> Callable[["Layout", "attrs.Attribute[Any]", Sequence[_Network]], None]:
    def check(_: "Layout", attribute: "attrs.Attribute[Any]", value: Sequence[_Network]) -> None:
        for network in value:
            if not isinstance(network, kind):
                raise ConfigError(f"{attribute.name} holds {network!r}: use {kind.__name__}")

    return check


@attrs.frozen
class Layout:
    """The parts of the table that depend on the configuration.

    Attributes:
        table: name of the table, in the family ``inet``.
        ports: destination ports to block, TCP and UDP; None blocks everything.
        allow4: IPv4 networks that pass even when a ban covers them.
        allow6: the same for IPv6.
        ipv6_prefix: length of the prefix by which IPv6 is banned, bits.
        ban_size: ceiling of the elements in each ban set.
        hits_size: ceiling of the elements in each set that counts packets of banned subjects.
        timeout: default timeout of an element, seconds.
    """

    table: str = attrs.field(default="xmlrpc_blocker", validator=_is_table)
    ports: tuple[int, ...] | None = attrs.field(default=(80, 443), validator=_are_ports)
    allow4: tuple[ipaddress.IPv4Network, ...] = attrs.field(
        default=(), validator=_are_networks(ipaddress.IPv4Network)
    )
    allow6: tuple[ipaddress.IPv6Network, ...] = attrs.field(
        default=(), validator=_are_networks(ipaddress.IPv6Network)
    )
    ipv6_prefix: int = attrs.field(default=64, validator=_between(1, 128))
    ban_size: int = attrs.field(default=1_048_576, validator=_between(1, 2**31))
    hits_size: int = attrs.field(default=65_536, validator=_between(1, 2**31))
    timeout: int = attrs.field(default=86_400, validator=_between(1, 2**31))


def rules(layout: Layout) -> dict[str, tuple[str, ...]]:
    """Return the rules of each chain, in order.

    Counting and dropping are a separate rule: if the set is full, the rule with ``update`` ends
    there, and the packet would pass.
    """
    source6 = _ipv6_source(layout.ipv6_prefix)
    return {
        "drop4": ("update @hits4 { ip saddr }", 'counter name "dropped4" drop'),
        "drop6": (f"update @hits6 {{ {source6} }}", 'counter name "dropped6" drop'),
        "banned4": ("ip saddr @allow4 accept", *_verdict(layout, 4)),
        "banned6": ("ip6 saddr @allow6 accept", *_verdict(layout, 6)),
        BASE_CHAIN: (
            'iif "lo" accept',
            "ip saddr @ban4 goto banned4",
            f"{source6} @ban6 goto banned6",
        ),
    }


def render(layout: Layout) -> str:
    """Return the text that brings the table to this layout: one transaction, idempotent.

    Chains and configured sets are flushed first; ``add`` of an existing object changes nothing, so
    that bans, hits and counters stay.
    """
    table = f"inet {layout.table}"
    chains = rules(layout)
    hook = f"{{ type filter hook {BASE_CHAIN} priority {PRIORITY}; policy accept; }}"
    lines = [f"add table {table}", f"add chain {table} {BASE_CHAIN} {hook}"]
    lines += [f"add chain {table} {name}" for name in chains if name != BASE_CHAIN]
    lines += [f"flush chain {table} {name}" for name in chains]
    configured = _configured_sets(layout)
    lines += [f"add set {table} {name} {{ {kind} }}" for name, (kind, _) in configured.items()]
    lines += [f"flush set {table} {name}" for name in configured]
    lines += [f"table {table} {{"]
    lines += [f"  set {name} {{ {kind}{have} }}" for name, (kind, have) in configured.items()]
    lines += _dynamic_sets(layout)
    lines += [f"  counter {name} {{ }}" for name in COUNTERS]
    for name, body in chains.items():
        # nft 1.0.6 requires a newline before the closing brace of a chain.
        lines += [f"  chain {name} {{", *(f"    {rule}" for rule in body), "  }"]
    return "\n".join([*lines, "}", ""])


def remove(layout: Layout) -> str:
    """Return the text that deletes the table, whether it exists or not.

    nft 1.0.6 has no ``destroy``; the table is added first, so that the deletion never fails.
    """
    return f"add table inet {layout.table}\ndelete table inet {layout.table}\n"


def _verdict(layout: Layout, version: int) -> tuple[str, ...]:
    """Return the rules for packets of a banned address that is not in an allow set."""
    if layout.ports is not None:
        return (f"meta l4proto {{ tcp, udp }} th dport @ports goto drop{version}",)
    if version == 4:
        return ("goto drop4",)
    # A ban of the host's own /64 must not cut it off from its router.
    return (_NEIGHBOURS, "goto drop6")


def _ipv6_source(prefix: int) -> str:
    """Return the expression for the network that an IPv6 packet comes from."""
    if prefix == 128:
        return "ip6 saddr"
    mask = ipaddress.IPv6Address((2**128 - 1) ^ (2 ** (128 - prefix) - 1))
    return f"ip6 saddr and {mask}"


def _configured_sets(layout: Layout) -> dict[str, tuple[str, str]]:
    """Return definition and elements of the sets that the configuration fills.

    Networks are collapsed here: without overlaps, the sets need no auto-merge.
    """
    allow4 = ipaddress.collapse_addresses(layout.allow4)
    allow6 = ipaddress.collapse_addresses(layout.allow6)
    return {
        "ports": ("type inet_service;", _elements(sorted(set(layout.ports or ())))),
        "allow4": ("type ipv4_addr; flags interval;", _elements(allow4)),
        "allow6": ("type ipv6_addr; flags interval;", _elements(allow6)),
    }


def _elements(values: Iterable[object]) -> str:
    """Return the clause that fills a set, "" without elements: nft rejects empty braces."""
    text = ", ".join(str(value) for value in values)
    return f" elements = {{ {text} }};" if text else ""


def _dynamic_sets(layout: Layout) -> list[str]:
    """Return the sets that the daemon and the packets fill.

    Garbage is collected every 60 s instead of every second, which would cost 22 ms of CPU per
    second with a million elements.  The size is explicit: without one, a rule that updates a set
    sets it to 65,535.
    """
    common = f"timeout {layout.timeout}s; gc-interval 60s;"
    lines = []
    for name, kind in zip(BAN_SETS, ("ipv4_addr", "ipv6_addr"), strict=True):
        lines.append(
            f"  set {name} {{ type {kind}; flags timeout; {common} size {layout.ban_size}; }}"
        )
    for name, kind in zip(HIT_SETS, ("ipv4_addr", "ipv6_addr"), strict=True):
        lines.append(
            f"  set {name} {{ type {kind}; flags dynamic,timeout; {common} "
            f"size {layout.hits_size}; counter; }}"
        )
    return lines
