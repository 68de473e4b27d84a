"""Everything that can go wrong, as one small tree.

A message names its subject, states the fact, and gives advice.  Exit codes are those of the
command line's contract; only ``cli`` turns an error into an exit.

::

    BlockerError (1)
    ├── ConfigError (78)          the configuration is wrong: path, value, nearest right name
    ├── UsageError (2)            the command's words are off
    ├── NotReachableError (3)     no daemon answers on the control socket
    ├── UnchangedError (4)        nothing was changed (an unknown address, a shorter ban)
    ├── NotPermittedError (5)     the kernel or the daemon refuses this user
    ├── FriendError (1)           a friend would have been banned
    ├── FirewallError (1)         the kernel or libnftables refuses
    └── StoreError (1)            the database is unusable
"""


class BlockerError(Exception):
    """Base of all; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class ConfigError(BlockerError):
    """The configuration is wrong; nothing was changed."""

    exit_code = 78


class UsageError(BlockerError):
    """The command's words are off."""

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
        errno: the kernel's error number, or 0 where there is none.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class StoreError(BlockerError):
    """The database is unusable."""


def file_advice(error: Exception) -> str:
    """Return what to do about a file that can't be read, or nothing where it depends."""
    advice: dict[type[Exception], str] = {
        FileNotFoundError: "name a file that exists",
        PermissionError: "make it readable for this user, or run as root",
        IsADirectoryError: "name a file, not a directory",
    }
    return advice.get(type(error), "")
