"""Bad days, one by one: each ends with every line counted once."""

import gzip
import os
import shutil
import subprocess

import pytest
from crash.scene import scene
from crash.victim import until

A, B, C, D = "192.0.2.1", "198.51.100.2", "203.0.113.3", "2001:db8:7::1"


def rotate(play, number=1):
    """Rename the log as logrotate does, and begin a new one."""
    for old in range(number - 1, 0, -1):
        for end in ("", ".gz"):
            if play.log.with_name(f"access.log.{old}{end}").exists():
                play.log.with_name(f"access.log.{old}{end}").rename(
                    play.log.with_name(f"access.log.{old + 1}{end}")
                )
    play.log.rename(play.log.with_name("access.log.1"))
    play.log.touch()


def pack(path):
    """Compress a file and delete it, as gzip does."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_a_repeat_offenders_window_survives_a_kill(netns, tmp_path):
    """Two hits before the kill and one after make the next ban, also after an earlier ban."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, A, D, D, D, ahead=-60))
        play.write(*play.hits(A, A, D, D))
        play.check()
        play.victim.kill()
        play.start()
        play.write(*play.hits(A, D))
        oracle = play.check()
        assert sorted(ban.offence for ban in oracle.bans) == [1, 1, 2, 2]


def test_a_ban_that_starts_ahead_of_the_clock_survives_a_kill(netns, tmp_path):
    """Stamps may be minutes ahead of our clock; such a ban stands from the first moment."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, A, D, D, D, ahead=120))
        play.check()
        for _ in range(2):
            play.victim.kill()
            play.start()
            play.write(*play.hits(B))
            play.check()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert until(lambda: play.holds(A) and play.holds(D), 5)


def test_a_file_that_was_met_but_not_read_is_read_after_it_was_packed(netns, tmp_path):
    """The daemon knew only the beginning of a file, died, and finds it compressed."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, B))
        play.check()
        rotate(play)
        assert until(lambda: play.victim.living_store().positions >= 2)
        play.victim.kill()
        play.write(*play.hits(A, A, C, C, C))
        rotate(play, 2)
        pack(play.log.with_name("access.log.1"))
        play.start()
        play.write(*play.hits(B))
        play.check()


def test_several_rotations_between_two_looks(netns, tmp_path):
    """Everything that was rotated, packed or not, while the daemon was dead is read in order."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B))
        play.check()
        play.victim.kill()
        for number in range(1, 6):
            play.write(*play.hits(A, C, D), *play.filler(3))
            rotate(play, number)
            if number % 2:
                pack(play.log.with_name("access.log.1"))
        play.write(*play.hits(B, C))
        play.start()
        play.check()


def test_empty_files_among_the_rotated(netns, tmp_path):
    """A log that was rotated while it was empty delays no other."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B))
        play.check()
        play.victim.kill()
        rotate(play)
        rotate(play, 2)
        play.start()
        play.write(*play.hits(A, C))
        play.check()
        rotate(play, 3)
        rotate(play, 4)
        play.write(*play.hits(B, B))
        play.check()


def test_a_truncated_log_that_grows_beyond_where_it_was_read(netns, tmp_path):
    """The offset proves nothing: after a truncation the file is longer than before."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B), *play.filler(5))
        play.check()
        play.victim.kill()
        os.truncate(play.log, 0)
        play.write(*play.filler(40), *play.hits(A, B, B, C))
        play.start()
        play.check()


def test_a_log_truncated_and_regrown_while_it_is_followed(netns, tmp_path):
    """The same with a living daemon, which may look at any moment in between."""
    with scene(tmp_path) as play:
        for count in range(1, 30):
            play.write(*play.hits(A, B), *play.filler(3))
            play.check()
            os.truncate(play.log, 0)
            play.write(*play.filler(7 + count % 3), *play.hits(C, D))
        play.check()


def test_an_inode_that_is_used_again_for_other_content(netns, tmp_path):
    """A new file gets the old one's inode, as on ext4: it is another file all the same."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B), *play.filler(5))
        play.check()
        play.victim.kill()
        # Another program may be given an inode that is free: this one is kept by a second name.
        spare = play.log.with_name("spare")
        spare.hardlink_to(play.log)
        play.log.unlink()
        os.truncate(spare, 0)
        spare.rename(play.log)
        play.write(*play.filler(20), *play.hits(A, B, B, C))
        play.start()
        play.check()


def test_a_database_rolled_back_as_by_a_power_failure(netns, tmp_path):
    """The database is as it was some commits ago: the lines since then are read again."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B))
        play.check()
        play.victim.kill()
        back = saved(play)
        play.start()
        play.write(*play.hits(A, B, C))
        rotate(play)
        play.write(*play.hits(C, C, D, D, D))
        play.check()
        play.victim.kill()
        restore(play, back)
        play.start()
        play.write(*play.hits(B))
        play.check()


def test_database_and_log_both_lose_their_ends_in_a_power_failure(netns, tmp_path):
    """The log is shorter than where it was judged: reading goes on at its end, nothing twice."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B), *play.filler(4))
        play.check()
        play.victim.kill()
        back = saved(play)
        play.start()
        play.write(*play.hits(C))
        play.check()
        play.victim.kill()
        restore(play, back)
        lost = len(play.written.pop())
        size = play.log.stat().st_size
        os.truncate(play.log, size - lost)
        play.start()
        play.write(*play.hits(A, C))
        play.check()


def test_a_log_that_lost_more_than_the_database(netns, tmp_path):
    """Lines that were judged are gone from the log: they stay counted, and none counts twice."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B), *play.filler(4), *play.hits(C))
        play.check()
        play.victim.kill()
        size = play.log.stat().st_size - len(play.written[-1])
        os.truncate(play.log, size)
        play.start()
        assert until(lambda: size in play.victim.offsets())
        play.write(*play.hits(A, C))
        play.check()


@pytest.mark.parametrize("grown", [1, 5], ids=["a little", "beyond"])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_log_that_lost_its_end_and_has_grown_again(netns, tmp_path, grown, rotated):
    """The servers started first: what they wrote since then counts, and what is left does not."""
    with scene(tmp_path) as play:
        play.write(*play.hits(A, A, B), *play.hits(C, C))
        play.check()
        play.victim.kill()
        os.truncate(play.log, play.log.stat().st_size - sum(map(len, play.written[-2:])))
        play.write(*play.hits(*(B, C, D, D, D)[:grown], ahead=5))
        if rotated:
            rotate(play)
            play.write(*play.hits(D, ahead=6))
        play.start()
        play.write(*play.hits(A, ahead=7))
        oracle = play.check()
        assert play.holds(A)
        assert len(oracle.bans) == 1 + 2 * (grown > 1)


def saved(play):
    """Copy the database of a dead daemon."""
    copy = play.victim.directory / "saved"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in play.victim.directory.glob("state.db*"):
        shutil.copy(file, copy)
    return copy


def restore(play, copy):
    """Put a copy of the database back."""
    for file in play.victim.directory.glob("state.db*"):
        file.unlink()
    for file in copy.iterdir():
        shutil.copy(file, play.victim.directory)
