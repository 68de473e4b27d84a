"""The thread that looks: which one it is, and where it is."""

import threading

import pytest

from blocker.sources.files.look_thread import LeftBehindError, LookThread


def test_the_thread_that_began_looks():
    """It notes each path before it asks the disk about it."""
    looking = LookThread()
    looking.prepare()
    assert looking.step[0] == ""
    looking.begin()
    looking.at("/log")
    assert looking.step[0] == "/log"
    assert not looking.is_left_behind


def test_a_thread_that_is_left_behind_ends_at_its_next_path():
    """And leaves the step to the look that goes on instead."""
    looking = LookThread()
    looking.begin()
    looking.at("/hangs")
    looking.leave()
    assert looking.is_left_behind
    with pytest.raises(LeftBehindError):
        looking.at("/next")
    assert looking.step[0] == "/hangs"


def test_another_thread_takes_the_place_of_one_that_hangs():
    """From its beginning the first one is left behind."""
    looking = LookThread()
    looking.begin()
    other = threading.Thread(target=looking.begin)
    other.start()
    other.join()
    assert looking.is_left_behind
