"""Which kind of source a log of the configuration is, by its name.  Pure.

ADD A KIND OF SOURCE HERE: its scheme and how the rest of the name is read; then open it in
``service/log_sources.py``.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from posixpath import isabs, normpath

FILE, JOURNAL, UNIX, UDP, FIFO, STDIN = "file", "journal", "unix", "udp", "fifo", "-"
LIVE = (UNIX, UDP, FIFO, STDIN)
"""Kinds that have lines only while the daemon receives them: none can be read again."""
PIPES = (FIFO, STDIN)
REPORTS = "journal"
"""The name of what WordPress writes to the systemd journal."""
MAX_SOCKET_PATH = 107
"""Bytes, see unix(7)."""

_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,240}"
    r"\.(?:service|scope|socket|mount|swap|timer|slice|target|path|device|automount)"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENDPOINT = re.compile(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([1-9][0-9]{0,4})")
_IDENTIFIER = re.compile(r"identifier=[^\x00-\x1f\x7f]{1,255}")


def _journal(rest: str) -> None:
    """Check the rest of a journal's name.

    Raises:
        ValueError: it is none.
    """
    if not (_UNIT.fullmatch(rest) or _IDENTIFIER.fullmatch(rest)):
        raise ValueError(
            'write a unit with its ending, such as "journal:nginx.service", or a program by its'
            ' syslog identifier, such as "journal:identifier=nginx"'
        )


def _unix(rest: str) -> None:
    """Check the path of a socket.

    Raises:
        ValueError: it is none.
    """
    if not _is_path(rest):
        raise ValueError('write the whole path, such as "unix:/run/xmlrpc-blocker/access.sock"')
    if len(rest.encode()) > MAX_SOCKET_PATH:
        raise ValueError(
            f"the path of a socket has at most {MAX_SOCKET_PATH} bytes; choose a shorter one"
        )


def _fifo(rest: str) -> None:
    """Check the path of a FIFO.

    Raises:
        ValueError: it is none.
    """
    if not _is_path(rest):
        raise ValueError('write the whole path, such as "fifo:/run/xmlrpc-blocker/access.fifo"')


def _is_path(rest: str) -> bool:
    """Whether a text is the whole path of a file, in normal form."""
    return isabs(rest) and normpath(f"//{rest}") == rest != "/" and not _CONTROL.search(rest)


def _udp(rest: str) -> None:
    """Check the address and port of a UDP socket.

    Raises:
        ValueError: it is none, or other hosts could reach it.
    """
    found = _ENDPOINT.fullmatch(rest)
    port = int(found[3]) if found else 0
    try:
        address = ip_address(found[1] or found[2] if found else "")
    except ValueError:
        address = None
    if found is None or address is None or not 0 < port < 1 << 16:
        raise ValueError('write an address of this host and a port, such as "udp:127.0.0.1:5140"')
    if not address.is_loopback:
        raise ValueError(
            "expected a loopback address, such as 127.0.0.1 or [::1]: at any other, every host that"
            " reaches it could have any address banned by a forged line"
        )


SCHEMES: Mapping[str, Callable[[str], None]] = {
    JOURNAL: _journal,
    UNIX: _unix,
    UDP: _udp,
    FIFO: _fifo,
}
"""By scheme: what checks the rest of the name."""


def scheme_of(log: str) -> str:
    """Return the kind of source that a log is read from; a path or a pattern is a file's.

    Standard input is "-".

    >>> scheme_of("/var/log/nginx/*access*.log"), scheme_of("journal:nginx.service")
    ('file', 'journal')
    """
    if log in {STDIN, REPORTS}:
        return log
    scheme, colon, _ = log.partition(":")
    return scheme if colon and scheme in SCHEMES and not isabs(log) else FILE


def endpoint_of(log: str) -> tuple[str, int]:
    """Return the address and port of a UDP log.

    >>> endpoint_of("udp:127.0.0.1:5140"), endpoint_of("udp:[::1]:5140")
    (('127.0.0.1', 5140), ('::1', 5140))
    """
    address, _, port = log.partition(":")[2].rpartition(":")
    return address.strip("[]"), int(port)


def path_of(log: str) -> str:
    """Return the path of a Unix socket or a FIFO.

    >>> path_of("unix:/run/xmlrpc-blocker/access.sock")
    '/run/xmlrpc-blocker/access.sock'
    """
    return log.partition(":")[2]


def check_name(log: str) -> None:
    """Check the name of a log that is no file.

    Raises:
        ValueError: with what to write instead.
    """
    scheme, _, rest = log.partition(":")
    if log != STDIN:
        SCHEMES[scheme](rest)
