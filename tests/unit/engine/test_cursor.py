"""The cursor of a log: which hit is next, and how far the log is judged."""

import pytest

from blocker.engine.batch import PendingBatch
from blocker.engine.cursor import Cursor
from blocker.matching.matched import Matched
from blocker.model import Hit
from blocker.sources.position import Position
from blocker.sources.stream import Block
from blocker.store.counter_names import LINES, OVERSIZE, UNPARSED

WHO = bytes([198, 18, 0, 1])


class Log:
    """A stream that only has a name."""

    path, head = "/log", b"head"

    def __init__(self, fresh_end=0, cutoff=0):
        self.fresh_end, self.cutoff = fresh_end, cutoff

    def position(self, block, end):
        return Position(self.path, 1, 1, self.head, block.start + end, b"")


def block_of(*times, start=0, cut=None):
    """Return a block of lines of ten bytes, each a hit at its time, and what is found in it."""
    data = b"123456789\n" * len(times)
    hits = [Hit(time, WHO, 0, 200, 10 * (n + 1)) for n, time in enumerate(times)]
    return Block(data, start, cut=cut), Matched(len(times), [], hits)


def cursor_at(*times, latest=0, log=None):
    cursor = Cursor(log or Log(), latest)
    cursor.take(*block_of(*times))
    return cursor


def progress(cursor):
    """Return offset, latest time and lines that are recorded now."""
    pending = PendingBatch()
    cursor.record_progress(pending)
    checkpoints = [(each.position.offset, each.latest) for each in pending.checkpoints.values()]
    return checkpoints, pending.counters["/log", LINES]


def test_the_key_is_the_running_maximum_of_time():
    """A line that is late does not come before one of another log that was written earlier."""
    cursor = cursor_at(5, 3, 9)
    keys = []
    while not cursor.empty:
        keys.append(cursor.key)
        cursor.take_hits()
    assert keys == [5, 5, 9]
    assert cursor.latest == 9


def test_progress_ends_behind_the_last_judged_hit():
    """Each line is counted once, and nothing is recorded twice."""
    cursor = cursor_at(1, 2, 3)
    assert progress(cursor) == ([], 0)
    cursor.take_hits()
    assert progress(cursor) == ([(10, 1)], 1)
    assert progress(cursor) == ([], 0)
    cursor.take_hits()
    cursor.take_hits()
    assert progress(cursor) == ([(30, 3)], 2)
    assert progress(cursor) == ([], 0)


def test_a_block_without_hits_is_judged_as_a_whole():
    """With its lines, those that could not be parsed, and one that was cut."""
    cursor, pending = Cursor(Log(), 7), PendingBatch()
    block = Block(b"123456789\n" * 3, 100, cut=(900, b""))
    cursor.take(block, Matched(3, [10, 30], []))
    assert cursor.empty
    cursor.record_progress(pending)
    (checkpoint,) = pending.checkpoints.values()
    assert (checkpoint.position.offset, checkpoint.latest) == (130, 7)
    assert [pending.counters["/log", name] for name in (LINES, UNPARSED, OVERSIZE)] == [3, 2, 1]


def test_the_rest_is_handed_out_in_slices():
    """With the latest time of all of them."""
    cursor = cursor_at(1, 8, 3, 4)
    assert [hit.time for hit in cursor.take_hits(3)] == [1, 8, 3]
    assert (cursor.latest, cursor.empty) == (8, False)
    assert [hit.time for hit in cursor.take_hits(3)] == [4]
    assert cursor.empty


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, [1, 5, 2, 6]), (10, [5, 2, 6]), (20, [5, 2, 6]), (30, [5, 6])],
)
def test_hits_that_were_old_when_the_log_was_first_seen_are_left_out(start, expected):
    """Up to the end that the log had then; lines that were written later count with any time."""
    log = Log(fresh_end=40, cutoff=4)
    cursor = Cursor(log, 0)
    block, matched = block_of(1, 5, 2, 6, start=40 - start)
    cursor.take(block, matched)
    assert [hit.time for hit in cursor.without_stale(matched.hits)] == expected


def test_after_a_restart_the_stored_times_of_a_log_apply():
    """The log itself knows none then."""
    cursor = Cursor(Log(), 0, fresh=(20, 4))
    block, matched = block_of(1, 5, 2)
    cursor.take(block, matched)
    assert [hit.time for hit in cursor.without_stale(matched.hits)] == [5, 2]


def test_a_block_with_many_hits_is_followed_by_a_smaller_one():
    """About a thousand hits at once, between the bounds."""
    cursor = cursor_at(*range(5000))
    assert cursor.read_size(100, 1 << 20) == 10_000
    assert cursor.read_size(20_000, 1 << 20) == 20_000
    assert cursor.read_size(100, 5000) == 5000
    assert Cursor(Log(), 0).read_size(100, 1 << 20) == 1 << 20
