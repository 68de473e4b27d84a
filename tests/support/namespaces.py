"""Throw-away network namespaces, joined by veth pairs; nothing of the host's is touched.

A namespace is a file descriptor here: when it is closed and no process is in it any more, the
kernel takes it away with its links and its ruleset, however the test ended.  A thread that is
started inside stays inside, and so does a socket that is made there.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator

from blocker.firewall.firewall import Firewall
from blocker.firewall.ruleset import Layout

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

WHY_NOT = "needs root: network namespaces and nftables"


def permitted() -> bool:
    """Tell whether this process may make namespaces and change rulesets in them."""
    return os.geteuid() == 0


def _checked(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network namespace with its loopback up."""

    def __init__(self) -> None:
        before = _here()
        try:
            _checked(_libc.unshare(_CLONE_NEWNET))
            self._fd = _here()
            _checked(_libc.setns(before, _CLONE_NEWNET))
        finally:
            os.close(before)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """Where ``ip`` and ``nsenter`` find it."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def close(self) -> None:
        os.close(self._fd)

    @contextlib.contextmanager
    def inside(self) -> Iterator["Namespace"]:
        """Put the calling thread inside, and back afterwards."""
        before = _here()
        try:
            _checked(_libc.setns(self._fd, _CLONE_NEWNET))
            yield self
        finally:
            _checked(_libc.setns(before, _CLONE_NEWNET))
            os.close(before)

    def command(self, *words: str) -> list[str]:
        """Return the words of a command that runs inside."""
        return ["nsenter", f"--net={self.path}", *words]

    def run(self, *words: str, text: str | None = None) -> str:
        """Run a command inside, feed it a text, and return what it says."""
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def nft(self, text: str) -> str:
        """Have the ``nft`` of another program run a text."""
        return self.run("nft", "-f", "-", text=text)

    def listen(self, kind: socket.SocketKind, port: int, family: int) -> socket.socket:
        """Return a socket inside that answers to a port."""
        with self.inside():
            made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", port))
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        made.settimeout(10)
        return made

    def speak(self, kind: socket.SocketKind, source: str) -> socket.socket:
        """Return a socket inside that sends from an address."""
        with self.inside():
            made = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, kind)
        made.bind((source, 0))
        made.settimeout(10)
        return made


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A fresh namespace that the calling thread is not in."""
    made = Namespace()
    try:
        yield made
    finally:
        made.close()


def join(near: Namespace, far: Namespace, *addresses: tuple[str, str], link: str = "near0") -> None:
    """Join two namespaces by a veth pair, ``link`` and ``far0``, with pairs of addresses."""
    near.run(
        *("ip", "link", "add", link, "type", "veth"),
        *("peer", "name", "far0", "netns", far.path),
    )
    for here, there in addresses:
        _address(near, link, here)
        _address(far, "far0", there)
    near.run("ip", "link", "set", link, "up")
    far.run("ip", "link", "set", "far0", "up")


def _address(where: Namespace, link: str, address: str) -> None:
    # Duplicate address detection would take a second, and no other host is there.
    words = ("nodad",) if ":" in address else ()
    where.run("ip", "address", "add", address, "dev", link, *words)


@contextlib.asynccontextmanager
async def opened(
    layout: Layout | None = None, on_operation: Callable[[str, float], None] | None = None
) -> AsyncIterator[Firewall]:
    """A firewall that is open, and closed in the end; its threads live where the caller is."""
    firewall = Firewall(layout or Layout(), on_operation)
    await firewall.open()
    try:
        yield firewall
    finally:
        await firewall.close()
