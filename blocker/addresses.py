"""Parses addresses into packed bytes, and computes and formats subjects.  Pure."""

import ipaddress
from socket import AF_INET, AF_INET6, inet_pton

from blocker.model import Address, Subject


def subject_of(address: Address, ipv6_prefix: int = 64) -> Subject:
    """Return the subject of an address; ``ipv6_prefix`` is in bits.

    >>> subject_of(bytes([192, 0, 2, 1])).hex()
    'c0000201'
    """
    if len(address) == 4:
        return address
    whole, bits = divmod(ipv6_prefix, 8)
    if not bits:
        return address[:whole] + bytes(16 - whole)
    edge = address[whole] & (-1 << 8 - bits)
    return address[:whole] + bytes([edge]) + bytes(15 - whole)


def format_subject(subject: Subject, ipv6_prefix: int = 64) -> str:
    """Return a subject as text; an IPv6 network always has its prefix length.

    >>> format_subject(bytes([192, 0, 2, 1]))
    '192.0.2.1'
    """
    if len(subject) == 4:
        a, b, c, d = subject
        return f"{a}.{b}.{c}.{d}"
    return f"{ipaddress.IPv6Address(subject)}/{ipv6_prefix}"


_MAPPED = bytes(10) + b"\xff\xff"


def parse_address(text: bytes) -> Address | None:
    """Return the packed address, or None for a text that is not a client address.

    Dotted quads are strict, as inet_pton(3) is (RFC 6943, section 3.1.1: no octal, no missing
    parts).  IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2) becomes IPv4.  Unspecified, multicast and
    broadcast addresses are not client addresses.
    """
    try:
        packed = inet_pton(AF_INET6 if b":" in text else AF_INET, text.decode("ascii"))
    except (OSError, ValueError):
        return None
    if packed.startswith(_MAPPED):
        packed = packed[12:]
    if len(packed) == 4:
        no_client = 224 <= packed[0] < 240 or packed in {b"\0\0\0\0", b"\xff\xff\xff\xff"}
    else:
        no_client = packed[0] == 0xFF or packed == bytes(16)
    return None if no_client else packed
