"""Which users may send lines to a Unix socket.

The kernel says which user sent a datagram (SCM_CREDENTIALS, unix(7)); no program can claim to be
another.  A name that this host does not have is left out until it is there.
"""

import os
import pwd
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

SENDERS = (
    "root", "www-data", "nginx", "apache", "httpd", "http", "haproxy", "caddy", "traefik",
    "lighttpd", "angie", "envoy", "varnish", "vinyl", "syslog", "_rsyslog",
)  # fmt: skip
"""Users that web servers, proxies and syslog daemons run as, as far as this host has them."""
LOOK_UP_AGAIN = 60.0
"""Seconds after which an unknown sender has the list of users read again."""


class Allowed:
    """The users that may send lines.

    The daemon's own user always may.

    Args:
        names: of the users, or their numbers; by default the usual ones.
    """

    def __init__(self, names: Sequence[str] = SENDERS) -> None:
        self._names = names
        self._uids: frozenset[int] = frozenset()
        self._read_at = float("-inf")

    def name(self, names: Sequence[str]) -> None:
        """Allow these users, by name or number, and no others; without any, the usual ones."""
        if (names or SENDERS) != self._names:
            self._names = names or SENDERS
            self._uids, self._read_at = frozenset(), float("-inf")

    def __contains__(self, uid: object) -> bool:
        """Whether a user may send; the users are read again for one who is unknown."""
        if uid not in self._uids and monotonic() - self._read_at >= LOOK_UP_AGAIN:
            found = (_uid(name) for name in self._names)
            self._uids = frozenset((os.geteuid(), *(each for each in found if each is not None)))
            self._read_at = monotonic()
        return uid in self._uids


def _uid(name: str) -> int | None:
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def shown(uid: int) -> str:
    """Return a user's number, and the name if there is one."""
    with suppress(KeyError):
        return f"{uid} ({pwd.getpwuid(uid).pw_name})"
    return str(uid)
