"""Changes of the ban sets, each one transaction of the kernel; run in the thread that writes."""

import errno
from collections.abc import Sequence

from blocker.errors import FirewallError
from blocker.firewall import netlink, ruleset
from blocker.firewall.elements import absence_allowed, of_pair, per_set, time_left
from blocker.firewall.facts import LONGEST, SHORTEST, Element
from blocker.firewall.netlink_socket import NetlinkSocket
from blocker.model import Subject


def ban_elements(sock: NetlinkSocket, elements: Sequence[Element], *, refresh: bool) -> None:
    """Add elements, or set the time that is left of those that are there.

    ``refresh`` is the capability of the kernel of that name.

    Raises:
        FirewallError: if a set is full (ENFILE), the elements that fit are added nevertheless.
    """
    capped = [Element(s, min(max(n, SHORTEST), LONGEST)) for s, n in elements if n > 0]
    try:
        _set(sock, capped, refresh=refresh)
    except FirewallError as error:
        if error.errno == errno.ENFILE:
            for family in (4, 16):
                part = [each for each in capped if len(each.subject) == family]
                _fill(sock, part, refresh=refresh)
        raise


def _fill(sock: NetlinkSocket, elements: Sequence[Element], *, refresh: bool) -> bool:
    """Add as many of these as a nearly full set has room for; True if all of them."""
    try:
        _set(sock, elements, refresh=refresh)
    except FirewallError as error:
        if error.errno != errno.ENFILE:
            raise
    else:
        return True
    half = len(elements) // 2
    return (
        half > 0
        and _fill(sock, elements[:half], refresh=refresh)
        and _fill(sock, elements[half:], refresh=refresh)
    )


def _set(sock: NetlinkSocket, capped: Sequence[Element], *, refresh: bool) -> None:
    """Add or refresh elements in one transaction."""
    if refresh:
        sock.commit(per_set(sock.table, netlink.upsert, capped, of_pair))
        return
    # Each key only once: deleting it a second time would fail with ENOENT.
    unique = dict(capped)
    pairs = list(unique.items())
    requests = (
        per_set(sock.table, netlink.add, pairs, of_pair)
        + per_set(sock.table, netlink.delete, unique, len)
        + per_set(sock.table, netlink.add, pairs, of_pair)
    )
    try:
        sock.commit(requests)
    except FirewallError as error:
        # Kernels before 6.8 may let an element expire between its addition and deletion.
        if error.errno != errno.ENOENT:
            raise
        sock.commit(requests)


def remove_elements(sock: NetlinkSocket, subjects: Sequence[Subject], *, destroy: bool) -> None:
    """Remove the elements of subjects; ``destroy`` is the capability of the kernel of that name."""
    if destroy:
        requests = per_set(sock.table, netlink.destroy, subjects, len)
        with absence_allowed():
            sock.commit(requests)
        return
    # A failing deletion costs the kernel milliseconds: query first, then delete one by one.
    for subject in time_left(sock, subjects):
        with absence_allowed():
            sock.commit(per_set(sock.table, netlink.delete, [subject], len))


def remove_all(sock: NetlinkSocket) -> None:
    """Remove all elements of the ban sets."""
    with absence_allowed():
        sock.commit([netlink.flush(sock.table, name) for name in ruleset.BAN_SETS])
