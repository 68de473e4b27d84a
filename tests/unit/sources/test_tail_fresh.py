"""A log never seen before: where it starts, and which files are no logs of their own."""

import asyncio
import gzip
import os

from support.logs_by_hand import Bench, append, from_the_start, rotate

from blocker.sources.files.seek import first_line_since


def time_of(line: bytes) -> int | None:
    return int(line.split()[0]) if line[:1].isdigit() else None


def test_a_fresh_log_starts_where_it_has_to(bench: Bench):
    """Only what is young enough is read; size and cutoff of the first sight stay known."""

    async def since(log):
        log.judge_since(5000)
        return await first_line_since(log.file.fd, log.size, log.cutoff, time_of)

    content = b"".join(b"%d x\n" % n for n in range(10_000))
    append(bench.path, content)
    bench.start(start_of=since)
    assert bench.look() == content[content.index(b"5000 x") :]
    assert (bench.log().fresh_end, bench.log().cutoff) == (len(content), 5000)


def test_a_start_within_the_file_is_a_position_like_any_other(bench: Bench):
    """Stopped before anything was read, the next start goes on at the same place."""

    async def second(_log):
        return 4

    append(bench.path, b"one\ntwo\nthree\n")
    tailer = bench.start(start_of=second)
    bench.scan()
    for position in tailer.new_positions():
        bench.note(position)
    bench.start()
    assert bench.look() == b"two\nthree\n"


def test_lines_that_come_while_the_start_is_looked_for_are_read(bench: Bench):
    """The answer may take its time; what is written meanwhile is not skipped."""

    async def slow(log):
        append(bench.path, b"two\n")
        await asyncio.sleep(0)
        return log.size

    append(bench.path, b"one\n")
    bench.start(start_of=slow)
    assert bench.look() == b"two\n"
    assert bench.log().fresh_end == 4


def test_a_log_that_appears_later_is_found(bench: Bench):
    """A pattern is looked at again and again."""
    tailer = bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b""
    assert tailer.errors == {}
    append(bench.path, b"one\n")
    assert bench.look() == b"one\n"


def test_rotated_files_are_no_logs_of_their_own(bench: Bench):
    """A pattern that matches them too does not make them so."""
    for number in (3, 2, 1):
        path = bench.path.with_name(f"access.log.{number}")
        append(path, b"old %d\n" % number)
    bench.path.with_name("access.log.4.gz").write_bytes(gzip.compress(b"old 4\n"))
    append(bench.path, b"one\n")
    tailer = bench.start(f"{bench.path}*")
    assert bench.look() == b"one\n"
    assert [log.path for log in tailer.generations] == [str(bench.path)]


def test_a_rotated_name_without_a_log_is_a_log(bench: Bench):
    """Some writers name their live file after the day."""
    path = bench.directory / "access.log-20240131"
    append(path, b"one\n")
    tailer = bench.start(str(bench.directory / "*"))
    assert bench.look() == b"one\n"
    append(bench.directory / "access.log-20240201", b"two\n")
    assert bench.look() == b"two\n"
    assert len(tailer.generations) == 2


def test_a_rotated_name_followed_by_itself_ends_with_its_log(bench: Bench):
    """When the log appears that it was rotated from, nothing is read twice."""
    append(bench.path.with_name("access.log.1"), b"one\n")
    bench.start(f"{bench.path}*")
    assert bench.look() == b"one\n"
    append(bench.path, b"two\n")
    assert bench.look() == b"two\n"
    rotate(bench.path)
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"
    bench.start(f"{bench.path}*")
    assert bench.look() == b""


def test_a_packed_file_is_no_log(bench: Bench):
    """What is packed is not written any more."""
    bench.path.with_name("old.gz").write_bytes(gzip.compress(b"one\n"))
    tailer = bench.start(str(bench.directory / "*"))
    assert bench.look() == b""
    assert tailer.generations == []


def test_a_copy_of_a_log_is_no_new_log(bench: Bench):
    """Under any name, until it has something of its own; it is too long to be chance."""
    append(bench.path, b"one\ntwo\n" * 600)
    bench.start(str(bench.directory / "*"))
    bench.look()
    copy = bench.directory / "backup"
    copy.write_bytes(b"one\ntwo\n" * 600)
    assert bench.look() == b""
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"


def test_a_link_to_a_log_is_no_new_log(bench: Bench):
    """Two names of one file are one log."""
    append(bench.path, b"one\n")
    (bench.directory / "current").symlink_to(bench.path)
    os.link(bench.path, bench.directory / "same")
    tailer = bench.start(str(bench.directory / "*"))
    assert bench.look() == b"one\n"
    assert len(tailer.generations) == 1


def test_two_logs_that_begin_alike_are_two_logs(bench: Bench):
    """One request to two sites in one second makes equal first lines."""
    tailer = bench.start(str(bench.directory / "*"))
    append(bench.directory / "a.log", b"same\na\n")
    append(bench.directory / "b.log", b"same\nb\n")
    assert bench.look() == b"same\na\nsame\nb\n"
    assert len(tailer.generations) == 2


def test_a_log_renamed_to_another_log_goes_on(bench: Bench):
    """Known under another path, the file goes on where it was."""
    append(bench.path, b"one\n")
    bench.start(str(bench.directory / "*.log"))
    bench.look()
    bench.stop()
    append(bench.path, b"two\n")
    bench.path.rename(bench.directory / "site.log")
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"two\n"


def test_logs_are_ready_in_the_order_of_the_patterns(bench: Bench):
    """Then by name: the order in which equal times are judged."""
    for name in ("b.log", "a.log", "z.txt"):
        append(bench.directory / name, name.encode() + b"\n")
    bench.start(str(bench.directory / "*.txt"), str(bench.directory / "*"))
    bench.scan()
    assert bench.drain() == b"z.txt\na.log\nb.log\n"


def test_a_start_that_fails_is_tried_again(bench: Bench):
    """The disk refuses while the start is looked for: the error says so, the next look asks."""
    refusals = [OSError(5, "Input/output error")]

    async def failing(log):
        if refusals:
            raise refusals.pop()
        return await from_the_start(log)

    append(bench.path, b"one\n")
    tailer = bench.start(start_of=failing)
    bench.scan()
    assert bench.drain() == b""
    assert "Input/output error" in tailer.errors[str(bench.path)]
    assert bench.look() == b"one\n"
    assert tailer.errors == {}
