"""Sends messages to the service manager (sd_notify(3)); the daemon never waits for it.

The service manager may be busy, stopped or restarting, and its socket queues only a few datagrams
(``net.unix.max_dgram_qlen``).  Messages that do not fit are sent before the next one, in order; of
the repeated ones, status and watchdog, only the latest is sent.
"""

from collections import deque

import sdnotify

MAX_WAITING = 16
"""Ceiling of the messages that wait; the oldest are dropped."""
_REPEATED = ("STATUS=", "WATCHDOG=")


class Notifier:
    """Sends to the socket in ``NOTIFY_SOCKET``; does nothing if that is not set."""

    def __init__(self) -> None:
        self._manager = sdnotify.SystemdNotifier()
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING)
        if self._manager.socket is not None:
            self._manager.socket.settimeout(0)
            self._manager.debug = True  # errors are raised

    def notify(self, state: str) -> None:
        """Send a message, after those that wait."""
        if self._manager.socket is None:
            return
        while self._waiting and self._waiting[-1].startswith(_REPEATED):
            self._waiting.pop()
        self._waiting.append(state)
        while self._waiting and self._sent(self._waiting[0]):
            self._waiting.popleft()

    def _sent(self, state: str) -> bool:
        try:
            self._manager.notify(state)
        except OSError:  # the queue is full, or the service manager is restarting
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._manager.socket is not None:
            self._manager.socket.close()
