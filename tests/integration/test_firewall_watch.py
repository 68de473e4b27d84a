"""A change of our table by others is noticed, soon and once; what we do ourselves is not."""

import asyncio
import contextlib
import socket
import time

import pytest
import uvloop
from support.namespaces import opened

from blocker.firewall.facts import Element
from blocker.firewall.firewall import Firewall
from blocker.firewall.monitor import DEBOUNCE
from blocker.firewall.ruleset import Layout

FOUR = bytes([192, 0, 2, 1])
SIX = bytes.fromhex("20010db8000100020000000000000000")


class Bell:
    """Rings when the watcher is called."""

    def __init__(self, firewall):
        self.rung = []
        self.event = asyncio.Event()
        self.firewall = firewall
        firewall.watch(self.ring)

    def ring(self):
        self.rung.append(time.monotonic())
        self.event.set()

    async def wait(self):
        async with asyncio.timeout(10):
            await self.event.wait()

    def silent(self):
        """Read everything there is, and tell whether it was nothing to ring about."""
        monitor = self.firewall._monitor
        with contextlib.suppress(BlockingIOError):
            while monitor._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                monitor._readable()
        return monitor._timer is None and not self.rung


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def run(request):
    """Both loops that the daemon may run in."""

    def in_loop(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scenario())

    return in_loop


@pytest.mark.parametrize(
    "change",
    [
        "flush ruleset",
        "delete table inet xmlrpc_blocker",
        "flush chain inet xmlrpc_blocker prerouting",
        "flush set inet xmlrpc_blocker ports",
        "delete element inet xmlrpc_blocker ban4 { 192.0.2.1 }",
        "flush set inet xmlrpc_blocker ban6",
        "add element inet xmlrpc_blocker ban4 { 192.0.2.99 }",
        "add chain inet xmlrpc_blocker prerouting { policy drop; }",
    ],
)
def test_a_foreign_change_is_reported_within_100_ms(netns, run, change):
    """Layout or elements, changed by nft: the watcher is called at once, and once."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(FOUR, 600_000), Element(SIX, 600_000)])
            bell = Bell(firewall)
            nft = await asyncio.create_subprocess_exec(*netns.command("nft", change))
            assert await nft.wait() == 0
            over = time.monotonic()
            await bell.wait()
            assert bell.rung[0] - over < 0.1
            assert len(bell.rung) == 1

    run(scenario)


def test_our_own_changes_are_not_reported(netns, run):
    """Bans, unbans, loads and probes of our own, over netlink or libnftables, are known as ours."""

    async def scenario():
        async with opened() as firewall:
            bell = Bell(firewall)
            bans = [Element(bytes([10, 0, n >> 8, n & 255]), 600_000) for n in range(20_000)]
            await firewall.ban(bans, 5000)
            await firewall.load()
            await firewall.load(Layout(ports=None))
            await firewall.unban([FOUR, bans[0].subject])
            firewall.capabilities = firewall.capabilities._replace(refresh=False, destroy=False)
            await firewall.ban(bans[:100])
            await firewall.unban([FOUR, bans[1].subject])
            assert bell.silent()
            await firewall.remove()
            await firewall.load()
            assert bell.silent()

    run(scenario)


def test_our_own_bans_do_not_even_reach_us(netns, run):
    """The kernel drops notifications of the writing socket, or a restore would overflow us."""

    async def scenario():
        async with opened() as firewall:
            firewall.watch(lambda: None)
            listener = firewall._monitor._socket
            asyncio.get_running_loop().remove_reader(listener)
            await firewall.ban([Element(FOUR, 600_000)])
            with pytest.raises(BlockingIOError):
                listener.recv(1, socket.MSG_DONTWAIT)
            netns.nft("add table inet other")
            assert listener.recv(1, socket.MSG_DONTWAIT)

    run(scenario)


def test_other_tables_are_not_reported(netns, run):
    """A program that fills sets of its own all day does not keep us busy."""

    async def scenario():
        async with opened() as firewall:
            bell = Bell(firewall)
            netns.nft(
                "table inet xmlrpc_blocker2 { set ban4 { type ipv4_addr; }\n}\n"
                "table ip xmlrpc_blocker { set xmlrpc_blocker { type ipv4_addr; }\n}\n"
                "add element inet xmlrpc_blocker2 ban4 { "
                + ", ".join(f"10.0.{n >> 8}.{n & 255}" for n in range(5000))
                + " }\ndelete table inet xmlrpc_blocker2"
            )
            assert bell.silent()
            netns.nft("flush set inet xmlrpc_blocker ports")
            await bell.wait()

    run(scenario)


def test_expiry_is_not_reported(netns, run):
    """A ban that ends by itself is no change of anybody's."""

    async def scenario():
        async with opened() as firewall:
            bell = Bell(firewall)
            await firewall.ban([Element(FOUR, 20)])
            async with asyncio.timeout(10):
                while await firewall.left([FOUR]):
                    pass
            assert bell.silent()

    run(scenario)


def test_a_storm_is_reported_in_few_calls(netns, run):
    """However many transactions others make, the watcher is called every 10 ms at most."""

    async def scenario():
        async with opened() as firewall, opened() as other:
            bell = Bell(firewall)
            begun = time.monotonic()
            for n in range(500):
                await other.ban([Element(bytes([10, 0, n >> 8, n & 255]), 600_000)])
            await bell.wait()
            assert len(bell.rung) <= (time.monotonic() - begun) / DEBOUNCE + 1

    run(scenario)


def test_another_daemon_is_another_program(netns, run):
    """A load by another process's libnftables, or another thread's, is reported."""

    async def scenario():
        async with opened() as firewall, opened() as other:
            bell = Bell(firewall)
            await other.load(Layout(ports=(8080,)))
            await bell.wait()
            assert not await firewall.present()

    run(scenario)


def test_lost_notifications_count_as_a_change(netns, run):
    """When the buffer overflows anything may have happened, so the watcher is called."""

    async def scenario():
        async with opened() as firewall:
            bell = Bell(firewall)
            so_rcvbufforce = 33
            firewall._monitor._socket.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 4096)
            netns.nft(
                "table ip other { set s { type ipv4_addr; elements = { "
                + ", ".join(f"10.0.{n >> 8}.{n & 255}" for n in range(5000))
                + " }\n}\n}"
            )
            await bell.wait()
            assert await firewall.present()

    run(scenario)


def test_a_renamed_table_is_watched_on(netns, run):
    """After a reload under another name, changes of that one are reported."""

    async def scenario():
        async with opened() as firewall:
            bell = Bell(firewall)
            await firewall.load(Layout(table="other"))
            assert bell.silent()
            netns.nft("delete table inet other")
            await bell.wait()

    run(scenario)


def test_watching_ends(netns, run):
    """After unwatch, and after close, no callback is called, and nothing is left open."""

    async def scenario():
        firewall = Firewall(Layout())
        await firewall.open()
        bell = Bell(firewall)
        netns.nft("flush set inet xmlrpc_blocker ports")
        firewall._monitor._readable()
        assert firewall._monitor._timer is not None
        firewall.unwatch()
        firewall.unwatch()
        second = Bell(firewall)
        await firewall.close()
        assert bell.rung == second.rung == []
        assert firewall._monitor is None

    run(scenario)
