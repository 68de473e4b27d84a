"""Where the shipped lists of networks are published, and how to read what is published.  Pure.

A list makes friends, so what is fetched is looked at with suspicion: no network so wide that it
would let a part of the internet in, and no list that shrinks or grows beyond belief is taken
without being told to.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, NamedTuple

from blocker.friends import Network, ShippedList

MAX_NETWORKS = 100_000
WIDEST4, WIDEST6 = 10, 20
"""Prefix lengths: what is wider is a mistake, or an attack on the publisher."""
SHRUNK, GROWN = 2, 10
"""Below half, or beyond ten times what it covered, a list is not believed."""


class Source(NamedTuple):
    """Where a list comes from.

    Attributes:
        urls: to be fetched, all of them; none where it is published for people only.
        member: in JSON, only what stands under this name counts.
        labelled: in JSON, only objects count that have a member of this value.
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
    """Return the networks of a published list, in order, each once.

    Plain text holds addresses and networks, one or more a line, with # or ; before a remark; in
    JSON every string counts that is a network with its length, wherever it stands.

    >>> parse_networks('{"addresses": ["198.51.100.0/24"], "date": "2026-01-01"}')
    (IPv4Network('198.51.100.0/24'),)

    Raises:
        ValueError: something is no network, or too wide; or there are none, or too many.
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
        raise ValueError("a network has no interface")  # what stands behind it would be printed
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
    """Yield the parts of a document that count."""
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
    """Yield everything in a document, in order; however deep, for the stack is our own."""
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
    """What a fresh list would change."""

    added: tuple[Network, ...]
    removed: tuple[Network, ...]


def difference(old: Sequence[Network], new: Sequence[Network]) -> Difference:
    """Return what is added and what is removed, each in order."""
    before, after = set(old), set(new)
    return Difference(
        tuple(sorted(after - before, key=_order)), tuple(sorted(before - after, key=_order))
    )


def beyond_belief(old: Sequence[Network], new: Sequence[Network]) -> str:
    """Return why a fresh list should not be taken without a second look, or nothing."""
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
    """Return the file of a list, as ``ShippedList.parse`` reads it."""
    head = {"name": old.name, "title": old.title, "source": source, "date": date, "kind": old.kind}
    lines = [f"# {key}: {value}" for key, value in head.items()]
    return "\n".join([*lines, *map(str, networks)]) + "\n"
