"""Judges old logs with the daemon's matcher and judge, at the times of the log.

No firewall and no store.  This host's own addresses are no friends here, because the logs may come
from another host.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from blocker.analysis.either import EitherMatcher
from blocker.analysis.merge import merged
from blocker.analysis.reading import (
    Reader,
    make_friends,
    make_judge,
    make_matchers,
    without_collector,
    written,
)
from blocker.analysis.replay_report import Replay, ReplayReport
from blocker.config.schema import Config
from blocker.matching.matched import Matched
from blocker.matching.matcher import Matcher
from blocker.sources.files.naming import group_rotated

AT_ONCE = 10_000
"""Hits of several logs that are judged at a time."""


def judge_one(run: Replay, matcher: Matcher, scanned: Iterable[Matched]) -> None:
    """Judge one log block by block, so that the matcher can skip hits of banned addresses."""
    for matched in scanned:
        bans = run.consume(matched.hits)
        matcher.skip_banned((ban for ban in bans if run.is_of_requests(ban)), run.name)
    run.add_skipped((c.address, c.hits, c.last) for c in matcher.skipped if c.address)


@without_collector()
def replay(paths: Sequence[str], config: Config, reader: Reader) -> ReplayReport:
    """Judge old logs; several logs are merged, a rotated set is one log."""
    friends = make_friends(config)
    run = Replay(make_judge(config, friends), config.ipv6_prefix)
    groups = group_rotated(paths)
    made = make_matchers(config, friends)
    matchers = [EitherMatcher(made.requests(group[-1]), made.events()) for group in groups]

    def scanned(index: int) -> Iterator[Matched]:
        for path, block in reader.blocks(groups[index]):
            now = written(path)
            matched = matchers[index].scan(block.data, now)
            run.count(matched)
            reader.look(block.data, matched, matchers[index], path, now)
            yield matched

    if len(groups) == 1:
        judge_one(run, matchers[0].requests, scanned(0))
    else:
        streams = [(hit for each in scanned(n) for hit in each.hits) for n in range(len(groups))]
        hits = (hit for _, hit in merged(streams))
        while part := list(islice(hits, AT_ONCE)):
            run.consume(part)
    reader.finish()
    return run.report(paths)
