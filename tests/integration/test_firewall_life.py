"""The table comes, stays, is repaired and goes; other people's tables never notice."""

import asyncio
import errno
import os
import pathlib
import subprocess
import sys
from ipaddress import IPv4Network, IPv6Network

import pytest
from support.namespaces import opened

from blocker.errors import FirewallError, NotPermittedError
from blocker.firewall import libnftables
from blocker.firewall.facts import Element
from blocker.firewall.firewall import Firewall, delete_own_table, delete_table
from blocker.firewall.netlink import Refusal
from blocker.firewall.netlink_socket import refused
from blocker.firewall.ruleset import Layout

ROOT = pathlib.Path(__file__).parents[2]
FOUR = bytes([192, 0, 2, 1])
SIX = bytes.fromhex("20010db8000100020000000000000000")
BANS = [Element(FOUR, 600_000), Element(SIX, 600_000)]
FRIENDS = Layout(
    ports=None,
    allow4=(IPv4Network("10.1.0.0/16"), IPv4Network("192.0.2.7/32")),
    allow6=(IPv6Network("2001:db8::/32"),),
)


def test_opening_finds_out_what_the_kernel_can_do(netns):
    """Opening proves that elements work, and leaves nothing of its probes behind."""

    async def scenario():
        async with opened() as firewall:
            assert firewall.capabilities == await firewall.open()
            assert await firewall.dump() == []
            assert firewall.failures == {}

    asyncio.run(scenario())
    listing = netns.run("nft", "list", "ruleset")
    assert "probe" not in listing
    assert "set ban4" in listing


def test_probes_of_a_killed_daemon_are_cleared_away(netns):
    """A set that was left behind, even of another type, does not keep us from starting."""

    async def scenario():
        async with opened():
            netns.nft("add set inet xmlrpc_blocker probe4 { type ipv4_addr; flags timeout; }")
        async with opened() as firewall:
            assert await firewall.present()

    asyncio.run(scenario())
    assert "probe" not in netns.run("nft", "list", "ruleset")


def test_loading_again_keeps_bans_hits_and_counters(netns):
    """A daemon that starts, or reloads, unblocks no address and forgets nothing."""

    async def scenario():
        async with opened() as first:
            await first.ban(BANS)
        netns.nft("add element inet xmlrpc_blocker hits4 { 192.0.2.1 counter packets 3 bytes 4 }")
        async with opened() as second:
            assert await second.load()
            assert set(await second.left([FOUR, SIX])) == {FOUR, SIX}
            assert await second.senders([SIX, FOUR]) == [(FOUR, 3, 4)]

    asyncio.run(scenario())


def test_a_reload_replaces_ports_and_friends(netns):
    """Switching between some ports and all, and among friends, keeps the bans."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban(BANS)
            for layout in (FRIENDS, Layout(), Layout(ports=(8080,)), FRIENDS, FRIENDS):
                assert await firewall.load(layout)
                assert await firewall.present()
            assert set(await firewall.left([FOUR, SIX])) == {FOUR, SIX}
            assert "10.1.0.0/16" in netns.run("nft", "list", "ruleset")
            assert await firewall.load(Layout(ports=(8080,), allow4=(IPv4Network("10.0.0.0/8"),)))

    asyncio.run(scenario())
    listing = netns.run("nft", "-nn", "list", "ruleset")
    assert "elements = { 8080 }" in listing
    assert "elements = { 10.0.0.0/8 }" in listing
    assert "2001:db8::" not in listing.replace("2001:db8:1:2::", "")


def test_a_table_that_differs_too_much_is_replaced(netns):
    """What nft can't change in place is made again, and the caller learns that bans are gone."""
    netns.nft(
        "table inet xmlrpc_blocker { set ban4 { type ipv6_addr; }\n"
        "chain prerouting { type filter hook prerouting priority 5; policy accept; }\n}"
    )

    async def scenario():
        async with opened() as firewall:
            assert await firewall.present()
            await firewall.ban(BANS)
            assert await firewall.load()
            netns.nft("delete table inet xmlrpc_blocker")
            netns.nft("table inet xmlrpc_blocker { set ban6 { type ipv4_addr; }\n}")
            assert not await firewall.load()
            assert await firewall.present()
            assert await firewall.dump() == []

    asyncio.run(scenario())


def test_a_new_name_takes_the_old_table_away(netns):
    """A reload that renames the table leaves one table, and reports that its bans are gone."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban(BANS)
            assert not await firewall.load(Layout(table="other"))
            await firewall.ban(BANS)
            assert len(await firewall.dump()) == 2

    asyncio.run(scenario())
    assert netns.run("nft", "list", "tables") == "table inet other\n"


def test_other_tables_are_untouched(netns):
    """All that we do, from loading to deleting, leaves the rest of the ruleset as it was."""
    netns.nft(
        "table inet filter { set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }\n"
        "chain input { type filter hook input priority 0; policy accept; ip saddr @s drop\n}\n}\n"
        "table ip xmlrpc_blocker { set ban4 { type ipv4_addr; elements = { 192.0.2.9 }; }\n}"
    )
    before = netns.run("nft", "list", "ruleset")

    async def scenario():
        async with opened() as firewall:
            await firewall.ban(BANS)
            await firewall.load(FRIENDS)
            await firewall.unban([FOUR])
            assert await firewall.remove()
            assert not await firewall.remove()

    asyncio.run(scenario())
    assert netns.run("nft", "list", "ruleset") == before


@pytest.mark.parametrize(
    "meddling",
    [
        "flush ruleset",
        "delete table inet xmlrpc_blocker",
        "flush chain inet xmlrpc_blocker drop4",
        "insert rule inet xmlrpc_blocker prerouting accept",
        "flush set inet xmlrpc_blocker ports",
        "add element inet xmlrpc_blocker ports { 22 }",
        "add element inet xmlrpc_blocker allow4 { 192.0.2.0/24 }",
        "add chain inet xmlrpc_blocker prerouting { policy drop; }",
        "add table inet xmlrpc_blocker { flags dormant; }",
        (
            "flush chain inet xmlrpc_blocker prerouting\n"
            'add rule inet xmlrpc_blocker prerouting iif "lo" accept\n'
            "add rule inet xmlrpc_blocker prerouting ip saddr @ban4 accept\n"
            "add rule inet xmlrpc_blocker prerouting accept"
        ),
        "flush chain inet xmlrpc_blocker prerouting\ndelete set inet xmlrpc_blocker ban6",
    ],
)
def test_meddling_is_found_and_repaired(netns, meddling):
    """Any change of the layout by another program is noticed, and a load puts it right."""

    async def scenario():
        async with opened() as firewall:
            assert await firewall.present()
            netns.nft(meddling)
            assert not await firewall.present()
            await firewall.load()
            assert await firewall.present()

    asyncio.run(scenario())


def test_neighbours_are_no_meddling(netns):
    """Tables of others, and bans that come and go, leave the layout as it is."""

    async def scenario():
        async with opened() as firewall:
            netns.nft("add table inet filter")
            netns.nft("add element inet xmlrpc_blocker ban4 { 192.0.2.1 }")
            await firewall.ban(BANS)
            assert await firewall.present()

    asyncio.run(scenario())


def test_deleting_the_table_needs_no_daemon(netns):
    """In an emergency the table goes at once, and a second time there is none."""
    assert not delete_table("xmlrpc_blocker")

    async def scenario():
        async with opened() as firewall:
            await firewall.ban(BANS)

    asyncio.run(scenario())
    assert delete_table("xmlrpc_blocker")
    assert not delete_table("xmlrpc_blocker")


OURS = """table inet other {{
    set ban4 {{ type ipv4_addr; flags timeout; }}
    set ban6 {{ type ipv6_addr; flags timeout; }}
    set hits4 {{ type ipv4_addr; flags dynamic,timeout; counter; size 9; }}
    set hits6 {{ type {hits6}; flags {flags}; }}
}}"""


@pytest.mark.parametrize(
    "theirs",
    [
        "table inet other { }",
        OURS.format(hits6="ipv4_addr", flags="dynamic,timeout"),
        OURS.format(hits6="ipv6_addr", flags="timeout"),
    ],
)
def test_only_a_table_with_our_sets_is_deleted_as_ours(netns, theirs):
    """One that lacks a set, or has another under its name, stays as it is."""

    async def scenario():
        async with opened():
            pass

    asyncio.run(scenario())
    netns.nft(theirs)
    before = netns.run("nft", "list", "table", "inet", "other")
    with pytest.raises(FirewallError, match="other does not hold the sets of this daemon"):
        delete_own_table("other")
    assert netns.run("nft", "list", "table", "inet", "other") == before
    netns.nft("delete table inet other")
    netns.nft(OURS.format(hits6="ipv6_addr", flags="dynamic,timeout"))
    for table in ("xmlrpc_blocker", "other"):
        assert delete_own_table(table)
        assert not delete_own_table(table)


def test_a_name_that_is_a_word_of_nft_is_refused_with_advice(netns):
    """What libnftables says is passed on, and nothing is left open."""

    async def scenario():
        with pytest.raises(FirewallError, match=r"table inet chain: libnftables .*choose a table"):
            await Firewall(Layout(table="chain")).open()

    asyncio.run(scenario())


def test_closing_twice_and_opening_again(netns):
    """Closing is idempotent, and a closed firewall can be opened again."""

    async def scenario():
        firewall = Firewall(Layout())
        await firewall.close()
        await firewall.open()
        await firewall.close()
        await firewall.close()
        await firewall.open()
        await firewall.ban(BANS)
        await firewall.close()

    asyncio.run(scenario())


def child(netns, program, *prefix):
    """Run a Python program inside, behind other commands that change who it is."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        netns.command(*prefix, sys.executable, "-X", "dev", "-W", "error", "-c", program),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


OPEN = """
import asyncio
from blocker.firewall.firewall import *
asyncio.run(Firewall(Layout()).open())
"""
WITHOUT = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


def test_without_the_capability_there_is_advice(netns):
    """A daemon, or a command, without CAP_NET_ADMIN learns what it lacks."""
    done = child(netns, OPEN, *WITHOUT)
    assert "NotPermittedError: table inet xmlrpc_blocker: the kernel refuses" in done.stderr
    assert "CAP_NET_ADMIN" in done.stderr
    done = child(netns, "from blocker.firewall.firewall import *; delete_table('t')", *WITHOUT)
    assert "NotPermittedError: table inet t" in done.stderr


def test_works_where_buffers_can_not_be_forced(netns):
    """In a user namespace the socket's buffers stay small, and large transactions are cut."""
    program = """if True:
        import asyncio
        import blocker.firewall.netlink_socket
        from blocker.firewall.firewall import *
        # What Debian allows unless it is forced.
        blocker.firewall.netlink_socket._BUFFER = 212992 // 2
        async def main():
            firewall = Firewall(Layout())
            await firewall.open()
            bans = [Element(bytes([10, 0, i >> 8, i & 255]), 600_000) for i in range(20_000)]
            bans += [Element(bytes([32, 1]) + e.subject + bytes(10), 600_000) for e in bans]
            for firewall.capabilities in (firewall.capabilities, Capabilities(False, False, False)):
                await firewall.ban(bans, 50_000)
                assert len(await firewall.left([e.subject for e in bans])) == 40_000
            await firewall.close()
        asyncio.run(main())
    """
    done = child(netns, program, "unshare", "--user", "--map-root-user", "--net")
    assert done.returncode == 0, done.stderr


def test_a_missing_library_is_reported_with_its_package(netns, monkeypatch):
    """Without libnftables, or its Python module, the message names what to install."""

    async def scenario(match):
        with pytest.raises(FirewallError, match=match) as caught:
            await Firewall(Layout()).open()
        assert caught.value.errno == 0

    monkeypatch.setitem(sys.modules, "nftables", None)
    asyncio.run(scenario("apt install python3-nftables, or pip install pip-nftables"))
    monkeypatch.setattr(libnftables, "_LIBRARY", "libnftables.so.none")
    asyncio.run(scenario("apt install libnftables1"))


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (errno.EPERM, NotPermittedError, "CAP_NET_ADMIN"),
        (errno.ENFILE, FirewallError, "the set is full"),
        (errno.ENOENT, FirewallError, "load it again"),
        (errno.EILSEQ, FirewallError, "see the kernel's log"),
    ],
)
def test_every_refusal_has_subject_fact_and_advice(code, kind, advice):
    """Messages say what it is about, what the kernel said, and what to do."""
    error = refused("t", Refusal(code, "words", -1))
    assert type(error) is kind
    assert str(error).startswith("table inet t: ")
    assert f"{os.strerror(code)}, words" in str(error)
    assert advice in str(error)
