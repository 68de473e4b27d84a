"""What can't be followed is said, the others go on, and every look tries again."""

import os
from pathlib import Path

from support.logs_by_hand import Bench, append


def test_a_missing_log_is_said(bench: Bench):
    """A path without wildcards that is not there is an error until it is."""
    tailer = bench.start(str(bench.path), str(bench.directory / "*.txt"))
    bench.scan()
    assert list(tailer.errors) == [str(bench.path)]
    append(bench.path, b"one\n")
    assert bench.look() == b"one\n"
    assert tailer.errors == {}


def test_a_name_that_is_no_text_is_said(bench: Bench):
    """Neither the store nor the metrics could name it; the others are followed."""
    append(Path(os.fsdecode(os.fsencode(bench.directory) + b"/\xff.log")), b"one\n")
    append(bench.path, b"two\n")
    tailer = bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"two\n"
    assert tailer.errors == {
        f"{bench.directory}/\\udcff.log": f"{bench.directory}/\\udcff.log: its name is not UTF-8;"
        " rename it"
    }
    assert [each.up for each in tailer.statuses()] == [True, False]


def test_a_directory_in_place_of_a_log_is_said(bench: Bench):
    """Also when it takes the place of a log that is followed."""
    other = bench.directory / "other.log"
    append(other, b"one\n")
    (bench.directory / "dir.log").mkdir()
    tailer = bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"one\n"
    assert "it is a directory" in tailer.errors[str(bench.directory / "dir.log")]
    other.unlink()
    other.mkdir()
    bench.look()
    assert "it is a directory" in tailer.errors[str(other)]
    other.rmdir()
    append(other, b"two\n")
    assert bench.look() == b"two\n"
    assert str(other) not in tailer.errors


def test_what_is_no_file_does_not_hold_anything_up(bench: Bench):
    """A pipe without a writer and a loop of links are errors, not a wait."""
    os.mkfifo(bench.directory / "pipe.log")
    (bench.directory / "loop.log").symlink_to("loop.log")
    append(bench.path, b"one\n")
    tailer = bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"one\n"
    assert sorted(Path(path).name for path in tailer.errors) == ["loop.log", "pipe.log"]


def test_a_reading_that_fails_is_said_and_tried_again(bench: Bench):
    """The disk refuses once."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    append(bench.path, b"two\n")
    bench.scan()
    log = bench.log()
    source, log._source = log._source, Refusing(log._source)
    assert bench.drain() == b""
    assert "Input/output error" in tailer.errors[str(bench.path)]
    log._source = source
    assert bench.look() == b"two\n"
    assert tailer.errors == {}


class Refusing:
    """A disk that refuses to be read."""

    def __init__(self, source):
        self.offset, self.before, self.at_end = source.offset, source.before, False

    def block(self, _limit):
        raise OSError(5, "Input/output error")


def test_only_so_many_files_are_open_at_once(bench: Bench):
    """What is beyond the ceiling is counted, and opened when there is room."""
    for time, name in enumerate("dcba"):
        path = bench.directory / f"{name}.log"
        append(path, name.encode() + b"\n")
        os.utime(path, (time, time))
    tailer = bench.start(str(bench.directory / "*.log"), max_logs=2)
    assert bench.look() == b"a\nb\n"
    assert tailer.over_limit == 2
    (bench.directory / "a.log").unlink()
    assert bench.look() == b"c\n"
    assert tailer.over_limit == 1
    assert len(tailer.generations) == 2


def test_a_rotated_set_beyond_the_ceiling_is_read_bit_by_bit(bench: Bench):
    """Files that had to wait are not forgotten."""
    append(bench.path, b"0\n")
    bench.start()
    bench.look()
    bench.stop()
    for number in range(1, 6):
        bench.path.rename(bench.path.with_name(f"access.log-2024010{number}"))
        append(bench.path, b"%d\n" % number)
    tailer = bench.start(max_logs=3)
    found = b""
    for _ in range(6):
        bench.scan()
        assert len(tailer.generations) <= 3
        found += bench.drain()
    assert sorted(found.split()) == [b"1", b"2", b"3", b"4", b"5"]
    assert tailer.over_limit == 0


def test_closing_twice_is_nothing(bench: Bench):
    """A second stop changes nothing."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    tailer.close()
    tailer.close()


def test_a_rotated_name_that_leads_nowhere_holds_nothing_up(bench: Bench):
    """A link may be left where an archive was; new logs are read all the same."""
    (bench.directory / f"{bench.path.name}-20260101").symlink_to("nothing")
    append(bench.path, b"one\n")
    tailer = bench.start(str(bench.path))
    assert bench.look() == b"one\n"
    for number, line in enumerate((b"two\n", b"three\n"), 2):
        bench.path.rename(bench.directory / f"{bench.path.name}-2026010{number}")
        append(bench.path, line)
        assert bench.look() == line
    assert any("leads nowhere" in text for text in tailer.errors.values())
