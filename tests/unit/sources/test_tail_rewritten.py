"""A log that was rewritten at its place is read on behind the last bytes known."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.logs_by_hand import Bench, append, copytruncate

from blocker.sources.files.seek import first_line_behind

Rewrite = Callable[[Path, bytes], None]


def lines(first: int, end: int) -> bytes:
    """Return lines as a web server writes them."""
    return b"".join(
        b'192.0.2.1 - - [10/Mar/2026:06:%02d:%02d +0000] "GET /%d HTTP/1.1" 200 5 "-" "curl"\n'
        % (n // 60 % 60, n % 60, n)
        for n in range(first, end)
    )


def moved(path: Path, content: bytes) -> None:
    """`sed -i`: another file takes the place of the log."""
    other = path.with_name("x")
    other.write_bytes(content)
    other.rename(path)


def in_place(path: Path, content: bytes) -> None:
    """`cat x >log`: the same file is emptied and written again."""
    path.write_bytes(content)


def kept(path: Path, content: bytes) -> None:
    """An editor that keeps the old file under another name."""
    path.rename(path.with_name("access.log~"))
    path.write_bytes(content)


@contextmanager
def changed(bench: Bench, content: bytes, restart) -> Iterator[None]:
    """Read a log; then it is changed, under a running daemon or while it is stopped."""
    append(bench.path, content)
    bench.start()
    bench.look()
    if restart:
        bench.stop()
    yield
    if restart:
        bench.start()


REWRITES = pytest.mark.parametrize("rewrite", [moved, in_place, kept])


def trimmed(path: Path, count: int) -> bytes:
    return b"".join(path.read_bytes().splitlines(keepends=True)[count:])


@REWRITES
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("count", [1, 20, 348, 349])
def test_a_log_trimmed_at_its_head_is_read_on(bench: Bench, rewrite, restart, count):
    """Twice, and what is appended afterwards comes once."""
    append(bench.path, lines(0, 351))
    bench.start()
    bench.look()
    for turn in (1, 2):
        if restart:
            bench.stop()
        rewrite(bench.path, trimmed(bench.path, count if turn == 1 else 1))
        if restart:
            bench.start()
        assert bench.look() == b""
        append(bench.path, lines(400 * turn, 400 * turn + 3))
        assert bench.look() == lines(400 * turn, 400 * turn + 3)


@REWRITES
@pytest.mark.parametrize("restart", [False, True])
def test_a_log_trimmed_and_written_at_one_moment_loses_nothing(bench: Bench, rewrite, restart):
    """Lines not read before, and lines written since, come once."""
    append(bench.path, lines(0, 100))
    bench.start()
    bench.look()
    if restart:
        bench.stop()
    append(bench.path, lines(100, 103))
    rewrite(bench.path, trimmed(bench.path, 20))
    append(bench.path, lines(103, 105))
    if restart:
        bench.start()
    assert bench.look() == lines(100, 105)
    bench.start()
    assert bench.look() == b""


@REWRITES
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("mask", [b"0.0.0.0", b"192.0.2.0", b"xxx.xxx.xxx.xxx"])
def test_first_lines_made_anonymous_are_not_read_again(bench: Bench, rewrite, restart, mask):
    """For any length of what is there instead."""
    append(bench.path, lines(0, 60))
    bench.start()
    bench.look()
    if restart:
        bench.stop()
    rewrite(bench.path, lines(0, 20).replace(b"192.0.2.1", mask) + lines(20, 60))
    append(bench.path, lines(60, 62))
    if restart:
        bench.start()
    assert bench.look() == lines(60, 62)


def test_a_log_seen_empty_while_it_is_rewritten_is_read_on(bench: Bench):
    """The shell empties the file before anything writes to it."""
    append(bench.path, lines(0, 60))
    rest = lines(20, 60)
    bench.start()
    bench.look()
    os.truncate(bench.path, 0)
    assert bench.look() == b""
    append(bench.path, rest + lines(60, 62))
    assert bench.look() == lines(60, 62)


def test_an_editor_that_creates_first_and_writes_then_is_no_rotation(bench: Bench):
    """The new file is seen while it is empty."""
    append(bench.path, lines(0, 60))
    bench.start()
    bench.look()
    bench.path.rename(bench.path.with_name("access.log~"))
    bench.path.touch()
    assert bench.look() == b""
    append(bench.path, lines(20, 62))
    assert bench.look() == lines(60, 62)


def test_the_writer_of_the_file_that_was_replaced_is_heard(bench: Bench):
    """A web server writes to the deleted file until it opens its log again."""
    append(bench.path, lines(0, 60))
    bench.start()
    bench.look()
    with bench.path.open("ab", buffering=0) as old:
        old.write(lines(60, 61))
        moved(bench.path, trimmed(bench.path, 20))
        old.write(lines(61, 62))
        assert sorted(bench.look().splitlines()) == lines(60, 62).splitlines()
        old.write(lines(62, 63))
        assert bench.look() == lines(62, 63)
    append(bench.path, lines(63, 64))
    assert bench.look() == lines(63, 64)


def test_equal_lines_before_and_behind_hide_nothing(bench: Bench):
    """The context says which of the equal ends of lines was the last one read."""
    agent = b' "%s"\n' % (b"a" * 300)
    written = [b"%03d%s" % (n, agent) for n in range(60)]
    append(bench.path, b"".join(written[:40]))
    bench.start()
    bench.look()
    in_place(bench.path, b"".join(written[20:]))
    assert bench.look() == b"".join(written[40:])


def test_a_new_log_after_a_rotation_is_read_whole(bench: Bench):
    """Even one that begins as the old one ended: the old one stands among the rotated files."""
    same = lines(7, 8) * 4
    append(bench.path, lines(0, 7) + same)
    bench.start()
    bench.look()
    copytruncate(bench.path)
    append(bench.path, same)
    assert bench.look() == same
    bench.path.rename(bench.path.with_name("access.log.2"))
    append(bench.path, same[: len(same) // 2])
    assert bench.look() == same[: len(same) // 2]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("length", [300, 1100, 5000])
def test_a_new_log_whose_lines_end_like_those_before_loses_none(bench: Bench, restart, length):
    """A client sends the same long header with each request, and the log was deleted."""
    header = b"x" * length + b"\n"
    append(bench.path, b"one " + header + b"two " + header)
    bench.start()
    bench.look()
    if restart:
        bench.stop()
    bench.path.unlink()
    append(bench.path, b"new " + header)
    if restart:
        bench.start()
    assert bench.look() == b"new " + header


# Cut off ---------------------------------------------------------------------------------------


def cut(path: Path, count: int) -> bytes:
    return b"".join(path.read_bytes().splitlines(keepends=True)[:-count])


def cut_in_place(path: Path, content: bytes) -> None:
    """`truncate -s`."""
    assert path.read_bytes().startswith(content)
    os.truncate(path, len(content))


CUTS = pytest.mark.parametrize("rewrite", [moved, in_place, kept, cut_in_place])


@CUTS
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("count", [1, 20, 40])
@pytest.mark.parametrize("appended", [0, 1, 60])
def test_a_log_whose_end_was_cut_off_is_read_on(bench: Bench, rewrite, restart, count, appended):
    """Behind the last line that is left: what was appended meanwhile is read, and nothing else."""
    append(bench.path, lines(0, 351))
    bench.start()
    bench.look()
    for first in (1000, 2000):
        if restart:
            bench.stop()
        rewrite(bench.path, cut(bench.path, count))
        new = lines(first, first + appended)
        append(bench.path, new)
        if restart:
            bench.start()
        assert bench.look() == new
        append(bench.path, lines(first + 100, first + 160))
        assert bench.look() == lines(first + 100, first + 160)
    bench.start()
    assert bench.look() == b""


@REWRITES
@pytest.mark.parametrize("restart", [False, True])
def test_a_log_trimmed_at_both_ends_is_read_on(bench: Bench, rewrite, restart):
    """Its first line is another one by now."""
    with changed(bench, lines(0, 351), restart):
        rewrite(bench.path, lines(20, 331))
        append(bench.path, lines(1000, 1001))
    assert bench.look() == lines(1000, 1001)


@pytest.mark.parametrize("restart", [False, True])
def test_half_a_line_that_is_left_spoils_no_line(bench: Bench, restart):
    """The log was cut off within a line; a later one is appended to what is left of that."""
    append(bench.path, lines(0, 351))
    bench.start()
    bench.look()
    if restart:
        bench.stop()
    os.truncate(bench.path, len(lines(0, 340)) + 30)
    if restart:
        bench.start()
    assert bench.look() == b""
    append(bench.path, lines(1000, 1001))
    assert bench.look() == lines(1000, 1001)


@pytest.mark.parametrize("restart", [False, True])
def test_a_line_appended_to_most_of_a_known_one_is_read_alone(bench: Bench, restart):
    """The power failed, and the server wrote on before anybody looked."""
    with changed(bench, lines(0, 351), restart):
        whole = lines(0, 341)
        os.truncate(bench.path, len(whole) - len(lines(340, 341)) // 3)
        append(bench.path, lines(1000, 1001))
    assert bench.look() == lines(1000, 1001)


@pytest.mark.parametrize("restart", [False, True])
def test_a_line_that_begins_like_the_known_one_that_was_cut_off_is_read(bench: Bench, restart):
    """Another request of the same client: its line begins with the same address."""
    with changed(bench, lines(0, 351), restart):
        os.truncate(bench.path, len(lines(0, 340)))
        known = lines(340, 341)
        new = known[: len(known) // 3] + b"! and another end\n"
        append(bench.path, new)
    assert bench.look() == new


@pytest.mark.parametrize("restart", [False, True])
def test_nuls_before_a_known_line_are_no_part_of_it(bench: Bench, restart):
    """They were left by an earlier power failure; the next one cut the line behind them off."""
    nuls, lost = bytes(700), lines(340, 341)
    with changed(bench, lines(0, 340) + nuls + lost, restart):
        os.truncate(bench.path, len(lines(0, 340) + nuls))
        new = lost[:30] + lines(1000, 1001)[30:]
        append(bench.path, new)
    assert bench.look().lstrip(b"\0") == new


@REWRITES
@pytest.mark.parametrize("more", [0, 2])
def test_a_log_emptied_and_put_back_is_not_read_again(bench: Bench, rewrite, more):
    """It was seen while it was empty."""
    append(bench.path, lines(0, 351))
    bench.start()
    bench.look()
    rewrite(bench.path, b"")
    assert bench.look() == b""
    append(bench.path, lines(0, 351 + more))
    assert bench.look() == lines(351, 351 + more)
    append(bench.path, lines(400, 401))
    assert bench.look() == lines(400, 401)


def time_of(line: bytes) -> int | None:
    """Return the number of a line, as if one were written in each second."""
    return int(line.split(b"/")[3].split()[0]) * 1_000_000 if line.count(b"/") > 3 else None


async def by_time(log) -> int:
    return await first_line_behind(log.file.fd, log.lost.tail, 0, time_of) if log.lost else 0


@CUTS
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("count", [60, 300])
@pytest.mark.parametrize("appended", [0, 1, 400])
def test_a_log_cut_off_before_all_that_is_known_goes_on_by_time(
    bench: Bench, rewrite, restart, count, appended
):
    """Its first line is the same, and lines stamped later than those that were read are new."""
    append(bench.path, lines(0, 351))
    bench.start(start_of=by_time)
    bench.look()
    if restart:
        bench.stop()
    rewrite(bench.path, cut(bench.path, count))
    append(bench.path, lines(1000, 1000 + appended))
    if restart:
        bench.start(start_of=by_time)
    assert bench.look() == lines(1000, 1000 + appended)
    append(bench.path, lines(2000, 2001))
    assert bench.look() == lines(2000, 2001)
    bench.start()
    assert bench.look() == b""


@pytest.mark.parametrize("restart", [False, True])
def test_a_new_log_with_the_same_first_line_is_read_whole(bench: Bench, restart):
    """A header says nothing of the lines behind it."""
    header = b"#Fields: date time c-ip cs-method\n"
    append(bench.path, header + lines(0, 351))
    bench.start(start_of=by_time)
    bench.look()
    if restart:
        bench.stop()
    bench.path.write_bytes(header + lines(340, 341) + lines(400, 402))
    if restart:
        bench.start(start_of=by_time)
    assert bench.look() == header + lines(340, 341) + lines(400, 402)


def test_lines_of_one_second_count_twice_rather_than_not_at_all(bench: Bench):
    """A flood, cut off before all that is known: the time does not say which lines are new."""
    line = lines(7, 8)
    append(bench.path, lines(0, 7) + line * 100)
    bench.start(start_of=by_time)
    bench.look()
    os.truncate(bench.path, len(lines(0, 7) + line * 10))
    append(bench.path, line)
    assert bench.look() == line * 11


@REWRITES
@pytest.mark.parametrize("restart", [False, True])
def test_a_log_of_which_every_line_changed_loses_none(bench: Bench, rewrite, restart):
    """Nothing known is left: its lines count twice, and those that are new once."""
    append(bench.path, lines(0, 60))
    bench.start(start_of=by_time)
    bench.look()
    if restart:
        bench.stop()
    changed = lines(0, 60).replace(b"192.0.2.1", b"192.0.2.0")
    rewrite(bench.path, changed + lines(60, 61))
    if restart:
        bench.start(start_of=by_time)
    assert bench.look() == changed + lines(60, 61)
