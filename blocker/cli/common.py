"""Functions that several commands share."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blocker.config.files import load, salvaged
from blocker.errors import ConfigError
from blocker.escape import printable_lines

if TYPE_CHECKING:
    from blocker.analysis.reading import Reader
    from blocker.config.schema import Config


def load_config(arguments: argparse.Namespace) -> "Config":
    """Return the configuration that the command line names."""
    return load(arguments.config)


def control(arguments: argparse.Namespace) -> str:
    """Return the path of the control socket.

    If the configuration is invalid, this is the path in the part of it that can be read, so that a
    running daemon can still be reached.

    Raises:
        ConfigError: the configuration is invalid, and there is no socket at that path.
    """
    try:
        return load_config(arguments).control
    except ConfigError as error:
        path = salvaged(arguments.config).control
        if not is_socket(path):
            raise
        say(f"{error}\nwarning: the configuration is broken; asking the daemon at {path}")
        return path


def is_socket(path: str) -> bool:
    """Return whether there is a socket at a path that this user can see."""
    try:
        return Path(path).is_socket()
    except OSError:  # this user can't search one of the directories
        return False


def finish(reader: "Reader") -> int:
    """Print what could not be parsed or read; return the exit code."""
    for note in reader.notes():
        say(f"note: {note}")
    return failures(reader.failed)


def failures(failed: Sequence[str]) -> int:
    """Print failures; return the exit code."""
    for message in failed:
        say(f"xmlrpc-blocker: {message}")
    return 1 if failed else 0


def span(seconds: int) -> str:
    """Return a number of seconds as text with its two largest units: ``1d 2h``."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    return " ".join([f"{count}{unit}" for count, unit in parts if count][:2]) or "0s"


def say(text: str) -> None:
    """Print a message on stderr."""
    print(printable_lines(text), file=sys.stderr)
