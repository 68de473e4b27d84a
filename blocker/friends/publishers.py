"""The publishers of the shipped lists, and the parser of what they publish.  Pure.

A list makes friends, so a fetched list is not trusted: a network so wide that it would exempt a
part of the internet is refused, and a list that shrank or grew suspiciously is accepted only if
the administrator forces it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, NamedTuple

from blocker.friends.network_list import Network, ShippedList

MAX_NETWORKS = 100_000
"""Ceiling of the networks in a list."""
WIDEST4, WIDEST6 = 10, 20
"""Shortest accepted prefix lengths; a wider network is a mistake, or an attack on the publisher."""
SHRUNK, GROWN = 2, 10
"""A list is suspicious if it covers less than 1/2, or more than 10 times, the addresses that it
covered before."""


class Source(NamedTuple):
    """The source of a list.

    Attributes:
        urls: URLs that together hold the list; empty if there is no machine-readable list.
        member: in JSON, only values of members with this name are read.
        labelled: in JSON, only objects with a member of this value are read.
    """

    urls: tuple[str, ...] = ()
    member: str = ""
    labelled: str = ""


SOURCES = {
    "akamai": Source(),
    "azure-front-door": Source(labelled="AzureFrontDoor.Backend"),
    "bunny": Source((
        "https://bunnycdn.com/api/system/edgeserverlist/plain",
        "https://bunnycdn.com/api/system/edgeserverlist/IPv6/plain",
    )),
    "cloudflare": Source((
        "https://www.cloudflare.com/ips-v4",
        "https://www.cloudflare.com/ips-v6",
    )),
    "cloudflare-china": Source(
        ("https://api.cloudflare.com/client/v4/ips?networks=jdcloud",), member="jdcloud_cidrs"
    ),
    "cloudfront": Source(
        ("https://ip-ranges.amazonaws.com/ip-ranges.json",), labelled="CLOUDFRONT_ORIGIN_FACING"
    ),
    "fastly": Source(("https://api.fastly.com/public-ip-list",)),
    "google-lb": Source(),
    "imperva": Source(("https://my.imperva.com/api/integration/v1/ips",)),
    "jetpack": Source(("https://jetpack.com/ips-v4.txt",)),
    "quic-cloud": Source(("https://quic.cloud/ips?ln",)),
    "sucuri": Source(),
}  # fmt: skip

_COMMENT = re.compile(r"[#;].*")
_SEPARATORS = re.compile(r"[\s,]+")


def parse_networks(text: str, source: Source = Source()) -> tuple[Network, ...]:  # noqa: B008 - frozen
    """Return the networks of a published list, sorted, without duplicates.

    Plain text holds addresses and networks, one or more per line, and comments after # or ;.  In
    JSON, every string that is a network with a prefix length is read, at any depth.

    >>> parse_networks('{"addresses": ["198.51.100.0/24"], "date": "2026-01-01"}')
    (IPv4Network('198.51.100.0/24'),)

    Raises:
        ValueError: an entry is no network or too wide, or there are no networks or too many.
    """
    is_json = text.lstrip()[:1] in {"{", "["}
    found = _in_json(text, source) if is_json else _in_lines(text)
    networks = dict.fromkeys(found)
    if not networks:
        raise ValueError("holds no networks")
    if len(networks) > MAX_NETWORKS:
        raise ValueError(f"holds {len(networks)} networks; more than {MAX_NETWORKS} are no list")
    for network in networks:
        if network.prefixlen < (WIDEST4 if network.version == 4 else WIDEST6):
            raise ValueError(f"holds {network}, which is too much to be one publisher's")
    return tuple(sorted(networks, key=_order))


def _network(text: str) -> Network:
    if "%" in text:
        raise ValueError("a network has no interface")  # the text after % would be printed
    return ip_network(text)


def _in_lines(text: str) -> Iterator[Network]:
    for number, line in enumerate(text.splitlines(), 1):
        for word in filter(None, _SEPARATORS.split(_COMMENT.sub("", line))):
            try:
                yield _network(word)
            except ValueError:
                raise ValueError(f"line {number}: {word[:40]!a} is no network") from None


def _in_json(text: str, source: Source) -> Iterator[Network]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None
    for part in _selected(document, source):
        for leaf in _leaves(part):
            if isinstance(leaf, str) and "/" in leaf and len(leaf) < 64:
                try:
                    yield _network(leaf)
                except ValueError:
                    continue


def _selected(document: Any, source: Source) -> Iterator[Any]:
    """Yield the parts of a document from which networks are read."""
    if not (source.member or source.labelled):
        yield document
        return
    for node in _nodes(document):
        if isinstance(node, dict):
            if source.member in node:
                yield node[source.member]
            elif source.labelled and source.labelled in map(str, _strings(node.values())):
                yield node


def _strings(values: Iterable[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


def _leaves(document: Any) -> Iterator[Any]:
    return (node for node in _nodes(document) if not isinstance(node, dict | list))


def _nodes(document: Any) -> Iterator[Any]:
    """Yield all values in a document, in order; without recursion, so at any depth."""
    waiting = [document]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            waiting.extend(reversed(node))


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


class Difference(NamedTuple):
    """The changes from one list to another."""

    added: tuple[Network, ...]
    removed: tuple[Network, ...]


def difference(old: Sequence[Network], new: Sequence[Network]) -> Difference:
    """Return the added and the removed networks, each sorted."""
    before, after = set(old), set(new)
    return Difference(
        tuple(sorted(after - before, key=_order)), tuple(sorted(before - after, key=_order))
    )


def suspicious(old: Sequence[Network], new: Sequence[Network]) -> str:
    """Return why a list is suspicious compared with the previous one, or ""."""
    for version in (4, 6):
        before, after = _covered(old, version), _covered(new, version)
        if after * SHRUNK < before:
            return f"covers less than half of the IPv{version} addresses that it covered"
        if before and after > before * GROWN:
            return f"covers more than {GROWN} times the IPv{version} addresses that it covered"
    return ""


def _covered(networks: Sequence[Network], version: int) -> int:
    if version == 4:
        four = [network for network in networks if isinstance(network, IPv4Network)]
        return sum(network.num_addresses for network in collapse_addresses(four))
    six = [network for network in networks if isinstance(network, IPv6Network)]
    return sum(network.num_addresses for network in collapse_addresses(six))


def render(old: ShippedList, networks: Sequence[Network], date: str, source: str) -> str:
    """Return the text of a list's file, as ``ShippedList.parse`` reads it."""
    head = {"name": old.name, "title": old.title, "source": source, "date": date, "kind": old.kind}
    lines = [f"# {key}: {value}" for key, value in head.items()]
    return "\n".join([*lines, *map(str, networks)]) + "\n"
