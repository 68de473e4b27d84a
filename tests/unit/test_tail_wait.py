"""Waiting: woken by the kernel at once, by the poll where the kernel says nothing."""

import asyncio
import errno

from logs_by_hand import append, from_the_start

from blocker import inotify
from blocker.tail import Tails

NEVER = 1e6


def following(path, scenario, **options):
    """Run a scenario with a started ``Tails``."""

    async def run():
        tails = Tails([str(path)], start_of=from_the_start, **options)
        try:
            async with asyncio.timeout(10):
                await scenario(tails)
        finally:
            tails.close()

    asyncio.run(run())


async def lines(tails):
    found = b""
    while logs := tails.ready():
        for log in logs:
            block = await log.read()
            found += block.data if block else b""
    return found


async def expect(tails, expected):
    """Wait and read until everything expected is there."""
    found = b""
    while found != expected:
        await tails.wait()
        found += await lines(tails)
        assert expected.startswith(found)


async def until(condition):
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 - nobody tells, and the loop is busy
        await asyncio.sleep(0)


def test_what_is_there_is_ready_at_once(tmp_path):
    """The first wait looks at everything and returns."""
    path = tmp_path / "a.log"
    append(path, b"one\n")

    async def scenario(tails):
        await tails.wait()
        assert await lines(tails) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_a_write_wakes(tmp_path):
    """A line is announced by the kernel, long before any poll."""
    path = tmp_path / "a.log"
    path.touch()

    async def scenario(tails):
        waiting = asyncio.ensure_future(tails.wait())
        await until(lambda: tails._watched)
        append(path, b"one\n")
        await waiting
        assert await lines(tails) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_writes_while_reading_are_not_missed(tmp_path):
    """A line that comes between the last reading and the next wait is announced."""
    path = tmp_path / "a.log"

    async def scenario(tails):
        for number in range(50):
            append(path, b"%d\n" % number)
            await expect(tails, b"%d\n" % number)

    path.touch()
    following(path, scenario, poll=NEVER)


def test_a_new_file_wakes(tmp_path):
    """The directory is watched for logs that appear."""

    async def scenario(tails):
        waiting = asyncio.ensure_future(expect(tails, b"one\n"))
        await until(lambda: tails._directories)
        append(tmp_path / "b.log", b"one\n")
        await waiting

    following(tmp_path / "*.log", scenario, poll=NEVER)


def test_rotation_and_truncation_wake(tmp_path):
    """Renaming, creating, copying and truncating are all announced."""
    path = tmp_path / "a.log"

    async def scenario(tails):
        append(path, b"one\n")
        await expect(tails, b"one\n")
        append(path, b"two\n")
        path.rename(tmp_path / "a.log.1")
        append(path, b"three\n")
        await expect(tails, b"two\nthree\n")
        append(path, b"four\n")
        (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
        (tmp_path / "a.log.1").write_bytes(path.read_bytes())
        path.write_bytes(b"")
        append(path, b"five\n")
        await expect(tails, b"four\nfive\n")

    path.touch()
    following(path, scenario, poll=NEVER)


def test_the_writer_of_a_renamed_file_is_heard_until_it_closes(tmp_path):
    """The descriptor is watched, not the name; its closing is noted."""
    path = tmp_path / "a.log"

    async def scenario(tails):
        with path.open("ab", buffering=0) as old:
            old.write(b"one\n")
            await expect(tails, b"one\n")
            path.rename(tmp_path / "a.log.1")
            append(path, b"two\n")
            await expect(tails, b"two\n")
            old.write(b"late\n")
            await expect(tails, b"late\n")
            assert not tails.logs[0].closed
        waiting = asyncio.ensure_future(tails.wait())
        await until(lambda: tails.logs[0].closed)
        waiting.cancel()

    path.touch()
    following(path, scenario, poll=NEVER)


def test_the_poll_is_enough(tmp_path, monkeypatch):
    """Without inotify the error says so, and lines still come."""

    def refused(_callback):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(inotify, "Inotify", refused)
    path = tmp_path / "a.log"
    path.touch()

    async def scenario(tails):
        await tails.scan()
        append(path, b"one\n")
        await expect(tails, b"one\n")
        assert "polling" in tails.errors["inotify"]

    following(path, scenario, poll=0.001)


def test_used_up_watches_leave_the_poll(tmp_path, monkeypatch):
    """The kernel has no more watches: the advice names the setting."""
    path = tmp_path / "a.log"
    path.touch()

    def refused(_self, _path, _mask):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inotify.Inotify, "add", refused)

    async def scenario(tails):
        append(path, b"one\n")
        await expect(tails, b"one\n")
        append(path, b"two\n")
        await expect(tails, b"two\n")
        assert "max_user_watches" in tails.errors["inotify"]

    following(path, scenario, poll=0.001)


def test_lost_events_make_a_look_at_everything(tmp_path):
    """The kernel's queue overflowed: whatever was lost is found on disk."""
    path = tmp_path / "a.log"
    path.touch()

    async def scenario(tails):
        await tails.scan()
        append(path, b"one\n")
        tails.take_events({(-1, inotify.OVERFLOW, "")})
        await tails.wait()
        assert await lines(tails) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_a_cancelled_reading_loses_nothing(tmp_path):
    """Whoever is cancelled while reading may read again."""
    path = tmp_path / "a.log"
    append(path, b"one\n")

    async def scenario(tails):
        await tails.scan()
        (log,) = tails.ready()
        reading = asyncio.ensure_future(log.read())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        assert await lines(tails) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_what_appears_before_the_directory_is_watched_is_found(tmp_path):
    """Between the first look and the first watch a log appeared: it is looked for once more."""
    (tmp_path / "a.log").touch()

    async def creating(_log):
        (tmp_path / "b.log").write_bytes(b"one\n")
        return 0

    async def run():
        tails = Tails([str(tmp_path / "*.log")], start_of=creating, poll=NEVER)
        try:
            async with asyncio.timeout(10):
                await expect(tails, b"one\n")
        finally:
            tails.close()

    asyncio.run(run())
