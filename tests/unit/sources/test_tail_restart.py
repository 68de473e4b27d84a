"""A start from stored positions: each line comes once."""

import gzip
import os
import time
from pathlib import Path

import pytest
from support.logs_by_hand import Bench, append, copytruncate, rotate

from blocker.sources.files import directories


def stopped(bench: Bench, content: bytes = b"one\ntwo\n") -> None:
    """Read what there is, and stop."""
    append(bench.path, content)
    bench.start()
    assert bench.look() == content
    bench.stop()


LINKS = pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
NAMES = pytest.mark.parametrize("name", ["a.log", "z.log"])


def pack(bench: Bench, number: int) -> None:
    path = bench.path.with_name(f"access.log.{number}")
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def restarted(bench: Bench) -> bytes:
    bench.order.clear()
    bench.start()
    return bench.look()


def test_reading_goes_on_where_it_was(bench: Bench):
    """The path's file matches: its new lines come."""
    stopped(bench)
    append(bench.path, b"three\n")
    assert restarted(bench) == b"three\n"
    assert restarted(bench) == b""


@pytest.mark.parametrize("packed", [False, True])
def test_the_rest_of_a_rotated_file_comes_first(bench: Bench, packed):
    """The unread tail is found by its fingerprint, in a packed file too."""
    stopped(bench)
    append(bench.path, b"three\n")
    rotate(bench.path)
    if packed:
        pack(bench, 1)
    append(bench.path, b"four\n")
    assert restarted(bench) == b"three\nfour\n"
    assert bench.order[0] == "access.log.1" + ".gz" * packed
    assert restarted(bench) == b""


@pytest.mark.parametrize("packed", [set(), {3}, {2, 3}, {1, 2, 3}])
def test_several_rotations_meanwhile_lose_nothing(bench: Bench, packed):
    """Rotated files newer than the one that matches are read whole, oldest first."""
    stopped(bench)
    append(bench.path, b"three\n")
    rotate(bench.path)
    append(bench.path, b"four\n")
    rotate(bench.path)
    append(bench.path, b"five\n")
    rotate(bench.path)
    append(bench.path, b"six\n")
    for number in packed:
        pack(bench, number)
    assert restarted(bench) == b"three\nfour\nfive\nsix\n"
    assert restarted(bench) == b""


def test_copies_made_meanwhile_are_read(bench: Bench):
    """The file was copied and truncated, twice."""
    stopped(bench)
    append(bench.path, b"three\n")
    copytruncate(bench.path)
    append(bench.path, b"four\n")
    copytruncate(bench.path)
    append(bench.path, b"five\n")
    assert restarted(bench) == b"three\nfour\nfive\n"


def test_a_lost_tail_is_not_read_again(bench: Bench):
    """After a power failure the file is shorter: reading goes on at its end."""
    stopped(bench, b"one\ntwo\nthree\n")
    os.truncate(bench.path, 6)
    assert restarted(bench) == b""
    append(bench.path, b"four\n")
    assert bench.look() == b"four\n"


@pytest.mark.parametrize("rotated", [False, True])
def test_a_lost_tail_is_not_read_again_from_where_another_device_ended(bench: Bench, rotated):
    """At a boot the disk may get another number: the file is known under both of them."""
    stopped(bench, b"one\ntwo\n")
    before = [each._replace(device=each.device + 1) for each in bench.known.values()]
    bench.known = {bench.key(each): each for each in before}
    append(bench.path, b"three\nfour\nfive\n")
    assert restarted(bench) == b"three\nfour\nfive\n"
    bench.stop()
    os.truncate(bench.path, 14)
    if rotated:
        rotate(bench.path)
        append(bench.path, b"six\n")
    assert restarted(bench) == b"six\n" * rotated
    append(bench.path, b"seven\n")
    assert bench.look() == b"seven\n"


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("grown", [b"4\n", b"four\nfive\nsix\n"])
def test_a_log_that_lost_its_end_and_grew_goes_on_where_it_has_to(bench: Bench, grown, rotated):
    """Shorter than before or not, in its place or rotated: one line that is left proves nothing."""
    stopped(bench, b"one\ntwo\nthree\n")
    os.truncate(bench.path, 4)
    append(bench.path, grown)
    if rotated:
        rotate(bench.path)
        append(bench.path, b"seven\n")
    message = []

    async def go_on(log) -> int:
        message.append((Path(log.file.path).name, log.lost.offset))
        return 4

    bench.order.clear()
    bench.start(start_of=go_on)
    assert bench.look() == grown + b"seven\n" * rotated
    assert message == [("access.log.1" if rotated else "access.log", 14)]


def test_a_log_that_lost_its_end_is_known_though_a_later_look_finds_it(bench: Bench):
    """It was renamed while the first look was taken, and another rotated file is open by now."""
    stopped(bench, b"one\n")
    rotate(bench.path)
    append(bench.path, b"two\nthree\nfour\n")
    assert restarted(bench) == b"two\nthree\nfour\n"
    bench.stop()
    append(bench.path.with_name("access.log.1"), b"late\n")
    os.truncate(bench.path, 4)
    append(bench.path, b"5\n")
    unseen = bench.directory / "a" / "b" / "c"
    unseen.parent.mkdir(parents=True)
    bench.path.rename(unseen)

    async def go_on(log) -> int:
        assert log.lost.offset == 15
        return 4

    bench.start(start_of=go_on)
    assert bench.look() == b"late\n"
    unseen.rename(bench.path)
    rotate(bench.path)
    append(bench.path, b"six\n")
    assert bench.look() == b"5\nsix\n"


def test_a_shorter_file_with_another_head_is_another_file(bench: Bench):
    """Shorter alone does not mean that something was lost."""
    stopped(bench, b"one\ntwo\nthree\n")
    bench.path.write_bytes(b"four\n")
    assert restarted(bench) == b"four\n"


def test_the_same_head_with_another_tail_is_another_file(bench: Bench):
    """The bytes before the offset are compared, not only the first line."""
    stopped(bench, b"one\ntwo\n")
    bench.path.write_bytes(b"one\nsix\nseven\n")
    assert restarted(bench) == b"one\nsix\nseven\n"


def test_a_file_with_the_inode_of_another_is_another_file(bench: Bench):
    """Deleted and created at once, the new file often has the old one's inode."""
    stopped(bench)
    bench.path.unlink()
    append(bench.path, b"another\nfile\n")
    assert restarted(bench) == b"another\nfile\n"


def test_rotated_away_and_no_successor_yet(bench: Bench):
    """The path is gone; the rest of the rotated file comes, and later the new one."""
    stopped(bench)
    append(bench.path, b"three\n")
    rotate(bench.path)
    assert restarted(bench) == b"three\n"
    append(bench.path, b"four\n")
    assert bench.look() == b"four\n"


def test_a_writer_that_still_has_the_rotated_file_is_heard(bench: Bench):
    """The newest rotated file is held after a start, even if nothing in it is unread."""
    stopped(bench)
    with bench.path.open("ab", buffering=0) as old:
        rotate(bench.path)
        append(bench.path, b"four\n")
        assert restarted(bench) == b"four\n"
        old.write(b"three\n")
        assert bench.look() == b"three\n"


def test_an_old_file_that_was_not_drained_is_drained_first(bench: Bench):
    """Stopped between two files of a rotated set, both are gone on with."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    with bench.path.open("ab", buffering=0) as old:
        rotate(bench.path)
        append(bench.path, b"three\n")
        bench.look()
        bench.stop()
        old.write(b"two\n")
        append(bench.path, b"four\n")
        assert restarted(bench) == b"two\nfour\n"


def test_an_empty_log_rotated_meanwhile(bench: Bench):
    """Nothing had been written when the daemon stopped; then a whole file came and went."""
    stopped(bench, b"")
    append(bench.path, b"one\n")
    rotate(bench.path)
    pack(bench, 1)
    append(bench.path, b"two\n")
    assert restarted(bench) == b"one\ntwo\n"


def test_history_is_never_read(bench: Bench):
    """What was rotated before the log was first seen stays unread, no matter what happens to it."""
    append(bench.path, b"old 1\n")
    rotate(bench.path)
    append(bench.path, b"old 2\n")
    rotate(bench.path)
    pack(bench, 2)
    stopped(bench)
    rotate(bench.path)
    pack(bench, 2)
    append(bench.path, b"three\n")
    assert restarted(bench) == b"three\n"


def test_a_half_line_goes_on_after_a_start(bench: Bench):
    """A line that was half-written at the stop comes whole."""
    append(bench.path, b"one\nha")
    bench.start()
    bench.look()
    append(bench.path, b"lf\n")
    assert restarted(bench) == b"half\n"


def test_all_known_files_have_expired(bench: Bench):
    """The daemon was down for so long that only files it never saw are left: all are read."""
    stopped(bench)
    rotate(bench.path)
    for content in (b"three\n", b"four\n"):
        append(bench.path, content)
        rotate(bench.path)
    bench.path.with_name("access.log.3").unlink()
    append(bench.path, b"five\n")
    assert restarted(bench) == b"three\nfour\nfive\n"


def test_a_packed_file_read_halfway_goes_on_in_it(bench: Bench):
    """Killed while a packed file is read, the next start unpacks up to the position."""
    stopped(bench)
    append(bench.path, b"".join(b"line %d\n" % n for n in range(200_000)))
    rest = bench.path.read_bytes()[8:]
    rotate(bench.path)
    pack(bench, 1)
    bench.path.touch()
    tailer = bench.start()
    bench.scan()
    (log, *_) = tailer.ready()
    first = bench.runner.run(log.read())
    second = bench.runner.run(log.read())
    end = second.data.index(b"\n", 1000) + 1
    bench.note(log.position(second, end))
    assert restarted(bench) == rest[len(first.data) + end :]


def test_a_damaged_packed_file_gives_what_it_has(bench: Bench):
    """The rest of it is lost, the error says so, and the log goes on."""
    stopped(bench)
    append(bench.path, b"".join(b"%d\n" % (n * n) for n in range(100_000)))
    rotate(bench.path)
    pack(bench, 1)
    packed = bench.path.with_name("access.log.1.gz")
    packed.write_bytes(packed.read_bytes()[:-1000])
    append(bench.path, b"next\n")
    found = restarted(bench)
    assert found.startswith(b"0\n1\n4\n9\n")
    assert found.endswith(b"\nnext\n")
    assert "damaged" in bench.tailer.errors[str(packed)]


def test_the_inode_of_an_empty_file_proves_nothing_later(bench: Bench):
    """A log met empty, written since, leaves a position without a head; only the newest counts."""
    bench.path.touch()
    bench.start()
    bench.look()
    stale = next(each for each in bench.known.values() if each.inode)
    append(bench.path, b"one\ntwo\n")
    bench.look()
    rotate(bench.path)
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"
    bench.known = {key: each for key, each in bench.known.items() if each.head or each == stale}
    assert restarted(bench) == b""


@LINKS
@NAMES
def test_a_second_name_is_no_log_after_a_start_either(bench: Bench, link, name):
    """The name that was followed goes on, whichever comes first."""
    stopped(bench)
    link(bench.directory / name, bench.path)
    for line in (b"three\n", b"four\n"):
        append(bench.path, line)
        tailer = bench.start(str(bench.directory / "*.log"))
        assert bench.look() == line
        assert [log.path for log in tailer.generations] == [str(bench.path)]


@LINKS
@NAMES
def test_of_two_names_that_were_both_followed_one_goes_on(bench: Bench, link, name):
    """It begins where the file was read furthest, and rotations change nothing."""
    stopped(bench)
    (judged,) = (each for each in bench.known.values() if each.offset)
    other = bench.directory / name
    link(other, bench.path)
    append(bench.path, b"three\nfour\n")
    read = b"one\ntwo\nthree\n"
    bench.note(judged._replace(path=str(other), offset=len(read), tail=read))
    tailer = bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"four\n"
    assert len(tailer.generations) == 1
    rotate(bench.path)
    append(bench.path, b"five\n")
    assert bench.look() == b"five\n"
    append(bench.path, b"six\n")
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"six\n"


def test_a_name_that_was_followed_once_goes_on_where_another_got_to(bench: Bench):
    """The configuration named the log, then a link to it, and now both."""
    stopped(bench)
    link = bench.directory / "a.log"
    link.symlink_to(bench.path)
    append(bench.path, b"three\n")
    bench.start(str(link))
    assert bench.look() == b"three\n"
    rotate(bench.path)
    append(bench.path, b"four\n")
    assert bench.look() == b"four\n"
    append(bench.path, b"five\n")
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"five\n"


def test_a_directory_of_two_names_has_each_log_once(bench: Bench):
    """Two patterns reach it, one of them by a link, and their order changes."""
    real, link = bench.directory / "real", bench.directory / "link"
    real.mkdir()
    link.symlink_to(real)
    log, patterns = real / "access.log", [str(link / "*.log"), str(real / "*.log")]
    append(log, b"one\n")
    bench.start(*patterns)
    assert bench.look() == b"one\n"
    rotate(log)
    append(log, b"two\n")
    assert bench.look() == b"two\n"
    append(log, b"three\n")
    rotate(log)
    append(log, b"four\n")
    bench.start(*patterns[::-1])
    assert bench.look() == b"three\nfour\n"


def test_a_copy_of_a_log_is_no_log_after_a_start_either(bench: Bench):
    """What it has in common with the log is read there."""
    everything = str(bench.directory / "*")
    append(bench.path, b"one\n" * 1200)
    bench.start(everything)
    bench.look()
    append(bench.path, b"two\n")
    (bench.directory / "backup").write_bytes(b"one\n" * 1200 + b"two\n")
    tailer = bench.start(everything)
    assert bench.look() == b"two\n"
    assert len(tailer.generations) == 1


def test_a_late_line_of_an_empty_file_that_was_rotated_while_stopped(bench: Bench):
    """Appending does not change the directory, so its listing says nothing of the new line."""
    bench.path.touch()
    bench.start()
    assert bench.look() == b""
    bench.stop()
    rotate(bench.path)
    append(bench.path, b"two\n")
    os.utime(bench.directory, (1, 1))
    assert restarted(bench) == b"two\n"
    append(bench.path.with_name("access.log.1"), b"one\n")
    os.utime(bench.directory, (1, 1))
    assert bench.look() == b"one\n"


def emptied_and_rotated(bench: Bench) -> None:
    """Leave an empty rotated file that was seen so at a start, and a younger one that was read."""
    stopped(bench, b"zero\n")
    copytruncate(bench.path)
    rotate(bench.path)
    append(bench.path, b"two\n")
    assert restarted(bench) == b"two\n"
    bench.stop()


def test_a_late_line_of_an_empty_file_behind_one_that_was_read(bench: Bench):
    """The file was empty at a start, and a younger one was read before its late line."""
    emptied_and_rotated(bench)
    append(bench.path.with_name("access.log.1"), b"one\n")
    rotate(bench.path)
    append(bench.path, b"three\n")
    assert restarted(bench) == b"one\nthree\n"
    assert restarted(bench) == b""


def test_a_copy_of_a_read_file_under_the_inode_of_an_empty_one_is_not_read(bench: Bench):
    """The inode of a file that was deleted is used again."""
    emptied_and_rotated(bench)
    bench.path.with_name("access.log.1").write_bytes(b"two\n")
    assert restarted(bench) == b""


def test_an_empty_rotated_file_of_long_ago_costs_no_listings(bench: Bench, monkeypatch):
    """It is not written any more; the directory is listed again only when it has changed."""
    bench.path.touch()
    bench.start()
    bench.look()
    bench.stop()
    rotate(bench.path)
    bench.path.touch()
    old = time.time() - 2 * 3600
    os.utime(bench.path.with_name("access.log.1"), (old, old))
    os.utime(bench.directory, (1, 1))
    bench.start()
    bench.look()
    listed = []
    monkeypatch.setattr(directories, "rotated_files", listed.append)
    assert bench.look() == b""
    assert listed == []
