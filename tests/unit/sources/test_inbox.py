"""Sockets as logs: what is received, refused, kept over a reload and lost."""

import asyncio
import os
import pwd
import socket
from pathlib import Path

import pytest

from blocker.sources import datagrams, senders
from blocker.sources import inbox as inboxes_module
from blocker.sources.datagrams import MANY, Datagrams
from blocker.sources.inbox import BUFFER, KERNEL, OVERSIZE, SENDER, Inbox, Received
from blocker.sources.live import MAX_INBOXES, Inboxes, Live
from blocker.sources.senders import Allowed
from blocker.sources.stream import BLOCK


@pytest.fixture
def path(tmp_path):
    """Where the socket is."""
    return tmp_path / "log.sock"


@pytest.fixture
def made(path):
    """An open socket that a log is received from."""
    opened = Datagrams(f"unix:{path}", Allowed())
    yield opened
    opened.close()


def pen_for(path):
    """Return a socket that sends there."""
    pen = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    pen.connect(str(path))
    return pen


def test_a_datagram_is_a_line(path, made):
    """A newline within is none, ends are cut off, and what is empty is nothing."""
    with pen_for(path) as pen:
        for text in (b"one", b"two\n", b"\0", b"", b"thr\nee\n\0", b"\x00four"):
            pen.send(text)
        got = made.receive()
    assert got.lines == b"one\ntwo\nthr\x1eee\n\x00four\n"
    assert (got.refused, got.oversize, got.more, got.ended) == (0, 0, False, False)
    assert made.receive() == Received(b"")


def test_many_datagrams_come_at_once(path, made):
    """And there may be more."""
    with pen_for(path) as pen:
        pen.settimeout(0)
        sent = 0
        try:
            while sent < MANY + 1:
                pen.send(b"%d" % sent)
                sent += 1
        except BlockingIOError:  # the queue has ten datagrams without systemd
            assert sent > 5
        got = made.receive()
        assert got.lines.count(b"\n") == min(sent, MANY)
        assert got.more is (sent >= MANY)


def test_the_longest_line_is_whole_and_a_longer_one_is_counted(path, monkeypatch):
    """Its end is missing, so it is no line."""
    monkeypatch.setattr(datagrams, "SIZE", 1000)
    made = Datagrams(f"unix:{path}", Allowed())
    with pen_for(path) as pen:
        for length in (1000, 1001, 10):
            pen.send(b"x" * length)
        got = made.receive()
    assert (got.lines, got.oversize) == (b"x" * 1000 + b"\n" + b"x" * 10 + b"\n", 1)
    made.close()


def test_no_descriptor_is_taken(path, made):
    """A sender can't exhaust them."""
    with pen_for(path) as pen:
        socket.send_fds(pen, [b"line"], [0] * 20)
        before = set(descriptors())
        assert made.receive().lines == b"line\n"
        assert set(descriptors()) == before


def test_a_sender_that_is_not_allowed_is_refused(path, made, monkeypatch):
    """The kernel says who it is."""
    monkeypatch.setattr(senders.os, "geteuid", lambda: 4321)
    made._allowed.name(["4322"])
    with pen_for(path) as pen:
        pen.send(b"line")
        assert made.receive() == Received(b"", refused=1)
    uid = os.getuid()
    assert f"user {uid} ({pwd.getpwuid(uid).pw_name}) are refused" in made.advice(SENDER)


def test_users_are_known_by_name_and_number(monkeypatch):
    """The daemon's own user always is; a name without a user is left out until there is one."""
    users = {"root": 0, "web": 700}
    monkeypatch.setattr(
        senders, "_uid", lambda name: int(name) if name.isdecimal() else users.get(name)
    )
    monkeypatch.setattr(senders.os, "geteuid", lambda: 500)
    now = [100.0]
    monkeypatch.setattr(senders, "monotonic", lambda: now[0])
    allowed = Allowed()
    assert {uid for uid in (0, 33, 500, 700, -1) if uid in allowed} == {0, 500}
    allowed.name(["web", "late", "33"])
    assert {uid for uid in (0, 33, 500, 700, 800) if uid in allowed} == {33, 500, 700}
    users["late"] = 800
    assert 800 not in allowed
    now[0] += senders.LOOK_UP_AGAIN
    assert 800 in allowed
    allowed.name([])
    assert {uid for uid in (0, 33, 500, 700) if uid in allowed} == {0, 500}


class Hand(Datagrams):
    """A receiver that returns what a test gives."""

    def __init__(self):
        self.given = []
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)

    def fileno(self):
        return self.reader

    def give(self, received):
        """Have it received."""
        self.given.append(received)
        os.write(self.writer, b"x")

    def receive(self):
        try:
            os.read(self.reader, 1)
        except BlockingIOError:
            return Received(b"")
        return self.given.pop(0)

    def gone(self):
        return False

    def close(self):
        os.close(self.reader)
        os.close(self.writer)

    def advice(self, reason):
        return f"because of {reason}"


def following(scenario, **receivers):
    """Run a scenario with a Live of receivers by name, as the engine has it."""

    async def run():
        kept = Inboxes()
        opens = {name: lambda _, each=each: each for name, each in receivers.items()}
        live = Live(opens, {}, kept)
        try:
            async with asyncio.timeout(30):
                return await scenario(live, lambda: Live(opens, {}, kept))
        finally:
            live.close()
            kept.stop()
            await kept.keep()

    return asyncio.run(run())


def descriptors():
    """Return the open descriptors, but for the one that finds them."""
    return {each.name for each in Path("/proc/self/fd").iterdir() if each.exists()}


async def settled(condition):
    """Wait for what the thread does."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what a thread does
            await asyncio.sleep(0.001)


def test_lines_are_read_and_what_is_lost_is_counted():
    """By reason, with advice, for an hour."""
    hand = Hand()

    async def scenario(live, _):
        hand.give(Received(b"one\ntwo\n", refused=2, oversize=3, dropped=4))
        await live.wait()
        (stream,) = live.ready()
        block = await stream.read(BLOCK)
        assert (block.data, block.start) == (b"one\ntwo\n", 0)
        assert await stream.read(BLOCK) is None
        hand.give(Received(b"three\n"))
        await live.wait()
        block = await stream.read(BLOCK)
        assert (block.data, block.start) == (b"three\n", 8)
        position = stream.position(block, 6)
        assert (position.path, position.offset, position.head) == ("a", 14, b"")
        (status,) = live.statuses()
        assert status.up
        assert status.lost == {SENDER: 2, OVERSIZE: 3, KERNEL: 4}
        assert status.last_line
        assert live.losses == {"a": "a: because of kernel; because of sender; because of oversize"}
        assert live.errors == {}

    following(scenario, a=hand)


def test_lines_beyond_the_buffer_are_dropped_and_counted(monkeypatch):
    """While nothing is judged; those that wait are kept."""
    hand = Hand()

    async def scenario(live, _):
        (inbox,) = live._inboxes
        inbox._lines._ceiling = 10
        hand.give(Received(b"one\ntwo\nthree\n"))
        await settled(lambda: inbox.losses.counts[BUFFER] == 1)
        (status,) = live.statuses()
        assert status.lag_bytes == 8
        assert status.lag_seconds > 0
        assert (await live.ready()[0].read(BLOCK)).data == b"one\ntwo\n"
        assert live.statuses()[0].lag_seconds == 0

    following(scenario, a=hand)


def test_another_engine_goes_on_behind_the_last_line_that_was_judged():
    """After a reload: nothing is lost, and nothing is judged twice."""
    hand = Hand()

    async def scenario(live, again):
        hand.give(Received(b"one\ntwo\nthree\n"))
        await live.wait()
        stream = live.ready()[0]
        block = await stream.read(BLOCK)
        stream.position(block, 4)
        live.close()
        hand.give(Received(b"four\n"))
        live = again()
        (inbox,) = live._inboxes
        await settled(lambda: inbox.size == 15)
        stream = live.ready()[0]
        block = await stream.read(BLOCK)
        assert (block.data, block.start) == (b"two\nthree\nfour\n", 4)
        stream.position(block, len(block.data))
        assert again().ready() == []

    following(scenario, a=hand)


def test_a_source_that_cannot_be_opened_is_tried_again(path, monkeypatch):
    """And the error says why."""
    monkeypatch.setattr(inboxes_module, "RETRY", 0.01)
    path.write_text("")

    async def run():
        kept = Inboxes()
        name = f"unix:{path}"
        live = Live({name: lambda allowed: Datagrams(name, allowed)}, {}, kept)
        assert "is not a socket" in live.errors[name]
        assert not live.statuses()[0].up
        path.unlink()
        await settled(lambda: live.statuses()[0].up)
        assert live.errors == {}
        with pen_for(path) as pen:
            pen.send(b"one")
            await live.wait()
        kept.stop()
        while not await live.finished():
            pass
        assert not path.exists()
        assert (await live.ready()[0].read(BLOCK)).data == b"one\n"
        await kept.keep()

    asyncio.run(run())


def test_no_more_than_eight_are_open():
    """The others are named as a problem."""
    names = [f"unix:/{n}" for n in range(MAX_INBOXES + 2)]

    async def run():
        kept = Inboxes()
        live = Live({name: lambda _: Hand() for name in names}, {}, kept)
        assert [each.up for each in live.statuses()] == [True] * MAX_INBOXES + [False] * 2
        assert list(live.errors) == names[MAX_INBOXES:]
        await kept.keep(names[:3])
        assert list(kept._open) == names[:3]
        await kept.keep()

    asyncio.run(run())


def test_an_error_of_the_thread_is_raised_in_the_loop():
    """It is a mistake of ours, so the daemon ends and is started again."""
    hand = Hand()

    async def scenario(live, _):
        hand.give(None)
        with pytest.raises(AttributeError):
            await live.wait()

    following(scenario, a=hand)


def test_an_error_of_the_kernel_opens_the_source_again(monkeypatch):
    """And is shown until then."""
    monkeypatch.setattr(inboxes_module, "RETRY", 0.01)

    class Refused(Hand):
        def receive(self):
            raise OSError(5, "Input/output error")

    hands = [Refused(), Hand()]

    async def run():
        inbox = Inbox("a", lambda _: hands.pop(0))
        first, second = hands
        inbox.start()
        os.write(first.writer, b"x")
        await settled(lambda: not hands and inbox.up)
        second.give(Received(b"one\n"))
        await settled(lambda: inbox.size == 4)
        inbox.stop()
        assert await inbox.stopped(10)

    asyncio.run(run())
