"""A log that was rotated while the daemon was stopped is read to its end, whatever its new name."""

import gzip
import os
import shutil

import pytest
from logs_by_hand import Bench, append
from rotations import PACKINGS, ROTATIONS, prepare

from blocker import directories, tail

LINE = b'192.0.2.1 - - [10/Mar/2026:06:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 5 "-" "x"\n'
OTHER = LINE.replace(b"06:00", b"07:00")


CASES = {
    **{name: (rotate, False) for name, rotate in (ROTATIONS | PACKINGS).items()},
    **{f"{name}, equal lines": (rotate, True) for name, rotate in ROTATIONS.items()},
}


@pytest.mark.parametrize(("rotate", "same"), CASES.values(), ids=list(CASES))
def test_what_was_not_read_before_a_rotation_is_read_after_a_start(bench: Bench, rotate, same):
    """One line before the stop, one after it, and one in the next file; those may be equal."""
    bench.path = bench.directory / "site" / "access.log"
    bench.path.parent.mkdir()
    prepare(bench.path, rotate)
    append(bench.path, LINE)
    bench.start()
    assert bench.look() == LINE
    bench.stop()
    append(bench.path, b"unread\n")
    rotate(bench.path)
    new = LINE if same else OTHER
    append(bench.path, new)
    bench.start()
    assert bench.look() == b"unread\n" + new
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == OTHER


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=list(PACKINGS))
def test_a_packed_log_is_found_whatever_is_left_under_its_name(bench: Bench, pack):
    """There is no new log yet; then comes one, with very many lines unread in the packed one."""
    lines = b"".join(LINE.replace(b"200 5", b"200 %d" % n) for n in range(3000))
    append(bench.path, lines[: len(LINE) * 2000])
    bench.start()
    bench.look()
    read = lines[: len(LINE) * 2000].rpartition(b"\n")[0] + b"\n"
    append(bench.path, lines[len(LINE) * 2000 :])
    bench.stop()
    pack(bench.path)
    bench.start()
    assert bench.look() == lines[len(read) :]
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == OTHER


def test_a_packed_log_is_found_if_its_inode_is_used_again(bench: Bench):
    """A file that nobody knows has it by now."""
    append(bench.path, LINE)
    bench.start()
    bench.look()
    bench.stop()
    append(bench.path, b"unread\n")
    other = bench.directory / "access.log.packed"
    other.write_bytes(gzip.compress(bench.path.read_bytes()))
    bench.path.rename(bench.directory / "junk")
    (bench.directory / "junk").write_bytes(b"junk\n")
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == b"unread\n" + OTHER


def test_a_packed_log_of_another_site_that_begins_alike_is_left_alone(bench: Bench):
    """Its name says so, as long as they have few lines in common."""
    append(bench.path, LINE)
    bench.start()
    bench.look()
    bench.stop()
    (bench.directory / "other.log.1.gz").write_bytes(gzip.compress(LINE + b"of another\n"))
    bench.path.unlink()
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == OTHER


def test_packed_files_of_others_near_the_log_are_left_alone(bench: Bench):
    """Two that begin with the same line, one of them damaged, and one that is no log."""
    append(bench.path, LINE + b"read\n")
    bench.start()
    bench.look()
    bench.stop()
    bench.path.unlink()
    (bench.directory / "other.gz").write_bytes(gzip.compress(LINE + b"of another\n" * 9))
    (bench.directory / "damaged").write_bytes(gzip.compress(LINE * 900)[:40])
    (bench.directory / "none.xz").write_bytes(b"no log at all")
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == OTHER


def test_of_too_many_packed_files_those_changed_last_are_looked_at(bench: Bench, monkeypatch):
    """Status says that there were more."""
    monkeypatch.setattr(directories, "MAX_PACKED", 3)
    append(bench.path, LINE)
    bench.start()
    bench.look()
    append(bench.path, b"unread\n")
    bench.stop()
    other = bench.directory / "access.log.packed"
    other.write_bytes(gzip.compress(bench.path.read_bytes()))
    bench.path.unlink()
    append(bench.path, OTHER)
    for number in range(3):
        (bench.directory / f"{number}.gz").write_bytes(gzip.compress(b"%d\n" % number))
    tails = bench.start()
    assert bench.look() == OTHER
    assert "too many packed files" in " ".join(tails.errors.values())


def test_files_of_others_near_the_log_are_left_alone(bench: Bench):
    """Another log has the inode that the log had; it is not read."""
    append(bench.path, LINE)
    bench.start()
    bench.look()
    bench.stop()
    bench.path.rename(bench.directory / "other")
    (bench.directory / "other").write_bytes(b"of somebody else\n" * 9)
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == OTHER


def test_of_too_many_logs_those_written_last_are_followed(bench: Bench):
    """Of every day there is a log, and more than may be open; today's has the line."""
    pattern = str(bench.directory / "access-*.log")
    for day in range(1, 29):
        path = bench.directory / f"access-202602{day:02}.log"
        append(path, b"line of %d\n" % day)
        os.utime(path, (day, day))
    tails = bench.start(pattern, max_logs=4)
    assert bench.look() == b"".join(b"line of %d\n" % day for day in range(25, 29))
    assert tails.over_limit == 24
    today = bench.directory / "access-20260301.log"
    append(today, LINE)
    assert bench.look() == LINE
    assert tails.over_limit == 25
    assert len(tails.logs) == 4
    append(bench.directory / "access-20260225.log", b"late\n")
    assert bench.look() == b"late\n"
    shutil.rmtree(bench.directory)


def test_of_tens_of_thousands_of_logs_each_is_asked_in_turn(bench: Bench, monkeypatch):
    """When those that are not followed were written last is known within a few looks."""
    monkeypatch.setattr(tail, "MANY", 3)
    for number in range(20):
        path = bench.directory / f"{number:02}.log"
        append(path, b"%02d\n" % number)
        os.utime(path, (number, number))
    bench.start(f"{bench.directory}/*.log", max_logs=2)
    assert sorted(bench.look().split()) == [b"18", b"19"]
    for number in (3, 7, 11):
        append(bench.directory / f"{number:02}.log", b"again\n")
        looks = b"".join(bench.look() for _ in range(tail.SHARE))
        assert looks.count(b"again\n") == 1
