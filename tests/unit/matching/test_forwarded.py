"""The client behind proxies of ours: only what they appended is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocker.addresses import parse_address
from blocker.matching.forwarded import MAX_HOPS, client_of

OURS = {parse_address(each) for each in (b"10.0.0.1", b"10.0.0.2", b"2001:db8:99::1")}
PEER, CLIENT, VICTIM = b"10.0.0.1", b"203.0.113.7", b"192.0.2.66"


def client(peer, forwarded):
    return client_of(peer, forwarded, OURS.__contains__)


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (b"203.0.113.7", CLIENT),
        (b" 203.0.113.7\t", CLIENT),
        (b"203.0.113.7:4711", CLIENT),
        (b"[2001:db8::7]:4711", b"2001:db8::7"),
        (b"2001:db8::7", b"2001:db8::7"),
        (b"192.0.2.66, 203.0.113.7", CLIENT),
        (b"192.0.2.66,203.0.113.7,10.0.0.2", CLIENT),
        (b"10.0.0.2, 203.0.113.7", CLIENT),
        (b"192.0.2.66, 203.0.113.7, 10.0.0.2, 2001:db8:99::1", CLIENT),
        (b"192.0.2.66, unknown", PEER),
        (b"192.0.2.66, unknown, 10.0.0.2", b"10.0.0.2"),
        (b"192.0.2.66, 0.0.0.0", PEER),
        (b"192.0.2.66,", PEER),
        (b"192.0.2.66 203.0.113.7", PEER),
        (b"192.0.2.66\\x22, 203.0.113.7\\x22", PEER),
        (b"for=192.0.2.66", PEER),
        (b"10.0.0.2", b"10.0.0.2"),
        (b"-", PEER),
        (b"", PEER),
    ],
)
def test_the_right_most_address_that_is_no_proxy_of_ours_is_the_client(forwarded, expected):
    """What the client sent stands left of what the proxies append."""
    assert client(PEER, forwarded) == expected


@pytest.mark.parametrize(
    "peer", [CLIENT, b"203.0.113.7:80", b"10.0.0.3", b"2001:db8::7", b"x", b""]
)
def test_a_peer_that_is_no_proxy_of_ours_is_not_believed(peer):
    """It could have an address of its choice banned."""
    assert client(peer, b"192.0.2.66") == peer.removesuffix(b":80")


def test_the_hops_have_a_ceiling():
    """A list of proxies of ours without end is the client's."""
    hops = [b"10.0.0.2"] * (MAX_HOPS - 1)
    assert client(PEER, b",".join([VICTIM, CLIENT, *hops])) == CLIENT
    assert client(PEER, b",".join([VICTIM, CLIENT, *hops, b"10.0.0.2"])) == b"10.0.0.2"


@given(st.binary(max_size=80) | st.lists(st.sampled_from([VICTIM, PEER, b"x"])).map(b", ".join))
def test_nothing_that_a_client_sends_changes_who_it_is(sent):
    """Its header may hold anything: the proxy appends the address that connected."""
    assert client(PEER, sent + b", " + CLIENT) == CLIENT
    assert client(PEER, sent + b"," + CLIENT + b", 10.0.0.2") == CLIENT
