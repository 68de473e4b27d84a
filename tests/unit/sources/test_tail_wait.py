"""Waiting: woken by the kernel at once, by the poll where the kernel says nothing."""

import asyncio
import errno

from support.logs_by_hand import append, from_the_start

from blocker.sources.files import inotify
from blocker.sources.files.tailer import FileTailer

NEVER = 1e6


def following(path, scenario, **options):
    """Run a scenario with a started ``FileTailer``."""

    async def run():
        tailer = FileTailer([str(path)], start_of=from_the_start, **options)
        try:
            async with asyncio.timeout(10):
                await scenario(tailer)
        finally:
            tailer.close()

    asyncio.run(run())


async def lines(tailer):
    found = b""
    while logs := tailer.ready():
        for log in logs:
            block = await log.read()
            found += block.data if block else b""
    return found


async def expect(tailer, expected):
    """Wait and read until everything expected is there."""
    found = b""
    while found != expected:
        await tailer.wait()
        found += await lines(tailer)
        assert expected.startswith(found)


async def until(condition):
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 - no event, and the loop is busy
        await asyncio.sleep(0)


def test_what_is_there_is_ready_at_once(tmp_path):
    """The first wait looks at everything and returns."""
    path = tmp_path / "a.log"
    append(path, b"one\n")

    async def scenario(tailer):
        await tailer.wait()
        assert await lines(tailer) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_a_write_wakes(tmp_path):
    """A line is announced by the kernel, long before any poll."""
    path = tmp_path / "a.log"
    path.touch()

    async def scenario(tailer):
        waiting = asyncio.ensure_future(tailer.wait())
        await until(lambda: tailer.watches._watched)
        append(path, b"one\n")
        await waiting
        assert await lines(tailer) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_writes_while_reading_are_not_missed(tmp_path):
    """A line that comes between the last reading and the next wait is announced."""
    path = tmp_path / "a.log"

    async def scenario(tailer):
        for number in range(50):
            append(path, b"%d\n" % number)
            await expect(tailer, b"%d\n" % number)

    path.touch()
    following(path, scenario, poll=NEVER)


def test_a_new_file_wakes(tmp_path):
    """The directory is watched for logs that appear."""

    async def scenario(tailer):
        waiting = asyncio.ensure_future(expect(tailer, b"one\n"))
        await until(lambda: tailer.watches._directories)
        append(tmp_path / "b.log", b"one\n")
        await waiting

    following(tmp_path / "*.log", scenario, poll=NEVER)


def test_rotation_and_truncation_wake(tmp_path):
    """Renaming, creating, copying and truncating are all announced."""
    path = tmp_path / "a.log"

    async def scenario(tailer):
        append(path, b"one\n")
        await expect(tailer, b"one\n")
        append(path, b"two\n")
        path.rename(tmp_path / "a.log.1")
        append(path, b"three\n")
        await expect(tailer, b"two\nthree\n")
        append(path, b"four\n")
        (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
        (tmp_path / "a.log.1").write_bytes(path.read_bytes())
        path.write_bytes(b"")
        append(path, b"five\n")
        await expect(tailer, b"four\nfive\n")

    path.touch()
    following(path, scenario, poll=NEVER)


def test_the_writer_of_a_renamed_file_is_heard_until_it_closes(tmp_path):
    """The descriptor is watched, not the name; its closing is noted."""
    path = tmp_path / "a.log"

    async def scenario(tailer):
        with path.open("ab", buffering=0) as old:
            old.write(b"one\n")
            await expect(tailer, b"one\n")
            path.rename(tmp_path / "a.log.1")
            append(path, b"two\n")
            await expect(tailer, b"two\n")
            old.write(b"late\n")
            await expect(tailer, b"late\n")
            assert not tailer.generations[0].state.closed
        waiting = asyncio.ensure_future(tailer.wait())
        await until(lambda: tailer.generations[0].state.closed)
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

    async def scenario(tailer):
        await tailer.scan()
        append(path, b"one\n")
        await expect(tailer, b"one\n")
        assert "polling" in tailer.errors["inotify"]

    following(path, scenario, poll=0.001)


def test_used_up_watches_leave_the_poll(tmp_path, monkeypatch):
    """The kernel has no more watches: the advice names the setting."""
    path = tmp_path / "a.log"
    path.touch()

    def refused(_self, _path, _mask):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inotify.Inotify, "add", refused)

    async def scenario(tailer):
        append(path, b"one\n")
        await expect(tailer, b"one\n")
        append(path, b"two\n")
        await expect(tailer, b"two\n")
        assert "max_user_watches" in tailer.errors["inotify"]

    following(path, scenario, poll=0.001)


def test_lost_events_make_a_look_at_everything(tmp_path):
    """The kernel's queue overflowed: what was lost is found on disk."""
    path = tmp_path / "a.log"
    path.touch()

    async def scenario(tailer):
        await tailer.scan()
        append(path, b"one\n")
        tailer.watches.take_events({(-1, inotify.OVERFLOW, "")})
        await tailer.wait()
        assert await lines(tailer) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_a_cancelled_reading_loses_nothing(tmp_path):
    """A reader that was cancelled may read again."""
    path = tmp_path / "a.log"
    append(path, b"one\n")

    async def scenario(tailer):
        await tailer.scan()
        (log,) = tailer.ready()
        reading = asyncio.ensure_future(log.read())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        assert await lines(tailer) == b"one\n"

    following(path, scenario, poll=NEVER)


def test_what_appears_before_the_directory_is_watched_is_found(tmp_path):
    """Between the first look and the first watch a log appeared: it is looked for once more."""
    (tmp_path / "a.log").touch()

    async def creating(_log):
        (tmp_path / "b.log").write_bytes(b"one\n")
        return 0

    async def run():
        tailer = FileTailer([str(tmp_path / "*.log")], start_of=creating, poll=NEVER)
        try:
            async with asyncio.timeout(10):
                await expect(tailer, b"one\n")
        finally:
            tailer.close()

    asyncio.run(run())
