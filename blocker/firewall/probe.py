"""Probes the capabilities of the kernel, in sets of our own table that no rule uses."""

import contextlib
import errno
import socket

from blocker.errors import FirewallError
from blocker.firewall import netlink
from blocker.firewall.elements import absence_allowed, read_set
from blocker.firewall.facts import Capabilities
from blocker.firewall.monitor import open_listener
from blocker.firewall.netlink_socket import DATAGRAM, NetlinkSocket
from blocker.firewall.ruleset import Layout

_PROBES = {
    "probe4": bytes([192, 0, 2, 1]),  # RFC 5737
    "probe6": bytes([0x20, 0x01, 0x0D, 0xB8]) + bytes(12),  # RFC 3849
}


def probe_kernel(sock: NetlinkSocket, layout: Layout) -> tuple[int, Capabilities]:
    """Return the number of this thread as the kernel reports it, and the kernel's capabilities.

    The number is taken from a notification, because in a container it differs from the thread's
    own.  The monitor needs it to ignore our own loads of the ruleset.
    """
    with contextlib.closing(open_listener(sock.table, 0)) as listener:
        for name, key in _PROBES.items():
            made = netlink.new_set(sock.table, name, len(key), layout.timeout * 1000)
            # In the same transaction: a set that a killed daemon left is deleted.
            sock.commit([made, netlink.delete_set(sock.table, name), made])
        pid = _own_pid(listener, sock.portid)
    try:
        found = [_probe_set(sock, name, key) for name, key in _PROBES.items()]
    finally:
        with absence_allowed():
            sock.commit([netlink.delete_set(sock.table, name) for name in _PROBES])
    return pid, Capabilities(*(all(each) for each in zip(*found, strict=True)))


def _own_pid(listener: socket.socket, portid: int) -> int:
    """Return the number of the thread that uses a socket; 0 if the kernel does not report it."""
    with contextlib.suppress(OSError):
        while True:
            for message in netlink.messages(listener.recv(DATAGRAM, socket.MSG_DONTWAIT)):
                generation = netlink.read_generation(message)
                if generation is not None and message.portid == portid:
                    return max(generation.pid, 0)
    return 0


def _probe_set(sock: NetlinkSocket, name: str, key: bytes) -> Capabilities:
    """Add, query, refresh and delete one documentation address in a set that no rule uses."""
    where = (sock.table, name)
    sock.commit(netlink.add(*where, [(key, 60_000)]))
    count = read_set(sock, name).members == 1
    sock.commit(netlink.upsert(*where, [(key, 600_000)]))
    (request,) = netlink.get_elements(*where, [key])
    answers = sock.ask(request)
    stands = [e for answer in answers for e in netlink.read_elements(answer) if e.key == key]
    if not stands:
        raise FirewallError(
            f"table inet {sock.table}: an element that was just added is not there: "
            "see who else changes the table with nft monitor",
            errno.ENOENT,
        )
    sock.commit(netlink.delete(*where, [key]))
    destroy = True
    try:
        sock.commit(netlink.destroy(*where, [key]))
    except FirewallError:
        destroy = False
    return Capabilities(stands[0].expires > 60_000, destroy, count)
