"""A thread that owns a netlink socket and waits for the kernel's answers."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from blocker.firewall.netlink_socket import DATAGRAM, NetlinkSocket
from blocker.threads import Threads

_T = TypeVar("_T")


class Worker:
    """A thread, and the netlink socket that only this thread uses.

    Both are created by the first job.  ``table`` returns the current name of the table.
    """

    def __init__(self, name: str, table: Callable[[], str]) -> None:
        self._name = name
        self._table = table
        self._thread: Threads | None = None
        self._socket: NetlinkSocket | None = None

    @property
    def portid(self) -> int:
        """The netlink port of the socket, 0 while there is none."""
        return self._socket.portid if self._socket else 0

    @property
    def most_bytes(self) -> int:
        """Ceiling of a transaction, bytes."""
        return self._socket.most_bytes if self._socket else DATAGRAM

    async def submit(self, job: Callable[[NetlinkSocket], _T]) -> _T:
        """Run a job in the thread, with the socket, which is only used there."""
        if self._thread is None:
            self._thread = Threads(1, self._name)
        future = self._thread.submit(self._do, job)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Wait for the running job, then close the socket and end the thread."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        await asyncio.wrap_future(thread.submit(self._close))
        thread.shutdown()

    def _do(self, job: Callable[[NetlinkSocket], _T]) -> _T:
        if self._socket is None:
            self._socket = NetlinkSocket(self._table())
        self._socket.table = self._table()  # a reload may have renamed the table
        return job(self._socket)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
