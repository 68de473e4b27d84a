"""Bans in the kernel: set, refreshed, asked for, ended, and expired."""

import asyncio
import errno
import socket
import struct
import time

import pytest
from support.namespaces import opened

from blocker.errors import FirewallError
from blocker.firewall import netlink
from blocker.firewall.facts import LONGEST, Capabilities, Element
from blocker.firewall.ruleset import Layout

FOUR = bytes([192, 0, 2, 1])
SIX = bytes.fromhex("20010db8000100020000000000000000")
OLD_KERNEL = Capabilities(refresh=False, destroy=False, count=False)


def four(number):
    return (0x0A000000 + number).to_bytes(4, "big")


def six(number):
    return (0x20010DB8 << 32 | number).to_bytes(8, "big") + bytes(8)


@pytest.fixture(params=["as probed", "as on an older kernel"])
def able(request):
    """Both ways that the daemon has, independent of this kernel's capabilities."""

    def choose(firewall):
        if request.param != "as probed":
            firewall.capabilities = OLD_KERNEL
        return firewall

    return choose


def test_a_ban_stands_with_what_is_left(netns, able):
    """IPv4 and IPv6 are banned in one call, and asked for by key; a stranger is not there."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            await firewall.ban([Element(FOUR, 60_000), Element(SIX, 90_000)])
            left = await firewall.left([SIX, four(9), FOUR])
            assert set(left) == {FOUR, SIX}
            assert 59_000 < left[FOUR] <= 60_000
            assert 89_000 < left[SIX] <= 90_000
            assert sorted(e.subject for e in await firewall.dump()) == [SIX, FOUR]

    asyncio.run(scenario())
    assert "2001:db8:1:2::" in netns.run("nft", "list", "set", "inet", "xmlrpc_blocker", "ban6")


@pytest.mark.parametrize("again", [600_000, 60_000, 30_000])
def test_a_standing_ban_is_set_again(netns, able, again):
    """Longer, as long, or shorter: what was asked for last is what is left."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            await firewall.ban([Element(FOUR, 60_000), Element(SIX, 60_000)])
            before = await firewall.left([FOUR])
            while await firewall.left([FOUR]) == before:  # a jiffy goes by
                pass
            await firewall.ban([Element(FOUR, again), Element(SIX, again)])
            left = await firewall.left([FOUR, SIX])
            assert again - 1000 < left[FOUR] <= again
            assert again - 1000 < left[SIX] <= again

    asyncio.run(scenario())


def test_one_subject_twice_in_a_call(netns, able):
    """The last one counts, whichever way it is done."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            await firewall.ban([Element(FOUR, 60_000), Element(FOUR, 30_000)])
            left = await firewall.left([FOUR, FOUR])
            assert 29_000 < left[FOUR] <= 30_000

    asyncio.run(scenario())


def test_unbanning_those_that_are_banned(netns, able):
    """Bans end, and those who had none are no error; nor is a table that is gone."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            await firewall.ban([Element(FOUR, 60_000), Element(SIX, 60_000)])
            await firewall.unban([four(1), SIX, FOUR, FOUR, six(1)])
            assert await firewall.dump() == []
            await firewall.unban([FOUR])
            await firewall.remove()
            await firewall.unban([FOUR])
            assert await firewall.left([FOUR, SIX]) == {}

    asyncio.run(scenario())


def test_many_are_set_asked_for_and_ended(netns, able):
    """More than a message, a chunk or a question holds: nothing is lost at the seams."""
    fours = [four(n) for n in range(7001)]
    sixes = [six(n) for n in range(4001)]

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            await firewall.ban([Element(s, 600_000) for s in fours + sixes], chunk=5000)
            left = await firewall.left(fours + sixes + [four(n) for n in range(8000, 8100)])
            assert set(left) == {*fours, *sixes}
            await firewall.unban(fours[1:] + sixes[1:])
            assert {e.subject for e in await firewall.dump()} == {fours[0], sixes[0]}

    asyncio.run(scenario())


def test_those_that_are_missing_are_found_between_those_that_are_not(netns):
    """A missing key ends the kernel's answer, and the question goes on behind it."""

    async def scenario():
        async with opened() as firewall:
            banned = [four(n) for n in range(0, 3000, 7)]
            await firewall.ban([Element(s, 600_000) for s in banned])
            assert set(await firewall.left([four(n) for n in range(3000)])) == set(banned)

    asyncio.run(scenario())


def test_a_ban_ends_by_itself(netns, able):
    """Expiry lives in the kernel, and comes neither early nor late."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            begun = time.monotonic()
            await firewall.ban([Element(FOUR, 300), Element(SIX, 60_000)])
            async with asyncio.timeout(10):
                while FOUR in await firewall.left([FOUR, SIX]):
                    pass
            assert time.monotonic() - begun >= 0.29
            assert list(await firewall.left([FOUR, SIX])) == [SIX]

    asyncio.run(scenario())


def test_nothing_left_is_no_ban_and_no_ban_is_for_ever(netns, able):
    """What is over is passed over, a moment is a moment, and the longest ban has an end."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            await firewall.ban([Element(four(1), 0), Element(four(2), -5)])
            assert await firewall.dump() == []
            await firewall.ban(
                [
                    Element(four(3), 1),
                    Element(four(4), 2**63),
                    Element(four(5), 10**30),
                ]
            )
            async with asyncio.timeout(10):
                while four(3) in await firewall.left([four(3)]):
                    pass
            left = await firewall.left([four(n) for n in range(6)])
            assert set(left) == {four(4), four(5)}
            assert all(LONGEST - 60_000 < each <= LONGEST for each in left.values())

    asyncio.run(scenario())


def test_a_full_set_takes_as_many_as_fit(netns, able):
    """ENFILE is reported; the first are in, known ones are renewed, as is the other family."""

    async def scenario():
        async with opened(Layout(ban_size=4)) as firewall:
            able(firewall)
            await firewall.ban([Element(four(0), 60_000)])
            crowd = [*map(four, range(9)), *map(six, range(3))]
            with pytest.raises(FirewallError, match="the set is full") as caught:
                await firewall.ban([Element(each, 90_000) for each in crowd])
            assert caught.value.errno == errno.ENFILE
            left = await firewall.left(crowd)
            assert set(left) == {*map(four, range(4)), *map(six, range(3))}
            assert all(each > 60_000 for each in left.values())
            with pytest.raises(FirewallError, match="the set is full"):
                await firewall.ban([Element(four(9), 60_000), Element(four(0), 99_000)])
            assert firewall.failures == {"ban": 2}

    asyncio.run(scenario())


def test_a_table_that_is_gone_refuses_bans(netns, able):
    """ENOENT is reported, and after a load all is well again."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            netns.nft("flush ruleset")
            with pytest.raises(FirewallError, match="load it again") as caught:
                await firewall.ban([Element(FOUR, 60_000)])
            assert caught.value.errno == errno.ENOENT
            await firewall.load()
            await firewall.ban([Element(FOUR, 60_000)])
            assert list(await firewall.left([FOUR])) == [FOUR]

    asyncio.run(scenario())


def test_what_is_no_address_never_reaches_the_kernel(netns, able):
    """A subject of another length is the caller's mistake, and reported as one."""

    async def scenario():
        async with opened() as firewall:
            able(firewall)
            for wrong in (b"", b"192", b"192.0.2.1"):
                with pytest.raises(ValueError, match="bytes in one set"):
                    await firewall.ban([Element(wrong, 60_000)])
            with pytest.raises(ValueError, match="use 1 or more"):
                await firewall.ban([Element(FOUR, 60_000)], chunk=0)

    asyncio.run(scenario())


def test_sizes_are_reported_where_the_kernel_can(netns):
    """The number of bans costs no dump, and is None on a kernel that has none."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(four(n), 60_000) for n in range(5)])
            await firewall.ban([Element(six(n), 60_000) for n in range(3)])
            if firewall.capabilities.count:
                assert await firewall.sizes() == (5, 3)
            firewall.capabilities = OLD_KERNEL
            assert await firewall.sizes() is None

    asyncio.run(scenario())


def test_a_dump_stops_at_its_limit(netns):
    """Large sets are never dumped whole, and the channel is none the worse for it."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(four(n), 600_000) for n in range(9000)], 5000)
            await firewall.ban([Element(six(n), 600_000) for n in range(10)])
            assert len(await firewall.dump(limit=2000)) == 2000
            assert await firewall.dump(limit=0) == []
            everything = await firewall.dump()
            assert len(everything) == len({e.subject for e in everything}) == 9010
            assert all(590_000 < e.left <= 600_000 for e in everything)

    asyncio.run(scenario())


def test_a_foreign_element_without_an_end_is_reported_as_long(netns):
    """An element that another program added without a timeout has much left, not nothing."""

    async def scenario():
        async with opened() as firewall:
            netns.nft("add element inet xmlrpc_blocker ban4 { 192.0.2.1 }")
            assert 86_000_000 < (await firewall.left([FOUR]))[FOUR] <= 86_400_000

    asyncio.run(scenario())


def test_only_the_kernel_is_believed(netns):
    """Answers that another process forged, with the right number, are passed over."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(FOUR, 60_000)])
            await firewall.drops()
            netlink_netfilter, no_such_entry = 12, struct.pack("=i", -errno.ENOENT) + bytes(16)
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink_netfilter) as forger:
                for seq in range(1, 50):
                    forged = netlink.encode(netlink.Request(netlink.ERROR, 0, no_such_entry), seq)
                    forger.sendto(forged, (firewall._reader.portid, 0))
            assert list(await firewall.left([FOUR])) == [FOUR]

    asyncio.run(scenario())


def test_operations_are_counted(netns):
    """Each transaction and question counts once, and is reported with its duration."""

    async def scenario():
        done = []
        async with opened(on_operation=lambda *each: done.append(each)) as firewall:
            done.clear()
            await firewall.ban([Element(four(n), 60_000) for n in range(2500)])
            await firewall.left([FOUR])
            assert firewall.operations == {"open": 1, "ban": 3, "left": 1}
            assert [name for name, _ in done] == ["ban", "ban", "ban", "left"]
            assert all(seconds > 0 for _, seconds in done)

    asyncio.run(scenario())
