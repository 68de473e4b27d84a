"""A list of networks with its name, kind, source and date.  Pure."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple, TypeAlias

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
_HEADER = re.compile(r"#\s*(name|title|source|date|kind):\s*(.+)")


class ShippedList(NamedTuple):
    """One list of networks that comes with the program.

    Attributes:
        name: as in ``@name`` and ``proxy:name``.
        title: the operator of the addresses.
        source: where the list is published.
        date: date of the data, ``YYYY-MM-DD``.
        kind: ``proxy`` (friends unless ``ban_proxies``) or ``service`` (only if in ``allow``).
        networks: the networks in the order of the file.
    """

    name: str
    title: str
    source: str
    date: str
    kind: str
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, text: str) -> "ShippedList":
        """Return the list in the text of a file.

        Raises:
            ValueError: the header or a network is invalid; the message says which.
        """
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
    # ip_network tries IPv4 first, and takes twice as long for IPv6.
    return IPv6Network(text) if ":" in text else IPv4Network(text)
