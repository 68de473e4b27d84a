"""Messages of WordPress' plugins: what they report, with anything from a client in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocker.addresses import parse_address
from blocker.matching.event_messages import ALL, Event, NoEvent, is_wordpress, read_message

CLIENT = b"198.51.100.1"
ADDRESS = parse_address(CLIENT)
OWN = b"xmlrpc-blocker: addr=" + CLIENT + b" n=1 event=login via=xmlrpc try=ea user="
FAILURE = b"Authentication failure for "
FROM_CLIENT = b" from " + CLIENT
FORGED = st.sampled_from([
    b" from 192.0.2.66", b"xmlrpc-blocker: addr=192.0.2.66 n=9 event=login", b"\n", b"]: ", b" n=9",
    b" event=multicall", b"XML-RPC multicall authentication failure", b" from ", b"\xff", b"\0",
])  # fmt: skip
HOSTILE = st.lists(st.one_of(st.binary(max_size=8), FORGED), max_size=6).map(b"".join)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (b"wordpress", True), (b"wp", True), (b"wordpress(blog.example)", True), (b"wp(a(b)", True),
        (b"wordpress(", False), (b"wpa_supplicant", False), (b"WordPress", False), (b"", False),
    ],
)  # fmt: skip
def test_the_identifier_names_the_program(identifier, expected):
    """The Host header may stand in brackets behind the name."""
    assert is_wordpress(identifier) is expected


@given(name=HOSTILE)
def test_a_user_name_forges_no_address(name):
    """Raw in the message, as wp-fail2ban writes it."""
    found = read_message(b"wordpress(blog)", FAILURE + name + FROM_CLIENT)
    assert found == Event("login", ADDRESS)


@given(host=HOSTILE)
def test_a_host_forges_no_event(host):
    """In the identifier, or behind it where the identifier was cut at a blank."""
    message = host + b")[7]: " + FAILURE + b"x" + FROM_CLIENT
    found = read_message(b"wordpress(" + host.partition(b" ")[0], message)
    assert isinstance(found, NoEvent) or found.address == ADDRESS


@given(rest=HOSTILE)
def test_what_follows_in_our_own_message_changes_nothing(rest):
    """Neither the count nor the address is read from further fields."""
    found = read_message(b"wordpress", OWN + b"admin " + rest)
    assert (found.name, found.address, found.failures) == ("login", ADDRESS, 1)


@given(message=st.binary(max_size=80), identifier=st.sampled_from([b"wordpress", b"wp", b"wp(a)"]))
def test_any_message_has_a_verdict(message, identifier):
    """No bytes raise an error."""
    assert isinstance(read_message(identifier, message), Event | NoEvent)
    assert isinstance(read_message(identifier, OWN[:40] + message), Event | NoEvent)


@pytest.mark.parametrize("count", [b"0", b"-1", b"100001", b"9" * 30, b"1e3", b"", b"\xc2\xb2"])
def test_a_count_out_of_range_is_unparsed(count):
    """The count is from 1 to 100,000, in ASCII digits."""
    found = read_message(b"wordpress", OWN.replace(b"n=1", b"n=" + count))
    assert found.is_broken


def test_a_large_count_is_read():
    """The highest count of one message."""
    found = read_message(b"wordpress", OWN.replace(b"n=1", b"n=100000"))
    assert found.failures == 100_000


def test_an_attempt_is_read_unless_it_is_unknown():
    """The plugin writes a dash where it does not know the password."""
    assert read_message(b"wordpress", OWN).attempt == b"ea"
    assert read_message(b"wordpress", OWN.replace(b"try=ea", b"try=-")).attempt == b""


def test_a_multicall_of_unknown_size_is_as_many_as_make_a_ban():
    """wp-fail2ban ends the request at the second failure."""
    found = read_message(b"wp", b"XML-RPC multicall authentication failure" + FROM_CLIENT)
    assert found == Event("multicall", ADDRESS, ALL)


def test_a_mapped_address_is_ipv4():
    """PHP has IPv4-mapped addresses as the socket does."""
    found = read_message(b"wordpress", OWN.replace(CLIENT, b"::ffff:" + CLIENT))
    assert found.address == ADDRESS


def test_a_pingback_that_is_registered_already_is_harmless():
    """Only the code 48 itself."""
    text = b"Pingback error 48 generated" + FROM_CLIENT
    assert "harmless" in read_message(b"wordpress", text).reason
    assert read_message(b"wordpress", text.replace(b"48", b"480")).name == "pingback"
