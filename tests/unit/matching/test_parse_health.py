"""Whether a log is understood: when a warning is due, what it says, and when it ends."""

import pytest

from blocker.config.schema import Config
from blocker.matching.matcher import Matcher
from blocker.matching.parse_health import (
    HANDFUL,
    MANY,
    MAX_CONDITIONS,
    MAX_LOGS,
    MAX_REASON,
    Conditions,
    ParseHealth,
    ParseWatch,
    Unparsed,
    line_before,
    others,
)
from blocker.times import SECOND

LOG = "/var/log/nginx/access.log"
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
START = 1_700_000_000 // 3600 * HOUR
GOOD = b'198.51.100.7 - - [10/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"\n'
HIT = GOOD.replace(b"GET / ", b"POST /xmlrpc.php ")
UNKNOWN = b'POST /xmlrpc.php from "198.51.100.7" at noon\n'
OTHER = b'GET / from "198.51.100.7" at noon\n'


class Bench:
    """A matcher and the watch over what it can't parse."""

    def __init__(self):
        self.matcher = Matcher(list(Config().traps.values()))
        self.watch = ParseWatch()
        self.now = START
        self.explained = 0

    def explain(self, line):
        """Explain a line, and count it."""
        self.explained += 1
        return self.matcher.explain(line)

    def read(self, *lines, path=LOG, seconds=0):
        """Look at one block."""
        self.now += seconds * SECOND
        block = b"".join(lines)
        found = self.matcher.scan(block)
        return self.watch.look(path, self.now, block, found, self.explain)

    def one_by_one(self, *lines, **more):
        """Look at each line as a block of its own, a second apart."""
        return [self.read(line, seconds=1, **more) for line in lines][-1]


@pytest.fixture
def bench():
    """Nothing read yet."""
    return Bench()


@pytest.mark.parametrize("how", ["read", "one_by_one"])
def test_a_log_in_an_unknown_format_is_named_after_a_handful(bench, how):
    """Its candidates fail, its other lines are not understood either."""
    read = getattr(bench, how)
    assert read(*[OTHER, UNKNOWN] * (HANDFUL - 1)) is None
    trouble = read(OTHER, UNKNOWN)
    assert (trouble.unparsed, trouble.candidates) == (HANDFUL, HANDFUL)
    assert bench.watch.troubles(bench.now) == {LOG: trouble}


def test_all_of_many_candidates_are_counted_and_the_first_reason_is_kept(bench):
    """1,800 lines of an unknown format: how many, of how many, why, and what to set."""
    first = bench.matcher.explain(UNKNOWN[:-1]).reason
    trouble = bench.read(*[UNKNOWN] * 900, *[b"POST /xmlrpc.php ?\n"] * 900)
    words = trouble.words(LOG)
    assert words.startswith(f"{LOG}: 1,800 of 1,800 candidate lines could not be parsed")
    assert first[:100] in words
    assert "`format`" in words
    assert f"`xmlrpc-blocker explain {LOG}`" in words


@pytest.mark.parametrize("how", ["read", "one_by_one"])
def test_a_few_hostile_lines_in_a_healthy_log_raise_nothing(bench, how):
    """Even if there is no other candidate: other lines show that the format is understood."""
    read = getattr(bench, how)
    assert read(*[GOOD, UNKNOWN, GOOD] * 20) is None
    assert bench.watch.troubles(bench.now) == {}


def test_a_few_hostile_lines_among_hits_raise_nothing(bench):
    """Candidates that are understood outweigh them."""
    assert bench.read(*[HIT] * 20, *[UNKNOWN] * 19) is None


def test_an_attacker_who_can_not_be_parsed_does_not_stay_unseen(bench):
    """A healthy log with many such lines is named, and the advice is another."""
    trouble = bench.read(*[GOOD, HIT, UNKNOWN] * 100)
    assert (trouble.unparsed, trouble.candidates) == (100, 200)
    assert Bench().read(*[GOOD, HIT, UNKNOWN] * 99) is None
    assert trouble.others_understood
    assert "holds two formats" in trouble.words(LOG)


def test_a_format_that_changes_in_the_middle_is_named(bench):
    """The sample forgets what was before within seconds; a hundred lines are named at once."""
    assert bench.one_by_one(*[GOOD] * 40) is None
    assert bench.one_by_one(*[OTHER, UNKNOWN] * 12) is not None
    again = Bench()
    assert again.read(*[GOOD] * 1000, *[OTHER, UNKNOWN] * MANY) is not None


def test_trouble_ends_an_hour_after_its_last_line(bench):
    """And what comes later has a reason of its own."""
    bench.read(*[UNKNOWN] * 10)
    assert LOG in bench.watch.troubles(bench.now + HOUR * 10 // 12)
    assert bench.watch.troubles(bench.now + HOUR + 1) == {}
    trouble = bench.read(*[b'{"POST /xmlrpc.php\n'] * 10, seconds=3601)
    assert trouble.unparsed == 10
    assert "at noon" not in trouble.reason


def test_logs_are_judged_apart(bench):
    """One that is understood does not excuse another."""
    bench.read(*[HIT] * 100)
    assert bench.read(*[UNKNOWN] * 3, path="/other.log") is not None


def test_what_a_line_holds_is_escaped_and_bounded(bench):
    """Neither its bytes nor the name of its log reach a terminal as they are."""
    hostile = b"\x1b]0;x\x07\xc2\x9b\xe2\x80\xae POST /xmlrpc.php " + b"A" * 100_000 + b"\n"
    words = bench.read(*[hostile] * 3, path="/var/log/\x1b[2J\n.log").words(
        "/var/log/\x1b[2J\n.log"
    )
    assert words.isprintable()
    assert len(words) < 1000


def test_a_set_clock_forgets_what_lies_ahead(bench):
    """Counts of a time that has not come yet would stay for ever."""
    bench.read(*[UNKNOWN] * 10)
    assert bench.watch.troubles(bench.now - 2 * HOUR) == {}


def test_the_watch_has_a_ceiling(bench):
    """The log that was met first is forgotten."""
    for n in range(MAX_LOGS + 1):
        bench.read(*[UNKNOWN] * 3, path=str(n))
    found = bench.watch.troubles(bench.now)
    assert len(found) == MAX_LOGS
    assert "0" not in found


def test_a_log_that_is_known_makes_no_other_be_forgotten(bench):
    """Only a new one does."""
    for n in range(MAX_LOGS):
        bench.read(*[UNKNOWN] * 3, path=str(n))
    bench.read(UNKNOWN, path=str(MAX_LOGS - 1))
    assert "0" in bench.watch.troubles(bench.now)


# What is counted, and for how long


@pytest.fixture
def health():
    """A log of which nothing is known."""
    return ParseHealth()


@pytest.mark.parametrize(("hits", "is_trouble"), [(2, True), (3, True), (4, False)])
def test_lines_that_fail_are_trouble_while_they_are_at_least_half(health, hits, is_trouble):
    """Of the candidates of the hour, in however many blocks they came."""
    health.note(START, 3, 0)
    for _ in range(hits):
        health.note(START, 0, 1)
    assert (health.trouble(START) is not None) == is_trouble


def test_what_is_older_than_an_hour_no_longer_counts(health):
    """Though the log goes on."""
    health.note(START, 3, 0)
    for slot in range(1, 12):
        health.note(START + 5 * MINUTE * slot, 0, 0)
    assert health.trouble(START + HOUR - 1).unparsed == 3
    assert health.trouble(START + HOUR) is None


def test_what_is_remembered_of_a_log_does_not_grow(health):
    """Twelve counts in an hour, whether or not anybody asks for them."""
    for second in range(0, 10_000, 10):
        health.note(START + second * SECOND, 0, 1)
    assert len(health._slots) <= 12


@pytest.mark.parametrize(
    ("samples", "is_healthy"),
    [("", False), ("+", True), ("-", False), ("+-", True), ("+--", False),
     ("-" * 9 + "+" * 7, False), ("-" * 9 + "+" * 8, True),
     ("+" * 9 + "-" * 9, False)],
)  # fmt: skip
def test_the_last_sixteen_samples_say_whether_other_lines_are_understood(
    health, samples, is_healthy
):
    """If half of them are; without any, it is not known."""
    health.note_samples(START, [each == "+" for each in samples])
    assert health.sampled_healthy is is_healthy


@pytest.mark.parametrize(
    ("later", "wanted"), [(0, False), (SECOND - 1, False), (SECOND, True), (-1, True)]
)
def test_samples_are_taken_once_a_second(health, later, wanted):
    """And at once if the clock was set back."""
    assert health.wants_samples(START)
    health.note_samples(START, [True])
    assert health.wants_samples(START + later) is wanted


def test_a_reason_is_bounded_and_kept_for_the_hour(health):
    """That of the first line."""
    assert health.lacks_reason
    health.note(START, 3, 0)
    health.note_reason("x" * 1000)
    assert not health.lacks_reason
    assert health.trouble(START).reason == "x" * MAX_REASON
    health.note(START + 2 * HOUR, 3, 0)
    assert health.lacks_reason


def test_hits_of_earlier_blocks_outweigh_lines_that_fail(bench):
    """Though the lines beside them are not understood either."""
    bench.read(*[HIT] * 4)
    assert bench.read(*[OTHER] * 8, *[UNKNOWN] * 3, seconds=2) is None
    assert bench.read(*[OTHER] * 8, UNKNOWN, seconds=2) is not None


def test_a_block_of_hits_is_a_sign_of_health(bench):
    """As good as a line that was looked at, and none is."""
    bench.read(HIT)
    assert bench.explained == 0
    assert bench.read(*[UNKNOWN] * 3, seconds=2) is None


def test_a_hit_hides_no_lines_that_are_not_understood(bench):
    """They are looked at if a candidate fails."""
    assert bench.read(HIT, *[OTHER] * 8, *[UNKNOWN] * 3) is not None


@pytest.mark.parametrize(
    ("lines", "explained"), [([GOOD] * 50, 1), ([GOOD] * 50 + [UNKNOWN], 8 + 1), ([HIT] * 50, 0)]
)
def test_few_lines_of_a_block_are_explained(bench, lines, explained):
    """One of a healthy one; eight, and the first that fails, of another."""
    bench.read(*lines)
    bench.read(*lines)
    assert bench.explained == explained


# Words

ABOUT = (
    "/a.log: 1,800 of 3,600 candidate lines could not be parsed in the last hour, so their"
    " attackers are not banned; the first: "
)
TWO_FORMATS = (
    "; its other lines are understood, so it holds two formats, or a client sends what this"
    " version can't read: look at `xmlrpc-blocker explain /a.log`"
)
EXPLAIN = "; `xmlrpc-blocker explain /a.log` explains each line"


@pytest.mark.parametrize(
    ("reason", "others_understood", "said"),
    [
        ("no time", False, "no time; set `format` to what the web server writes" + EXPLAIN),
        ("no time; set it", False, "no time; set it" + EXPLAIN),
        ("no time", True, "no time" + TWO_FORMATS),
        ("", True, "longer than the ceiling" + TWO_FORMATS),
    ],
)
def test_a_log_that_is_not_understood_is_reported_in_one_sentence(reason, others_understood, said):
    """How many lines of how many, why, and what to do."""
    assert Unparsed(1800, 3600, reason, others_understood).words("/a.log") == ABOUT + said


# Lines of a block


@pytest.mark.parametrize(
    ("block", "end", "line"),
    [
        (b"one\ntwo\n", 4, b"one"),
        (b"one\ntwo\n", 8, b"two"),
        (b"\nabc\n", 5, b"abc"),
        (b"a\n\n", 3, b""),
        (b"a\n" + b"x" * 20_000 + b"\n", 20_003, b"x" * 16_384),
    ],
)
def test_the_line_before_an_offset_is_whole_and_bounded(block, end, line):
    """Without its newline."""
    assert line_before(block, end) == line


def test_others_begin_at_their_first_byte_and_are_not_too_long():
    """A line of one byte is one; an empty line, or one of more than 16 KiB, is none."""
    assert list(others(b"\nabc\nx\n", [], 8)) == [b"x", b"abc"]
    longest = b"x" * 16_383
    assert list(others(longest + b"\n" + longest + b"x\n", [], 8)) == [longest]


def test_others_are_the_last_lines_that_are_no_failed_candidates():
    """Few of them, and only few lines are walked over."""
    block = b"one\ntwo\nthree\n\nfour\n"
    assert list(others(block, [8], 9)) == [b"four", b"three", b"one"]
    assert list(others(block, [8], 2)) == [b"four", b"three"]
    assert list(others(b"x\n" * 10_000, range(2, 20_002, 2), 8)) == []
    assert list(others(b"", [], 8)) == []


def test_a_condition_lasts_for_an_hour_after_it_was_seen_last():
    """Seen again it stays, with its sentence."""
    conditions = Conditions()
    assert not conditions.refresh("proxy", START)
    conditions.see("proxy", "a proxy", START)
    assert conditions.texts(START) == ["a proxy"]
    assert conditions.texts(START + HOUR - 1) == ["a proxy"]
    assert conditions.refresh("proxy", START + HOUR // 2)
    assert conditions.texts(START + HOUR) == ["a proxy"]
    assert conditions.texts(START + HOUR // 2 + HOUR) == []


def test_conditions_have_a_ceiling():
    """The one that was met first is forgotten, but not for one that is known."""
    conditions = Conditions()
    for topic in range(MAX_CONDITIONS):
        conditions.see(str(topic), str(topic), START)
    conditions.see("1", "new", START)
    assert conditions.texts(START)[:2] == ["0", "new"]
    conditions.see("one more", "more", START)
    assert conditions.texts(START)[0] == "new"
    assert len(conditions.texts(START)) == MAX_CONDITIONS
