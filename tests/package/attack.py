"""Attackers of a booted machine: requests and datagrams from addresses of their own."""

import collections
import contextlib
import ipaddress
import itertools
import socket
import threading
import time

from package.boot import WEB4, WEB6, WORLD4, WORLD6

REQUEST = (
    b"POST /xmlrpc.php HTTP/1.1\r\nHost: blog\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
PATIENCE = 1.0
COMBINED = '{0} - - [{1}] "POST /xmlrpc.php HTTP/1.1" 200 1 "-" "-"\n'
NPM = (
    '[{1}] - 200 200 - POST https npm.example "/xmlrpc.php" [Client {0}] [Length 1] [Gzip -]'
    ' [Sent-to 172.18.0.3] "-" "-"\n'
)
"""Of Nginx Proxy Manager."""

_NEXT4 = itertools.count(int(ipaddress.ip_network(WORLD4)[2048]))
_NEXT6 = itertools.count(1)
_ANSWERED: collections.Counter[str] = collections.Counter()


def fresh(version: int) -> str:
    """Return an address from which no attack came yet; of IPv6, in a network of its own."""
    if version == 4:
        return str(ipaddress.IPv4Address(next(_NEXT4)))
    return str(ipaddress.ip_network(WORLD6)[(next(_NEXT6) << 64) + 2])


def post(machine, source: str) -> bool:
    """Tell whether the server answered a POST to /xmlrpc.php."""
    with machine.world.speak(socket.SOCK_STREAM, source) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect((WEB6 if ":" in source else WEB4, 80))
            client.sendall(REQUEST)
            return client.recv(100).startswith(b"HTTP/1.1")
        except OSError:
            return False


def posts(machine, source: str, count: int) -> int:
    """POST so often, and return how often that was answered.

    One that has been answered three times waits for the ban, as everybody does who is slower than
    the log is read: a busy machine is no reason for a fourth answer.
    """
    answered = 0
    for _ in range(count):
        if _ANSWERED[source] >= 3:
            until_banned(machine, source)
        if post(machine, source):
            answered += 1
            _ANSWERED[source] += 1
    return answered


def until_banned(machine, source: str) -> None:
    """Wait until the kernel has a ban, for ten seconds."""
    version = ipaddress.ip_address(source).version
    subject = ipaddress.ip_network(f"{source}/{32 if version == 4 else 64}", strict=False)[0]
    ask = ("nft", "get", "element", "inet", "xmlrpc_blocker", f"ban{version}", f"{{ {subject} }}")
    begin = time.monotonic()
    while not machine.ok(*ask):
        assert time.monotonic() - begin < 10, f"{source} was answered three times, and not banned"
        time.sleep(0.02)


class Attack:
    """A banned address that keeps asking, as fast as it is refused, until it is ended."""

    def __init__(self, machine, source: str) -> None:
        self.answers: list[float] = []
        self._machine, self._source = machine, source
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            if post(self._machine, self._source):
                self.answers.append(time.monotonic())
            self._stop.wait(0.05)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


class Flood:
    """Datagrams to port 443 from many banned addresses in turn; counts what was sent."""

    def __init__(self, machine, sources: list[str]) -> None:
        self.sent = 0
        self._sockets = [machine.world.speak(socket.SOCK_DGRAM, source) for source in sources]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for client in itertools.cycle(self._sockets):
            if self._stop.is_set():
                return
            with contextlib.suppress(OSError):
                client.sendto(b"x", (WEB6 if client.family == socket.AF_INET6 else WEB4, 443))
                self.sent += 1
            self._stop.wait(0.001)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        for client in self._sockets:
            client.close()


def attack_lines(machine, source, form=COMBINED):
    """Return three lines of an attack, as a server writes them."""
    return form.format(source, machine.run("date", "+%d/%b/%Y:%H:%M:%S %z").strip()) * 3
