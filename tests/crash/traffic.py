"""The lines that the web servers of these tests write: numbered, seeded, from many addresses."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

from crash.oracle import Policy

POLICIES = (
    Policy("xmlrpc", b"/xmlrpc.php", 3, findtime=20, bantime=30, factor=6, max_bantime=43200),
    Policy("login", b"/wp-login.php", 4, findtime=60, bantime=7200),
)
XMLRPC, LOGIN = "/xmlrpc.php", "/wp-login.php"
SEPARATE = 1 << 16
"""So far apart lie the numbers of two logs' addresses; within one log:"""
REGULARS = 12
"""Those who come again and again, and then those who come and go ..."""
LINGERING = 10_000
"""... those who write after a rename, new ones each time ..."""
DECIDING = 20_000
"""... and those whose bans are decided at once."""

OPENING = 4
"""Seconds by which the first line of a file is earlier than a line that was held up for long."""
JUNK = (
    b'192.0.2.9 - - [%s] "\\x16\\x03\\x01\\x02" 400 150 "-" "-"\n',
    b'192.0.2.9 - - [%s] "" 400 0 "-" "-"\n',
    b'192.0.2.9 - - [%s] "GET / HTTP/1.1" 200 5 "http://x/xmlrpc.php" "POST /xmlrpc.php"\n',
    b"- broken %s\n",
)


def address(number: int, host: int = 1) -> str:
    """Return an address by its number: IPv4, IPv6 or IPv4-mapped IPv6."""
    if number % 4 == 1:
        return f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::{host:x}"
    plain = f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return f"::ffff:{plain}" if number % 7 == 0 else plain


class Traffic:
    """Writes lines for one log.

    Args:
        rng: seeded.
        log: number of the log; the addresses of two logs differ.
        clock: seconds since 1970 that the next line is stamped with.
    """

    def __init__(self, rng: random.Random, log: int, clock: Callable[[], float]) -> None:
        self._rng, self._base, self._clock = rng, log * SEPARATE, clock
        self._log = log
        self.number = self.gaps = 0

    def line(self) -> bytes:
        """Return the next line of all kinds that a server logs."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.62:
            return self.hit(self._attacker())
        if kind < 0.74:
            return self.hit(self._attacker(), LOGIN)
        if kind < 0.77:
            return self.hit(f"10.1.2.{rng.randrange(4)}")
        if kind < 0.92:
            return self._request(self._attacker(), f"GET {XMLRPC if kind < 0.8 else '/'}")
        return rng.choice(JUNK).replace(b"%s", self._stamp())

    def _attacker(self) -> str:
        rng = self._rng
        if rng.random() < 0.2:
            return address(self._base + rng.randrange(REGULARS), rng.randrange(1, 9))
        young = REGULARS + self.number // 12 % 9900 + rng.randrange(20)
        return address(self._base + young, rng.randrange(1, 9))

    def hit(self, client: str, path: str = XMLRPC) -> bytes:
        """Return a line that counts."""
        return self._request(client, f"POST {path}?n={self.number}")

    def opening(self, client: str) -> bytes:
        """Return a line that counts, stamped earlier than all that are written after it."""
        return self._request(client, f"POST {XMLRPC}?n={self.number}", OPENING)

    def verdict(self, count: int) -> list[bytes]:
        """Return lines that decide long bans of so many addresses never seen before."""
        first = self._base + DECIDING + self.number % 45_000
        return [self.hit(address(first + n), LOGIN) for n in range(count) for _ in range(4)]

    def lingering(self, rotation: int, count: int) -> list[bytes]:
        """Return lines of a writer that has not noticed a rename; its addresses are its own."""
        first = self._base + LINGERING + rotation * 4 % 9_000
        return [self.hit(address(first + self._rng.randrange(4))) for _ in range(count)]

    def gap(self, count: int) -> list[bytes]:
        """Return lines that copytruncate may lose: each of an address of its own."""
        first, self.gaps = self.gaps, self.gaps + count
        return [
            self.hit(f"2001:db8:ff{self._log:02x}:{n:x}::1") for n in range(first, first + count)
        ]

    def _request(self, client: str, request: str, ago: float = 0) -> bytes:
        self.number += 1
        text = f'{client} - - [{self._stamp(ago).decode()}] "{request} HTTP/1.1" 200 403 "-" "-"\n'
        return text.encode()

    def _stamp(self, ago: float = 0) -> bytes:
        """Servers write lines at their requests' ends, stamped with their beginnings."""
        at = self._clock() - ago - self._rng.choice((0, 0, 0, 1, 3))
        return f"{datetime.fromtimestamp(at, UTC):%d/%b/%Y:%H:%M:%S} +0000".encode()
