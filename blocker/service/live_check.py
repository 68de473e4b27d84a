"""What ``check`` reports about sockets and pipes as logs: whether the daemon could open them.

Nothing is created and no socket is replaced.  A log that is open already is the daemon's, if one
answers at the control socket.
"""

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from blocker.sources.datagrams import listener
from blocker.sources.files import access
from blocker.sources.schemes import UDP, endpoint_of, path_of, scheme_of

RUNTIME = f"/run/{access.SERVICE}"
"""The directory that the unit of the package makes, writable for the service."""
QUEUE = Path("/proc/sys/net/unix/max_dgram_qlen")
FEW = 256
"""Datagrams; a Unix socket that holds fewer loses lines in bursts.  systemd sets 512."""
_HELD = "the running daemon has it open"


def look(log: str, account: access.Account | None, control: str) -> tuple[bool, list[str]]:
    """Return whether the daemon could open a log or has it open, and sentences about it.

    Args:
        log: its name.
        account: the user whose access is checked; None for the one who runs this.
        control: path of the daemon's control socket.
    """
    with access.acting_as(account):
        obstacle = _udp_obstacle(log) if scheme_of(log) == UDP else _unix_obstacle(path_of(log))
    if obstacle == _HELD and not _answers(control):
        obstacle = "another program has it open; name another, or stop that program"
    notes = [obstacle] if obstacle else []
    if scheme_of(log) != UDP:
        notes += _notes(path_of(log), account)
    return obstacle in {"", _HELD}, notes


def _udp_obstacle(log: str) -> str:
    address, port = endpoint_of(log)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, port))
    except OSError as error:
        return _HELD if error.errno == errno.EADDRINUSE else f"can't be opened: {error.strerror}"
    return ""


def _unix_obstacle(path: str) -> str:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "is not a socket; name another path, or move that file away"
        if listener(path):
            return _HELD
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"can't be opened: {error.strerror}"
    parent = Path(path).parent
    if os.access(parent, os.W_OK | os.X_OK, effective_ids=True) or str(parent) == RUNTIME:
        return ""
    what = "is not writable" if parent.is_dir() else "does not exist"
    return f"its directory {what}: make it, writable for {access.current_account().name}"


def _answers(control: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(control)
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def _notes(path: str, account: access.Account | None) -> list[str]:
    """Return what else to know about a Unix socket."""
    notes = []
    if account is not None and not path.startswith(f"{RUNTIME}/"):
        notes.append(
            f"the unit lets the service make files in {RUNTIME} only: add"
            f" `ReadWritePaths={Path(path).parent}` by `systemctl edit {access.SERVICE}`, and with"
            f" AppArmor a line to /etc/apparmor.d/local/{access.SERVICE}"
        )
    with suppress(OSError, ValueError):
        length = int(QUEUE.read_text())
        if length < FEW:
            notes.append(
                f"it holds {length} lines only, so the web server loses lines in bursts: set"
                " net.unix.max_dgram_qlen=512 by sysctl(8) before the daemon is started"
            )
    return notes
