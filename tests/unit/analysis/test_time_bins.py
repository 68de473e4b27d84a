"""Lines by the hour, and where the samples of a day stand."""

from datetime import UTC, datetime

import pytest

from blocker.analysis.time_bins import BEYOND, UNKNOWN, LineBins, TimeBins, exposition, sample_times
from blocker.matching.formats import line_format
from blocker.times import SECOND, parse_time

HOUR, DAY = 3600 * SECOND, 86400 * SECOND
BINS = TimeBins(HOUR, BEYOND)
START = 1_420_070_400  # 2015-01-01T00:00:00Z


def line(second):
    stamp = datetime.fromtimestamp(START + second, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'203.0.113.7 - - [{stamp}] "GET / HTTP/1.1" 200 5 "-" "-"\n'.encode()


def samples_of(counts, bins):
    """Return the (time, value) of each sample of the only series."""
    lines = "".join(exposition(counts, bins)).splitlines()[1:-1]
    return [(float(time), int(value)) for _, value, time in map(str.split, lines)]


# Lines


class Reader:
    """Reads lines that are a second, or "?" for none; remembers which it was asked for."""

    def __init__(self, bins=BINS):
        self.asked = []
        self.line_bins = LineBins(bins, self.time_of)

    def time_of(self, text):
        """Return the time of a line."""
        self.asked.append(text)
        return parse_time(text)

    def block(self, text, *unparsed):
        """Count a block of such lines, of which those with these numbers don't parse."""
        lines = [each.encode() + b"\n" for each in text.split()]
        ends = [sum(map(len, lines[: number + 1])) for number in unparsed]
        self.line_bins.block(b"".join(lines), len(lines), ends)
        return dict(self.line_bins.lines)


def test_a_block_within_one_hour_is_read_at_both_ends():
    """Nothing between them is."""
    reader = Reader()
    assert reader.block("7300 x y 7400 z 10000") == {2: 6}
    assert reader.asked == [b"7300", b"10000"]


def test_lines_that_are_a_minute_out_of_order_count_in_their_own_hour():
    """At both ends of it, however the lines round them look."""
    assert Reader().block("3570 3601 3575") == {0: 2, 1: 1}
    assert Reader().block("3600 3599 3630") == {0: 1, 1: 2}


def test_the_first_hours_of_all_are_hours_as_others_are():
    """Their numbers are nothing else."""
    assert Reader().block("10 3610 3620 7210 7220 10810 14410") == {0: 1, 1: 2, 2: 2, 3: 1, 4: 1}
    assert UNKNOWN < 0


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (["? ?", "? 7300"], {UNKNOWN: 3, 2: 1}),
        (["? 7300 ?", "? ?"], {UNKNOWN: 1, 2: 4}),
        (["7300", "? 11000 ?", "11100 ?", "?"], {2: 2, 3: 5}),
        (["7300 ? 11000 ?"], {2: 2, 3: 2}),
    ],
)
def test_a_line_without_a_time_counts_with_the_one_before_it(blocks, expected):
    """Of the block before, if it is the first; of nothing known, if there is none."""
    reader = Reader()
    assert [reader.block(each) for each in blocks][-1] == expected


def test_lines_that_do_not_parse_count_in_their_hours():
    """With a time of their own, or with that of the line before."""
    reader = Reader()
    reader.block("? 7300 ? 10900 ? ? 14500", 0, 2, 4, 5, 6)
    reader.block("14600 14700", 1)
    assert reader.line_bins.unparsed == {UNKNOWN: 1, 2: 1, 3: 2, 4: 2}


def test_what_is_stamped_at_the_end_or_later_is_beyond_it():
    """The daemon has counted that itself."""
    bins = TimeBins(HOUR, 2 * HOUR)
    assert [bins.of(time) for time in (0, 2 * HOUR - 1, 2 * HOUR)] == [0, 1, BEYOND]
    assert Reader(bins).block("7199 7200") == {1: 1, BEYOND: 1}


def test_an_empty_block_counts_nothing():
    """Nor is anything read in it."""
    reader = Reader()
    assert reader.block("") == {}
    assert reader.asked == []


# Samples


def test_the_text_is_that_of_openmetrics():
    """Families once, series in order, labels escaped, and a 0 at last."""
    labels = (("log", 'a"b\\c\nd'), ("trap", "x"))
    counts = {("hits", labels): {0: 2}, ("hits", ()): {1: 1}, ("bans", ()): {0: 1}}
    lines = "".join(exposition(counts, TimeBins(DAY, BEYOND))).split("\n")
    assert [each for each in lines if each.startswith("#")] == [
        "# TYPE xmlrpc_blocker_bans counter", "# TYPE xmlrpc_blocker_hits counter", "# EOF",
    ]  # fmt: skip
    labelled = 'xmlrpc_blocker_hits_total{log="a\\"b\\\\c\\nd",trap="x"}'
    assert [each for each in lines if each.startswith(labelled)] == [
        f"{labelled} 0 0", f"{labelled} 0 0.002", f"{labelled} 2 86400",
        f"{labelled} 2 86400.002", f"{labelled} 2 172800", f"{labelled} 2 172800.002",
        f"{labelled} 2 259200", f"{labelled} 0 259200.002",
    ]  # fmt: skip
    assert lines[-2:] == ["# EOF", ""]


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (2 * HOUR, [(0, 0), (1, HOUR), (2, 2 * HOUR)]),
        (2 * HOUR + 1, [(0, 0), (1, HOUR), (2, 2 * HOUR), (3, 2 * HOUR + 1)]),
    ],
)
def test_the_last_sample_stands_at_the_end(until, expected):
    """Whether an hour ends then or not."""
    assert list(sample_times([0], TimeBins(HOUR, until))) == expected


def test_samples_stand_at_the_ends_of_hours_and_just_behind():
    """So a window of a day begins and ends with one, even without its left edge."""
    points = samples_of({("hits", ()): {0: 2, 1: 3}}, BINS)
    assert points[:6] == [(0, 0), (0.002, 0), (3600, 2), (3600.002, 2), (7200, 5), (7200.002, 5)]
    assert points[-2:] == [(26 * 3600, 5), (26 * 3600 + 0.002, 0)]


def test_a_gap_of_the_log_is_a_gap_of_the_series():
    """A stamp of 1970, of a host whose clock was not set yet, costs two days of samples."""
    late = 490_000
    edges = [edge for edge, _ in sample_times([0, late], BINS)]
    assert edges == [*range(26), *range(late - 24, late + 26)]


def test_a_gap_of_less_than_two_days_is_filled():
    """Every day of it has its first and its last sample."""
    edges = [edge for edge, _ in sample_times([0, 40], BINS)]
    assert edges == list(range(66))


def test_few_lines_are_parsed():
    """Of ten thousand lines an hour, those within two minutes of its ends, and some on the way."""
    parsed = []
    grammar = line_format("auto")

    def time_of(text):
        parsed.append(text)
        return parse_time(grammar.parse(text).time)

    line_bins = LineBins(BINS, time_of)
    lines = [line(number * 0.36) for number in range(50_000)]
    for at in range(0, len(lines), 5000):
        block = lines[at : at + 5000]
        line_bins.block(b"".join(block), len(block), [])
    first = START // 3600
    assert line_bins.lines == {first + hour: 10_000 for hour in range(5)}
    assert len(parsed) < 0.06 * len(lines)
