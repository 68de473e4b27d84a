"""A log that was rotated while the daemon was stopped is read to its end under any new name."""

import gzip
import os
import shutil
import time
from pathlib import Path

import pytest
from support.logs_by_hand import Bench, append, rotate
from support.rotations import PACKINGS, ROTATIONS, prepare

from blocker.sources.files import directories, write_times

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


def touched(old: Path, archive: Path) -> None:
    """Rename; its time is that of a line which a process that has it open wrote last."""
    old.rename(archive / "one")


def swapped(old: Path, archive: Path) -> None:
    """Copy an older file; the copy has the inode of this one, which was deleted."""
    older = old.with_name("access.log.4")
    content = older.read_bytes()
    older.unlink()
    old.rename(archive / "one")
    (archive / "one").write_bytes(content)


@pytest.mark.parametrize("archived", [touched, swapped])
def test_an_archived_file_of_any_time_hides_no_new_one(bench: Bench, archived):
    """What was rotated while the daemon was stopped is new, although the archive looks newer."""
    for line in (b"oldest\n", b"older\n"):
        append(bench.path, line)
        bench.start()
        assert bench.look() == line
        rotate(bench.path)
    append(bench.path, LINE)
    assert bench.look() == LINE
    bench.stop()
    append(bench.path, b"unread\n")
    rotate(bench.path)
    append(bench.path, b"new\n")
    rotate(bench.path)
    append(bench.path, OTHER)
    archive = bench.directory / "archive"
    archive.mkdir()
    archived(bench.path.with_name("access.log.3"), archive)
    later = time.time() + 60
    os.utime(archive / "one", (later, later))
    bench.start()
    assert bench.look() == b"unread\nnew\n" + OTHER
    bench.start()
    assert bench.look() == b""


def test_an_archived_file_hides_not_that_a_rotated_one_still_grows(bench: Bench):
    """A server goes on writing to the file that was renamed last, though all of it was read."""
    for line in (b"older\n", LINE):
        append(bench.path, line)
        bench.start()
        assert bench.look() == line
        rotate(bench.path)
    bench.stop()
    append(bench.path, OTHER)
    archive = bench.directory / "archive"
    archive.mkdir()
    touched(bench.path.with_name("access.log.2"), archive)
    later = time.time() + 60
    os.utime(archive / "one", (later, later))
    os.utime(bench.directory, (1, 1))  # so that it is not listed again
    bench.start()
    assert bench.look() == OTHER
    append(bench.path.with_name("access.log.1"), b"late\n")
    assert bench.look() == b"late\n"


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=list(PACKINGS))
def test_a_packed_log_of_any_time_hides_no_new_one(bench: Bench, pack):
    """The one that was read last was packed after another one had come and been rotated."""
    append(bench.path, LINE)
    bench.start()
    assert bench.look() == LINE
    bench.stop()
    append(bench.path, b"unread\n")
    new = bench.directory / "new"
    append(new, b"new\n")
    before = time.time() - 60
    os.utime(new, (before, before))
    pack(bench.path)
    new.rename(bench.path)
    rotate(bench.path)
    append(bench.path, OTHER)
    bench.start()
    assert bench.look() == b"unread\nnew\n" + OTHER


def test_an_archived_file_leaves_the_others_in_the_order_of_their_names(bench: Bench):
    """A process went on writing to a file after its successor had been rotated, too."""
    append(bench.path, b"older\n")
    bench.start()
    assert bench.look() == b"older\n"
    rotate(bench.path)
    append(bench.path, LINE)
    assert bench.look() == LINE
    bench.stop()
    rotate(bench.path)
    append(bench.path, b"new\n")
    rotate(bench.path)
    append(bench.path.with_name("access.log.2"), b"late\n")
    later = time.time() + 60
    os.utime(bench.path.with_name("access.log.2"), (later, later))
    append(bench.path, OTHER)
    archive = bench.directory / "archive"
    archive.mkdir()
    bench.path.with_name("access.log.3").rename(archive / "one")
    bench.start()
    assert bench.look() == b"late\nnew\n" + OTHER


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=list(PACKINGS))
def test_a_packed_log_is_found_beside_anything_under_its_name(bench: Bench, pack):
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
    """An unknown file has it by now."""
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
    tailer = bench.start()
    assert bench.look() == OTHER
    assert "too many packed files" in " ".join(tailer.errors.values())


def test_files_of_others_near_the_log_are_left_alone(bench: Bench):
    """Another log has the inode that the log had; it is not read."""
    append(bench.path, LINE)
    bench.start()
    bench.look()
    bench.stop()
    bench.path.rename(bench.directory / "other")
    (bench.directory / "other").write_bytes(b"of another program\n" * 9)
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
    tailer = bench.start(pattern, max_logs=4)
    assert bench.look() == b"".join(b"line of %d\n" % day for day in range(25, 29))
    assert tailer.over_limit == 24
    today = bench.directory / "access-20260301.log"
    append(today, LINE)
    assert bench.look() == LINE
    assert tailer.over_limit == 25
    assert len(tailer.generations) == 4
    append(bench.directory / "access-20260225.log", b"late\n")
    assert bench.look() == b"late\n"
    shutil.rmtree(bench.directory)


def test_of_tens_of_thousands_of_logs_each_is_asked_in_turn(bench: Bench, monkeypatch):
    """When those that are not followed were written last is known within a few looks."""
    monkeypatch.setattr(write_times, "MANY", 3)
    for number in range(20):
        path = bench.directory / f"{number:02}.log"
        append(path, b"%02d\n" % number)
        os.utime(path, (number, number))
    bench.start(f"{bench.directory}/*.log", max_logs=2)
    assert sorted(bench.look().split()) == [b"18", b"19"]
    for number in (3, 7, 11):
        append(bench.directory / f"{number:02}.log", b"again\n")
        looks = b"".join(bench.look() for _ in range(write_times.SHARE))
        assert looks.count(b"again\n") == 1
