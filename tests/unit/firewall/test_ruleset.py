"""The text of the ruleset: what it says, and what can't get into it."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from blocker.errors import ConfigError
from blocker.firewall import ruleset
from blocker.firewall.ruleset import Layout

CLOSED = Layout(
    table="mine",
    ports=None,
    allow4=(IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.1")),
    allow6=(IPv6Network("2001:db8::/32"), IPv6Network("::1")),
    ipv6_prefix=56,
    ban_size=7,
    hits_size=5,
    timeout=60,
)


@pytest.mark.parametrize(("name", "layout"), [("default", Layout()), ("closed", CLOSED)])
def test_the_whole_text_is_the_one_that_was_read_by_people(name, layout):
    """The default, and one in which everything differs: tests/integration load both kinds."""
    expected = Path(__file__).with_name(f"ruleset-{name}.nft").read_text()
    assert ruleset.render(layout) == expected


@pytest.mark.parametrize("name", ["a", "z", "A", "Z", "aZz9_A", "x" * 64])
def test_a_table_is_named_by_an_identifier(name):
    """As nft has them, in letters that need no quotes."""
    assert ruleset.table_name(name) == name
    assert f"add table inet {name}\n" in ruleset.render(Layout(table=name))


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [("ban_size", 1, 2**31), ("hits_size", 1, 2**31), ("timeout", 1, 2**31),
     ("ipv6_prefix", 1, 128)],
)  # fmt: skip
def test_a_number_has_its_limits(name, lowest, highest):
    """What the kernel could not hold is refused here."""
    for value in (lowest, highest):
        assert getattr(Layout(**{name: value}), name) == value
    for value in (lowest - 1, highest + 1):
        with pytest.raises(ConfigError, match=f"{name} is {value}: use {lowest} to {highest}"):
            Layout(**{name: value})


def test_works_without_any_configuration():
    """The default layout closes the ports of the web, in a table of our own."""
    text = ruleset.render(Layout())
    assert "table inet xmlrpc_blocker {" in text
    assert "set ports { type inet_service; elements = { 80, 443 }; }" in text
    ports = ruleset.render(Layout(ports=(65535, 1)))
    assert "set ports { type inet_service; elements = { 1, 65535 }; }" in ports


def test_names_no_table_but_ours():
    """Every command of the transaction is about the one table."""
    for line in ruleset.render(Layout(table="mine")).splitlines():
        if line.startswith(("add ", "flush ", "table ")):
            assert "inet mine" in line


def test_counts_in_a_rule_of_its_own():
    """A full set ends the rule that updates it, so dropping must not stand behind it."""
    for chain in ("drop4", "drop6"):
        for ports in ((80,), None):
            update, drop = ruleset.rules(Layout(ports=ports))[chain]
            assert "update @hits" in update
            assert "drop" not in update
            assert drop.endswith("drop")
            assert "update" not in drop


def test_never_renews_in_the_packet_path():
    """A packet must not replace the length of a ban, so no rule updates a ban set."""
    for chain in ruleset.rules(Layout()).values():
        assert not any("update @ban" in rule for rule in chain)


def test_one_lookup_for_a_normal_packet():
    """The hooked chain looks into one set per family, and all else is behind it."""
    base = ruleset.rules(Layout())["prerouting"]
    assert [rule.count("@") for rule in base] == [0, 1, 1]


@pytest.mark.parametrize(
    ("prefix", "source"),
    [
        (64, "ip6 saddr and ffff:ffff:ffff:ffff::"),
        (56, "ip6 saddr and ffff:ffff:ffff:ff00::"),
        (1, "ip6 saddr and 8000::"),
        (128, "ip6 saddr"),
    ],
)
def test_mask_follows_the_prefix(prefix, source):
    """IPv6 is looked up, and counted, by the prefix that it is banned by."""
    chains = ruleset.rules(Layout(ipv6_prefix=prefix))
    assert chains["prerouting"][2] == f"{source} @ban6 goto banned6"
    assert chains["drop6"][0] == f"update @hits6 {{ {source} }}"


def test_all_ports_spare_neighbour_discovery():
    """With everything closed the host still finds its router, and hears of the path's limits."""
    chains = ruleset.rules(Layout(ports=None))
    assert chains["banned4"] == ("ip saddr @allow4 accept", "goto drop4")
    allow, neighbours, drop = chains["banned6"]
    assert allow == "ip6 saddr @allow6 accept"
    assert "nd-router-advert" in neighbours
    assert "packet-too-big" in neighbours
    assert drop == "goto drop6"


def test_configured_sets_are_emptied_before_they_are_filled():
    """A reload replaces ports and friends, and leaves bans and hits alone."""
    lines = ruleset.render(Layout()).splitlines()
    for name in ruleset.CONFIGURED_SETS:
        assert f"flush set inet xmlrpc_blocker {name}" in lines
    for name in ruleset.BAN_SETS + ruleset.HIT_SETS:
        assert f"flush set inet xmlrpc_blocker {name}" not in lines


def test_overlapping_friends_are_collapsed():
    """Intervals that overlap would be refused, and auto-merge is not needed."""
    layout = Layout(
        allow4=(IPv4Network("10.0.0.0/8"), IPv4Network("10.1.0.0/16"), IPv4Network("11.0.0.0/8")),
        allow6=(IPv6Network("2001:db8::/64"), IPv6Network("2001:db8::1/128")),
    )
    text = ruleset.render(layout)
    assert "elements = { 10.0.0.0/7 };" in text
    assert "elements = { 2001:db8::/64 };" in text


def test_no_elements_need_no_braces():
    """A set without elements has no clause for them: nft knows no empty braces."""
    text = ruleset.render(Layout(ports=None))
    assert "set ports { type inet_service; }" in text
    assert "elements" not in text


def test_sizes_are_explicit():
    """A set without a size gets 65,535 from the first rule that updates it."""
    text = ruleset.render(Layout(ban_size=7, hits_size=5, timeout=60))
    assert text.count("flags timeout; timeout 60s; gc-interval 60s; size 7; }") == 2
    assert text.count("timeout 60s; gc-interval 60s; size 5; counter; }") == 2


def test_removal_succeeds_without_a_table():
    """Adding before deleting makes it idempotent where ``destroy`` is not known."""
    assert ruleset.remove(Layout()) == (
        "add table inet xmlrpc_blocker\ndelete table inet xmlrpc_blocker\n"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"table": ""},
        {"table": "a b"},
        {"table": "x; flush ruleset"},
        {"table": "x\n"},
        {"table": "1st"},
        {"table": "a" * 65},
        {"table": b"x"},
        {"ports": ()},
        {"ports": (0,)},
        {"ports": (65536,)},
        {"ports": ("80",)},
        {"ports": (True,)},
        {"allow4": ("10.0.0.0/8",)},
        {"allow4": (IPv6Network("::1"),)},
        {"allow6": ("::1 }; flush ruleset",)},
        {"ipv6_prefix": 0},
        {"ipv6_prefix": 129},
        {"ipv6_prefix": "64"},
        {"ban_size": 0},
        {"hits_size": -1},
        {"timeout": 0},
    ],
)
def test_refuses_what_is_not_checked_text(wrong):
    """Only identifiers, integers and networks get into the text; all else is refused."""
    with pytest.raises(ConfigError, match=r": use|name some"):
        Layout(**wrong)
