"""The verdict on each line of a log, and the reason."""

from collections.abc import Callable, Iterator, Sequence

from blocker.addresses import format_subject, parse_address, subject_of
from blocker.analysis.either import EitherMatcher
from blocker.analysis.reading import (
    Reader,
    event_users,
    make_friends,
    make_matchers,
    written,
)
from blocker.analysis.replay_report import ExplainRow
from blocker.config.schema import Config
from blocker.matching.event_lines import read_line, split_line, time_of
from blocker.matching.event_matcher import words_of
from blocker.matching.event_messages import Event, NoEvent
from blocker.matching.verdict import Verdict
from blocker.times import format_time, parse_time


def explain(paths: Sequence[str], config: Config, reader: Reader) -> Iterator[ExplainRow]:
    """Yield the verdict on every line."""
    friends = make_friends(config)
    made, users = make_matchers(config, friends), event_users(config)
    counts = _traps_by_event(config)
    matchers: dict[str, EitherMatcher] = {}
    traps, prefix = list(config.traps), config.ipv6_prefix
    number: dict[str, int] = {}
    latest: dict[str, int] = {}
    for path, block in reader.blocks(paths):
        if path not in latest:
            latest[path] = written(path)
            matchers[path] = EitherMatcher(made.requests(path), made.events())
        for line in block.data.split(b"\n")[:-1]:
            number[path] = number.get(path, 0) + 1
            where = f"{path}:{number[path]}"
            matcher = matchers[path]
            entry = split_line(line) if matcher.is_event(line) else None
            if entry is None:
                yield _row(where, matcher.requests.explain(line), traps, friends.why, prefix)
                continue
            time = time_of(entry.time, latest[path])
            row = _event_row(where, read_line(entry, users), time, friends.why, prefix)
            yield {**row, "trap": counts.get(row.get("event", ""), "")}


def _traps_by_event(config: Config) -> dict[str, str]:
    """Return the first trap that counts an event, by the name of the event."""
    pairs = [(event, name) for name, trap in config.traps.items() for event in trap.events]
    return dict(reversed(pairs))


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
    found: Event | NoEvent,
    time: int | None,
    why: Callable[[bytes], str | None],
    prefix: int,
) -> ExplainRow:
    """Return the verdict on a line of syslog or the journal."""
    row: ExplainRow = {
        "line": where, "verdict": "event", "reason": "", "trap": "", "address": "",
        "time": format_time(time) if time is not None else "", "request": "",
    }  # fmt: skip
    if not isinstance(found, Event):
        verdict = "unparsed" if found.is_broken else "no event"
        return {**row, "verdict": verdict, "reason": found.reason}
    reason = words_of(found)
    if friend := why(found.address):
        reason = f"{reason}, by a friend ({friend}): never banned"
    address = format_subject(subject_of(found.address, prefix), prefix)
    return {
        **row, "reason": reason, "address": address, "event": found.name, "n": found.failures
    }  # fmt: skip
