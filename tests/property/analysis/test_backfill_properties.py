"""Lines by the hour, against a look at each line; samples, against what a day's difference is."""

import tempfile
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from blocker.analysis.backfill import Backfill
from blocker.analysis.reading import Reader, make_friends, make_judge
from blocker.analysis.time_bins import BEYOND, SLACK, UNKNOWN, LineBins, TimeBins, sample_times
from blocker.config.schema import Config
from blocker.model import Hit
from blocker.times import SECOND, parse_time

HOUR, DAY = 3600 * SECOND, 86400 * SECOND
START = 1_420_070_400


@st.composite
def nearly_sorted(draw):
    """Seconds of lines, None for one that can't be read; none more than SLACK out of order."""
    steps = draw(st.lists(st.sampled_from([0, 0, 1, 20, 600, 3600, 90_000]), max_size=60))
    jitter = SLACK // SECOND // 2
    shifts = st.one_of(st.none(), st.integers(-jitter, jitter))
    now, lines = START, []
    for step in steps:
        now += step
        shift = draw(shifts)
        lines.append(None if shift is None else now + shift)
    return lines


def counted_naively(seconds, bins):
    found, hour = Counter(), UNKNOWN
    for second in seconds:
        if second is not None:
            hour = bins.of(second * SECOND)
        found[hour] += 1
    return found


@examples(500)
@given(
    nearly_sorted(),
    st.lists(st.integers(1, 20), min_size=60, max_size=60),
    st.sampled_from([15 * 60 * SECOND, HOUR, DAY]),
    st.one_of(st.just(BEYOND), st.integers(START, START + 90_000).map(lambda s: s * SECOND)),
)
def test_lines_are_counted_in_their_hours(seconds, sizes, width, until):
    """However the lines are cut into blocks, each counts in the hour of its own stamp."""
    bins = TimeBins(width, until)
    line_bins = LineBins(bins, parse_time)
    lines = [b"?" if second is None else b"%d" % second for second in seconds]
    rest = lines
    for size in sizes:
        block, rest = rest[:size], rest[size:]
        data = b"".join(line + b"\n" for line in block)
        ends = [end for end in range(1, len(data) + 1) if data[end - 2 : end] == b"?\n"]
        line_bins.block(data, len(block), ends)
    assert line_bins.lines == counted_naively(seconds, bins)
    # What can't be read counts with the line before it.
    unparsed = [hour for hour, count in line_bins.unparsed.items() for _ in range(count)]
    assert len(unparsed) == seconds.count(None)
    assert all(line_bins.unparsed[hour] <= count for hour, count in line_bins.lines.items())


@examples(500)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20), st.integers(1, 5100))
def test_a_day_in_which_something_happened_has_its_first_and_last_sample(active, end):
    """Unless it is the first or the last: for every whole hour that a day may begin at."""
    bins = TimeBins(HOUR, end * HOUR)
    active = sorted({hour for hour in active if hour < end})
    edges = [edge for edge, _ in sample_times(active, bins)]
    assert all(first < second for first, second in pairwise(edges))
    for hour in active:
        for start in range(hour - 23, hour + 1):
            assert start in edges or start < active[0]
            assert start + 24 in edges or start + 24 > end


WHO = ("198.51.100.1", "198.51.100.2", "192.168.0.1")
LOGS = ("/var/log/a.log", "/var/log/b.log")


def written(moment):
    second, who = moment
    stamp = datetime.fromtimestamp(second, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{WHO[who]} - - [{stamp}] "POST /xmlrpc.php HTTP/1.1" 200 5 "-" "-"\n'


@st.composite
def attacks(draw):
    """A log of hits: seconds, a little out of order, and who."""
    moments = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=40))
    return [
        (START + slot * 1500 + draw(st.integers(-30, 30)), who) for slot, who in sorted(moments)
    ]


def judged_one_by_one(logs, bins):
    """Judge hit after hit in the order of all logs' running maxima, and book each by its hour."""
    order, found = [], Counter()
    for index, log in enumerate(logs):
        latest = 0
        for number, (second, who) in enumerate(log):
            latest = max(latest, second)
            order.append((latest, index, number, second, who))
    judge = make_judge(Config(), make_friends(Config()))
    for _, index, _, second, who in sorted(order):
        hour = bins.of(second * SECOND)
        address = bytes(map(int, WHO[who].split(".")))
        bans, counts, _ = judge.judge([Hit(second * SECOND, address, 0, 200, 0)])
        for ban in bans:
            found["bans", "log", bins.of(ban.start)] += 1
            found["offences", min(ban.offence, 4), bins.of(ban.start)] += 1
        for name, value in vars_of(counts).items():
            found[name, LOGS[index], hour] += value
    return +found


def vars_of(counts):
    return {
        "hits": counts.hits, "banned": counts.blocked, "late": counts.late,
        "friend": counts.friends,
    }  # fmt: skip


@examples(150)
@given(st.lists(attacks(), min_size=1, max_size=2))
def test_hits_and_bans_are_booked_by_the_hour(logs):
    """One log or two: what is booked is what judging hit after hit says."""
    bins = TimeBins(HOUR, BEYOND)
    counter = Backfill(Config(), bins, {})
    with tempfile.TemporaryDirectory() as directory:
        paths = [str(Path(directory, Path(each).name)) for each in LOGS[: len(logs)]]
        for path, log in zip(paths, logs, strict=True):
            Path(path).write_text("".join(map(written, log)))
        counter.read(paths, LOGS[: len(logs)], Reader())
    found = Counter()
    for (name, labels), counts in counter.counts.items():
        values = dict(labels)
        for hour, count in counts.items():
            if name in {"hits", "ignored_hits"}:
                found[values.get("reason", name), values["log"], hour] += count
            elif name in {"bans", "offences"}:
                what = values.get("origin") or int(values["offence"].rstrip("+"))
                found[name, what, hour] += count
    assert +found == judged_one_by_one(logs, bins)
