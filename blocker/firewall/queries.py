"""Queries of counters and sets; run in the thread that reads, beside a change that waits."""

from collections.abc import Sequence

from blocker.firewall import netlink, ruleset
from blocker.firewall.elements import answers_for, elements_of, milliseconds, read_set, the_only
from blocker.firewall.facts import BannedTraffic, Drops, Element
from blocker.firewall.netlink_socket import NetlinkSocket
from blocker.model import Subject


def drop_counts(sock: NetlinkSocket) -> Drops:
    """Return packets and bytes dropped since the table was created."""
    counts: list[int] = []
    for name in ruleset.COUNTERS:
        answer = sock.ask(netlink.get_counter(sock.table, name))
        counts += the_only(map(netlink.read_counter, answer), name)
    return Drops(*counts)


def set_sizes(sock: NetlinkSocket) -> tuple[int, int]:
    """Return the number of elements in the ban sets, IPv4 and IPv6."""
    four, six = (read_set(sock, name).members for name in ruleset.BAN_SETS)
    return four, six


def traffic_of(sock: NetlinkSocket, subjects: Sequence[Subject]) -> list[BannedTraffic]:
    """Return what these subjects sent while they were banned, as far as it is counted."""
    found = answers_for(sock, ruleset.HIT_SETS, subjects)
    return [BannedTraffic(e.key, max(e.packets, 0), max(e.bytes, 0)) for e in found]


def held_elements(sock: NetlinkSocket, limit: int) -> list[Element]:
    """Return the elements of the ban sets, at most ``limit``, in no order."""
    found: list[netlink.Elem] = []
    for name in ruleset.BAN_SETS:
        found += elements_of(sock.table, name, limit - len(found))
    return [Element(e.key, milliseconds(e)) for e in found]
