from datetime import date
from ipaddress import ip_address, ip_network

import pytest

from blocker.addresses import subject_of
from blocker.errors import ConfigError
from blocker.friends.friends import Friends
from blocker.friends.network_list import LIST_NAMES, ShippedList
from blocker.friends.shipped import shipped_lists

LISTS = shipped_lists()
JETPACK = "192.0.64.1"
CLOUDFLARE = "104.16.0.1"


def packed(text):
    return ip_address(text).packed


def why(text, **settings):
    return Friends.build(lists=LISTS, **settings).why(packed(text))


def covers(text, prefix=64, **settings):
    subject = subject_of(packed(text), prefix)
    return Friends.build(lists=LISTS, ipv6_prefix=prefix, **settings).covers(subject, prefix)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("::1", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("64:ff9b::203.0.113.1", "nat64"),
        ("64:ff9b:1:2::1", "nat64"),
        (CLOUDFLARE, "proxy:cloudflare"),
        ("2a04:4e42::1", "proxy:fastly"),
        ("35.191.0.1", "proxy:google-lb"),
    ],
)
def test_is_a_friend_by_default(address, reason):
    """Loopback, neighbours, private ranges, NAT64 and known proxies are never banned."""
    assert why(address) == reason


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "2001:db8::1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "64:ff9c::1",
        JETPACK,
    ],
)
def test_may_be_banned_by_default(address):
    """Documentation and benchmarking ranges, and services that are not allowed, are ordinary."""
    assert why(address) is None


def test_own_addresses_are_friends():
    """The host never bans itself, on any address."""
    own = [packed("192.0.2.7"), packed("2001:db8::7")]
    assert why("192.0.2.7", own=own) == "own"
    assert why("2001:db8::7", own=own) == "own"
    assert why("192.0.2.8", own=own) is None


def test_allow_wins_over_every_other_reason():
    """What the administrator wrote is the reason that is reported, however short its prefix."""
    assert why("10.1.2.3", allow=["0.0.0.0/0"]) == "allow"
    assert why(CLOUDFLARE, allow=["104.0.0.0/8"]) == "allow"


def test_the_longest_prefix_gives_the_reason():
    """Between a range and an address inside it, the narrower one explains the friendship."""
    assert why("10.0.0.5", own=[packed("10.0.0.5")]) == "own"


def test_a_service_list_counts_when_allow_names_it():
    """Jetpack is allowed by those who use it, under its own name."""
    assert why(JETPACK, allow=["@jetpack"]) == "@jetpack"


def test_ban_private_frees_neighbours_but_never_loopback():
    """With ban_private only loopback, own and allowed addresses of the local kind stay friends."""
    for address in ("10.0.0.1", "100.64.0.1", "fd00::1", "169.254.1.1", "fe80::1"):
        assert why(address, ban_private=True) is None
    assert why("127.0.0.1", ban_private=True) == "loopback"
    assert why("::1", ban_private=True) == "loopback"


def test_ban_proxies_frees_proxies_and_nat64():
    """With ban_proxies a CDN is an address like any other, unless allow names its list."""
    assert why(CLOUDFLARE, ban_proxies=True) is None
    assert why("64:ff9b::1", ban_proxies=True) is None
    assert why(CLOUDFLARE, ban_proxies=True, allow=["@cloudflare"]) == "@cloudflare"


def test_a_network_that_only_contains_a_friend_may_be_banned():
    """The allowed address passes in the kernel, so its /64 can be banned."""
    friend = "2001:db8:1:2::5"
    assert covers(friend, allow=[friend]) is None
    assert covers(friend, own=[packed(friend)]) is None


def test_the_first_address_of_a_network_does_not_make_the_whole_a_friend():
    """Its number is the network's own, as is that of each half which begins there."""
    for friend in ("2001:db8:1:2::", "2001:db8:1:2::/65", "2001:db8:1:2::/127"):
        assert covers("2001:db8:1:2::5", allow=[friend]) is None
        friends = Friends.build(lists={}, allow=[friend])
        assert friends.covers(subject_of(packed("2001:db8:1:2::5"))) is None


def test_a_network_inside_a_friendly_range_is_a_friend():
    """A /64 that lies in an allowed /48, or is one itself, is never banned."""
    assert covers("2001:db8:1:2::5", allow=["2001:db8:1::/48"]) == "allow"
    assert covers("2001:db8:1:2::5", allow=["2001:db8:1:2::/64"]) == "allow"
    assert covers("fe80::1") == "link-local"
    assert covers("2606:4700::1") == "proxy:cloudflare"


def test_two_halves_cover_their_whole():
    """An allowed /64 written as two /65 is still an allowed /64."""
    halves = ["2001:db8::/65", "2001:db8:0:0:8000::/65"]
    assert covers("2001:db8::1", allow=halves) == "allow"


def test_a_network_that_touches_nat64_is_a_friend():
    """One /64 there stands for the whole of IPv4."""
    assert covers("64:ff9b::1") == "nat64"
    assert covers("64:ff9b::1", prefix=48) == "nat64"
    assert covers("64:ff9b:0:1::1") is None
    assert covers("64:ff9b::1", ban_proxies=True) is None


def test_an_ipv4_subject_is_its_address():
    """For IPv4, covers asks the same as why."""
    assert covers("10.0.0.1") == "private"
    assert covers("192.0.2.1") is None


def test_what_passes_in_the_kernel_is_collapsed_and_small():
    """Allowed, own and local networks pass; of the proxies those inside a bannable network."""
    friends = Friends.build(
        allow=["192.0.2.0/25", "192.0.2.128/25", "2001:db8::5"],
        own=[packed("198.51.100.1")],
        lists=LISTS,
    )
    networks4 = [str(network) for network in friends.networks4]
    assert "192.0.2.0/24" in networks4
    assert "198.51.100.1/32" in networks4
    assert "127.0.0.0/8" in networks4
    assert "104.16.0.0/13" not in networks4
    assert len(networks4) < 16
    networks6 = [str(network) for network in friends.networks6]
    assert {"2001:db8::5/128", "64:ff9b::/96", "::1/128"} <= set(networks6)
    assert "2606:4700::/32" not in networks6
    assert len(networks6) < 1000


def test_of_the_proxies_those_pass_that_are_narrower_than_what_is_banned():
    """A wider one is never banned in the first place, and the kernel's set stays small."""
    proxies = "2001:db8:1::/63\n2001:db8:2::/64\n2001:db8:3::/65\n192.0.2.0/24\n"
    lists = {"x": ShippedList.parse(HEADER + proxies)}
    always = ["::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10"]
    for settings, passing in (
        ({}, ["2001:db8:3::/65"]),
        ({"ipv6_prefix": 63}, ["2001:db8:2::/64", "2001:db8:3::/65"]),
        ({"ipv6_prefix": 65}, []),
    ):
        networks = Friends.build(lists=lists, **settings).networks6
        assert sorted(map(str, networks)) == sorted([*always, *passing])


@pytest.mark.parametrize(
    ("address", "is_proxy"),
    [(CLOUDFLARE, True), ("2a04:4e42::1", True), ("10.0.0.1", False), ("127.0.0.1", False),
     ("64:ff9b::1", False), (JETPACK, False), ("8.8.8.8", False), ("192.0.2.7", False)],
)  # fmt: skip
def test_only_a_known_proxy_is_one_whose_word_counts(address, is_proxy):
    """Neither a friend for another reason nor a stranger says who its client is."""
    friends = Friends.build(lists=LISTS, allow=["@jetpack"], own=[packed("192.0.2.7")])
    assert friends.is_proxy(packed(address)) is is_proxy


def test_all_reasons_are_known_beforehand():
    """Hits of friends are counted for each, from zero on."""
    lists = {"x": ShippedList.parse(HEADER + "192.0.2.0/24\n")}
    friends = Friends.build(lists=lists, allow=["198.51.100.1"], own=[packed("198.51.100.2")])
    assert friends.reasons == (
        "allow", "link-local", "loopback", "nat64", "own", "private", "proxy:x",
    )  # fmt: skip
    assert Friends.build(lists={}, ban_private=True, ban_proxies=True).reasons == ("loopback",)


def test_nothing_of_the_proxies_passes_when_they_may_be_banned():
    """With ban_proxies the kernel's allow set holds no CDN."""
    friends = Friends.build(lists=LISTS, ban_proxies=True)
    assert [str(network) for network in friends.networks6] == ["::1/128", "fc00::/7", "fe80::/10"]


@pytest.mark.parametrize("item", ["@nobody", "192.0.2.1/24", "example.org", ""])
def test_build_refuses_what_is_no_network(item):
    """A wrong entry of allow is refused with its name, not left out."""
    with pytest.raises(ConfigError, match=r"^allow: "):
        Friends.build(allow=[item], lists=LISTS)


def test_a_list_that_is_not_there_is_reported_with_those_that_are():
    """Each as allow may name it."""
    with pytest.raises(ConfigError) as caught:
        Friends.build(allow=["@c"], lists=dict.fromkeys("ab"))
    assert str(caught.value) == "allow: no list is named @c; there are: @a @b"
    with pytest.raises(ConfigError, match=r"there are: none$"):
        Friends.build(allow=["@c"], lists={})


@pytest.mark.parametrize("name", LIST_NAMES)
def test_a_shipped_list_is_complete_and_valid(name):
    """Each list says whose it is, from where and how old; each line is a public network."""
    shipped = LISTS[name]
    assert shipped.name == name
    assert shipped.source.startswith("https://")
    assert date.fromisoformat(shipped.date) >= date(2025, 1, 1)
    assert shipped.networks
    assert len(set(shipped.networks)) == len(shipped.networks)
    private = Friends.build(lists={})
    for network in shipped.networks:
        assert private.why(network.network_address.packed) is None
        assert network.prefixlen >= (11 if network.version == 4 else 24)


def test_every_file_of_the_lists_is_known_by_name():
    """A list that is added must be named in LIST_NAMES, or allow could not name it."""
    from importlib.resources import files  # noqa: PLC0415 - used once

    names = sorted(entry.name for entry in (files("blocker") / "friends/lists").iterdir())
    assert names == sorted(f"{name}.txt" for name in LIST_NAMES)


HEADER = "# name: x\n# title: X\n# source: https://x.example\n# date: 2026-01-01\n# kind: proxy\n"


def test_a_list_is_read_with_comments_and_blank_lines():
    """Other text behind # is for the human reader."""
    shipped = ShippedList.parse(HEADER + "# note: y\n\n192.0.2.0/24\n2001:db8::/32\n")
    assert shipped.networks == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert ShippedList.parse(HEADER.replace("# ", "#").replace(": ", ":")) == ShippedList(
        "x", "X", "https://x.example", "2026-01-01", "proxy", ()
    )


@pytest.mark.parametrize(
    "text",
    [
        HEADER.replace("# date: 2026-01-01\n", "") + "192.0.2.0/24\n",
        HEADER.replace("kind: proxy", "kind: other"),
        HEADER.replace("# date: 2026-01-01", "# date:  "),
        HEADER + "192.0.2.1/24\n",
        HEADER + "nonsense\n",
        "",
    ],
)
def test_a_broken_list_is_refused(text):
    """A header without its date, an unknown kind, or a line that is no network is an error."""
    with pytest.raises(ValueError, match=r"."):
        ShippedList.parse(text)
