"""The matchers of a configuration: one for each format in use.  Pure."""

from collections.abc import Callable, Collection, Container, Sequence
from typing import Protocol

from blocker.matching import event_matcher, requests
from blocker.matching.event_matcher import EventMatcher
from blocker.matching.matched import Matched
from blocker.matching.matcher import Matcher
from blocker.matching.verdict import Verdict
from blocker.model import EVENTS, Address, LogFormat, Proxied

MAX_PATHS = 8192
"""Ceiling of the remembered paths: more than can be followed."""


class Rule(requests.Rule, event_matcher.Rule, Protocol):
    """The part of a trap's configuration that is read by matchers."""


class LineMatcher(Protocol):
    """Finds the hits in the lines of one log; ``now`` is the clock, or when they were written."""

    @property
    def is_of_events(self) -> bool:
        """Whether the log has events of WordPress; else it has requests."""

    def scan(self, block: bytes, now: int, /) -> Matched:
        """Return the hits of a block of newline-terminated lines."""

    def explain(self, line: bytes, now: int, /) -> Verdict:
        """Return the verdict on one line."""

    def time_of(self, line: bytes, now: int, /) -> int | None:
        """Return the time of a line, microseconds since the epoch, or None."""


class Formats(Protocol):
    """Every format of a configuration, and which of them a log has."""

    @property
    def all(self) -> Collection[LogFormat]:
        """Every format, each once."""

    def of(self, path: str) -> LogFormat:
        """Return the format of the log at a path; one of ``all``."""


class Proxies(Protocol):
    """Answers which peers may name the client."""

    def is_proxy(self, address: Address) -> bool:
        """Return whether an address is a known proxy."""

    def among(self, names: Sequence[str]) -> Callable[[Address], bool]:
        """Return a function: whether an address is in one of these networks or lists."""


class NoProxies:
    """Knows none: no peer names another client."""

    def is_proxy(self, _address: Address) -> bool:
        """Return False."""
        return False

    def among(self, _names: Sequence[str]) -> Callable[[Address], bool]:
        """Return a function that returns False."""
        return self.is_proxy


class Matchers:
    """Gives the matcher for each log; logs of one format share it, and its caches.

    Args:
        rules: the traps; ``Hit.trap`` is an index into them.
        formats: the formats of the logs.
        proxies: answers which peers may name the client.
        users: ids of the users whose events are believed.

    Raises:
        ConfigError: a format is unknown, or an attacker could forge fields in it.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        formats: Formats,
        proxies: Proxies | None = None,
        users: Container[int] = frozenset(),
    ) -> None:
        self._rules, self._formats, self._proxies = rules, formats, proxies or NoProxies()
        self._users = users
        self._by_format = {each: self._made(each) for each in formats.all}
        self._by_path: dict[str, LineMatcher] = {}

    def of(self, path: str) -> LineMatcher:
        """Return the matcher for the log at a path."""
        known = self._by_path.get(path)
        if known is None:
            if len(self._by_path) >= MAX_PATHS:
                self._by_path.clear()
            known = self._by_path[path] = self._by_format[self._formats.of(path)]
        return known

    def requests(self, path: str) -> Matcher:
        """Return a matcher for requests in the log at a path, shared with no other log."""
        log_format = self._formats.of(path)
        return self._of_requests("auto" if log_format == EVENTS else log_format)

    def events(self) -> EventMatcher:
        """Return a matcher for events."""
        return EventMatcher(self._rules, self._users)

    def _made(self, log_format: LogFormat) -> LineMatcher:
        if log_format == EVENTS:
            return self.events()
        return self._of_requests(log_format)

    def _of_requests(self, log_format: LogFormat) -> Matcher:
        if isinstance(log_format, Proxied):
            return Matcher(self._rules, log_format, self._proxies.among(log_format.proxies))
        return Matcher(self._rules, log_format, self._proxies.is_proxy)
