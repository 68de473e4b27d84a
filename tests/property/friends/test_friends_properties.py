from ipaddress import IPv6Network, collapse_addresses, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from blocker.addresses import subject_of
from blocker.friends.friends import LINK_LOCAL, LOOPBACK, NAT64, PRIVATE, Friends
from blocker.friends.network_list import ShippedList


def _network(version):
    bits = 32 if version == 4 else 128
    # A few leading bits only, so that networks and addresses meet often.
    high = st.integers(0, 15).map(lambda n: n << (bits - 4))
    low = st.integers(0, 15)
    value = st.builds(
        lambda h, m, s: h | m | (s << (bits - 66 if bits > 66 else 8)), high, low, low
    )
    return st.builds(
        lambda v, length: (
            ip_network((v, length), strict=False)
            if version == 6
            else ip_network((v & 0xFFFFFFFF, length), strict=False)
        ),
        value,
        st.integers(0, bits),
    )


networks = st.one_of(_network(4), _network(6))
texts = st.lists(networks.map(str), max_size=6)


def _list(name, kind, members):
    return ShippedList(name, name, "https://x.example", "2026-01-01", kind, tuple(members))


settings = st.fixed_dictionaries(
    {
        "allow": texts,
        "own": st.lists(networks.map(lambda n: n.network_address.packed), max_size=2),
        "ban_private": st.booleans(),
        "ban_proxies": st.booleans(),
    }
)
proxies = st.lists(networks, max_size=6)


def _friendly(config, proxy):
    """Return all friendly networks with their reasons, in the order in which they win."""
    pairs = [("allow", ip_network(text)) for text in config["allow"]]
    pairs += [("own", ip_network(address)) for address in config["own"]]
    pairs += [("loopback", ip_network(text)) for text in LOOPBACK]
    if not config["ban_private"]:
        pairs += [("link-local", ip_network(text)) for text in LINK_LOCAL]
        pairs += [("private", ip_network(text)) for text in PRIVATE]
    if not config["ban_proxies"]:
        pairs += [("nat64", ip_network(text)) for text in NAT64]
        pairs += [("proxy:p", network) for network in proxy]
    return pairs


def _build(config, proxy):
    lists = {"p": _list("p", "proxy", proxy), "s": _list("s", "service", proxy)}
    return Friends.build(lists=lists, **config)


addresses = st.one_of(
    networks.map(lambda n: n.network_address.packed),
    networks.map(lambda n: n.broadcast_address.packed),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=16, max_size=16),
    st.sampled_from(["10.0.0.1", "::1", "fe80::1", "64:ff9b::1"]).map(
        lambda text: ip_address(text).packed
    ),
)


@given(settings, proxies, addresses)
def test_why_agrees_with_a_walk_over_all_networks(config, proxy, address):
    """An address is a friend exactly if some friendly network holds it."""
    holding = [
        reason for reason, network in _friendly(config, proxy) if ip_address(address) in network
    ]
    answer = _build(config, proxy).why(address)
    assert (answer in holding) if holding else answer is None
    if "allow" in holding:
        assert answer == "allow"


@given(settings, proxies, addresses, st.sampled_from([32, 48, 56, 64, 96, 128]))
def test_covers_agrees_with_a_walk_over_all_networks(config, proxy, address, prefix):
    """A subject is a friend exactly if one reason covers all of it, or if it touches NAT64."""
    subject = subject_of(address, prefix)
    whole = ip_network((subject, prefix if len(subject) == 16 else 32))
    friendly = _friendly(config, proxy)
    covering = set()
    for reason in {reason for reason, _ in friendly}:
        members = [n for r, n in friendly if r == reason and n.version == whole.version]
        if any(whole.subnet_of(joined) for joined in collapse_addresses(members)):
            covering.add(reason)
    if whole.version == 6 and not config["ban_proxies"]:
        covering |= {"nat64" for text in NAT64 if whole.overlaps(IPv6Network(text))}
    answer = _build(config, proxy).covers(subject, prefix)
    assert (answer in covering) if covering else answer is None


@given(settings, proxies, addresses)
def test_every_friend_inside_a_bannable_subject_passes_in_the_kernel(config, proxy, address):
    """Banning a /64 harms no friend: either it can't be banned, or the friend passes."""
    friends = _build(config, proxy)
    subject = subject_of(address, 64)
    if friends.why(address) is None or friends.covers(subject, 64) is not None:
        return
    passing = friends.networks4 if len(address) == 4 else friends.networks6
    assert any(ip_address(address) in network for network in passing)


@given(settings, proxies, addresses)
def test_only_friends_pass_in_the_kernel(config, proxy, address):
    """The kernel's allow sets hold friends only."""
    friends = _build(config, proxy)
    passing = friends.networks4 if len(address) == 4 else friends.networks6
    if any(ip_address(address) in network for network in passing):
        assert friends.why(address) is not None
