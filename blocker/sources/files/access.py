"""Which files a user may read, and which command lets them.

Asked of the kernel, as that user: mode bits, groups and ACLs all count.  Root may ask for another
user (``acting_as``); everybody else asks for themselves.
"""

import errno
import fnmatch
import glob
import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

SERVICE = "xmlrpc-blocker"
"""The user that the unit of the package runs the daemon as."""
BROAD = frozenset(
    {"/", "/var", "/var/log", "/var/lib", "/var/www", "/srv", "/home", "/root", "/opt",
     "/etc", "/usr", "/run", "/mnt"}
)  # fmt: skip
"""Directories too broad to be opened as a whole for the sake of one log in them."""
MAX_NAMED = 5
"""Files that a command names one by one."""
_HIDDEN_BY_SYSTEMD = ("/home", "/root", "/run/user")
"""Directories that ``ProtectHome=`` of systemd.exec(5) hides."""

Need = Literal["search", "list", "read"]


class Account(NamedTuple):
    """A user, as the kernel judges them."""

    name: str
    uid: int
    gid: int
    groups: Sequence[int]


class Obstacle(NamedTuple):
    """A file or directory that the user may not use as needed.

    Attributes:
        path: of it.
        need: ``search`` (a directory on the way), ``list`` (a directory) or ``read`` (a file).
        owner: ``user:group``.
        mode: permission bits.
    """

    path: str
    need: Need
    owner: str
    mode: int

    def __str__(self) -> str:
        """Return the path with what ``ls -ld`` shows of it."""
        return f"{self.path} ({self.owner}, {self.mode:04o})"


def current_account() -> Account:
    """Return the user that this process acts as."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, os.getegid(), os.getgroups())


def service_account() -> Account | None:
    """Return the user of the service; None if it does not exist, or this user can't act as it."""
    if os.geteuid():
        return None
    try:
        found = pwd.getpwnam(SERVICE)
    except KeyError:
        return None
    return Account(
        found.pw_name, found.pw_uid, found.pw_gid, os.getgrouplist(SERVICE, found.pw_gid)
    )


@contextmanager
def acting_as(account: Account | None) -> Iterator[None]:
    """Let the kernel judge this process as another user; only for a process of one thread.

    Raises:
        PermissionError: this process may not become that user.
    """
    if account is None:
        yield
        return
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups(list(account.groups))
    try:
        os.setegid(account.gid)
        os.seteuid(account.uid)
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def obstacles(
    path: str, account: Account | None = None, *, listing: bool = False
) -> list[Obstacle]:
    """Return what keeps a user from reading a file, or from listing a directory.

    Behind a directory that can't be searched nothing can be judged, so for a process that can't
    look there otherwise, the first such directory is all that is found.
    """
    found: dict[str, Obstacle] = {}
    for each in dict.fromkeys([path, os.path.realpath(path)]):
        need: Need = "list" if listing else "read"
        wanted: list[tuple[str, Need]] = [(str(p), "search") for p in reversed(Path(each).parents)]
        for part, kind in [*wanted, (each, need)]:
            obstacle = _obstacle(part, kind, account)
            if obstacle is not None:
                found[part] = obstacle
    return list(found.values())


def _obstacle(path: str, need: Need, account: Account | None) -> Obstacle | None:
    """Return a part of a path if the user may not use it; opened first, by who may pass."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None  # gone, or behind another obstacle
    try:
        mode = {"search": os.X_OK, "list": os.R_OK | os.X_OK, "read": os.R_OK}[need]
        with acting_as(account):
            if _may(f"/proc/self/fd/{opened}", mode):
                return None
        about = os.fstat(opened)
        return Obstacle(path, need, _owner(about), stat.S_IMODE(about.st_mode))
    finally:
        os.close(opened)


def _owner(about: os.stat_result) -> str:
    user, group = str(about.st_uid), str(about.st_gid)
    with suppress(KeyError):
        user = pwd.getpwuid(about.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(about.st_gid).gr_name
    return f"{user}:{group}"


def owner_and_mode(path: str) -> tuple[str, str]:
    """Return ``user:group`` and the permission bits of a file; empty if it can't be seen."""
    try:
        about = Path(path).stat()
    except OSError:
        return "", ""
    return _owner(about), f"{stat.S_IMODE(about.st_mode):04o}"


# What to do ------------------------------------------------------------------------------------

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-")


def quoted(path: str, *, pattern: bool = False) -> str:
    r"""Return a path for a shell; of a pattern, the wildcards stay.

    >>> quoted("/srv/a b/*.log", pattern=True)
    '/srv/a\\ b/*.log'
    """
    kept = _PLAIN | frozenset("*?[]") if pattern else _PLAIN
    if not path.isprintable():
        return "$'" + "".join(_ansi(char) for char in path) + "'"
    return "".join(char if char in kept else f"\\{char}" for char in path)


def _ansi(char: str) -> str:
    """Return a character for a shell's $'…'."""
    if char.isprintable() and char not in "'\\":
        return char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def remedy(found: Sequence[Obstacle], user: str, place: str = "") -> str:
    """Return the line to paste that lets a user pass all obstacles.

    Args:
        found: what is in the way.
        user: for whom access is checked.
        place: the directory of the logs, which may be a pattern; else that of each file.
    """
    on_the_way = [each.path for each in found if each.need == "search"]
    files = [each.path for each in found if each.need == "read"]
    # A directory above the place is opened alone, what is below it stays closed.
    above = [each.path for each in found if each.need == "list" and not _is_at(each.path, place)]
    at = [each.path for each in found if each.need == "list" and _is_at(each.path, place)]
    wanted = {place or path for path in at} | {place or _directory(path) for path in files}
    if place and above:
        wanted.add(place)
    alone = [path for path in files if (place or _directory(path)) in BROAD][:MAX_NAMED]
    whole = [quoted(each, pattern=each == place) for each in sorted(wanted - BROAD)]
    steps = {
        f"setfacl -m u:{user}:x": [*map(quoted, on_the_way)],
        f"setfacl -m u:{user}:rx": [*map(quoted, [*above, *(BROAD & set(at))])],
        f"setfacl -R -m u:{user}:rX,d:u:{user}:rX": whole,
        f"setfacl -m u:{user}:r": [*map(quoted, alone)],
    }
    return " && ".join(f"{step} {' '.join(names)}" for step, names in steps.items() if names)


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _is_at(path: str, place: str) -> bool:
    """Whether a directory is the place of the logs, or one of them."""
    return not place or path == place or fnmatch.fnmatchcase(path, place)


def is_hidden(obstacle: Obstacle) -> bool:
    """Whether a directory looks as systemd's ``ProtectHome=`` leaves it: of root, mode 0000."""
    return obstacle.path in _HIDDEN_BY_SYSTEMD and not obstacle.mode


def below_home(path: str) -> bool:
    """Whether ``ProtectHome=yes`` would hide a path."""
    return any(path == each or path.startswith(f"{each}/") for each in _HIDDEN_BY_SYSTEMD)


def advice(found: Sequence[Obstacle], user: str, place: str = "") -> str:
    """Return what is in the way and what to do, in one clause."""
    if any(map(is_hidden, found)):
        return (
            "the service's ProtectHome=yes hides it: set `ProtectHome=read-only` by"
            f" `systemctl edit {SERVICE}`, then `systemctl restart {SERVICE}`; see"
            " docs/install.md, Logs in /home"
        )
    if not found:
        return (
            "owner and mode do not forbid it, so AppArmor may: see docs/install.md, logs outside"
            " /var/log"
        )
    shown = ", ".join(map(str, found[:3]))
    again = ", and again for each directory that is added later" if glob.has_magic(place) else ""
    package = "" if shutil.which("setfacl") else " (first `apt install acl`, which has setfacl)"
    return f"{user} needs access to {shown}: `{remedy(found, user, place)}`{again}{package}"


def reason(error: OSError) -> str:
    """Return the words of an error."""
    return error.strerror or os.strerror(error.errno or errno.EIO)
