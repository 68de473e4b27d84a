"""The verdict on each line of a log, and the reason."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import time_ns

from blocker.addresses import format_subject, parse_address, subject_of
from blocker.analysis.reading import Reader, make_friends, make_matchers
from blocker.analysis.replay_report import ExplainRow, Replay
from blocker.config.schema import Config
from blocker.matching.event_lines import Entry, read_line, split_line, time_of
from blocker.matching.event_messages import Event, is_wordpress
from blocker.matching.matcher import Matched, Matcher
from blocker.matching.verdict import Verdict
from blocker.times import format_time, parse_time

WEB_SERVER = frozenset({33})
"""Ids of the users that WordPress runs as: www-data, whose number is fixed in Debian."""
_ACCESS = b"HTTP/"
"""Stands in every line of an access log that holds a request."""


def judge_one(run: Replay, matcher: Matcher, scanned: Iterable[Matched]) -> None:
    """Judge one log block by block, so that the matcher can skip hits of banned addresses."""
    for matched in scanned:
        matcher.skip_banned(run.consume(matched.hits), run.name)
    run.add_skipped((c.address, c.hits, c.last) for c in matcher.skipped if c.address)


def explain(paths: Sequence[str], config: Config, reader: Reader) -> Iterator[ExplainRow]:
    """Yield the verdict on every line."""
    friends = make_friends(config)
    matchers = make_matchers(config, friends)
    traps, prefix = list(config.traps), config.ipv6_prefix
    number: dict[str, int] = {}
    latest: dict[str, int] = {}
    for path, block in reader.blocks(paths):
        if path not in latest:
            latest[path] = _written(path)
        for line in block.data.split(b"\n")[:-1]:
            number[path] = number.get(path, 0) + 1
            where = f"{path}:{number[path]}"
            entry = split_line(line)
            if entry is None or not is_wordpress(entry.identifier):
                verdict = matchers.of(path).explain(line)
                if entry is None or verdict.kind != "unparsed" or _ACCESS in line:
                    yield _row(where, verdict, traps, friends.why, prefix)
                    continue
            time = time_of(entry.time, latest[path])
            yield _event_row(where, entry, time, friends.why, prefix)


def _written(path: str) -> int:
    """Return when a log was last written, microseconds; of a pipe, now."""
    try:
        return os.stat(path).st_mtime_ns // 1000  # noqa: PTH116 - a path as given, perhaps "-"
    except OSError:
        return time_ns() // 1000


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


def _event_row(
    where: str,
    entry: Entry,
    time: int | None,
    why: Callable[[bytes], str | None],
    prefix: int,
) -> ExplainRow:
    """Return the verdict on a line of syslog or the journal."""
    found = read_line(entry, WEB_SERVER)
    row: ExplainRow = {
        "line": where, "verdict": "event", "reason": "", "trap": "", "address": "",
        "time": format_time(time) if time is not None else "", "request": "",
    }  # fmt: skip
    if not isinstance(found, Event):
        verdict = "unparsed" if found.is_broken else "no event"
        return {**row, "verdict": verdict, "reason": found.reason}
    attempt = f" try={found.attempt.decode()}" if found.attempt else ""
    reason = f"event {found.name} n={found.failures or 'maxretry'}{attempt}"
    if friend := why(found.address):
        reason = f"{reason}, by a friend ({friend}): never banned"
    address = format_subject(subject_of(found.address, prefix), prefix)
    return {
        **row, "reason": reason, "address": address, "event": found.name, "n": found.failures
    }  # fmt: skip
