"""Transactions on elements, and queries of sets and elements, through a netlink socket."""

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from blocker.errors import FirewallError
from blocker.firewall import netlink, ruleset
from blocker.firewall.facts import LONGEST
from blocker.firewall.netlink_socket import NetlinkSocket, refused
from blocker.model import Subject

_T = TypeVar("_T")


def drop_table(sock: NetlinkSocket) -> bool:
    """Delete the table; False if there is none."""
    try:
        sock.commit([netlink.delete_table(sock.table)])
    except FirewallError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def read_set(sock: NetlinkSocket, name: str) -> netlink.SetInfo:
    """Return the kernel's description of a set."""
    answer = sock.ask(netlink.get_set(sock.table, name))
    return the_only(map(netlink.read_set, answer), name)


def the_only(found: Iterable[_T | None], name: str) -> _T:
    """Return the first item that is not None.

    Raises:
        FirewallError: there is none (EPROTO).
    """
    for thing in found:
        if thing is not None:
            return thing
    raise FirewallError(f"{name}: the kernel's answer has none in it", errno.EPROTO)


def time_left(sock: NetlinkSocket, subjects: Sequence[Subject]) -> dict[Subject, int]:
    """Return the milliseconds left of each subject that is in the ban sets."""
    found = answers_for(sock, ruleset.BAN_SETS, subjects)
    return {element.key: milliseconds(element) for element in found}


def answers_for(
    sock: NetlinkSocket, names: Sequence[str], subjects: Sequence[Subject]
) -> list[netlink.Elem]:
    """Return the elements of these subjects in a pair of sets (IPv4, IPv6)."""
    found: list[netlink.Elem] = []
    for name, keys in zip(names, _by_version(subjects, len), strict=True):
        start = 0
        while start < len(keys):
            part = keys[start : start + sock.most_answers]
            (request,) = netlink.get_elements(sock.table, name, part)
            answers, refusal = sock.converse(request)
            elements = [e for answer in answers for e in netlink.read_elements(answer)]
            found += elements
            if refusal.errno not in (0, errno.ENOENT):
                raise refused(sock.table, refusal)
            # The answer ends at the first missing key: continue with the key after it.
            start += len(elements) + 1 if refusal.errno else len(part)
    return found


def elements_of(table: str, name: str, limit: int) -> list[netlink.Elem]:
    """Return at most ``limit`` elements of a set, through a socket of its own.

    A dump can't be cancelled, but closing its socket ends it.
    """
    found: list[netlink.Elem] = []
    if limit <= 0:
        return found
    with contextlib.closing(NetlinkSocket(table)) as sock:
        for message in sock.dump(netlink.list_elements(table, name)):
            found += netlink.read_elements(message)
            if len(found) >= limit:
                return found[:limit]
    return found


def in_parts(things: Sequence[_T], step: int) -> Iterator[Sequence[_T]]:
    """Yield slices of ``step`` items."""
    return (things[start : start + step] for start in range(0, len(things), step))


def of_pair(pair: tuple[Subject, int]) -> int:
    """Return the length of a pair's subject, bytes."""
    return len(pair[0])


def _by_version(things: Iterable[_T], length: Callable[[_T], int]) -> tuple[list[_T], list[_T]]:
    """Return IPv4 and IPv6 items; any other length goes to IPv6, and the encoder rejects it."""
    four: list[_T] = []
    six: list[_T] = []
    for thing in things:
        (four if length(thing) == 4 else six).append(thing)
    return four, six


def per_set(
    table: str,
    build: Callable[[str, str, Sequence[_T]], list[netlink.Request]],
    things: Iterable[_T],
    length: Callable[[_T], int],
) -> list[netlink.Request]:
    """Return the requests that ``build`` makes for each of the two ban sets."""
    parts = zip(ruleset.BAN_SETS, _by_version(things, length), strict=True)
    return [request for name, part in parts for request in build(table, name, part)]


def milliseconds(element: netlink.Elem) -> int:
    """Return the time left of an element; one without a timeout was added by another process."""
    return max(1, element.expires) if element.expires >= 0 else LONGEST


@contextlib.contextmanager
def absence_allowed() -> Iterator[None]:
    """Suppress a ``FirewallError`` with ENOENT."""
    try:
        yield
    except FirewallError as error:
        if error.errno != errno.ENOENT:
            raise
