"""The commands for many addresses at once: a list in, batches of requests out, a line for each.

The client half of ``ban``, ``unban`` and ``forget``.  Each batch is one request, committed once.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from blocker.control import MAX_REQUEST, ask
from blocker.escape import printable_lines

MAX_TEXT = 100
"""Characters of one address: the longest, with its length, has 49."""
MAX_LINE = 4096
"""Bytes of a line of a list."""
_RESERVED = 4096
"""Bytes of a request that are not addresses: the command, a length, a reason."""
_WORST = (5, 3, 1, 2, 4, 0)
"""Exit codes, the gravest first."""


def do_each(
    path: str,
    request: Mapping[str, Any],
    words: Sequence[str],
    done: Callable[[Mapping[str, Any]], str],
) -> int:
    """Have the daemon act on each address; return 0 if all changed, or the gravest exit code.

    Args:
        path: of the control socket.
        request: the command, and what holds for all addresses.
        words: addresses and networks; ``-`` stands for a list on standard input.
        done: returns the line for what was done.
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
            _say_what_else(row)
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
    """Yield the addresses of a list: one a line, without blank lines and comments."""
    for line in lines:
        text = line.partition(b"#")[0].decode("utf-8", "backslashreplace").strip()
        if text:
            yield text


def _batches(addresses: Iterable[str]) -> Iterator[list[str]]:
    """Yield as many addresses at a time as one request holds."""
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


def _say_what_else(row: Mapping[str, Any]) -> None:
    asked, address = row["asked"], row["address"]
    if "/" in address and "/" not in asked:
        _say(f"{asked} is judged by its network: {address}")
    if friends := row.get("friends"):
        _say(f"{address}: friends in it are never banned and stay reachable: {friends}")


def _say(text: str) -> None:
    print(printable_lines(text), file=sys.stderr)
