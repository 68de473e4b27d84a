"""Lines that wait in memory: in order, whole, and never more than the ceiling."""

import pytest

from blocker.sources.line_buffer import LineBuffer


@pytest.fixture
def buffer():
    """One with room for ten bytes."""
    return LineBuffer(10)


def test_lines_come_out_in_order():
    """However they were put in; the offset is that in all lines."""
    buffer = LineBuffer()
    assert buffer.put(b"one\ntwo\n", 1) == 0
    assert buffer.put(b"three\n", 2) == 0
    assert (buffer.size, buffer.since) == (14, 1)
    assert buffer.take(100) == (0, b"one\ntwo\nthree\n")
    assert buffer.take(100) == (14, b"")
    assert (buffer.size, buffer.since) == (0, 0)
    buffer.put(b"four\n", 3)
    assert buffer.since == 3
    assert buffer.take(100) == (14, b"four\n")


def test_a_limit_is_kept_by_whole_lines():
    """Only a longer line is returned beyond it, alone."""
    buffer = LineBuffer()
    buffer.put(b"one\ntwo\nthree\n", 1)
    buffer.put(b"4\n", 1)
    assert buffer.take(8)[1] == b"one\ntwo\n"
    assert buffer.take(3)[1] == b"three\n"
    assert buffer.since == 1
    assert buffer.take(3)[1] == b"4\n"
    assert buffer.size == 0


def test_a_line_that_does_not_fit_behind_others_waits():
    """Also one of another call."""
    buffer = LineBuffer()
    buffer.put(b"one\n", 1)
    buffer.put(b"a longer one\nlast\n", 1)
    assert buffer.take(10)[1] == b"one\n"
    assert buffer.take(4)[1] == b"a longer one\n"
    assert buffer.take(5)[1] == b"last\n"


def test_nothing_is_taken_for_no_bytes(buffer):
    """A batch may be full."""
    buffer.put(b"one\n", 1)
    assert buffer.take(0) == (0, b"")
    assert buffer.size == 4


def test_beyond_the_ceiling_later_lines_are_dropped_and_counted(buffer):
    """Those that fit are kept, and there is room again later."""
    assert buffer.put(b"one\ntwo\nthree\nfour\n", 1) == 2
    assert buffer.size == 8
    assert buffer.put(b"5\n", 1) == 0
    assert buffer.put(b"6\n7\n", 1) == 2
    assert buffer.size == 10
    assert buffer.take(4)[1] == b"one\n"
    assert buffer.put(b"123\n4\n", 1) == 1
    assert buffer.take(100)[1] == b"two\n5\n123\n"


def test_what_was_taken_and_not_judged_is_taken_again(buffer):
    """Once, in front of later lines, at the same offset."""
    buffer.put(b"one\ntwo\n3\n", 1)
    buffer.take(100)
    buffer.judged_to(4)
    buffer.judged_to(0)
    buffer.put(b"4\n", 2)
    buffer.take_back(3)
    buffer.take_back(4)
    assert (buffer.size, buffer.since) == (8, 2)
    assert buffer.take(6) == (4, b"two\n3\n")
    buffer.judged_to(10)
    buffer.take_back(5)
    assert buffer.take(100) == (10, b"4\n")
    buffer.take_back(6)
    assert (buffer.size, buffer.since) == (2, 6)
    assert buffer.take(100) == (10, b"4\n")


def test_what_is_taken_back_may_be_beyond_the_ceiling(buffer):
    """Nothing of it is dropped; later lines are."""
    buffer.put(b"one\ntwo\n", 1)
    buffer.take(100)
    buffer.put(b"3\n4\n5\n6\n", 1)
    buffer.take_back(1)
    assert buffer.size == 16
    assert buffer.put(b"7\n", 1) == 1
    assert buffer.take(100)[1] == b"one\ntwo\n3\n4\n5\n6\n"
