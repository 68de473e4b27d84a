"""Watches for changes of our table by other processes: multicast group 7 of nf_tables.

Our own changes are recognised by the netlink port of the writing socket (the kernel drops those)
and, for libnftables, by the number of the thread that calls it.  Foreign changes are debounced; a
lost notification counts as a change.

Sources: linux/netfilter/nfnetlink.h (groups), socket(7) (SO_ATTACH_FILTER), bpf(4).
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable

from blocker.firewall import netlink
from blocker.firewall.netlink_socket import DATAGRAM, SOL_NETLINK, open_socket, refused

DEBOUNCE = 0.01
"""Seconds that foreign changes are gathered before the callback is called."""

_NETLINK_ADD_MEMBERSHIP = 1
_SO_ATTACH_FILTER = 26


class Monitor:
    """Reads the kernel's notifications in the event loop, and calls back after foreign changes.

    Args:
        table: returns the name of the table to watch.
        ours: netlink port of the writing socket, and number of the writing thread (0: unknown).
        callback: called in the event loop, debounced.
    """

    def __init__(
        self, table: Callable[[], str], ours: tuple[int, int], callback: Callable[[], None]
    ) -> None:
        self._table = table
        self._portid, self._thread_pid = ours
        self._callback = callback
        self._touched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = open_listener(table(), self._portid)
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Stop reading; a pending callback is cancelled."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _readable(self) -> None:
        for _ in range(64):  # then the other tasks of the loop get their turn
            try:
                data = self._socket.recv(DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: notifications were lost, so assume a change
                self._touched.clear()
                self._changed()
                return
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Process one datagram, all of whose messages belong to one transaction.

        The author is known at the end of the transaction only: the generation message holds the
        thread's number.  The port of libnftables' socket is not known beforehand.
        """
        first = next(netlink.messages(data), None)
        if first is None or first.portid == self._portid:
            return
        generation = netlink.read_generation(first)
        if generation is None:
            if first.portid not in self._touched and netlink.names_table(data, self._table()):
                self._touched.add(first.portid)
        elif first.portid in self._touched:
            self._touched.discard(first.portid)
            if not self._thread_pid or generation.pid != self._thread_pid:
                self._changed()

    def _changed(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(DEBOUNCE, self._notify)

    def _notify(self) -> None:
        self._timer = None
        self._callback()


def open_listener(table: str, ignore_port: int) -> socket.socket:
    """Return a socket subscribed to ruleset changes, except those made through ``ignore_port``."""
    made = open_socket(table)
    try:
        _attach_filter(made, ignore_port)
        made.setsockopt(SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, netlink.GROUP_NFTABLES)
    except OSError as error:
        made.close()
        raise refused(table, netlink.Refusal(error.errno or 0, "on listening", -1)) from error
    return made


def _attach_filter(listener: socket.socket, portid: int) -> None:
    """Have the kernel drop notifications of changes made by the writing socket.

    Without it, restoring a million bans would overflow the buffer, which counts as a change.  The
    filter loads ``nlmsg_pid`` of the first message, as all in a datagram have the same sender;
    classic BPF loads in network byte order (linux/filter.h).
    """
    load, equal, ret = 0x20, 0x15, 0x06
    swapped = socket.ntohl(portid)
    code = b"".join(
        struct.pack("@HBBI", *instruction)
        for instruction in (
            (load, 0, 0, 12),
            (equal, 0, 1, swapped),
            (ret, 0, 0, 0),
            (ret, 0, 0, 0xFFFFFFFF),
        )
    )
    program = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(code) // 8, ctypes.addressof(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
