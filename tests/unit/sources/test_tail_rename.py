"""Rotation by rename and create: the old file is drained, and its lines come first."""

import gzip

import pytest
from support.logs_by_hand import Bench, append, rotate

from blocker.sources.files import inotify

MINUTE, HOUR = 60, 3600


def test_the_rest_of_the_old_file_comes_first(bench: Bench):
    """What was written just before the rotation is delivered before the new file's lines."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    append(bench.path, b"two\n")
    rotate(bench.path)
    append(bench.path, b"three\n")
    assert bench.look() == b"two\nthree\n"
    assert [log.state.draining for log in tailer.generations] == [True, False]
    assert tailer.statuses()[0].rotations == 1


def test_a_writer_that_keeps_the_old_file_is_heard(bench: Bench):
    """As long as the writer has not noticed, the old file grows, and both are read."""
    bench.start()
    append(bench.path, b"one\n")
    with bench.path.open("ab", buffering=0) as old:
        bench.look()
        rotate(bench.path)
        append(bench.path, b"new one\n")
        assert bench.look() == b"new one\n"
        old.write(b"two\n")
        append(bench.path, b"new two\n")
        assert bench.look() == b"two\nnew two\n"


def test_the_successor_waits_while_the_old_file_has_more(bench: Bench):
    """Of one rotated set only the oldest file with news is ready."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.scan()
    rotate(bench.path)
    append(bench.path, b"two\n")
    bench.scan()
    (first,) = tailer.ready()
    assert first.state.draining
    bench.runner.run(first.read())
    (second,) = tailer.ready()
    assert not second.state.draining


def test_the_successor_may_come_late(bench: Bench):
    """While the path is gone the renamed file is read on, and the error says so."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    with bench.path.open("ab", buffering=0) as old:
        rotate(bench.path)
        old.write(b"two\n")
        assert bench.look() == b"two\n"
        assert "No such file" in tailer.errors[str(bench.path)]
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"
    assert tailer.errors == {}


def test_a_renaming_that_is_taken_back_is_no_rotation(bench: Bench):
    """The same file under its path again goes on where it was."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    rotate(bench.path)
    bench.look()
    bench.path.with_name("access.log.1").rename(bench.path)
    append(bench.path, b"two\n")
    assert bench.look() == b"two\n"
    assert [log.state.draining for log in tailer.generations] == [False]


def test_two_rotations_between_two_looks_lose_nothing(bench: Bench):
    """A file that came and went unseen is found among the rotated ones and read whole."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    append(bench.path, b"two\n")
    rotate(bench.path)
    append(bench.path, b"three\n")
    rotate(bench.path)
    append(bench.path, b"four\n")
    rotate(bench.path)
    append(bench.path, b"five\n")
    assert bench.look() == b"two\nthree\nfour\nfive\n"
    assert bench.order[-4:] == ["access.log", "access.log.2", "access.log.1", "access.log"]


def test_packing_and_deleting_the_old_file_loses_nothing(bench: Bench):
    """The descriptor that is held makes a deleted file readable, and its packed copy is no news."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    append(bench.path, b"two\n")
    rotate(bench.path)
    old = bench.path.with_name("access.log.1")
    old.with_name("access.log.1.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    append(bench.path, b"three\n")
    assert bench.look() == b"two\nthree\n"


def test_a_deleted_and_recreated_log_is_followed(bench: Bench):
    """The deleted file is read to its end, the new one from its start."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    append(bench.path, b"two\n")
    bench.path.unlink()
    append(bench.path, b"three\n")
    assert bench.look() == b"two\nthree\n"


def said(bench: Bench, mask: int) -> None:
    """Let the kernel say something of the old file."""
    log = bench.tailer.generations[0]
    bench.tailer.watches._watched[7] = log
    bench.tailer.watches.take_events({(7, mask, "")})


def test_a_closed_and_quiet_file_is_let_go_after_a_minute(bench: Bench):
    """Closed by its writer, at its end, and quiet for a minute: it will not be written any more."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    rotate(bench.path)
    append(bench.path, b"two\n")
    bench.look()
    said(bench, inotify.CLOSE_WRITE)
    bench.time += MINUTE - 1
    bench.look()
    assert len(tailer.generations) == 2
    bench.time += 2
    bench.look()
    assert [log.state.draining for log in tailer.generations] == [False]


def test_a_file_that_another_writer_still_has_is_kept(bench: Bench):
    """A word of writing after the closing means that there is another writer."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    rotate(bench.path)
    append(bench.path, b"two\n")
    bench.look()
    said(bench, inotify.CLOSE_WRITE)
    said(bench, inotify.MODIFY)
    bench.time += 2 * MINUTE
    bench.look()
    assert len(tailer.generations) == 2


@pytest.mark.parametrize(("grows", "kept"), [(True, 1), (False, 2)])
def test_a_quiet_file_is_let_go_when_the_successor_grew_for_an_hour(bench: Bench, grows, kept):
    """Without word from the writer an hour of quiet is enough, if the successor is alive."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    rotate(bench.path)
    append(bench.path, b"two\n")
    bench.look()
    bench.time += HOUR + 1
    if grows:
        append(bench.path, b"three\n")
    bench.look()
    bench.look()
    assert len(tailer.generations) == kept


def test_a_file_with_unread_bytes_is_never_let_go(bench: Bench):
    """Quiet or closed does not count before the end is reached."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.scan()
    rotate(bench.path)
    append(bench.path, b"two\n")
    bench.scan()
    said(bench, inotify.CLOSE_WRITE)
    bench.time += 10 * HOUR
    bench.scan()
    assert len(tailer.generations) == 2
    assert bench.look() == b"one\ntwo\n"


def test_a_file_let_go_is_still_known_when_it_is_packed(bench: Bench):
    """Finished files stay known: neither their packed nor their renamed form is news."""
    append(bench.path, b"one\n")
    tailer = bench.start()
    bench.look()
    rotate(bench.path)
    append(bench.path, b"two\n")
    bench.look()
    bench.time += 2 * HOUR
    append(bench.path, b"three\n")
    bench.look()
    bench.look()
    assert len(tailer.generations) == 1
    old = bench.path.with_name("access.log.1")
    old.with_name("access.log.1.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    assert bench.look() == b""
    rotate(bench.path)
    append(bench.path, b"four\n")
    assert bench.look() == b"four\n"


def test_an_old_file_that_grows_after_it_was_let_go_is_read_on(bench: Bench):
    """A writer that comes back after hours is heard at the next look at the directory."""
    append(bench.path, b"one\n")
    with bench.path.open("ab", buffering=0) as old:
        bench.start()
        bench.look()
        rotate(bench.path)
        append(bench.path, b"two\n")
        bench.look()
        bench.time += 2 * HOUR
        append(bench.path, b"three\n")
        bench.look()
        bench.look()
        old.write(b"late\n")
        assert bench.look() == b"late\n"


def test_a_log_replaced_by_its_own_copy_goes_on(bench: Bench):
    """An editor writes a copy and renames it over the log: nothing in it is new."""
    append(bench.path, b"one\ntwo\n")
    bench.start()
    bench.look()
    copy = bench.path.with_name("sedXYZ")
    copy.write_bytes(bench.path.read_bytes() + b"three\n")
    copy.replace(bench.path)
    assert bench.look() == b"three\n"


def test_dated_names_are_rotated_files_too(bench: Bench):
    """With dates in the names nothing changes."""
    append(bench.path, b"one\n")
    bench.start()
    bench.look()
    for day in (1, 2, 3):
        append(bench.path, b"%d\n" % day)
        bench.path.rename(bench.path.with_name(f"access.log-2024010{day}"))
    append(bench.path, b"four\n")
    assert bench.look() == b"1\n2\n3\nfour\n"


def test_a_log_opened_empty_is_known_by_what_was_written_since(bench: Bench):
    """Written, renamed and packed before anything was read: it is read once, from the old file."""
    bench.path.touch()
    bench.start()
    bench.look()
    append(bench.path, b"one\n")
    rotate(bench.path)
    old = bench.path.with_name("access.log.1")
    old.with_name("access.log.1.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    bench.path.touch()
    assert bench.look() == b"one\n"


@pytest.mark.parametrize("name", ["a.log", "z.log"])
def test_a_link_to_a_log_is_no_log_after_a_rotation_either(bench: Bench, name):
    """It leads to the successor at once, which is the log's."""
    append(bench.path, b"one\n")
    (bench.directory / name).symlink_to(bench.path)
    tailer = bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"one\n"
    for line in (b"two\n", b"three\n"):
        rotate(bench.path)
        append(bench.path, line)
        assert bench.look() == line
    assert {log.path for log in tailer.generations} == {str(bench.path)}


def test_a_link_met_before_the_successor_is_no_log(bench: Bench, monkeypatch):
    """The successor is created between the look at the log and the look at the link."""
    append(bench.path, b"one\n")
    (bench.directory / "a.log").symlink_to(bench.path)
    tailer = bench.start(str(bench.directory / "*.log"))
    bench.look()
    rotate(bench.path)
    strangers = tailer._survey._strangers

    def created_just_then(paths):
        if not bench.path.exists():
            append(bench.path, b"two\n")
        return strangers(paths)

    monkeypatch.setattr(tailer._survey, "_strangers", created_just_then)
    assert bench.look() == b"two\n"
    assert {log.path for log in tailer.generations} == {str(bench.path)}


def test_a_log_renamed_to_a_name_that_is_followed_is_read_once(bench: Bench):
    """Its lines come from the file that is open, and a start knows how far it was read."""
    old = bench.directory / "access-old.log"
    append(bench.path, b"one\n")
    append(old, b"zero\n")
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"zero\none\n"
    bench.path.replace(old)
    append(old, b"two\n")
    append(bench.path, b"three\n")
    assert bench.look() == b"two\nthree\n"
    append(old, b"four\n")
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b"four\n"


def test_a_log_that_becomes_a_link_to_another_is_read_to_its_end(bench: Bench):
    """It is no log then, and one again when a file of its own is there."""
    other = bench.directory / "other.log"
    append(bench.path, b"one\n")
    append(other, b"other one\n")
    tailer = bench.start(str(bench.directory / "*.log"))
    bench.look()
    append(other, b"other two\n")
    other.unlink()
    other.symlink_to(bench.path)
    append(bench.path, b"two\n")
    assert bench.look() == b"two\nother two\n"
    assert tailer.errors == {}
    bench.start(str(bench.directory / "*.log"))
    assert bench.look() == b""
    assert [each.path for each in bench.tailer.statuses()] == [str(bench.path)]
    other.unlink()
    append(other, b"other three\n")
    assert bench.look() == b"other three\n"


def test_a_rotated_file_with_a_second_name_is_read_once(bench: Bench):
    """Let go and followed by the other name, what comes later is read there only."""
    append(bench.path, b"one\n")
    with bench.path.open("ab", buffering=0) as old:
        bench.start(str(bench.directory / "*.log"))
        bench.look()
        (bench.directory / "same.log").hardlink_to(bench.path)
        rotate(bench.path)
        append(bench.path, b"two\n")
        assert bench.look() == b"two\n"
        bench.time += 2 * HOUR
        append(bench.path, b"three\n")
        assert bench.look() == b"three\n"
        old.write(b"late\n")
        assert bench.look() == b"late\n"
        old.write(b"later\n")
        bench.start(str(bench.directory / "*.log"))
        assert bench.look() == b"later\n"
