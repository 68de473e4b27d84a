"""Whether a log is understood: when a warning is due, what it says, and when it ends."""

import pytest

from blocker.config import Config
from blocker.health import HANDFUL, HOUR, MANY, MAX_LOGS, Conditions, ParseWatch, others
from blocker.match import Matcher
from blocker.model import SECOND

LOG = "/var/log/nginx/access.log"
START = 1_700_000_000 * SECOND
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

    def read(self, *lines, path=LOG, seconds=0):
        """Look at one block."""
        self.now += seconds * SECOND
        block = b"".join(lines)
        found = self.matcher.scan(block)
        return self.watch.look(path, self.now, block, found, self.matcher.explain)

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
    trouble = bench.read(*[GOOD, HIT, UNKNOWN] * MANY)
    assert (trouble.unparsed, trouble.candidates) == (MANY, 2 * MANY)
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
    assert conditions.refresh("proxy", START + HOUR // 2)
    assert conditions.texts(START + HOUR) == ["a proxy"]
    assert conditions.texts(START + HOUR // 2 + HOUR) == []
