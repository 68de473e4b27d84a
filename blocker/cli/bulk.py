"""Sends a list of addresses to the daemon in batches, and prints a line for each.

The client side of ``ban``, ``unban`` and ``forget``.  Each batch is one request and one commit.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from blocker.cli.client import ask
from blocker.escape import printable_lines
from blocker.service.protocol import MAX_REQUEST

MAX_TEXT = 100
"""Ceiling of one address, characters; the longest, with its prefix length, has 49."""
MAX_LINE = 4096
"""Ceiling of a line of the list, bytes."""
_RESERVED = 4096
"""Bytes of a request for everything but addresses: the command, a duration, a reason."""
_WORST = (5, 3, 1, 2, 4, 0)
"""Exit codes, the most severe first."""


def do_each(
    path: str,
    request: Mapping[str, Any],
    words: Sequence[str],
    done: Callable[[Mapping[str, Any]], str],
) -> int:
    """Have the daemon process each address; return 0, or the most severe exit code.

    Args:
        path: path of the control socket.
        request: the command and its arguments, without addresses.
        words: addresses and networks; ``-`` reads a list from standard input.
        done: returns the line to print for an address that was changed.
    """
    codes = {0}
    count = 0
    for batch in _batches(_addresses(words)):
        for row in ask(path, {**request, "addresses": batch})["results"]:
            count += 1
            if "error" in row:
                _say(f"xmlrpc-blocker: {row['error']}")
                codes.add(row["code"])
                continue
            _say_notes(row)
            print(done(row))
    if not count:
        _say("no address in the list: nothing was done")
    return next(code for code in _WORST if code in codes)


def _addresses(words: Sequence[str]) -> Iterator[str]:
    for word in dict.fromkeys(words):
        if word == "-":
            yield from _listed(iter(lambda: sys.stdin.buffer.readline(MAX_LINE), b""))
        else:
            yield word


def _listed(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the addresses of a list, one per line; blank lines and comments are skipped."""
    for line in lines:
        text = line.partition(b"#")[0].decode("utf-8", "backslashreplace").strip()
        if text:
            yield text


def _batches(addresses: Iterable[str]) -> Iterator[list[str]]:
    """Yield batches of as many addresses as fit into one request."""
    batch: list[str] = []
    room = MAX_REQUEST - _RESERVED
    for address in addresses:
        text = address[:MAX_TEXT]
        size = len(json.dumps(text)) + len(", ")
        if size > room:
            yield batch
            batch, room = [], MAX_REQUEST - _RESERVED
        batch.append(text)
        room -= size
    if batch:
        yield batch


def _say_notes(row: Mapping[str, Any]) -> None:
    asked, address = row["asked"], row["address"]
    if "/" in address and "/" not in asked:
        _say(f"{asked} is judged by its network: {address}")
    if friends := row.get("friends"):
        _say(f"{address}: friends in it are never banned and stay reachable: {friends}")


def _say(text: str) -> None:
    print(printable_lines(text), file=sys.stderr)
