"""The host's own addresses, from /proc."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from blocker.model import Address


def own_addresses(proc: Path = Path("/proc")) -> tuple[Address, ...]:
    """Return the addresses of the host (of its network namespace), except loopback.

    ``self/net`` is read rather than ``net``, which a sandbox that shows only processes hides.
    """
    found = [*_ipv4(proc / "self/net/fib_trie"), *_ipv6(proc / "self/net/if_inet6")]
    return tuple(dict.fromkeys(found))


def lasting(addresses: Iterable[Address]) -> frozenset[Address]:
    """Return the addresses whose change requires a reload: all but link-local ones.

    A link-local address comes and goes with each container, and is not visible elsewhere.
    """
    return frozenset(each for each in addresses if not ip_address(each).is_link_local)


def _ipv4(path: Path) -> Iterator[Address]:
    """Yield the local addresses in the routing table: ``|-- A`` above ``/32 host LOCAL``.

    Read line by line, because on a router the file holds the whole routing table of the internet.
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
    except FileNotFoundError:  # a kernel without this address family
        return
