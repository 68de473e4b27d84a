"""Rotation by copy and truncate: what was not read yet is in the copy."""

import gzip
import os

from support.logs_by_hand import Bench, append, copytruncate


def test_the_rest_is_read_from_the_copy(bench: Bench):
    """Lines written before the copy and not read yet come from it, then the file from its start."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    append(bench.path, b"two\n")
    copytruncate(bench.path)
    append(bench.path, b"three\n")
    assert bench.look() == b"two\nthree\n"
    assert bench.order == ["access.log", "access.log.1", "access.log"]
    assert tailer.statuses()[0].truncations == 1


def test_growth_beyond_the_old_offset_hides_nothing(bench: Bench):
    """The file is as long as before, or longer, and still it is noticed."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    copytruncate(bench.path)
    append(bench.path, b"eno\n")
    assert bench.look() == b"eno\n"
    copytruncate(bench.path)
    append(bench.path, b"a much longer line than any before\n")
    assert bench.look() == b"a much longer line than any before\n"


def test_a_truncation_is_noticed_by_the_reading_itself(bench: Bench):
    """Between a look and the reading the file was truncated: the block is not of this file."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    append(bench.path, b"two\n")
    bench.scan()
    copytruncate(bench.path)
    append(bench.path, b"three and more\n")
    (log,) = tailer.ready()
    assert bench.runner.run(log.read()) is None
    assert log.state.truncated
    assert tailer.ready() == []
    assert bench.look() == b"two\nthree and more\n"


def test_several_truncations_between_two_looks_lose_nothing(bench: Bench):
    """Copies that were never seen are read whole, oldest first."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    append(bench.path, b"two\n")
    copytruncate(bench.path)
    append(bench.path, b"three\n")
    copytruncate(bench.path)
    append(bench.path, b"four\n")
    copytruncate(bench.path)
    append(bench.path, b"five\n")
    assert bench.look() == b"two\nthree\nfour\nfive\n"


def test_a_packed_copy_is_as_good(bench: Bench):
    """The copy was packed before anybody looked."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    append(bench.path, b"two\n")
    copytruncate(bench.path)
    copy = bench.path.with_name("access.log.1")
    copy.with_name("access.log.1.gz").write_bytes(gzip.compress(copy.read_bytes()))
    copy.unlink()
    append(bench.path, b"three\n")
    assert bench.look() == b"two\nthree\n"


def test_a_file_truncated_without_a_copy_starts_again(bench: Bench):
    """An administrator empties the log: what was unread is lost, what follows is not."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    append(bench.path, b"lost\n")
    os.truncate(bench.path, 0)
    append(bench.path, b"two\n")
    assert bench.look() == b"two\n"


def test_a_copy_that_is_being_made_is_no_log(bench: Bench):
    """Half a copy, a whole copy, and then the truncation: each line once."""
    append(bench.path, b"one\ntwo\nthree\n")
    bench.start(f"{bench.path}*")
    bench.look()
    append(bench.path, b"four\n")
    content = bench.path.read_bytes()
    copy = bench.path.with_name("access.log.1")
    copy.touch()
    found = bench.look()
    copy.write_bytes(content[:6])
    found += bench.look()
    copy.write_bytes(content)
    found += bench.look()
    append(bench.path, b"lost by copytruncate, but read before\n")
    found += bench.look()
    os.truncate(bench.path, 0)
    append(bench.path, b"five\n")
    found += bench.look()
    assert found == b"four\nlost by copytruncate, but read before\nfive\n"


def test_a_copy_shorter_than_what_was_read_holds_nothing_new(bench: Bench):
    """Lines written between copy and truncation were read from the file, and only there."""
    append(bench.path, b"one\ntwo\n")
    bench.start()
    bench.look()
    bench.path.with_name("access.log.1").write_bytes(bench.path.read_bytes())
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"
    os.truncate(bench.path, 0)
    append(bench.path, b"four\n")
    assert bench.look() == b"four\n"
    bench.start()
    assert bench.look() == b""


def test_a_file_of_which_nothing_was_read_may_be_truncated(bench: Bench):
    """Without bytes to compare, the directory shows the copy; it is read before the file."""
    bench.path.touch()
    tailer = bench.start()
    bench.look()
    append(bench.path, b"one\n")
    copytruncate(bench.path)
    append(bench.path, b"two\n")
    bench.log().state.pending = True
    assert bench.drain() == b""
    assert tailer.ready() == []
    assert bench.look() == b"one\ntwo\n"


def test_killed_while_the_copy_is_read_nothing_is_lost_or_doubled(bench: Bench):
    """The rest in the copy is judged up to some line; a start goes on exactly there."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    append(bench.path, b"two\nthree\n")
    copytruncate(bench.path)
    append(bench.path, b"four\n")
    bench.scan()
    (log,) = tailer.ready()
    block = bench.runner.run(log.read())
    assert block.data == b"two\nthree\n"
    bench.note(log.position(block, 4))
    bench.start()
    assert bench.look() == b"three\nfour\n"


def test_the_ages_of_a_fresh_log_follow_its_copy(bench: Bench):
    """Old lines of a log never seen before stay old lines when they are read from a copy."""

    async def fresh(log):
        log.judge_since(99)
        return 0

    append(bench.path, b"one\ntwo\n")
    tailer = bench.start(start_of=fresh)
    bench.scan()
    bench.drain(limit=4)
    append(bench.path, b"three\n")
    copytruncate(bench.path)
    append(bench.path, b"four\n")
    bench.scan()
    copy, live = tailer.generations
    assert (copy.fresh_end, copy.cutoff) == (8, 99)
    assert (live.fresh_end, live.cutoff) == (0, 0)


def test_a_truncation_after_a_copy_that_was_seen_is_noticed_by_the_first_line(bench: Bench):
    """Nothing was read, the copy is no news, and then the file begins with another line."""
    append(bench.path, b"one\n")
    bench.start()
    bench.scan()
    bench.path.with_name("access.log.1").write_bytes(b"one\n")
    bench.scan()
    os.truncate(bench.path, 0)
    append(bench.path, b"two\n")
    assert bench.drain() == b""
    assert bench.look() == b"one\ntwo\n"
