"""Checks whether a table in the kernel is ours, and still as it was loaded."""

import collections
import errno
from typing import NamedTuple

from blocker.errors import FirewallError
from blocker.firewall import netlink, ruleset
from blocker.firewall.elements import elements_of, read_set, the_only
from blocker.firewall.netlink_socket import NetlinkSocket, refused
from blocker.firewall.ruleset import Layout

_HOOK_PREROUTING = 0
_POLICY_ACCEPT = 1


class Shape(NamedTuple):
    """The parts of a loaded table that nothing else may change.

    Attributes:
        rules: chain and handle of each rule.
        configured: name and keys of each set that the configuration fills.
    """

    rules: tuple[tuple[str, int], ...]
    configured: tuple[tuple[str, frozenset[bytes]], ...]


def shape_of(sock: NetlinkSocket, layout: Layout) -> Shape:
    """Return the shape of the table in the kernel.

    Raises:
        FirewallError: a part of the table is missing or changed (ENOENT).
    """
    dormant = the_only(
        map(netlink.read_dormant, sock.ask(netlink.get_table(layout.table))), "table"
    )
    chain = sock.ask(netlink.get_chain(layout.table, ruleset.BASE_CHAIN))
    base = the_only(map(netlink.read_chain, chain), ruleset.BASE_CHAIN)
    for name in ruleset.BAN_SETS + ruleset.HIT_SETS:
        read_set(sock, name)
    for name in ruleset.COUNTERS:
        sock.ask(netlink.get_counter(layout.table, name))
    rules = _rules(sock, layout.table)
    wanted = {name: len(body) for name, body in ruleset.rules(layout).items()}
    as_loaded = (_HOOK_PREROUTING, ruleset.PRIORITY, _POLICY_ACCEPT)
    if dormant or base[2:] != as_loaded or collections.Counter(name for name, _ in rules) != wanted:
        raise FirewallError(
            f"table inet {layout.table}: its chains are not as they were loaded: "
            "see who else changes it with nft monitor",
            errno.ENOENT,
        )
    configured = tuple(
        (name, frozenset(e.key for e in elements_of(layout.table, name, 1 << 20)))
        for name in ruleset.CONFIGURED_SETS
    )
    return Shape(rules, configured)


def holds_our_sets(sock: NetlinkSocket) -> bool:
    """Whether the table has the sets that our ruleset makes, of the same types and with timeouts.

    Raises:
        FirewallError: there is no such table (ENOENT), or the kernel refuses.
    """
    sock.ask(netlink.get_table(sock.table))
    dynamic = netlink.SET_HAS_TIMEOUT | netlink.SET_IS_DYNAMIC
    wanted = {
        name: (length, kind, flags)
        for names, flags in (
            (ruleset.BAN_SETS, netlink.SET_HAS_TIMEOUT),
            (ruleset.HIT_SETS, dynamic),
        )
        for name, (length, kind) in zip(names, netlink.KEY_TYPES.items(), strict=True)
    }
    for name, definition in wanted.items():
        try:
            found = read_set(sock, name)
        except FirewallError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        if (found.key_length, found.key_type, found.flags & netlink.SET_KIND) != definition:
            return False
    return True


def _rules(sock: NetlinkSocket, table: str) -> tuple[tuple[str, int], ...]:
    """Return chain and handle of each rule; retried if the ruleset changes during the dump."""
    for _ in range(10):
        messages = list(sock.dump(netlink.list_rules(table)))
        if not any(map(netlink.interrupted, messages)):
            found = [rule for rule in map(netlink.read_rule, messages) if rule is not None]
            return tuple((rule.chain, rule.handle) for rule in found if rule.table == table)
    raise refused(table, netlink.Refusal(errno.EINTR, "the ruleset changes all the time", -1))
