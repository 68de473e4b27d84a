"""Which format a log has, by its path.  Pure."""

import os
from collections.abc import Iterable

from blocker.model import LogFormat
from blocker.sources.files.naming import rotation_key
from blocker.sources.files.path_pattern import Pattern
from blocker.sources.schemes import FILE, scheme_of


class LogFormats:
    """The formats of a configuration.

    Args:
        default: format of the logs that have none of their own.
        own: patterns of paths, each with its format; the first that fits decides.

    Attributes:
        all: every format, each once.
    """

    def __init__(self, default: str, own: Iterable[tuple[str, LogFormat]] = ()) -> None:
        self._default = default
        own = list(own)
        self._own = [(Pattern(name), each) for name, each in own if scheme_of(name) == FILE]
        self._named = dict(reversed([pair for pair in own if scheme_of(pair[0]) != FILE]))
        formats: tuple[LogFormat, ...] = (default, *(each for _, each in own))
        self.all = tuple(dict.fromkeys(formats))

    def of(self, path: str) -> LogFormat:
        """Return the format of a log; a rotated file has that of its log."""
        if scheme_of(path) != FILE:
            return self._named.get(path, self._default)
        whole = os.path.abspath(path)  # noqa: PTH100 - a pattern names the link, not its target
        names = (whole, rotation_key(whole))
        fitting = (each for pattern, each in self._own if any(map(pattern.fits, names)))
        return next(fitting, self._default)
