"""What an administrator names: addresses, networks, lengths, rows and reasons."""

import ipaddress

import pytest

from blocker.engine.targets import (
    requested_length,
    requested_reason,
    requested_row,
    requested_target,
)
from blocker.errors import UsageError
from blocker.times import SECOND


@pytest.mark.parametrize("prefix", [32, 48, 56, 60, 64, 128])
@pytest.mark.parametrize(
    "text", ["198.18.0.0/24", "198.18.0.64/26", "198.18.0.6/31", "2001:db8::/48", "2001:db8::/57",
             "2001:db8::/112", "2001:db8::ff00/121"],
)  # fmt: skip
def test_a_network_is_all_of_its_subjects(text, prefix):
    """Each once, in order, and none beside it; or it is refused with what is possible."""
    network = ipaddress.ip_network(text)
    whole = 32 if network.version == 4 else prefix
    if not 0 <= whole - network.prefixlen <= 16:
        with pytest.raises(UsageError):
            requested_target(text, prefix)
        return
    target = requested_target(text, prefix)
    expected = [each.network_address.packed for each in network.subnets(new_prefix=whole)]
    assert list(target.subjects) == expected
    assert target.name == str(network)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("198.18.0.0/23", "/24 is the widest"), ("2001:db8::/47", "/48 is the widest"),
        ("198.18.0.9/24", "the network is 198.18.0.0/24"), ("198.18.0.0/33", "address/length"),
        ("198.18.0.0/-1", "address/length"), ("198.18.0.0/", "address/length"),
        ("198.18.0.0/24/24", "address/length"), ("2001:db8::/65", "bans are made for /64"),
        ("198.18.0.0/٢٤", "address/length"), ("224.0.0.0/24", "not a client address"),
        ("::ffff:198.18.0.0/120", "address/length"), ("", "not a client address"),
        ("2001:db8::/128", "bans are made for /64"), ("2001:db8::/129", "address/length"),
        ("\ud800", "not a client address"),
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_advice(text, said):
    """The message says what is possible instead."""
    with pytest.raises(UsageError, match=said):
        requested_target(text, 64)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("198.18.7.9", "198.18.7.9"), ("198.18.7.9/32", "198.18.7.9"),
        (" 198.18.7.9\n", "198.18.7.9"), ("::ffff:198.18.7.9", "198.18.7.9"),
        ("2001:db8::7", "2001:db8::/64"), ("2001:db8::7/64", "2001:db8::/64"),
    ],
)  # fmt: skip
def test_one_subject_is_named_as_it_is_printed(text, name):
    """With or without its length."""
    target = requested_target(text, 64)
    assert (target.name, len(target.subjects)) == (name, 1)


def test_a_network_has_at_most_65536_subjects():
    """However long the prefix is that IPv6 is judged by."""
    assert len(requested_target("2001:db8::/112", 128).subjects) == 65_536
    with pytest.raises(UsageError, match="/112 is the widest"):
        requested_target("2001:db8::/111", 128)


def test_what_is_refused_is_repeated_up_to_60_characters():
    """In quotes, so that blanks are seen."""
    for text, shown in (("x" * 60, "'" + "x" * 60 + "'"), ("x" * 61, "'" + "x" * 60 + "…'")):
        with pytest.raises(UsageError) as caught:
            requested_target(text, 64)
        assert str(caught.value).startswith(f"{shown} is not a client address; use for example")


def test_a_length_by_hand_is_read_as_in_the_configuration():
    """And refused with the same advice."""
    assert requested_length("1h30m") == 5400 * SECOND
    with pytest.raises(UsageError, match="'often': a duration above zero"):
        requested_length("often")


def test_a_page_of_bans_begins_behind_a_row():
    """Any that the database can have."""
    for row in (0, 1, 2**63 - 1):
        assert requested_row(row) == row
    for value in (-1, 2**63, True, None, "0", 1.0):
        with pytest.raises(UsageError, match="after: expected 0, or the number"):
            requested_row(value)


def test_a_reason_is_a_short_printable_text():
    """Nothing that a terminal obeys, nothing without end."""
    assert requested_reason(None) == ""
    assert requested_reason(" spam ") == "spam"
    assert requested_reason("ä" * 200) == "ä" * 200
    for value in ("a\nb", "\x1b[1m", "\u202e", "\ud800", "x" * 201, 5, ["x"]):
        with pytest.raises(UsageError):
            requested_reason(value)
