"""A stream of bytes as lines, wherever it is cut."""

import pytest

from blocker.sources.line_splitter import LineSplitter


def fed(*parts, longest=20):
    """Return the lines of all parts, how many were dropped, and what is left at the end."""
    splitter = LineSplitter(longest)
    found = [splitter.lines(part) for part in parts]
    return b"".join(lines for lines, _ in found), sum(n for _, n in found), splitter.end()


def test_whole_lines_come_at_once():
    """Empty ones as well."""
    assert fed(b"one\n\ntwo\n") == (b"one\n\ntwo\n", 0, b"")


def test_the_beginning_of_a_line_waits_for_its_end():
    """Over several parts; at the end of the stream it is a line."""
    assert fed(b"one\ntw", b"o", b"\nthr", b"ee") == (b"one\ntwo\n", 0, b"three\n")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_where_it_is_cut_makes_no_difference(size):
    """Also for lines that are too long: only they are missing."""
    text = b"one\n" + b"x" * 19 + b"\n" + b"y" * 20 + b"\ntwo\n" + b"z" * 60 + b"\nlast"
    parts = [text[n : n + size] for n in range(0, len(text), size)]
    assert fed(*parts) == (b"one\n" + b"x" * 19 + b"\ntwo\n", 2, b"last\n")


def test_a_line_that_is_too_long_is_dropped_once():
    """However long it goes on, and what is behind it in the same part is kept."""
    assert fed(b"a" * 15, b"b" * 15, b"c" * 15, b"d\ntwo\nthr", b"ee\n") == (
        b"two\nthree\n", 1, b"",
    )  # fmt: skip
    assert fed(b"a" * 15, b"b" * 10 + b"\ntwo\n") == (b"two\n", 1, b"")


def test_the_end_comes_once():
    """Nothing is left behind it."""
    splitter = LineSplitter()
    splitter.lines(b"one")
    assert splitter.end() == b"one\n"
    assert splitter.end() == b""
