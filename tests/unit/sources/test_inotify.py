"""The kernel's word: what is said, how soon, and what happens when it can't be had."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from blocker.sources.files import inotify
from blocker.sources.files.inotify import Inotify


class Ear:
    """Collects what is said, and waits for it."""

    def __init__(self):
        self.batches = []
        self.heard = asyncio.Event()

    def __call__(self, events):
        self.batches.append(events)
        self.heard.set()

    async def next(self):
        async with asyncio.timeout(5):
            await self.heard.wait()
        self.heard.clear()
        return self.batches[-1]


def listening(scenario, *arguments):
    async def run():
        ear = Ear()
        notify = Inotify(ear)
        try:
            await scenario(notify, ear, *arguments)
        finally:
            notify.close()

    asyncio.run(run())


def test_a_write_is_said(tmp_path):
    """A write to a watched file is one event without a name."""

    async def scenario(notify, ear):
        with (tmp_path / "log").open("wb", buffering=0) as file:
            watch = notify.add(str(tmp_path / "log"), inotify.MODIFY)
            file.write(b"x")
            assert await ear.next() == {(watch, inotify.MODIFY, "")}

    listening(scenario)


def test_many_writes_are_coalesced(tmp_path):
    """A thousand writes between two readings are one event."""

    async def scenario(notify, ear):
        with (tmp_path / "log").open("wb", buffering=0) as file:
            watch = notify.add(str(tmp_path / "log"), inotify.MODIFY)
            for _ in range(1000):
                file.write(b"x")
            assert await ear.next() == {(watch, inotify.MODIFY, "")}
        assert len(ear.batches) == 1

    listening(scenario)


def test_entries_of_a_directory_have_names(tmp_path):
    """What happens in a directory carries the name of the entry, with any bytes."""

    async def scenario(notify, ear):
        watch = notify.add(str(tmp_path), inotify.CREATE)
        strange = os.fsdecode(b"n\xc3\xa4me\xff")
        (tmp_path / strange).touch()
        assert await ear.next() == {(watch, inotify.CREATE, strange)}

    listening(scenario)


def test_a_full_buffer_is_drained_whole(tmp_path):
    """More events than fit into one reading come in one batch."""

    async def scenario(notify, ear):
        notify.add(str(tmp_path), inotify.CREATE)
        for number in range(3000):
            (tmp_path / f"{number:04}{'x' * 100}").touch()
        assert len(await ear.next()) == 3000

    listening(scenario)


def test_the_first_event_after_a_pause_and_the_next_are_both_said(tmp_path):
    """The pause between two readings delays an event, and loses none."""

    async def scenario(notify, ear):
        with (tmp_path / "log").open("wb", buffering=0) as file:
            notify.add(str(tmp_path / "log"), inotify.MODIFY)
            for number in range(3):
                file.write(b"x")
                await ear.next()
                assert len(ear.batches) == number + 1

    listening(scenario)


def test_the_end_of_a_watch_is_said_once(tmp_path):
    """Removing a watch ends it; removing it again is nothing."""

    async def scenario(notify, ear):
        watch = notify.add(str(tmp_path), inotify.CREATE)
        notify.remove(watch)
        notify.remove(watch)
        assert await ear.next() == {(watch, inotify.IGNORED, "")}

    listening(scenario)


@pytest.mark.parametrize(
    ("name", "mask", "expected"),
    [("nobody", inotify.MODIFY, errno.ENOENT), ("log", inotify.ONLYDIR, errno.ENOTDIR)],
)
def test_refusals_are_errors_of_the_system(tmp_path, name, mask, expected):
    """The caller gets the kernel's own error, to go on by polling."""
    (tmp_path / "log").touch()

    async def scenario(notify, _ear):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
            notify.add(str(tmp_path / name), mask | inotify.MODIFY)
        assert caught.value.errno == expected

    listening(scenario)


def test_closing_leaves_nothing_behind(tmp_path):
    """A closed instance has no descriptor, no reader and no timer left."""
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def scenario(notify, ear):
        notify.add(str(tmp_path), inotify.CREATE)
        (tmp_path / "x").touch()
        await ear.next()

    listening(scenario)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
