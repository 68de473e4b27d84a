"""What really happens to packets, between two namespaces and over loopback.

A link delivers in order.  So a packet that must not arrive is followed by one that must: when the
second is there, the first was dropped, and no test has waited for luck.
"""

import asyncio
import socket
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest
from support.namespaces import join, namespace, opened

from blocker.addresses import subject_of
from blocker.firewall.facts import Element
from blocker.firewall.ruleset import Layout

SERVER4, SERVER6 = "192.0.2.1", "2001:db8:1::1"
CLIENT4, CLIENT6 = "192.0.2.2", "2001:db8:1::2"
FRIEND4, FRIEND6 = "192.0.2.77", "2001:db8:1::77"
UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
DAY = 86_400_000
ALL = Layout(
    ports=None,
    allow4=(IPv4Network(f"{FRIEND4}/32"),),
    allow6=(IPv6Network(f"{FRIEND6}/128"),),
)


def subject(text, prefix=64):
    if ":" in text:
        return subject_of(IPv6Address(text).packed, prefix)
    return socket.inet_aton(text)


@pytest.fixture
def far(netns):
    """Where the clients are; the server, and the firewall, are where the test is."""
    with namespace() as made:
        join(
            netns,
            made,
            (f"{SERVER4}/24", f"{CLIENT4}/24"),
            (f"{SERVER6}/64", f"{CLIENT6}/64"),
        )
        made.run("ip", "address", "add", f"{FRIEND4}/24", "dev", "far0")
        made.run("ip", "address", "add", f"{FRIEND6}/64", "dev", "far0", "nodad")
        yield made


class Post:
    """A port of the server, and letters to it."""

    def __init__(self, server, client, source, port):
        self.family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.to = (SERVER6 if ":" in source else SERVER4, port)
        self.box = server.listen(UDP, port, self.family)
        self.pen = client.speak(UDP, source)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.box.close()
        self.pen.close()

    def send(self, letter):
        self.pen.sendto(letter, self.to)

    def arrived(self):
        letters = []
        self.box.settimeout(0)
        try:
            while True:
                letters.append(self.box.recv(65536))
        except BlockingIOError:
            self.box.settimeout(10)
            return letters


async def dropped(firewall, packets4=0, packets6=0):
    """Wait until so many packets were dropped; more would fail."""
    async with asyncio.timeout(10):
        while True:
            drops = await firewall.drops()
            if drops.packets4 >= packets4 and drops.packets6 >= packets6:
                assert (drops.packets4, drops.packets6) == (packets4, packets6)
                return drops


@pytest.mark.parametrize("source", [CLIENT4, CLIENT6])
def test_the_ports_of_the_web_are_closed_and_the_others_open(netns, far, source):
    """UDP to 80 and 443 is dropped and counted, to 22 it is served."""

    async def scenario():
        with (
            Post(netns, far, source, 80) as web,
            Post(netns, far, source, 443) as quic,
            Post(netns, far, source, 22) as other,
        ):
            async with opened() as firewall:
                web.send(b"before")
                assert await asyncio.to_thread(web.box.recv, 100) == b"before"
                await firewall.ban([Element(subject(source), DAY)])
                for number in range(5):
                    web.send(b"%d" % number)
                    quic.send(b"%d" % number)
                other.send(b"marker")
                assert await asyncio.to_thread(other.box.recv, 100) == b"marker"
                assert web.arrived() == quic.arrived() == []
                family = 6 if ":" in source else 4
                drops = await dropped(firewall, **{f"packets{family}": 10})
                # Headers of IP and UDP, and one letter.
                size = 10 * ((40 if family == 6 else 20) + 8 + 1)
                assert drops == ((0, 0, 10, size) if family == 6 else (10, size, 0, 0))
                asked = [subject(source), bytes(4), bytes(16)]
                assert await firewall.senders(asked) == [(subject(source), 10, size)]
                await firewall.unban([subject(source)])
                web.send(b"after")
                assert await asyncio.to_thread(web.box.recv, 100) == b"after"

    asyncio.run(scenario())


@pytest.mark.parametrize("source", [CLIENT4, CLIENT6])
def test_tcp_to_the_web_is_dropped_and_ssh_is_served(netns, far, source):
    """A banned client gets no answer on port 80, and a connection on port 22."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    server = SERVER6 if ":" in source else SERVER4

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(subject(source), DAY)])
            with (
                netns.listen(TCP, 80, family) as web,
                netns.listen(TCP, 22, family) as ssh,
                far.speak(TCP, source) as knock,
                far.speak(TCP, source) as login,
            ):
                knock.settimeout(0)
                knock.connect_ex((server, 80))
                await asyncio.to_thread(login.connect, (server, 22))
                ssh.accept()[0].close()
                web.settimeout(0)
                with pytest.raises(BlockingIOError):
                    web.accept()
                async with asyncio.timeout(10):
                    while not sum((await firewall.drops())[::2]):
                        pass

    asyncio.run(scenario())


def test_an_established_connection_is_cut(netns, far):
    """What a banned client sends over a connection that stood before does not arrive."""

    async def scenario():
        async with opened() as firewall:
            with (
                netns.listen(TCP, 80, socket.AF_INET) as web,
                far.speak(TCP, CLIENT4) as client,
            ):
                await asyncio.to_thread(client.connect, (SERVER4, 80))
                inside = web.accept()[0]
                with inside:
                    await firewall.ban([Element(subject(CLIENT4), DAY)])
                    client.send(b"POST /xmlrpc.php HTTP/1.1\r\n")
                    async with asyncio.timeout(10):
                        while not (await firewall.drops()).packets4:
                            pass
                    inside.settimeout(0)
                    with pytest.raises(BlockingIOError):
                        inside.recv(100)

    asyncio.run(scenario())


def test_with_all_ports_closed_nothing_passes(netns, far):
    """No port, and no ping either, whichever family."""

    async def scenario():
        with (
            Post(netns, far, CLIENT4, 22) as four,
            Post(netns, far, CLIENT6, 22) as six,
            Post(netns, far, FRIEND4, 23) as marker4,
            Post(netns, far, FRIEND6, 23) as marker6,
        ):
            async with opened(ALL) as firewall:
                await firewall.ban([Element(subject(CLIENT4), DAY), Element(subject(CLIENT6), DAY)])
                four.send(b"no")
                six.send(b"no")
                marker4.send(b"yes")
                marker6.send(b"yes")
                assert await asyncio.to_thread(marker4.box.recv, 100) == b"yes"
                assert await asyncio.to_thread(marker6.box.recv, 100) == b"yes"
                assert four.arrived() == six.arrived() == []
                await dropped(firewall, 1, 1)

    asyncio.run(scenario())


def test_a_banned_neighbourhood_still_answers_neighbour_discovery(netns, far):
    """With the on-link /64 banned whole, the host can still find whom it talks to."""

    async def scenario():
        async with opened(ALL) as firewall:
            await firewall.ban([Element(subject(CLIENT6), DAY)])
            with (
                far.listen(UDP, 9, socket.AF_INET6) as heard,
                netns.speak(UDP, SERVER6) as voice,
            ):
                voice.sendto(b"hello", (CLIENT6, 9))
                assert await asyncio.to_thread(heard.recv, 100) == b"hello"
            assert (await firewall.drops()).packets6 == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("layout", [ALL, ALL.__class__(allow4=ALL.allow4, allow6=ALL.allow6)])
def test_friends_pass_inside_a_banned_network(netns, far, layout):
    """An allowed address is served though its /64, or itself, is banned."""

    async def scenario():
        with (
            Post(netns, far, FRIEND4, 80) as four,
            Post(netns, far, FRIEND6, 80) as six,
        ):
            async with opened(layout) as firewall:
                await firewall.ban([Element(subject(FRIEND4), DAY), Element(subject(FRIEND6), DAY)])
                four.send(b"let me in")
                six.send(b"let me in")
                assert await asyncio.to_thread(four.box.recv, 100) == b"let me in"
                assert await asyncio.to_thread(six.box.recv, 100) == b"let me in"
                assert await firewall.drops() == (0, 0, 0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("layout", [ALL, Layout()])
def test_loopback_passes_for_any_ban(netns, layout):
    """The host talks to itself, even if its addresses were banned by hand."""

    async def scenario():
        async with opened(layout) as firewall:
            await firewall.ban([Element(subject("127.0.0.1"), DAY), Element(subject("::1"), DAY)])
            for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
                with (
                    netns.listen(TCP, 80, family) as server,
                    netns.speak(TCP, address) as client,
                ):
                    await asyncio.to_thread(client.connect, (address, 80))
                    server.accept()[0].close()
            assert await firewall.drops() == (0, 0, 0, 0)

    asyncio.run(scenario())


def test_a_whole_network_is_banned_and_its_neighbour_is_not(netns, far):
    """All of a /64 is dropped, for any lower half of the address; the next /64 is served."""
    inside = ["2001:db8:2:0::1", "2001:db8:2:0:ffff:ffff:ffff:ffff"]
    outside = "2001:db8:2:1::1"
    netns.run("ip", "route", "add", "2001:db8:2::/48", "dev", "near0")
    for address in [*inside, outside]:
        far.run("ip", "address", "add", f"{address}/128", "dev", "far0", "nodad")

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(subject(inside[0]), DAY)])
            with (
                netns.listen(UDP, 80, socket.AF_INET6) as box,
                far.speak(UDP, inside[0]) as first,
                far.speak(UDP, inside[1]) as last,
                far.speak(UDP, outside) as neighbour,
            ):
                for pen in (first, last, neighbour):
                    pen.sendto(b"letter", (SERVER6, 80))
                _, sender = await asyncio.to_thread(box.recvfrom, 100)
                assert sender[0] == outside
                box.settimeout(0)
                with pytest.raises(BlockingIOError):
                    box.recv(100)
            await dropped(firewall, 0, 2)
            senders = await firewall.senders([subject(inside[0]), subject(outside)])
            assert [s[:2] for s in senders] == [(subject(inside[0]), 2)]

    asyncio.run(scenario())


@pytest.mark.parametrize(("prefix", "passes"), [(48, False), (64, True), (128, True)])
def test_the_prefix_of_the_rules_follows_the_configuration(netns, far, prefix, passes):
    """A ban of the client's network reaches as far as the configured prefix, and no further."""
    other = "2001:db8:1:7::1"
    far.run("ip", "address", "add", f"{other}/128", "dev", "far0", "nodad")
    netns.run("ip", "route", "add", f"{other}/128", "dev", "near0")

    async def scenario():
        async with opened(Layout(ipv6_prefix=prefix)) as firewall:
            await firewall.ban([Element(subject(CLIENT6, prefix), DAY)])
            with (
                Post(netns, far, CLIENT6, 80) as banned,
                Post(netns, far, other, 443) as asked,
                Post(netns, far, CLIENT6, 22) as marker,
            ):
                banned.send(b"no")
                asked.send(b"perhaps")
                marker.send(b"yes")
                assert await asyncio.to_thread(marker.box.recv, 100) == b"yes"
                assert banned.arrived() == []
                assert asked.arrived() == ([b"perhaps"] if passes else [])

    asyncio.run(scenario())


def test_a_full_set_of_senders_leaks_nothing(netns, far):
    """When no more senders can be counted one by one, all of their packets are dropped still."""
    sources = [f"192.0.2.{10 + n}" for n in range(5)]
    for source in sources:
        far.run("ip", "address", "add", f"{source}/24", "dev", "far0")

    async def scenario():
        async with opened(Layout(hits_size=2)) as firewall:
            await firewall.ban([Element(subject(source), DAY) for source in sources])
            with (
                netns.listen(UDP, 80, socket.AF_INET) as box,
                far.speak(UDP, CLIENT4) as marker,
            ):
                for source in sources * 3:
                    with far.speak(UDP, source) as pen:
                        pen.sendto(b"no", (SERVER4, 80))
                marker.sendto(b"yes", (SERVER4, 80))
                assert await asyncio.to_thread(box.recv, 100) == b"yes"
                box.settimeout(0)
                with pytest.raises(BlockingIOError):
                    box.recv(100)
            await dropped(firewall, 15)
            senders = await firewall.senders(map(subject, sources))
            assert [(s.packets, s.bytes) for s in senders] == [(3, 90), (3, 90)]

    asyncio.run(scenario())


def test_fragments_are_no_way_round(netns, far):
    """A datagram in pieces does not arrive either: its first one names the port."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(subject(CLIENT4), DAY)])
            with (
                Post(netns, far, CLIENT4, 80) as web,
                Post(netns, far, CLIENT4, 22) as marker,
            ):
                web.send(bytes(9000))
                marker.send(bytes(9000))
                assert len(await asyncio.to_thread(marker.box.recv, 10_000)) == 9000
                assert web.arrived() == []
            assert (await firewall.drops()).packets4 >= 1

    asyncio.run(scenario())


def test_traffic_does_not_renew_a_ban(netns, far):
    """Packets of the banned leave the end of their ban where it is."""

    async def scenario():
        with Post(netns, far, CLIENT4, 80) as web:
            async with opened() as firewall:
                await firewall.ban([Element(subject(CLIENT4), 60_000)])
                web.send(b"no")
                await dropped(firewall, 1)
                assert (await firewall.left([subject(CLIENT4)]))[subject(CLIENT4)] <= 60_000

    asyncio.run(scenario())


def test_a_reload_under_traffic_lets_nothing_through(netns, far):
    """Loading is one transaction: between the old rules and the new there is no gap."""

    async def scenario():
        async with opened() as firewall:
            await firewall.ban([Element(subject(CLIENT4), DAY)])
            with (
                Post(netns, far, CLIENT4, 80) as web,
                Post(netns, far, CLIENT4, 22) as marker,
            ):
                loading = asyncio.create_task(firewall.load())
                while not loading.done():
                    web.send(b"no")
                    await asyncio.sleep(0)
                assert await loading
                marker.send(b"yes")
                assert await asyncio.to_thread(marker.box.recv, 100) == b"yes"
                assert web.arrived() == []

    asyncio.run(scenario())
