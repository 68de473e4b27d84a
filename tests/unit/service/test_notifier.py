"""Messages to the service manager: in order, and without waiting for it."""

import contextlib
import socket

import pytest

from blocker.service.notifier import MAX_WAITING, Notifier


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The socket of a service manager."""
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(path)
        made.settimeout(0)
        yield made


@pytest.fixture
def notifier(manager):
    """Notifies that service manager."""
    with contextlib.closing(Notifier()) as made:
        yield made


def heard(manager) -> list[bytes]:
    """Read everything that was sent."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096))
    return found


def fill(manager) -> None:
    """Leave no room for a message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as crowd:
        crowd.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                crowd.sendto(b"x", manager.getsockname())


def test_a_message_arrives(manager, notifier):
    """As it is."""
    notifier.notify("READY=1\nSTATUS=0 banned")
    assert heard(manager) == [b"READY=1\nSTATUS=0 banned"]


def test_what_did_not_fit_is_sent_in_order_with_the_next_message(manager, notifier):
    """Of what is repeated anyway only the latest."""
    fill(manager)
    for text in ("RELOADING=1", "STATUS=a", "READY=1", "WATCHDOG=1\nSTATUS=b", "STATUS=c"):
        notifier.notify(text)
    heard(manager)
    notifier.notify("STATUS=d")
    assert heard(manager) == [b"RELOADING=1", b"READY=1", b"STATUS=d"]


def test_only_so_many_messages_wait(manager, notifier):
    """The oldest are dropped."""
    fill(manager)
    for number in range(MAX_WAITING + 1):
        notifier.notify(f"RELOADING={number}")
    heard(manager)
    notifier.notify("READY=1")
    assert heard(manager)[0] == b"RELOADING=2"


# The library leaves its socket behind where there is nothing to connect to.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_service_manager_nothing_is_sent(monkeypatch):
    """And nothing waits."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().notify("READY=1")
