"""Counts old logs per time bin, as the daemon would have counted them.

Matcher, judge and merging are the same as for ``replay``; names and labels are those of the live
metrics, so that both continue one series.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from blocker.analysis.merge import merged
from blocker.analysis.reading import Reader, make_friends, make_judge, make_matchers
from blocker.analysis.time_bins import BEYOND, UNKNOWN, LineBins, Series, TimeBins
from blocker.config.schema import Config
from blocker.judging.judge import Judge
from blocker.matching.matcher import Matcher
from blocker.model import ACCESS, Ban, Hit
from blocker.sources.files.naming import group_rotated, rotation_key
from blocker.store.counter_names import IGNORED, OFFENCES, offence_label
from blocker.telemetry.catalogue import ALL

Counts = dict[Series, Counter[int]]


def labels_of(paths: Sequence[str], config: Config) -> list[str]:
    """Return the label ``log`` of each rotated set, as a daemon that follows it exports it."""
    lives = [rotation_key(os.path.normpath(group[0])) for group in group_rotated(paths)]
    if not config.metrics.per_log:
        return [ALL] * len(lives)
    # Symbolic links are not resolved: the daemon does not resolve those in its patterns either.
    return [path if path == "-" else os.path.abspath(path) for path in lives]  # noqa: PTH100


class Backfill:
    """Counts lines, hits and bans of logs per time bin.

    Args:
        config: traps, friends and formats.
        bins: the time bins.
        common: labels of every series, such as job and instance.

    Attributes:
        counts: counts per bin, by series.
    """

    def __init__(self, config: Config, bins: TimeBins, common: dict[str, str]) -> None:
        self._config = config
        self._bins = bins
        self._common = common
        self._friends = make_friends(config)
        self._judge: Judge = make_judge(config, self._friends)
        self.counts: Counts = {}

    def read(self, paths: Sequence[str], labels: Sequence[str], reader: Reader) -> None:
        """Read and count logs; several logs are merged, a rotated set is one log.

        Args:
            paths: paths of the files.
            labels: the label ``log`` of each rotated set.
            reader: reads the files.
        """
        groups = group_rotated(paths)
        made = make_matchers(self._config, self._friends)
        matchers = [made.requests(group[-1]) for group in groups]
        lines = [LineBins(self._bins, matcher.time_of) for matcher in matchers]
        streams = [
            self._hits(reader, group, matcher, line_bins)
            for group, matcher, line_bins in zip(groups, matchers, lines, strict=True)
        ]
        self._prepare(labels)
        runs = groupby(merged(streams), lambda each: (each[0], self._bins.of(each[1].time)))
        for (index, number), run in runs:
            if number != BEYOND:
                self._count(labels[index], number, (hit for _, hit in run))
        reader.finish()
        for label, line_bins in zip(labels, lines, strict=True):
            self._count_lines(label, line_bins)

    def _hits(
        self, reader: Reader, group: Sequence[str], matcher: Matcher, line_bins: LineBins
    ) -> Iterator[Hit]:
        """Yield the hits of one log, and count its lines."""
        for path, block in reader.blocks(group):
            matched = matcher.scan(block.data)
            reader.look(block.data, matched, matcher, path, 0)
            line_bins.block(block.data, matched.lines, matched.unparsed)
            yield from matched.hits

    def _series(self, name: str, **labels: str) -> Counter[int]:
        key = name, tuple(sorted({**self._common, **labels}.items()))
        return self.counts.setdefault(key, Counter())

    def _prepare(self, labels: Sequence[str]) -> None:
        """Create every series, so that one without counts is exported as 0."""
        for label in labels:
            for name in ("log_lines", "requests", "parse_failures", "hits"):
                self._series(name, log=label)
            for reason in IGNORED:
                self._series("ignored_hits", log=label, reason=reason)
        requests = (name for name, trap in self._config.traps.items() if trap.kind == ACCESS)
        for trap in requests:
            self._series("bans", trap=trap, origin="log")
        for offence in OFFENCES:
            self._series("offences", offence=offence)

    def _count(self, label: str, number: int, run: Iterator[Hit]) -> None:
        """Judge and count the hits of one log in one bin."""
        bans, counts, _ = self._judge.judge(run)
        self._series("hits", log=label)[number] += counts.hits
        ignored = {"banned": counts.blocked, "late": counts.late, "friend": counts.friends}
        for reason, count in ignored.items():
            if count:
                self._series("ignored_hits", log=label, reason=reason)[number] += count
        for ban in bans:
            self._count_ban(ban)

    def _count_ban(self, ban: Ban) -> None:
        number = self._bins.of(ban.start)
        self._series("bans", trap=ban.trap, origin="log")[number] += 1
        self._series("offences", offence=offence_label(ban.offence))[number] += 1

    def _count_lines(self, label: str, line_bins: LineBins) -> None:
        """Add the lines of a log; lines before the first time count in the bin of that time."""
        known = [number for number in line_bins.lines if number not in {UNKNOWN, BEYOND}]
        for number, lines in line_bins.lines.items():
            where = min(known, default=BEYOND) if number == UNKNOWN else number
            unparsed = line_bins.unparsed[number]
            if where != BEYOND:
                self._series("log_lines", log=label)[where] += lines
                self._series("requests", log=label)[where] += lines - unparsed
                self._series("parse_failures", log=label)[where] += unparsed
