"""The command backfill."""

import argparse
import sys
import time

from blocker.analysis import backfill, reading
from blocker.analysis.time_bins import TimeBins, exposition
from blocker.cli.common import finish, is_socket, load_config, say
from blocker.times import DAY, MINUTE, SECOND, duration, parse_time


def run(arguments: argparse.Namespace) -> int:
    """Print old logs as time series for Prometheus."""
    bins = _bins(arguments)
    if isinstance(bins, str):
        say(f"backfill: {bins}")
        return 2
    config = load_config(arguments)
    labels = backfill.labels_of(arguments.logs, config)
    if len(arguments.log_labels or labels) != len(labels):
        say("backfill: one --log-label for each log, in their order; a rotated set is one log")
        return 2
    if arguments.until is None and is_socket(config.control):
        say("note: there is a daemon on this host; without --until, its counts are exported twice")
    common = {"job": arguments.job, "instance": arguments.instance}
    counter = backfill.Backfill(config, bins, common)
    reader = reading.Reader()
    counter.read(arguments.logs, arguments.log_labels or labels, reader)
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stdout.writelines(exposition(counter.counts, bins))
    if not any(counter.counts.values()):
        reader.failed.append("no line with a time before --until: nothing to export")
    return finish(reader)


def _bins(arguments: argparse.Namespace) -> "TimeBins | str":
    """Return the time bins, or an error message."""
    try:
        width = duration(arguments.every)
    except ValueError:
        width = 0
    if width < MINUTE or DAY % width:
        return f"--every {arguments.every}: a day must be a multiple of it, as of 15m or 1h"
    text = arguments.until
    if text is None:
        return TimeBins(width, int(time.time()) * SECOND)
    until = parse_time(text.encode("utf-8", "replace"))
    if until is None:
        return f"--until {text}: write a time such as 2026-11-22T18:00:00Z"
    return TimeBins(width, until // SECOND * SECOND)
