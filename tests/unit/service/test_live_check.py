"""What ``check`` says of sockets as logs."""

import errno
import os
import socket

import pytest

from blocker.service import live_check
from blocker.service.live_check import look


@pytest.fixture(autouse=True)
def roomy(tmp_path, monkeypatch):
    """A host on which a Unix socket holds enough."""
    queue = tmp_path / "qlen"
    queue.write_text("512\n")
    monkeypatch.setattr(live_check, "QUEUE", queue)
    return queue


@pytest.fixture
def control(tmp_path):
    """Where no daemon answers."""
    return tmp_path / "control.sock"


@pytest.fixture
def daemon(control):
    """A daemon that answers."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(control))
        server.listen()
        yield


def test_a_socket_that_can_be_opened(tmp_path, control):
    """Nothing is left behind."""
    assert look(f"unix:{tmp_path}/a.sock", None, str(control)) == (True, [])
    assert not (tmp_path / "a.sock").exists()
    assert look("unix:/run/xmlrpc-blocker/access.sock", None, str(control)) == (True, [])


def test_a_stale_socket_will_be_replaced(tmp_path, control):
    """It is there after a kill."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(f"{tmp_path}/a.sock")
    assert look(f"unix:{tmp_path}/a.sock", None, str(control)) == (True, [])
    assert (tmp_path / "a.sock").exists()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_of_another_program(tmp_path, control, kind):
    """Of either kind."""
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(f"{tmp_path}/a.sock")
        if kind == socket.SOCK_STREAM:
            other.listen()
        good, (note,) = look(f"unix:{tmp_path}/a.sock", None, str(control))
    assert not good
    assert "another program has it open" in note


@pytest.mark.usefixtures("daemon")
def test_a_socket_of_the_running_daemon(tmp_path, control):
    """That is no problem."""
    held = (True, ["the running daemon has it open"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(f"{tmp_path}/a.sock")
        assert look(f"unix:{tmp_path}/a.sock", None, str(control)) == held
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        assert look(f"udp:127.0.0.1:{ours.getsockname()[1]}", None, str(control)) == held


def test_a_port_of_another_program_and_a_free_one(control):
    """The free one is free again afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        name = f"udp:127.0.0.1:{other.getsockname()[1]}"
        assert not look(name, None, str(control))[0]
    assert look(name, None, str(control)) == (True, [])
    assert look(name, None, str(control)) == (True, [])


def test_an_address_that_the_host_does_not_have(monkeypatch, control):
    """Such as IPv6 where that is disabled."""

    def refuse(*_):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    found = look("udp:127.0.0.1:5140", None, str(control))
    assert found == (False, ["can't be opened: Cannot assign requested address"])


def test_what_is_no_socket_and_no_directory(tmp_path, control):
    """Each with what to do."""
    (tmp_path / "file").write_text("")
    good, (note,) = look(f"unix:{tmp_path}/file", None, str(control))
    assert (good, "name another path" in note) == (False, True)
    good, (note,) = look(f"unix:{tmp_path}/missing/a", None, str(control))
    assert (good, "does not exist: make it" in note) == (False, True)
    good, (note,) = look(f"unix:{tmp_path}/file/a", None, str(control))
    assert (good, "can't be opened: Not a directory" in note) == (False, True)


def test_a_short_queue_is_noted(tmp_path, control, roomy):
    """Ten lines are the kernel's default, without systemd."""
    roomy.write_text("10\n")
    good, (note,) = look(f"unix:{tmp_path}/a.sock", None, str(control))
    assert good
    assert "it holds 10 lines only" in note
    assert "net.unix.max_dgram_qlen=512" in note


def test_the_unit_has_to_let_it_write(tmp_path, control, monkeypatch):
    """Everywhere but in its own directory in /run."""
    monkeypatch.setattr(live_check.access, "acting_as", lambda _: live_check.suppress())
    account = live_check.access.current_account()
    _, (note,) = look(f"unix:{tmp_path}/a.sock", account, str(control))
    assert f"`ReadWritePaths={tmp_path}`" in note
    _, notes = look("unix:/run/xmlrpc-blocker/access.sock", account, str(control))
    assert notes == []


def test_a_fifo_is_there_or_can_be_made(tmp_path, control):
    """Any other file is in its way; one that all may write to is noted."""
    name = f"fifo:{tmp_path}/a"
    assert look(name, None, str(control)) == (True, [])
    os.mkfifo(f"{tmp_path}/a", 0o600)
    assert look(name, None, str(control)) == (True, [])
    (tmp_path / "a").chmod(0o666)
    good, (note,) = look(name, None, str(control))
    assert (good, "any local user can write to it" in note) == (True, True)
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_text("")
    good, (note,) = look(name, None, str(control))
    assert (good, "is not a FIFO" in note) == (False, True)
    good, (note,) = look(f"fifo:{tmp_path}/missing/a", None, str(control))
    assert (good, "does not exist: make it" in note) == (False, True)
    good, (note,) = look(f"fifo:{tmp_path}/a/b", None, str(control))
    assert (good, "can't be opened: Not a directory" in note) == (False, True)


def test_a_fifo_has_to_be_readable_and_writable(tmp_path, control, monkeypatch):
    """For the daemon's user."""
    os.mkfifo(f"{tmp_path}/a", 0o600)
    monkeypatch.setattr(live_check.os, "access", lambda *_, **__: False)
    good, (note,) = look(f"fifo:{tmp_path}/a", None, str(control))
    assert (good, "is not readable and writable" in note) == (False, True)


def test_standard_input_is_that_of_the_daemon(control):
    """Nothing can be looked at."""
    good, (note,) = look("-", None, str(control))
    assert (good, "standard input of `run`" in note) == (True, True)
