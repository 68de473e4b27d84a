"""The verdict on each line of a log, and the reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from blocker.addresses import format_subject, parse_address, subject_of
from blocker.analysis.reading import Reader, make_friends, make_matchers
from blocker.analysis.replay_report import ExplainRow, Replay
from blocker.config.schema import Config
from blocker.matching.matcher import Matched, Matcher
from blocker.matching.verdict import Verdict
from blocker.times import format_time, parse_time


def judge_one(run: Replay, matcher: Matcher, scanned: Iterable[Matched]) -> None:
    """Judge one log block by block, so that the matcher can skip hits of banned addresses."""
    for matched in scanned:
        matcher.skip_banned(run.consume(matched.hits), run.name)
    run.add_skipped((c.address, c.hits, c.last) for c in matcher.skipped if c.address)


def explain(paths: Sequence[str], config: Config, reader: Reader) -> Iterator[ExplainRow]:
    """Yield the verdict on every line."""
    friends = make_friends(config)
    matchers, why = make_matchers(config, friends), friends.why
    traps = list(config.traps)
    number: dict[str, int] = {}
    for path, block in reader.blocks(paths):
        for line in block.data.split(b"\n")[:-1]:
            number[path] = number.get(path, 0) + 1
            verdict = matchers.of(path).explain(line)
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
