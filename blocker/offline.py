"""The offline commands: the very same matcher and judge over old logs, with the log's own time.

No firewall, no store, and no friends among this host's own addresses: the logs may be another's.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from blocker.config import Config
from blocker.configfile import shipped_lists
from blocker.errors import BlockerError, file_advice
from blocker.escape import printable
from blocker.friends import Friends
from blocker.health import MAX_REASON, advice_for, line_before
from blocker.judge import Judge, Limits
from blocker.lines import parse_address, parse_time
from blocker.logfile import Block, blocks
from blocker.match import Matched, Matcher, Verdict
from blocker.merge import merged
from blocker.model import format_subject, subject_of
from blocker.naming import group_rotated
from blocker.report import ExplainRow, Replay, ReplayReport, counted, format_time

PROGRESS = 64 << 20
"""Bytes between two signs of life on a terminal."""
MAX_NOTES = 10
"""Logs that are not understood and are told one by one."""


@dataclass
class Misread:
    """Candidate lines of one log that could not be parsed.

    Attributes:
        reason: of the first, escaped and bounded.
        unparsed: how many.
    """

    reason: str
    unparsed: int = 0

    def words(self, path: str) -> str:
        """Return what to say of it."""
        name = printable(path)
        return (
            f"{name}: {counted(self.unparsed, 'candidate line')} could not be parsed, so what is in"
            f" them does not count; the first: {self.reason}; {advice_for(self.reason, name)}"
        )


class Reader:
    """Reads logs block by block; one that can't be read is told, and the rest goes on.

    Attributes:
        failed: what could not be read, as messages.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._misread: dict[str, Misread] = {}
        self._bytes = 0
        self._told = 0

    def blocks(self, paths: Sequence[str]) -> Iterator[tuple[str, Block]]:
        """Yield (path, block) of several files, one after the other."""
        for path in paths:
            try:
                for block in blocks(path):
                    yield path, block
                    self._progress(path, len(block.data))
            except (OSError, EOFError, BlockerError) as error:
                said = str(error).removeprefix(f"{path}: ")
                reason = getattr(error, "strerror", None) or said or type(error).__name__
                advice = file_advice(error)
                self.failed.append(f"{path}: {reason}" + (f"; {advice}" if advice else ""))

    def _progress(self, path: str, count: int) -> None:
        self._bytes += count
        if self._bytes - self._told >= PROGRESS and sys.stderr.isatty():
            self._told = self._bytes
            print(f"\r{self._bytes >> 20} MiB read, in {path}\033[K", end="", file=sys.stderr)

    def look(self, path: str, data: bytes, matched: Matched, matcher: Matcher) -> None:
        """Count the candidate lines of a block, and keep why the first could not be parsed."""
        unparsed = len(matched.unparsed)
        count = self._misread.get(path)
        if count is None:
            if not unparsed:
                return
            verdict = matcher.explain(line_before(data, matched.unparsed[0]))
            count = self._misread[path] = Misread(printable(verdict.reason)[:MAX_REASON])
        count.unparsed += unparsed

    def notes(self) -> list[str]:
        """Return a sentence for each log with candidate lines that could not be parsed."""
        told = [count.words(path) for path, count in islice(self._misread.items(), MAX_NOTES)]
        more = len(self._misread) - len(told)
        return [*told, f"and {counted(more, 'more log')} like these"] if more else told

    def finish(self) -> None:
        """Clear the line of progress."""
        if self._told:
            print("\r\033[K", end="", file=sys.stderr)


def make_friends(config: Config) -> Friends:
    """Return the friends of a configuration; this host's own addresses are none."""
    return Friends.build(
        allow=config.allow,
        ban_private=config.ban_private,
        ban_proxies=config.ban_proxies,
        lists=shipped_lists(),
        ipv6_prefix=config.ipv6_prefix,
    )


def make_matcher(config: Config, friends: Friends) -> Matcher:
    """Return a fresh matcher for a configuration's traps and format."""
    return Matcher(list(config.traps.values()), config.format, friends.is_proxy)


def make_judge(config: Config, friends: Friends) -> Judge:
    """Return a fresh judge with a configuration's policy."""
    limits = Limits(config.remember, config.max_tracked, config.ipv6_prefix)
    return Judge(list(config.traps.items()), limits, friends.why)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of small things and no cycle among them: looking for one is a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_collector()
def replay(paths: Sequence[str], config: Config, reader: Reader) -> ReplayReport:
    """Judge old logs; logs given together are merged, a rotated set is one log."""
    friends = make_friends(config)
    run = Replay(make_judge(config, friends), config.ipv6_prefix)
    groups = group_rotated(paths)
    matchers = [make_matcher(config, friends) for _ in groups]

    def scanned(index: int) -> Iterator[Matched]:
        for path, block in reader.blocks(groups[index]):
            matched = matchers[index].scan(block.data)
            run.lines += matched.lines
            run.unparsed += len(matched.unparsed)
            reader.look(path, block.data, matched, matchers[index])
            yield matched

    if len(groups) == 1:
        judge_one(run, matchers[0], scanned(0))
    else:
        streams = [(hit for each in scanned(n) for hit in each.hits) for n in range(len(groups))]
        run.consume(hit for _, hit in merged(streams))
    reader.finish()
    return run.report(paths)


def judge_one(run: Replay, matcher: Matcher, scanned: Iterable[Matched]) -> None:
    """Judge one log, in the order in which it is scanned: the next block knows whose bans stand."""
    for matched in scanned:
        matcher.settle(run.consume(matched.hits), run.name)
    run.add_settled((c.address, c.hits, c.last) for c in matcher.settled if c.address)


def explain(paths: Sequence[str], config: Config, reader: Reader) -> Iterator[ExplainRow]:
    """Yield a verdict on every line."""
    friends = make_friends(config)
    matcher, why = make_matcher(config, friends), friends.why
    traps = list(config.traps)
    number: dict[str, int] = {}
    for path, block in reader.blocks(paths):
        for line in block.data.split(b"\n")[:-1]:
            number[path] = number.get(path, 0) + 1
            verdict = matcher.explain(line)
            yield _row(f"{path}:{number[path]}", verdict, traps, why, config.ipv6_prefix)


def _row(
    where: str,
    verdict: Verdict,
    traps: Sequence[str],
    why: Callable[[bytes], str | None],
    prefix: int,
) -> ExplainRow:
    fields = verdict.fields
    address = parse_address(fields.address) if fields else None
    time = parse_time(fields.time) if fields else None
    friend = why(address) if address else None
    reason = verdict.reason
    if friend and verdict.kind == "hit":
        reason = f"{reason}, by a friend ({friend}): never banned"
    return {
        "line": where,
        "verdict": verdict.kind,
        "reason": reason,
        "trap": traps[verdict.trap] if verdict.trap >= 0 else "",
        "address": format_subject(subject_of(address, prefix), prefix) if address else "",
        "time": format_time(time) if time is not None else "",
        "request": ascii(fields.request[:200])[2:-1] if fields else "",
    }
