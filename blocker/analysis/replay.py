"""Judges old logs with the daemon's matcher and judge, at the times of the log.

No firewall and no store.  This host's own addresses are no friends here, because the logs may come
from another host.
"""

from collections.abc import Iterator, Sequence

from blocker.analysis.explain import judge_one
from blocker.analysis.merge import merged
from blocker.analysis.reading import (
    Reader,
    make_friends,
    make_judge,
    make_matchers,
    without_collector,
)
from blocker.analysis.replay_report import Replay, ReplayReport
from blocker.config.schema import Config
from blocker.matching.matcher import Matched
from blocker.sources.files.naming import group_rotated


@without_collector()
def replay(paths: Sequence[str], config: Config, reader: Reader) -> ReplayReport:
    """Judge old logs; several logs are merged, a rotated set is one log."""
    friends = make_friends(config)
    run = Replay(make_judge(config, friends), config.ipv6_prefix)
    groups = group_rotated(paths)
    made = make_matchers(config, friends)
    matchers = [made.new(group[-1]) for group in groups]

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
