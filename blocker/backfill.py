"""Old logs as time series: what the daemon would have counted, hour by hour.

The matcher, the judge and the merging are those of ``replay``; the names and labels are those of
the live metrics, so that both make one curve.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from blocker.catalogue import ALL, IGNORED, OFFENCES, offence_label
from blocker.config import Config
from blocker.hours import BEYOND, UNKNOWN, Hours, Series, Spread
from blocker.judge import Judge
from blocker.match import Matcher
from blocker.merge import merged
from blocker.model import Ban, Hit
from blocker.naming import group_rotated, rotation_key
from blocker.offline import Reader, make_friends, make_judge, make_matcher

Counts = dict[Series, Counter[int]]


def labels_of(paths: Sequence[str], config: Config) -> list[str]:
    """Return the ``log`` of each rotated set, as a daemon that follows it has it."""
    lives = [rotation_key(os.path.normpath(group[0])) for group in group_rotated(paths)]
    if not config.metrics.per_log:
        return [ALL] * len(lives)
    # Links stay, as they do in the patterns of the configuration.
    return [path if path == "-" else os.path.abspath(path) for path in lives]  # noqa: PTH100


class Backfill:
    """Counts everything in some logs by the hour.

    Args:
        config: traps, friends and formats.
        hours: how time is cut.
        common: labels of every series, such as job and instance.
    """

    def __init__(self, config: Config, hours: Hours, common: dict[str, str]) -> None:
        self._config = config
        self._hours = hours
        self._common = common
        self._friends = make_friends(config)
        self._judge: Judge = make_judge(config, self._friends)
        self.counts: Counts = {}

    def read(self, paths: Sequence[str], labels: Sequence[str], reader: Reader) -> None:
        """Read logs, and count; logs given together are merged, a rotated set is one log.

        Args:
            paths: of the files.
            labels: the ``log`` of each rotated set.
            reader: reads them.
        """
        groups = group_rotated(paths)
        spreads = [Spread(self._hours, self._matcher().time_of) for _ in groups]
        streams = [
            self._hits(reader, group, spread) for group, spread in zip(groups, spreads, strict=True)
        ]
        self._prepare(labels)
        runs = groupby(merged(streams), lambda each: (each[0], self._hours.of(each[1].time)))
        for (index, hour), run in runs:
            if hour != BEYOND:
                self._count(labels[index], hour, (hit for _, hit in run))
        reader.finish()
        for label, spread in zip(labels, spreads, strict=True):
            self._count_lines(label, spread)

    def _matcher(self) -> Matcher:
        return make_matcher(self._config, self._friends)

    def _hits(self, reader: Reader, group: Sequence[str], spread: Spread) -> Iterator[Hit]:
        """Yield the hits of one log, and count its lines on the way."""
        matcher = self._matcher()
        for path, block in reader.blocks(group):
            matched = matcher.scan(block.data)
            reader.look(path, block.data, matched, matcher)
            spread.block(block.data, matched.lines, matched.unparsed)
            yield from matched.hits

    def _series(self, name: str, **labels: str) -> Counter[int]:
        key = name, tuple(sorted({**self._common, **labels}.items()))
        return self.counts.setdefault(key, Counter())

    def _prepare(self, labels: Sequence[str]) -> None:
        """Have every series there from the beginning, with 0."""
        for label in labels:
            for name in ("log_lines", "requests", "parse_failures", "hits"):
                self._series(name, log=label)
            for reason in IGNORED:
                self._series("ignored_hits", log=label, reason=reason)
        for trap in self._config.traps:
            self._series("bans", trap=trap, origin="log")
        for offence in OFFENCES:
            self._series("offences", offence=offence)

    def _count(self, label: str, hour: int, run: Iterator[Hit]) -> None:
        """Judge hits of one log in one hour."""
        tally = self._judge.tally
        before = tally.counts()
        bans = self._judge.judge(run)
        counts = tally.counts().since(before)._asdict()
        self._series("hits", log=label)[hour] += counts["hits"]
        for reason, name in IGNORED.items():
            if counts.get(name):
                self._series("ignored_hits", log=label, reason=reason)[hour] += counts[name]
        for ban in bans:
            self._count_ban(ban)

    def _count_ban(self, ban: Ban) -> None:
        hour = self._hours.of(ban.start)
        self._series("bans", trap=ban.trap, origin="log")[hour] += 1
        self._series("offences", offence=offence_label(ban.offence))[hour] += 1

    def _count_lines(self, label: str, spread: Spread) -> None:
        """Take over the lines; those before the first with a time count with that one."""
        known = [hour for hour in spread.lines if hour not in {UNKNOWN, BEYOND}]
        for hour, lines in spread.lines.items():
            where = min(known, default=BEYOND) if hour == UNKNOWN else hour
            unparsed = spread.unparsed[hour]
            if where != BEYOND:
                self._series("log_lines", log=label)[where] += lines
                self._series("requests", log=label)[where] += lines - unparsed
                self._series("parse_failures", log=label)[where] += unparsed
