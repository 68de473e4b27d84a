"""Logs on a disk that has not answered: the others go on, and nothing of them is lost later."""

import threading
import time
from pathlib import Path

import pytest
from support.logs_by_hand import Bench, append

from blocker.sources.files import patient_read, stuck_paths, tailer
from blocker.sources.files.logfile import LogFile


@pytest.fixture
def hasty(monkeypatch):
    """A disk that has not answered after a twentieth of a second is taken for one that hangs."""
    monkeypatch.setattr(patient_read, "PATIENCE", 0.05)
    monkeypatch.setattr(tailer, "PATIENCE", 0.05)
    monkeypatch.setattr(tailer, "HANGS", 0.05)
    monkeypatch.setattr(stuck_paths, "HANGS", 0.05)


class Disk:
    """Answers, until it has to hang, and again when it may go on."""

    def __init__(self, call):
        self._call, self._answers = call, threading.Event()
        self._answers.set()
        self.asked = threading.Semaphore(0)

    def __call__(self, *arguments):
        self.asked.release()
        assert self._answers.wait(30)
        return self._call(*arguments)

    def hang(self):
        self._answers.clear()

    def go_on(self):
        self._answers.set()


def two_logs(bench: Bench):
    """Follow two logs; return the first one, whose disk can hang, and the path of the second."""
    other = bench.path.with_name("other.log")
    append(bench.path, b"one\n")
    append(other, b"eins\n")
    bench.start(str(bench.path), str(other))
    bench.look()
    return next(log for log in bench.tailer.generations if log.path == str(bench.path)), other


def test_a_reading_that_hangs_holds_up_no_other_log(bench: Bench, hasty):
    """It is reported, the file is left alone meanwhile, and what it brings at last is not lost."""
    log, other = two_logs(bench)
    disk = log.look_up = Disk(log.look_up)
    disk.hang()
    append(bench.path, b"two\n")
    append(other, b"zwei\n")
    assert bench.look() == b"zwei\n"
    assert log.reading.hangs
    bench.until(lambda: "has not answered" in bench.tailer.errors.get(log.file.path, ""))
    up = {each.path: each.up for each in bench.tailer.statuses()}
    assert up == {str(bench.path): False, str(other): True}
    append(other, b"drei\n")
    assert bench.look() == b"drei\n"
    disk.go_on()
    bench.until(lambda: not log.reading.hangs)
    assert bench.look() == b"two\n"
    assert not bench.tailer.errors


def test_a_look_that_hangs_at_one_log_goes_on_with_the_others(bench: Bench, hasty):
    """Also with what is new beside it; the one that hung is looked at again when it answers."""
    log, other = two_logs(bench)
    disk = log.poll = Disk(log.poll)
    disk.hang()
    append(bench.path, b"two\n")
    append(other, b"zwei\n")
    assert bench.look() == b"zwei\n"
    bench.until(lambda: "has not answered" in bench.tailer.errors.get(str(bench.path), ""))
    append(other, b"drei\n")
    assert bench.look() == b"drei\n"
    disk.go_on()
    bench.until(lambda: not bench.tailer.errors)
    assert bench.look() == b"two\n"


def test_an_end_does_not_wait_for_a_disk_that_hangs(bench: Bench, hasty):
    """The file is closed by the thread that still reads in it."""
    log, _ = two_logs(bench)
    disk = log.look_up = Disk(log.look_up)
    disk.hang()
    append(bench.path, b"two\n")
    bench.look()
    path = Path(f"/proc/self/fd/{log.file.fd}")
    bench.tailer.close()
    assert log.state.released
    assert path.resolve() == bench.path
    disk.go_on()
    bench.until(lambda: not log.reading.hangs)  # the bench sees that no descriptor stays open


def test_a_disk_that_is_slow_at_each_open_keeps_no_log_out(bench: Bench, hasty, monkeypatch):
    """Each is left to a thread and taken in when that is done; no line is lost or read twice."""
    paths = [bench.path.with_name(f"{name}.log") for name in ("a", "b", "c")]
    for path in paths:
        append(path, path.name.encode() + b"\n")
    opened = LogFile.__init__

    def slowly(self, path, **how):
        time.sleep(0.1)
        opened(self, path, **how)

    monkeypatch.setattr(LogFile, "__init__", slowly)
    bench.start(str(bench.path.with_name("*.log")))
    found = b""
    deadline = time.monotonic() + 180
    while len(bench.tailer.generations) < len(paths):
        assert time.monotonic() < deadline
        found += bench.look()
    monkeypatch.undo()
    found += bench.look()
    assert sorted(found.split()) == sorted(path.name.encode() for path in paths)
    assert not bench.tailer.errors
