"""The facts that pass between the stages: whom an address stands for, and how that is written."""

from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest

from blocker.addresses import format_subject, subject_of
from blocker.model import MANUAL
from blocker.times import SECOND

ADDRESSES = ["2001:db8:1234:5678:9abc:def0:1234:5678", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]


def test_times_are_whole_microseconds():
    """Everything that is stored, and every length in the configuration, is counted in them."""
    assert timedelta(microseconds=SECOND) == timedelta(seconds=1)


def test_bans_by_hand_are_of_the_trap_manual():
    """Stored bans, metrics and what ``bans`` prints have the word."""
    assert MANUAL == "manual"


@pytest.mark.parametrize("prefix", range(32, 129))
@pytest.mark.parametrize("text", ADDRESSES)
def test_an_ipv6_address_stands_for_its_network(text, prefix):
    """Of every length that can be configured, within a byte too."""
    network = ip_network((text, prefix), strict=False)
    subject = subject_of(ip_address(text).packed, prefix)
    assert subject == network.network_address.packed
    assert format_subject(subject, prefix) == str(network)


def test_an_ipv6_network_is_a_64_unless_configured_otherwise():
    """As it is assigned to one customer (RFC 6177)."""
    subject = subject_of(ip_address(ADDRESSES[0]).packed)
    assert format_subject(subject) == "2001:db8:1234:5678::/64"


@pytest.mark.parametrize("prefix", [32, 64, 128])
@pytest.mark.parametrize("text", ["192.0.2.1", "0.0.0.1", "255.255.255.254"])
def test_an_ipv4_address_stands_for_itself(text, prefix):
    """It is written without a length, independent of that of IPv6."""
    address = ip_address(text).packed
    assert subject_of(address, prefix) == address
    assert format_subject(address, prefix) == text
