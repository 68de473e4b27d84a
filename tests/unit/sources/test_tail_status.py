"""How each log stands: what is unread and since when, through changes of the file."""

import os

from support.logs_by_hand import Bench, append, copytruncate, rotate

from blocker.sources.files import inotify
from blocker.sources.files.log_status import LogStatus


def status(bench: Bench) -> LogStatus:
    """Return how the one log stands."""
    (found,) = bench.tailer.statuses()
    return found


def lag(bench: Bench) -> tuple[int, float]:
    return status(bench).lag_bytes, status(bench).lag_seconds


def heard(bench: Bench) -> None:
    """Say that the file has grown, as the kernel would."""
    log = bench.log()
    bench.tailer.watches._watched = {1: log}
    bench.tailer.watches.take_events({(1, inotify.MODIFY, "")})


def test_what_is_read_to_the_end_has_no_lag(bench: Bench):
    """However long nothing is written."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    bench.time += 3600
    assert lag(bench) == (0, 0.0)


def test_lag_runs_from_the_first_word_of_what_is_unread(bench: Bench):
    """Not from the last reading, which may be hours ago, nor from the latest word."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    bench.time += 3600
    append(bench.path, b"two\n")
    heard(bench)
    bench.scan()
    assert lag(bench) == (4, 0.0)
    bench.time += 5
    append(bench.path, b"three\n")
    heard(bench)
    bench.time += 5
    bench.scan()
    assert lag(bench) == (10, 10.0)
    bench.drain()
    assert lag(bench) == (0, 0.0)


def test_a_log_that_is_read_bit_by_bit_lags_until_its_end(bench: Bench):
    """A backlog is unread since the log was opened."""
    append(bench.path, b"".join(b"line %03d\n" % n for n in range(100)))
    bench.start()
    bench.scan()
    bench.time += 7
    bench.runner.run(bench.log().read(300))
    assert lag(bench) == (900 - 297, 7.0)
    bench.drain()
    assert lag(bench) == (0, 0.0)


def test_what_comes_while_the_end_is_read_is_unread_since_then(bench: Bench):
    """A busy log that is read in time does not lag more and more."""
    append(bench.path, b"one\n")
    bench.start()
    bench.scan()
    log, look_up = bench.log(), bench.log().look_up

    def slow(limit):
        block = look_up(limit)
        append(bench.path, b"two\n")
        heard(bench)
        return block

    log.look_up = slow
    for _ in range(3):
        bench.time += 60
        bench.runner.run(log.read())
    bench.time += 1
    bench.scan()
    assert lag(bench) == (4, 1.0)


def test_half_a_line_is_no_lag_in_time(bench: Bench):
    """It is waited for, and may never be finished."""
    append(bench.path, b"one\ntw")
    bench.start()
    bench.look()
    bench.time += 60
    assert lag(bench) == (2, 0.0)


def test_a_rotation_is_no_lag(bench: Bench):
    """Neither by another name nor by emptying the file; what is unread in the old one is."""
    append(bench.path, b"one\n" * 1000)
    bench.start()
    bench.look()
    for turn in (rotate, copytruncate):
        append(bench.path, b"more\n")
        bench.look()
        turn(bench.path)
        append(bench.path, b"new\n")
        assert status(bench).lag_bytes <= 4
        bench.look()
        assert lag(bench) == (0, 0.0)
    append(bench.path, b"late\n")
    rotate(bench.path)
    bench.scan()
    assert status(bench).lag_bytes == 5
    append(bench.path, b"next\n")
    bench.look()
    assert lag(bench) == (0, 0.0)
    assert (status(bench).rotations, status(bench).truncations) == (2, 1)


def test_a_log_that_was_never_there_is_down(bench: Bench):
    """If it was asked for by its name; a pattern that matches nothing is no log."""
    bench.start(str(bench.path), str(bench.directory / "*.other"))
    bench.scan()
    assert bench.tailer.statuses() == [LogStatus(str(bench.path))]
    append(bench.path, b"one\n")
    bench.look()
    assert status(bench).up


def test_a_log_that_cannot_be_opened_is_down(bench: Bench):
    """A pattern that matches it is enough."""
    (bench.directory / "b.log").mkdir()
    append(bench.directory / "a.log", b"one\n")
    bench.start(str(bench.directory / "*.log"))
    bench.look()
    assert [each.up for each in bench.tailer.statuses()] == [True, False]


def test_a_log_of_a_pattern_that_is_gone_is_none_any_more(bench: Bench):
    """The site is gone; but one that was asked for by its name is down."""
    for pattern, left in ((str(bench.directory / "*.log"), []), (str(bench.path), [False])):
        append(bench.path, b"one\n")
        bench.start(pattern)
        bench.look()
        assert status(bench).up
        bench.path.unlink()
        bench.time += 3 * 86400
        bench.look()
        bench.look()
        assert [each.up for each in bench.tailer.statuses()] == left


def test_while_a_rotation_is_half_done_nothing_is_down(bench: Bench):
    """What a look in its thread has changed so far is not shown."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    rotate(bench.path)
    append(bench.path, b"two\n")
    tailer._survey.sets[str(bench.path)].drain()
    assert status(bench).up


def test_the_last_line_is_dated_by_the_clock_or_by_the_file(bench: Bench):
    """Before anything was read, the file says when it was written."""
    append(bench.path, b"one\n")
    os.utime(bench.path, (1_000, 1_000))
    bench.start()
    bench.scan()
    assert status(bench).last_line == 1_000
    bench.drain()
    assert status(bench).last_line > 1_600_000_000


def test_word_that_got_lost_is_counted(bench: Bench):
    """The kernel says when its queue ran over."""
    tailer = bench.start()
    tailer.watches.take_events({(-1, inotify.OVERFLOW, "")})
    assert tailer.watches.overflows == 1


def test_a_second_name_is_not_shown_though_it_was_asked_for(bench: Bench):
    """Its log is; the name is a log once it is a file of its own, and that is shown to its end."""
    link = bench.directory / "current"
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    link.symlink_to(bench.path)
    tailer = bench.start(str(bench.path), str(link))
    bench.look()
    assert [(each.path, each.up) for each in tailer.statuses()] == [(str(bench.path), True)]
    link.unlink()
    append(link, b"other\n")
    assert bench.look() == b"other\n"
    assert [each.up for each in tailer.statuses()] == [True, True]
    link.unlink()
    bench.look()
    assert [each.up for each in tailer.statuses()] == [True, False]
    link.symlink_to(bench.path)
    bench.look()
    assert [each.up for each in tailer.statuses()] == [True, True]
