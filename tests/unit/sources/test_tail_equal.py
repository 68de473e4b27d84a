"""Two logs of two sites are two logs, even with the same content."""

import shutil

import pytest
from support.logs_by_hand import Bench, append

LINE = b'192.0.2.1 - - [10/Mar/2026:06:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 5 "-" "x"\n'


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("names", [("a/access.log", "b/access.log"), ("a.log", "b.log")])
def test_equal_logs_of_two_sites_are_two_logs(bench: Bench, names, restart):
    """They hold the same line when they are found, and are written alike afterwards."""
    paths = [bench.directory / name for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        append(path, LINE)
    bench.start(*map(str, paths))
    assert bench.look() == LINE * 2
    for _ in range(2):
        if restart:
            bench.start(*map(str, paths))
        for path in paths:
            append(path, LINE)
        assert bench.look() == LINE * 2


def test_six_hundred_equal_logs_are_six_hundred_logs(bench: Bench):
    """A pattern matches the logs of as many sites, each with the same line."""
    pattern = str(bench.directory / "*" / "access.log")
    for number in range(600):
        path = bench.directory / f"site{number}" / "access.log"
        path.parent.mkdir()
        append(path, LINE)
    bench.start(pattern)
    assert bench.look() == LINE * 600


@pytest.mark.parametrize("restart", [False, True])
def test_a_site_whose_log_begins_like_one_that_was_read_is_read_whole(bench: Bench, restart):
    """Its log comes later, with the same line."""
    first, second = bench.directory / "a.log", bench.directory / "b.log"
    append(first, LINE)
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == LINE
    if restart:
        bench.stop()
    append(second, LINE)
    if restart:
        bench.start(str(bench.directory / "*.log"))
    assert bench.look() == LINE


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("rest", [b"", LINE, b"other\n"])
def test_a_log_that_begins_like_the_one_rotated_away_is_read_whole(bench: Bench, restart, rest):
    """One client sends the same request before and behind the rotation, in one second."""
    append(bench.path, LINE)
    bench.start()
    assert bench.look() == LINE
    if restart:
        bench.stop()
    append(bench.path, rest)
    bench.path.rename(bench.path.with_name("access.log.1"))
    append(bench.path, LINE)
    if restart:
        bench.start()
    assert bench.look() == rest + LINE
    append(bench.path, LINE)
    assert bench.look() == LINE


@pytest.mark.parametrize("name", ["access.log.bak", "access.log-copy", "copies/access.log"])
def test_a_copy_of_a_log_is_no_log(bench: Bench, name):
    """An administrator copies a log to a name that the pattern matches as well."""
    content = b"".join(LINE.replace(b"200 5", b"200 %d" % n) for n in range(100))
    append(bench.path, content)
    bench.start(str(bench.directory / "**" / "access.log*"))
    assert bench.look() == content
    copy = bench.directory / name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(bench.path, copy)
    assert bench.look() == b""


def test_a_small_copy_beside_its_log_is_no_log(bench: Bench):
    """Its name goes on where the log's name ends."""
    append(bench.path, LINE)
    bench.start(str(bench.directory / "access.log*"))
    assert bench.look() == LINE
    shutil.copy(bench.path, bench.directory / "access.log.bak")
    assert bench.look() == b""
