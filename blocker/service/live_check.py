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
from blocker.sources.schemes import FIFO, STDIN, UDP, UNIX, endpoint_of, path_of, scheme_of

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
    kind = scheme_of(log)
    if kind == STDIN:
        return True, ["the standard input of `run`; the daemon stops when that ends"]
    find = {UNIX: _unix_obstacle, UDP: _udp_obstacle, FIFO: _fifo_obstacle}[kind]
    with access.acting_as(account):
        obstacle = find(log)
    if obstacle == _HELD and not _answers(control):
        obstacle = "another program has it open; name another, or stop that program"
    notes = [obstacle] if obstacle else []
    if kind != UDP:
        notes += _place_notes(path_of(log), account)
    notes += {UNIX: _queue_notes, FIFO: _mode_notes, UDP: _no_notes}[kind](path_of(log))
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


def _unix_obstacle(log: str) -> str:
    path = path_of(log)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "is not a socket; name another path, or move that file away"
        if listener(path):
            return _HELD
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"can't be opened: {error.strerror}"
    return _parent_obstacle(path)


def _fifo_obstacle(log: str) -> str:
    path = path_of(log)
    try:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            return "is not a FIFO; name another path, or move that file away"
    except FileNotFoundError:
        return _parent_obstacle(path)
    except OSError as error:
        return f"can't be opened: {error.strerror}"
    if os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return ""
    return f"is not readable and writable for {access.current_account().name}: give it to that user"


def _parent_obstacle(path: str) -> str:
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


def _place_notes(path: str, account: access.Account | None) -> list[str]:
    if account is None or path.startswith(f"{RUNTIME}/"):
        return []
    text = (
        f"the unit lets the service make files in {RUNTIME} only: add"
        f" `ReadWritePaths={Path(path).parent}` by `systemctl edit {access.SERVICE}`, and with"
        f" AppArmor a line to /etc/apparmor.d/local/{access.SERVICE}"
    )
    return [text]


def _queue_notes(_: str) -> list[str]:
    with suppress(OSError, ValueError):
        length = int(QUEUE.read_text())
        if length < FEW:
            text = (
                f"it holds {length} lines only, so the web server loses lines in bursts: set"
                " net.unix.max_dgram_qlen=512 by sysctl(8) before the daemon is started"
            )
            return [text]
    return []


def _mode_notes(path: str) -> list[str]:
    with suppress(OSError):
        if os.lstat(path).st_mode & stat.S_IWOTH:
            text = (
                "any local user can write to it, and so have any address banned:"
                f" `chmod o-w {access.quoted(path)}`"
            )
            return [text]
    return []


def _no_notes(_: str) -> list[str]:
    return []
