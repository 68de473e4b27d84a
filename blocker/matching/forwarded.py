"""The client of a request that came through a proxy, by a list of addresses in the log.  Pure.

Each proxy appends the address that connected to it (``X-Forwarded-For``), so only what proxies of
ours appended is true; what stands left of it may have been sent by the client.  The list is
read from its right end:

* if the address that connected is no proxy of ours, it is the client, and the list is ignored;
* an address in the list that is a proxy of ours is passed over, and the next one is looked at;
* the first address that is none is the client;
* at an item that is no address, the proxy that appended it is taken for the client: nothing
  further left is believed.

Addresses of proxies of ours are friends, so such a line leads to no ban.
"""

from collections.abc import Callable

from blocker.addresses import parse_address
from blocker.model import Address

MAX_HOPS = 16
"""Ceiling of the proxies that are passed over."""


def without_port(address: bytes) -> bytes:
    """Return the host of ``host:port`` or ``[IPv6]:port``."""
    if address.startswith(b"["):
        return address[1:].partition(b"]")[0]
    return address.partition(b":")[0] if address.count(b":") == 1 else address


def client_of(peer: bytes, forwarded: bytes, is_ours: Callable[[Address], bool]) -> bytes:
    """Return the text of the client's address.

    Args:
        peer: the address that connected.
        forwarded: addresses with commas between them, each perhaps with a port; or nothing.
        is_ours: returns whether an address is a proxy that is believed.
    """
    hop = without_port(peer)
    packed = parse_address(hop)
    # One more than the hops: the first holds all that is left of them.
    for item in reversed(forwarded.rsplit(b",", MAX_HOPS)):
        if packed is None or not is_ours(packed):
            break
        found = without_port(item.strip(b" \t"))
        packed = parse_address(found)
        hop = hop if packed is None else found
    return hop
