"""The matchers of a configuration: one for each format in use.  Pure."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from blocker.matching.matcher import Matcher
from blocker.matching.requests import Rule
from blocker.model import Address

MAX_PATHS = 8192
"""Ceiling of the remembered paths: more than can be followed."""


class Formats(Protocol):
    """Every format of a configuration, and which of them a log has."""

    @property
    def all(self) -> Collection[str]:
        """Every format, each once."""

    def of(self, path: str) -> str:
        """Return the format of the log at a path; one of ``all``."""


class Matchers:
    """Gives the matcher for each log; logs of one format share it, and its caches.

    Args:
        rules: the traps; ``Hit.trap`` is an index into them.
        formats: the formats of the logs.
        is_proxy: returns whether a peer is a known proxy, which may name the client.

    Raises:
        ConfigError: a format is unknown, or an attacker could forge fields in it.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        formats: Formats,
        is_proxy: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        self._rules, self._formats, self._is_proxy = rules, formats, is_proxy
        self._by_format = {each: Matcher(rules, each, is_proxy) for each in formats.all}
        self._by_path: dict[str, Matcher] = {}

    def of(self, path: str) -> Matcher:
        """Return the matcher for the log at a path."""
        known = self._by_path.get(path)
        if known is None:
            if len(self._by_path) >= MAX_PATHS:
                self._by_path.clear()
            known = self._by_path[path] = self._by_format[self._formats.of(path)]
        return known

    def new(self, path: str) -> Matcher:
        """Return a matcher for the log at a path that is shared with no other log."""
        return Matcher(self._rules, self._formats.of(path), self._is_proxy)
