"""The control socket, with real clients on a real socket: no client stalls it or crashes it."""

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from support.loops import on_uvloop

from blocker.cli.client import ask
from blocker.config.schema import Config
from blocker.errors import BlockerError, NotReachableError
from blocker.firewall.facts import OPERATIONS
from blocker.friends.friends import Friends
from blocker.service.admin_commands import AdminCommands
from blocker.service.control import MAX_CLIENTS, ControlServer
from blocker.service.health import Health
from blocker.service.parts import make_parts
from blocker.service.protocol import MAX_REQUEST
from blocker.service.status import Status
from blocker.store.store import Store
from blocker.telemetry.exposition import Durations

NOW = 1_773_144_000_000_000
NOBODY = 65534
SOME_GROUP = 54321
BIG = "x" * 300_000

# The server ------------------------------------------------------------------------------------


@contextlib.contextmanager
def handlers(directory):
    """The real handlers of a real engine that enforces nothing."""
    config, store = Config(dry_run=True), Store(directory / "state.db", dry=True)
    friends, durations = Friends.build(lists={}), Durations(OPERATIONS)
    parts = make_parts(config, friends, store, lambda: NOW, durations)
    yield {**Status(parts, Health()).handlers(), **AdminCommands(parts).handlers()}
    on_uvloop(parts.engine.close())
    store.close()


async def hello(_request):
    return {"answer": "hello"}


async def big(_request):
    return {"answer": BIG}


class Scene:
    """A server on a loop, and clients that speak to it byte by byte."""

    def __init__(self, path, server):
        self.path, self.server = path, server
        self.sockets = []

    async def client(self, text=b""):
        """Connect and say something; the server has seen it when this returns."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(0)
        self.sockets.append(made)
        connected = False
        while not connected:
            try:
                made.connect(self.path)
            except BlockingIOError:  # the queue at the door is full
                await asyncio.sleep(0)
            else:
                connected = True
        await asyncio.get_running_loop().sock_sendall(made, text)
        return made

    async def answer(self, client):
        """Return what the server says up to the end of a line, or of everything."""
        loop = asyncio.get_running_loop()
        text = b""
        async with asyncio.timeout(10):
            while not text.endswith(b"\n"):
                try:
                    more = await loop.sock_recv(client, 1 << 16)
                except ConnectionResetError:
                    more = b""
                if not more:
                    break
                text += more
        return json.loads(text) if text else None

    async def ask(self, text):
        return await self.answer(await self.client(text))


async def until(condition):
    """Give the loop turns until something holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the server has no event for tests to wait for
            await asyncio.sleep(0)


def play(directory, scenario, handlers=None, patience=10.0):
    """Run a scenario on the daemon's own kind of loop; an exception that escapes fails it."""
    path = str(directory / "control.sock")
    uncaught = []

    async def scene():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: uncaught.append(what))
        server = ControlServer(handlers or {"status": hello, "big": big}, patience)
        await server.start(path)
        made = Scene(path, server)
        try:
            await scenario(made)
        finally:
            await server.close()
            for each in made.sockets:
                each.close()

    on_uvloop(scene())
    assert not uncaught


STATUS = b'{"command": "status"}\n'
HELLO = {"ok": True, "answer": "hello"}

# Requests --------------------------------------------------------------------------------------


def test_several_requests_are_answered_in_turn(tmp_path):
    """One connection may ask as often as it likes, in pieces or all at once."""

    async def scenario(scene):
        client = await scene.client(STATUS[:5])
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, STATUS[5:])
        assert await scene.answer(client) == HELLO
        await loop.sock_sendall(client, STATUS)
        assert await scene.answer(client) == HELLO

    play(tmp_path, scenario)


@pytest.mark.parametrize("size", [MAX_REQUEST + 1, 100_000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_request_that_is_too_long_is_refused(tmp_path, size, end):
    """Beyond the ceiling nothing is kept: a refusal, an end, and the next client is served."""

    async def scenario(scene):
        client = await scene.client()
        with contextlib.suppress(OSError):  # the server may hang up before it has all
            await asyncio.get_running_loop().sock_sendall(client, b"x" * size + end)
        refusal = await scene.answer(client)
        assert refusal is None or (not refusal["ok"] and refusal["code"] == 2)
        assert await scene.answer(client) is None
        assert await scene.ask(STATUS) == HELLO

    play(tmp_path, scenario)


def test_half_a_line_and_silence(tmp_path):
    """Who says half a request and no more is sent away after a while, others meanwhile served."""

    async def scenario(scene):
        client = await scene.client(STATUS[:7])
        assert await scene.ask(STATUS) == HELLO
        assert await scene.answer(client) is None
        assert scene.server.counts.refused >= 1

    play(tmp_path, scenario, patience=0.2)


def test_half_a_line_and_gone(tmp_path):
    """A request without its newline is none, even where it could be read as one."""

    async def scenario(scene):
        client = await scene.client(STATUS.rstrip())
        client.shutdown(socket.SHUT_WR)
        assert await scene.answer(client) is None

    play(tmp_path, scenario)


JUNK = [
    b"\n",
    b"null\n",
    b"[]\n",
    b"17\n",
    b'"status"\n',
    b"{}\n",
    b"{\n",
    b"\x00\xff\xfe\n",
    b'{"command": null}\n',
    b'{"command": []}\n',
    b'{"command": {}}\n',
    b'{"command": "\\ud800"}\n',
    b'{"command": "__init__"}\n',
    b'{"command": 1e999}\n',
    b'{"command": ' + b"9" * 60_000 + b"}\n",
    b"[" * 64_000 + b"\n",
    b'{"a":' * 12_000 + b"\n",
    b'{"command": "status"} {"command": "status"}\n',
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_is_refused(tmp_path, junk):
    """What is no request is answered with a refusal, and the connection goes on."""

    async def scenario(scene):
        client = await scene.client(junk)
        refusal = await scene.answer(client)
        assert (refusal["ok"], refusal["code"]) == (False, 2)
        assert (
            'such as {"command": "status"}' in refusal["error"] or "there are" in refusal["error"]
        )
        await asyncio.get_running_loop().sock_sendall(client, STATUS)
        assert await scene.answer(client) == HELLO

    play(tmp_path, scenario)


VALUES = [
    None, True, False, 0, -1, 10**30, -(10**30), 10**3000, 1.5, float("inf"), float("nan"), "",
    " ", "x", "\x00", "\ud800", "192.0.2.1/32/32", "192.0.2.1\n", "::1%lo", "1" * 3000, [],
    ["192.0.2.1"], {}, {"a": [1]}, [[[[]]]],
]  # fmt: skip
PYTHONS_OWN = re.compile("argument|Python|literal|convert|indices|hashable|subscript|wrong value")
"""Words of Python's errors, and of the one that stands for any that was not foreseen."""
FIELDS = {
    "bans": [("after", {})],
    "ban": [("address", {}), ("for", {"address": "192.0.2.1"}), ("addresses", {}),
            ("reason", {"address": "192.0.2.1", "for": "9d"})],
    "unban": [("address", {}), ("all", {}), ("addresses", {})],
    "forget": [("address", {}), ("addresses", {})],
    "status": [("anything", {})],
}  # fmt: skip


def test_wrong_types_in_every_field(tmp_path):
    """Any value in any field of any command gets an answer, and changes no other ban."""

    async def scenario(scene):
        client = await scene.client()
        loop = asyncio.get_running_loop()
        for command, fields in FIELDS.items():
            for field, others in fields:
                for value in VALUES:
                    request = {"command": command, **others, field: value}
                    await loop.sock_sendall(client, json.dumps(request).encode() + b"\n")
                    answer = await scene.answer(client)
                    assert answer["ok"] or answer["error"], request
                    assert answer["ok"] or answer["code"] in {1, 2, 4}, request
                    said = answer.get("error", "")
                    assert not PYTHONS_OWN.search(said), said
                    assert len(said) < 250
        standing = await scene.ask(b'{"command": "bans"}\n')
        assert {row["address"] for row in standing["bans"]} <= {"192.0.2.1"}

    with handlers(tmp_path) as made:
        play(tmp_path, scenario, made)


# Clients ---------------------------------------------------------------------------------------


def test_a_thousand_idle_clients_exclude_no_other(tmp_path):
    """The client that has been idle longest has to go, and an administrator is served at once."""

    async def scenario(scene):
        crowd = [await scene.client() for _ in range(1000)]
        assert await scene.ask(STATUS) == HELLO
        assert scene.server.counts.evicted == 1000 + 1 - MAX_CLIENTS
        assert await scene.answer(crowd[0]) is None
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(crowd[-1], STATUS)
        assert await scene.answer(crowd[-1]) == HELLO

    play(tmp_path, scenario)


def test_who_asks_is_not_idle(tmp_path):
    """A client that is in the middle of being served is not sent away for newer ones."""
    served = asyncio.Event()

    async def slow(_request):
        await served.wait()
        return {"answer": "slow"}

    async def scenario(scene):
        patient = await scene.client(b'{"command": "slow"}\n')
        for _ in range(2 * MAX_CLIENTS):
            await scene.client()
        assert await scene.ask(STATUS) == HELLO
        served.set()
        assert await scene.answer(patient) == {"ok": True, "answer": "slow"}

    play(tmp_path, scenario, {"slow": slow, "status": hello})


def test_when_everybody_is_being_served_the_next_is_refused(tmp_path):
    """The ceiling holds: there are never more than so many requests at work."""
    served = asyncio.Event()

    async def slow(_request):
        await served.wait()
        return {}

    async def scenario(scene):
        for _ in range(MAX_CLIENTS):
            await scene.client(b'{"command": "slow"}\n')
        await until(lambda: len(scene.server._busy) == MAX_CLIENTS)
        refusal = await scene.answer(await scene.client())
        assert (refusal["code"], "too many clients" in refusal["error"]) == (3, True)
        assert scene.server.counts.refused == 1
        served.set()

    play(tmp_path, scenario, {"slow": slow, "status": hello})


def test_a_client_that_never_reads(tmp_path):
    """Its answers are not kept for ever: it is sent away, and others are served meanwhile."""

    async def scenario(scene):
        deaf = await scene.client(b'{"command": "big"}\n' * 8)
        assert await scene.ask(STATUS) == HELLO
        while not scene.server.counts.refused:
            assert await scene.ask(STATUS) == HELLO
        assert deaf.fileno() >= 0
        assert not scene.server._busy

    play(tmp_path, scenario, patience=0.2)


def test_a_client_that_hangs_up_leaves_nothing_behind(tmp_path):
    """Gone before the answer, in the middle of it, or at once: no client is counted any more."""

    async def scenario(scene):
        for text in (b"", STATUS, STATUS[:5], b'{"command": "big"}\n', b"\xff\n"):
            (await scene.client(text)).close()
        await until(lambda: not (scene.server._idle or scene.server._busy))
        assert await scene.ask(STATUS) == HELLO

    play(tmp_path, scenario)


def test_asking_without_end_does_not_hold_up_the_loop(tmp_path):
    """Between any two requests of one client everybody else gets a turn."""
    turns = []

    async def count(_request):
        turns.append("request")
        return {}

    async def scenario(scene):
        await scene.client(b'{"command": "count"}\n' * 100)
        while turns.count("request") < 50:
            turns.append("turn")
            await asyncio.sleep(0)
        first = turns.index("request")
        behind = turns[first:]
        assert not any(behind[at : at + 3] == ["request"] * 3 for at in range(len(behind))), (
            "the client had three turns running"
        )

    play(tmp_path, scenario, {"count": count})


# Who may ask -----------------------------------------------------------------------------------


@contextlib.contextmanager
def as_user(uid, gid, groups=()):
    """Be another user for a moment."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@pytest.fixture
def open_directory():
    """A directory that everybody may enter, whose files belong to a group of their own."""
    if os.geteuid():
        pytest.skip("needs root: to be another user")
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 0, SOME_GROUP)
        os.chmod(name, 0o2755)  # noqa: PTH101, S103 - what such a directory looks like
        yield Path(name)


@pytest.mark.parametrize(
    ("who", "served"),
    [
        ((NOBODY, NOBODY), False),
        ((NOBODY, 0), False),
        ((NOBODY, SOME_GROUP), True),
        ((NOBODY, NOBODY, (7, SOME_GROUP)), True),
        ((NOBODY, NOBODY, range(1000, 1100)), False),
        ((0, 0), True),
        ((0, NOBODY), True),
    ],
)
def test_root_and_one_group_are_served(open_directory, who, served):
    """By the kernel's word on who connected, independent of the file's mode."""
    path = str(open_directory / "control.sock")

    async def scenario(scene):
        os.chmod(path, 0o666)  # noqa: PTH101, S103 - a careless administrator
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        scene.sockets.append(client)
        with as_user(*who):
            client.connect(path)
        client.settimeout(0)
        with contextlib.suppress(OSError):
            client.send(STATUS)
        answer = await scene.answer(client)
        assert answer == HELLO if served else (answer["ok"], answer["code"]) == (False, 5)
        assert served or await scene.answer(client) is None

    play(open_directory, scenario)


def test_the_socket_is_for_its_owner_and_its_group(open_directory):
    """Its mode excludes other users, and its group is the directory's if that says so."""

    async def scenario(scene):
        state = os.stat(scene.path)  # noqa: PTH116 - it does not block
        assert stat.S_IMODE(state.st_mode) == 0o660
        assert state.st_gid == SOME_GROUP
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger,
            as_user(NOBODY, NOBODY),
            pytest.raises(PermissionError),
        ):
            stranger.connect(scene.path)

    play(open_directory, scenario)


def test_a_client_that_is_not_permitted_ends_no_other(open_directory):
    """Strangers at the door cost no idle client its place."""

    async def scenario(scene):
        os.chmod(scene.path, 0o666)  # noqa: PTH101, S103
        loop = asyncio.get_running_loop()
        ours = await scene.client(STATUS)
        assert await scene.answer(ours) == HELLO
        for _ in range(2 * MAX_CLIENTS):
            stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            scene.sockets.append(stranger)
            with as_user(NOBODY, NOBODY):
                stranger.connect(scene.path)
            stranger.settimeout(0)
            assert (await scene.answer(stranger))["code"] == 5
            assert await scene.answer(stranger) is None
        await loop.sock_sendall(ours, STATUS)
        assert await scene.answer(ours) == HELLO

    play(open_directory, scenario)


# The client half -------------------------------------------------------------------------------


def test_the_client_says_what_is_wrong(tmp_path):
    """No daemon, a refusal with its exit code, and a door that is closed, each in words."""
    path = str(tmp_path / "control.sock")
    with pytest.raises(NotReachableError, match="no daemon answers"):
        ask(path, {"command": "status"})

    async def scenario(scene):
        def refused():
            with pytest.raises(BlockerError, match="unknown command") as caught:
                ask(scene.path, {"command": "nonsense"})
            return caught.value.exit_code

        assert await asyncio.to_thread(refused) == 2
        answer = await asyncio.to_thread(ask, scene.path, {"command": "status"})
        assert answer == {"answer": "hello"}

    play(tmp_path, scenario)


def asked(path, *replies, patience=10.0):
    """Ask a daemon that sends each of these when it has read a request, and then hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(path))
        door.listen()

        def keep():
            client = door.accept()[0]
            if replies:
                client.recv(4096)
            for reply in replies:
                client.sendall(reply)
            if patience == 10.0:
                client.close()
            left.append(client)

        left = []
        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            return ask(str(path), {"command": "status"}, patience)
        finally:
            keeper.join()
            left[0].close()
            path.unlink()


@pytest.mark.parametrize("replies", [(), (b"",), (b'{"ok": tr',), (b'{"ok": true}',)])
def test_a_daemon_that_hangs_up_is_not_reachable(tmp_path, replies):
    """Before the request, after it, or in the middle of the answer: try again, exit code 3."""
    for _ in range(20):
        with pytest.raises(NotReachableError, match="closed the connection before it answered"):
            asked(tmp_path / "control.sock", *replies)


@pytest.mark.parametrize(
    "reply",
    [b"\n", b"hello\n", b"[]\n", b"17\n", b"null\n", b"\xff\xfe\n", b"{}\n", b'{"ok": false}\n',
     b'{"ok": false, "code": "x", "error": 1}\n', b'{"ok": "yes", "code": 1e999, "error": 1}\n',
     b"[" * 100_000 + b"\n", b"HTTP/1.1 400 Bad Request\r\n"],
)  # fmt: skip
def test_an_answer_that_is_none_is_not_reachable(tmp_path, reply):
    """What answers at the path is no daemon of ours."""
    with pytest.raises(NotReachableError, match="not in the daemon"):
        asked(tmp_path / "control.sock", reply)


def test_an_answer_that_lacks_a_key_is_not_reachable(tmp_path):
    """A daemon of another version is recognised by what it does not say."""
    answer = asked(tmp_path / "control.sock", b'{"ok": true, "a": 1}\n')
    assert answer["a"] == 1
    with pytest.raises(NotReachableError, match="'bans'; is it the daemon's socket"):
        answer["bans"]


def test_a_daemon_that_says_nothing_is_not_reachable(tmp_path):
    """A stopped daemon is waited for no longer than the patience."""
    with pytest.raises(NotReachableError, match="does not answer within 0 s"):
        asked(tmp_path / "control.sock", b'{"ok"', patience=0.1)


def test_a_refusal_is_read_though_the_request_could_not_be_sent(open_directory):
    """A user that is not permitted learns this each time, and never that the daemon is gone."""
    path = str(open_directory / "control.sock")

    async def scenario(scene):
        os.chmod(path, 0o666)  # noqa: PTH101, S103 - a careless administrator

        def refused():
            code = (
                "import sys; sys.path.insert(0, sys.argv[2])\n"
                "from blocker.cli.client import ask\n"
                "from blocker.errors import BlockerError\n"
                "for _ in range(50):\n"
                "    try: ask(sys.argv[1], {'command': 'status'})\n"
                "    except BlockerError as error: print(error.exit_code, error)\n"
            )
            words = [sys.executable, "-c", code, path, str(Path(__file__).parents[3])]
            return subprocess.run(
                words, capture_output=True, text=True, check=True, user=NOBODY, group=NOBODY,
                extra_groups=[],
            ).stdout  # fmt: skip

        said = await asyncio.to_thread(refused)
        assert set(said.splitlines()) == {"5 not for this user; try as root"}

    play(open_directory, scenario)


def test_the_end_hangs_up(tmp_path):
    """A closed server leaves no connection and no socket behind, and another may start there."""
    path = str(tmp_path / "control.sock")

    async def scenario(scene):
        client = await scene.client(STATUS)
        assert await scene.answer(client) == HELLO
        await scene.server.close()
        assert await scene.answer(client) is None
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - it does not block
        await scene.server.start(path)
        assert await scene.ask(STATUS) == HELLO

    play(tmp_path, scenario)
