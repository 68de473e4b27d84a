"""Access logs for measurements: seeded, so that everybody measures the same bytes.

    python benchmarks/generate.py mixed --lines 1000000 >mixed.log
    python benchmarks/generate.py flood --lines 1000000 --addresses 50000 >flood.log

``mixed`` is a busy site: 2 % hits, 5 % other POSTs, 5 % percent-encoded paths, 1 % with xmlrpc.php
in the referer only.  ``flood`` is 90 % hits.  ``--share`` sets another share of hits.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

AGENTS = [
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Chrome/120.0.0.0 Safari/537.36"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15"
        " (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
    ),
]
PER_SECOND = 200
BLOCK = 4 << 20
DAY = "%d/%b/%Y"
SHARES = {"mixed": 0.02, "flood": 0.90}


class Site:
    """One site's log."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._random = random.Random(arguments.seed)
        self._share = SHARES[arguments.kind] if arguments.share is None else arguments.share
        self._lines = arguments.lines
        self._attackers = [self._address(n, arguments.ipv6) for n in range(arguments.addresses)]
        self._visitors = [self._address(n, arguments.ipv6) for n in range(20000)]
        self._start = arguments.end - arguments.lines // PER_SECOND

    def _address(self, number: int, ipv6: float) -> str:
        """Addresses of the benchmarking range (RFC 2544) and documentation (RFC 3849)."""
        if self._random.random() < ipv6:
            return (
                f"2001:db8:{number >> 16:x}:{number & 65535:x}::{self._random.randrange(9) + 1:x}"
            )
        low = number + 1
        return f"198.{18 + (low >> 16 & 1)}.{low >> 8 & 255}.{low & 255}"

    def lines(self) -> Iterator[str]:
        """Yield the lines, in the order of time."""
        second, stamp = -1, ""
        for number in range(self._lines):
            if number // PER_SECOND != second:
                second = number // PER_SECOND
                stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(self._start + second))
            yield self._line(stamp)

    def _line(self, stamp: str) -> str:
        roll, choice = self._random.random(), self._random.choice
        number = self._random.randrange(1000)
        referer = f"https://www.example.org/articles/{number}/"
        if roll < self._share:
            client, request, referer = choice(self._attackers), "POST /xmlrpc.php HTTP/1.1", "-"
        else:
            client = choice(self._visitors)
            request, referer = self._ordinary(number, referer)
        size = self._random.randrange(200, 60000)
        return f'{client} - - [{stamp}] "{request}" 200 {size} "{referer}" "{choice(AGENTS)}"\n'

    def _ordinary(self, number: int, referer: str) -> tuple[str, str]:
        kind = self._random.random()
        if kind < 0.051:
            return "POST /wp-admin/admin-ajax.php HTTP/1.1", referer
        if kind < 0.102:
            return f"GET /caf%C3%A9/%E2%80%93/page-{number}/ HTTP/1.1", referer
        if kind < 0.113:
            return f"GET /articles/{number}/ HTTP/1.1", "https://www.example.org/xmlrpc.php"
        return f"GET /wp-content/uploads/2026/03/image-{number}.jpg HTTP/1.1", referer


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description="Writes a made-up access log to stdout.")
    parser.add_argument("kind", choices=sorted(SHARES))
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--addresses", type=int, default=2000, help="attacking addresses")
    parser.add_argument("--share", type=float, help="share of hits, 0 to 1")
    parser.add_argument("--ipv6", type=float, default=0.0, help="share of IPv6, 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--end", type=int, default=1_773_144_000, help="time of the last line")
    return parser.parse_args(argv)


def write(path: Path, kind: str, lines: int, addresses: int = 2000, **more: float) -> Path:
    """Write a log into a file, and return its path."""
    words = [kind, "--lines", str(lines), "--addresses", str(addresses)]
    for name, value in more.items():
        words += [f"--{name}", str(value)]
    with path.open("w", buffering=BLOCK) as log:
        log.writelines(Site(arguments_of(words)).lines())
    return path


def head(source: Path, lines: int) -> Path:
    """Return a file beside that has only the first lines."""
    target = source.with_name(f"{source.name}.{lines}")
    with source.open("rb") as whole, target.open("wb") as part:
        part.writelines(islice(whole, lines))
    return target


def as_json(source: Path) -> Path:
    """Return a file beside that holds the same lines as nginx writes them with escape=json."""
    target = source.with_name(f"{source.name}.json")
    with source.open() as lines, target.open("w", buffering=BLOCK) as log:
        for line in lines:
            client, _, _, time, rest = line.split(" ", 4)
            _, request, numbers, referer, _, agent, _ = rest.split('"')
            status, size = numbers.split()
            entry = {
                "time_local": f"{time[1:]} +0000",
                "remote_addr": client,
                "request": request,
                "status": int(status),
                "body_bytes_sent": int(size),
                "http_referer": referer,
                "http_user_agent": agent,
            }
            log.write(json.dumps(entry) + "\n")
    return target


def repeated(path: Path, times: int) -> Iterator[bytes]:
    """Yield the blocks of a log so often, each time dated a day later: it is never on disk."""
    day = datetime.strptime(first_day(path), DAY).replace(tzinfo=UTC)
    before = f"[{day:{DAY}}:".encode()
    for number in range(times):
        after = f"[{day + timedelta(number):{DAY}}:".encode()
        rest = b""
        with path.open("rb") as log:
            while block := log.read(BLOCK):
                # A date may lie across the border of two blocks: lines are cut at their ends.
                whole, newline, left = (rest + block).rpartition(b"\n")
                yield (whole + newline).replace(before, after)
                rest = left


def first_day(path: Path) -> str:
    """Return the day that a log begins on, as it writes it."""
    with path.open() as log:
        return log.readline().partition("[")[2].partition(":")[0]


def main() -> None:
    """Write the log."""
    sys.stdout.writelines(Site(arguments_of()).lines())


if __name__ == "__main__":
    main()
