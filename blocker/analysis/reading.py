"""Reads old logs for the commands that need no daemon; collects failures and unparsed lines."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from time import time_ns
from typing import Protocol

from blocker.config.schema import Config
from blocker.errors import BlockerError, file_advice
from blocker.escape import printable
from blocker.friends.friends import Friends
from blocker.friends.shipped import shipped_lists
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.matching.matched import Matched
from blocker.matching.matchers import Matchers
from blocker.matching.parse_health import MAX_REASON, advice_for, line_before
from blocker.matching.verdict import Verdict
from blocker.rows import counted
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.files.logfile import blocks
from blocker.sources.schemes import JOURNAL, LIVE, STDIN, check_name, scheme_of
from blocker.sources.senders import Allowed
from blocker.sources.stream import Block

PROGRESS = 64 << 20
"""Bytes between two updates of the progress line on a terminal."""
WWW_DATA = "33"
"""Number of the user www-data in every Debian; this host may have none."""
MAX_NOTES = 10
"""Ceiling of the logs with unparsed lines that are listed one by one."""


class Explains(Protocol):
    """Explains single lines; ``now`` is when they were written at the latest, microseconds."""

    def explain(self, line: bytes, now: int, /) -> Verdict:
        """Return the verdict on one line."""


@dataclass
class Misread:
    """Candidate lines of one log that could not be parsed.

    Attributes:
        reason: why the first could not be parsed, escaped and bounded.
        unparsed: number of such lines.
    """

    reason: str
    unparsed: int = 0

    def words(self, path: str) -> str:
        """Return the message about a log."""
        name = printable(path)
        return (
            f"{name}: {counted(self.unparsed, 'candidate line')} could not be parsed, so what is in"
            f" them does not count; the first: {self.reason}; {advice_for(self.reason, name)}"
        )


class Reader:
    """Reads logs block by block; one that can't be read is noted, and the others are read.

    Attributes:
        failed: a message for each log that could not be read.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._misread: dict[str, Misread] = {}
        self._bytes = 0
        self._shown = 0

    def blocks(self, paths: Sequence[str]) -> Iterator[tuple[str, Block]]:
        """Yield (path, block) of several files, in order."""
        for path in paths:
            try:
                for block in _blocks_of(path):
                    yield path, block
                    self._progress(path, len(block.data))
            except (OSError, EOFError, ValueError, BlockerError) as error:
                text = str(error).removeprefix(f"{path}: ")
                reason = getattr(error, "strerror", None) or text or type(error).__name__
                advice = file_advice(error)
                self.failed.append(f"{path}: {reason}" + (f"; {advice}" if advice else ""))

    def _progress(self, path: str, count: int) -> None:
        self._bytes += count
        if self._bytes - self._shown >= PROGRESS and sys.stderr.isatty():
            self._shown = self._bytes
            print(f"\r{self._bytes >> 20} MiB read, in {path}\033[K", end="", file=sys.stderr)

    def look(self, data: bytes, matched: Matched, matcher: Explains, path: str, now: int) -> None:
        """Count unparsed candidate lines of a block, and keep why the first could not be parsed."""
        unparsed = len(matched.unparsed)
        count = self._misread.get(path)
        if count is None:
            if not unparsed:
                return
            verdict = matcher.explain(line_before(data, matched.unparsed[0]), now)
            count = self._misread[path] = Misread(printable(verdict.reason)[:MAX_REASON])
        count.unparsed += unparsed

    def notes(self) -> list[str]:
        """Return a sentence for each log with candidate lines that could not be parsed."""
        notes = [count.words(path) for path, count in islice(self._misread.items(), MAX_NOTES)]
        more = len(self._misread) - len(notes)
        return [*notes, f"and {counted(more, 'more log')} like these"] if more else notes

    def finish(self) -> None:
        """Clear the progress line."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr)


def written(path: str) -> int:
    """Return when a log was last written, microseconds; of a pipe, now."""
    try:
        return os.stat(path).st_mtime_ns // 1000  # noqa: PTH116 - a path as given, perhaps "-"
    except OSError:
        return time_ns() // 1000


def _blocks_of(log: str) -> Iterator[Block]:
    """Return the blocks of a log, as its scheme says."""
    kind = scheme_of(log)
    if kind in LIVE and kind != STDIN:
        raise BlockerError("only the running daemon receives its lines; name a file instead")
    if kind != JOURNAL:  # for these commands, "-" is their own standard input
        return blocks(log)
    check_name(log)
    from blocker.sources.journal_reader import journal_blocks  # noqa: PLC0415 - start-up time

    return journal_blocks(log)


def make_friends(config: Config) -> Friends:
    """Return the friends of a configuration, without this host's own addresses."""
    return Friends.build(
        allow=config.never_banned,
        ban_private=config.ban_private,
        ban_proxies=config.ban_proxies,
        lists=shipped_lists(),
        ipv6_prefix=config.ipv6_prefix,
    )


def make_matchers(config: Config, friends: Friends) -> Matchers:
    """Return new matchers for a configuration's traps and formats."""
    formats = LogFormats(config.format, config.own_formats)
    return Matchers(list(config.traps.values()), formats, friends, event_users(config))


def event_users(config: Config) -> Allowed:
    """Return the users whose events are believed, where an export of the journal names the user."""
    usual = [WWW_DATA] if "www-data" in config.event_users else []
    return Allowed([*config.event_writers, *usual])


def make_judge(config: Config, friends: Friends) -> Judge:
    """Return a new judge with a configuration's policy."""
    limits = Limits(config.remember, config.max_tracked, config.ipv6_prefix)
    return Judge(list(config.traps.items()), limits, friends.why)


@contextmanager
def without_collector() -> Iterator[None]:
    """Disable the cyclic garbage collector.

    A replay makes millions of small objects without cycles; collecting takes a tenth of its time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
