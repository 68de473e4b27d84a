"""A log that is rotated while it is looked at: each of its lines is read once all the same."""

import os

import pytest
from support.logs_by_hand import Bench, append, copytruncate, rotate

from blocker.sources.files import naming, search
from blocker.sources.files.logfile import LogFile

ROTATED = ["access.log.1", "access.log.2", "access.log.3"]


def renamed(log) -> None:
    """Rotate by renaming; the server writes to a new file."""
    rotate(log)
    log.touch()


@pytest.fixture(params=[copytruncate, renamed])
def turned(request, bench: Bench):
    """Return how a log is rotated that was rotated three times since it was last looked at."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    for line in (b"two\n", b"three\n", b"four\n"):
        append(bench.path, line)
        request.param(bench.path)
    append(bench.path, b"five\n")
    return request.param


class Incomplete(list):
    """What a directory holds, without a name."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.usefixtures("turned")
@pytest.mark.parametrize("hidden", ROTATED)
def test_a_file_that_a_listing_misses_is_read(bench: Bench, monkeypatch, hidden):
    """What is renamed while its directory is listed may stand in no part of the listing."""
    listed, hides = os.scandir, [hidden]

    def scandir(directory):
        with listed(directory) as entries:
            return Incomplete(entry for entry in entries if entry.name not in hides)

    def scandir_once(directory):
        found = scandir(directory)
        hides.clear()
        return found

    monkeypatch.setattr(naming.os, "scandir", scandir_once)
    assert bench.look() == b"two\nthree\nfour\nfive\n"


def at_moment(monkeypatch, moment, call) -> None:
    """Have something called once, when a file of this name is opened."""
    moments = [moment]

    class Watched(LogFile):
        def __init__(self, path, **options):
            if moments and path.endswith(f"/{moment}"):
                moments.clear()
                call()
            super().__init__(path, **options)

    monkeypatch.setattr(search, "LogFile", Watched)


@pytest.mark.parametrize("moment", ROTATED)
def test_files_that_move_while_they_are_looked_at_are_read(
    bench: Bench, monkeypatch, turned, moment
):
    """The oldest has a name by then that stands not in the listing."""
    at_moment(monkeypatch, moment, lambda: turned(bench.path))
    assert bench.look() == b"two\nthree\nfour\nfive\n"


@pytest.mark.parametrize("moment", ["access.log.1", "access.log.2"])
def test_a_rotation_that_was_under_way_at_the_listing_hides_no_file(
    bench: Bench, monkeypatch, turned, moment
):
    """The file that was read has its new name already, and the unread ones get theirs now."""
    bench.path.with_name("access.log.3").rename(bench.path.with_name("access.log.9"))
    at_moment(monkeypatch, moment, lambda: turned(bench.path))
    assert bench.look() == b"two\nthree\nfour\nfive\n"
