"""Addresses are read as Python's own library reads them, which is slower by far."""

from ipaddress import IPv6Address, ip_address

from hypothesis import example, given
from hypothesis import strategies as st

from blocker.addresses import parse_address

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
ALMOST = st.text(alphabet="0123456789abcdefABCDEF:.%-x \0\u0661", max_size=50)


def expected(text: bytes) -> bytes | None:
    """What an address comes to: strangers only, and IPv4 wherever it is IPv4."""
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    unusable = address.is_unspecified or address.is_multicast or address.packed == b"\xff" * 4
    return None if unusable else address.packed


@given(ADDRESSES | ALMOST)
@example("01.2.3.4")
@example("1.2.3")
@example("1.2.3.4.5")
@example("1.2.3.256")
@example("1.2.3.4 ")
@example("::ffff:01.2.3.4")
@example("1:2:3:4:5:6:7::")
@example("::1:2:3:4:5:6:7")
@example("1::2::3")
@example("::00001")
@example("fe80::1%eth0")
@example("0x7f.1")
@example("\u0661.1.1.1")
def test_an_address_is_read_as_the_slow_library_reads_it(text):
    """Strictly: what looks a little like an address is none."""
    assert parse_address(text.encode()) == expected(text.encode())


@given(st.binary(max_size=50))
def test_bytes_that_are_no_address_are_none(data):
    """For any text that an attacker sends."""
    assert parse_address(data) == expected(data)
