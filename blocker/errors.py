"""The tree of errors, with the exit code of each.  Pure.

A message names its subject, states the fact, and gives advice.  The exit codes are part of the
command line's contract; only ``cli/main.py`` turns an error into an exit.

::

    BlockerError (1)
    ├── ConfigError (78)          the configuration is wrong: path, value, nearest right name
    ├── UsageError (2)            an argument of the command is invalid
    ├── NotReachableError (3)     no daemon answers on the control socket
    ├── UnchangedError (4)        nothing was changed (an unknown address, a shorter ban)
    ├── NotPermittedError (5)     the kernel or the daemon refuses this user
    ├── FriendError (1)           a friend would have been banned
    ├── FirewallError (1)         the kernel or libnftables refuses
    └── StoreError (1)            the database is unusable
"""


class BlockerError(Exception):
    """Base class; ``exit_code`` is the exit code of the command line."""

    exit_code = 1


class ConfigError(BlockerError):
    """The configuration is wrong; nothing was changed."""

    exit_code = 78


class UsageError(BlockerError):
    """An argument of the command is invalid."""

    exit_code = 2


class NotReachableError(BlockerError):
    """No daemon answers on the control socket."""

    exit_code = 3


class UnchangedError(BlockerError):
    """The request was understood and there was nothing to change."""

    exit_code = 4


class NotPermittedError(BlockerError):
    """The kernel or the daemon refuses this user."""

    exit_code = 5


class FriendError(BlockerError):
    """A friend would have been banned."""


class FirewallError(BlockerError):
    """The kernel or libnftables refuses.

    Attributes:
        errno: the kernel's error number, or 0 if there is none.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class StoreError(BlockerError):
    """The database is unusable."""


def file_advice(error: Exception) -> str:
    """Return the advice for a file that can't be read, or "" for other errors."""
    advice: dict[type[Exception], str] = {
        FileNotFoundError: "name a file that exists",
        PermissionError: "make it readable for this user, or run as root",
        IsADirectoryError: "name a file, not a directory",
    }
    return advice.get(type(error), "")
