"""Pipes as logs: whole lines, no end while writers come and go, and an end of standard input."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from blocker.sources import pipes
from blocker.sources.inbox import BUFFER, Received
from blocker.sources.pipes import Pipe
from blocker.sources.senders import Allowed
from blocker.sources.stream import BLOCK


@pytest.fixture
def path(tmp_path):
    """Where the FIFO is."""
    return tmp_path / "log.fifo"


@pytest.fixture
def pipe(path):
    """An open FIFO that a log is read from."""
    made = Pipe(f"fifo:{path}", Allowed())
    yield made
    made.close()


def test_a_fifo_is_made_for_root_and_the_daemon_only(path, pipe):
    """No other user may have an address banned; it stays behind."""
    assert path.is_fifo()
    assert path.stat().st_mode & 0o777 == pipes.FIFO_MODE
    assert pipe.advice(BUFFER)
    assert not pipe.gone()


def test_writers_come_and_go_without_an_end(path, pipe):
    """None waits for a reader, and a line may come in pieces."""
    assert pipe.receive() == Received(b"")
    for text in (b"one\n", b"tw", b"o\nthree\n"):
        with path.open("wb") as pen:
            pen.write(text)
    assert pipe.receive() == Received(b"one\ntwo\nthree\n", more=True)
    assert pipe.receive() == Received(b"")


def test_a_fifo_that_is_there_is_used(path):
    """With the mode that an administrator gave it; it stays when it is closed."""
    os.mkfifo(path, 0o620)
    made = Pipe(f"fifo:{path}", Allowed())
    assert path.stat().st_mode & 0o777 == 0o620 & ~_umask()
    path.unlink()
    assert made.gone()
    os.mkfifo(path)
    assert made.gone()
    made.close()
    assert path.is_fifo()


def _umask():
    before = os.umask(0o077)
    os.umask(before)
    return before


def test_other_files_are_left_alone(path, tmp_path):
    """Links as well."""
    path.write_text("mine")
    (tmp_path / "link").symlink_to(path)
    for name in (path, tmp_path / "link", tmp_path):
        with pytest.raises(OSError, match="is not a FIFO; name another path"):
            Pipe(f"fifo:{name}", Allowed())
    with pytest.raises(OSError, match="make its directory"):
        Pipe(f"fifo:{tmp_path}/missing/a", Allowed())
    assert path.read_text() == "mine"


def test_a_line_that_is_too_long_is_counted(path, pipe):
    """What is behind it is read."""
    pen = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    lines, oversize = b"", 0
    text = b"x" * (BLOCK + 1) + b"\nnext\n"
    while text:
        with suppress(BlockingIOError):
            text = text[os.write(pen, text) :]
        got = pipe.receive()
        lines, oversize = lines + got.lines, oversize + got.oversize
    while (got := pipe.receive()).more:
        lines, oversize = lines + got.lines, oversize + got.oversize
    os.close(pen)
    assert (lines, oversize) == (b"next\n", 1)


def test_standard_input_ends(monkeypatch):
    """The last line counts without a newline; it stays open for its other users."""
    reader, writer = os.pipe()
    monkeypatch.setattr(pipes, "_standard_input", lambda: reader)
    made = Pipe("-", Allowed())
    assert made.fileno() == reader
    os.write(writer, b"one\ntwo")
    assert made.receive() == Received(b"one\n", more=True)
    assert made.receive() == Received(b"")
    os.close(writer)
    assert made.receive() == Received(b"two\n", ended=True)
    assert not made.gone()
    made.close()
    os.close(reader)


@pytest.mark.parametrize("closed", [False, True])
def test_no_input_is_no_log(monkeypatch, closed):
    """A service has /dev/null there: the daemon must not end with that."""
    null = Path("/dev/null").stat()
    monkeypatch.setattr(pipes.sys, "stdin", None if closed else object())
    monkeypatch.setattr(pipes.os, "fstat", lambda _: null)
    with pytest.raises(OSError, match="name a socket instead"):
        Pipe("-", Allowed())
