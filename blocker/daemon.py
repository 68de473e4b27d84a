"""The process: signals, lives, and an honest exit.

A *life* is one configuration at work.  Reloading reads and validates the new files first, the
lists of networks among them, and then ends one life and begins the next in the same process: the
kernel goes on blocking meanwhile, the store knows how far each log is judged, and there is no
second way of changing anything.  A life that can't begin gives way to the configuration before
it, as it was read then: its files may be others by now, or damaged.

If any task dies, the process dies with a reason, and the service manager restarts it.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import sdnotify
import uvloop
from attrs import evolve

from blocker import events
from blocker.config import Config, warnings
from blocker.configfile import load, shipped_lists
from blocker.control import ControlServer
from blocker.errors import BlockerError
from blocker.friends import ShippedList
from blocker.life import Kept, Life, make_parent
from blocker.logs import set_up_logging, tell
from blocker.metricsserver import Listener
from blocker.statelock import StateLock
from blocker.store import Store

LOCK_PATIENCE = 5.0
"""Seconds that a start waits for another process to let go of the state: one that is stopping, or
an ``unban --all``."""


class Given(NamedTuple):
    """What a life is made of: everything about it that files say, read and found good."""

    config: Config
    lists: Mapping[str, ShippedList]


class Daemon:
    """Lives one life after the other until it is told to stop."""

    def __init__(self, path: Path | None, *, dry_run: bool = False) -> None:
        self._path = path
        self._dry_run = dry_run
        self._notifier = sdnotify.SystemdNotifier()
        self._stop = asyncio.Event()
        self._stopped_by = 0
        self._next: Given | None = None
        self._life: Life | None = None
        self._control, self._listener = ControlServer(), Listener()
        self._locks: dict[str, StateLock] = {}
        self._stores: dict[str, Store] = {}

    def read(self) -> Given:
        """Read the configuration and the lists.

        Raises:
            ConfigError: something there is wrong.
            OSError: a list that comes with the program can't be read.
        """
        config = load(self._path)
        config = evolve(config, dry_run=True) if self._dry_run else config
        return Given(config, shipped_lists())

    async def run(self) -> int:
        """Run until stopped; return the signal that did it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        try:
            life = await self._begin(self.read())
            while await self._live(life):
                if self._next is not None:
                    before, born = Given(life.config, life.lists), life.desk.figures.born
                    del life  # else it would be there until the next reload
                    life = await self._succeed(before, born, self._next)
        finally:
            await self._control.close()
            self._listener.close()
            for store in self._stores.values():
                store.close()
            for lock in self._locks.values():
                lock.release()
        if not life.config.dry_run:
            tell(events.STOPPED)
        return self._stopped_by

    async def _live(self, life: Life) -> bool:
        """Live until told to stop or to reload; False if that was a stop.

        A reload is refused as long as the state can't be written: the next life reads from it
        what this one knows.
        """
        refusal = ""
        try:
            await life.live(self._stop)
            if self._next is not None:
                self._stop.clear()
                refusal = await life.all_stored()
                if refusal:
                    self._refuse(f"what is known could not be stored: {refusal}")
                    return True
        finally:
            if not refusal and not await life.end():
                self._stores.clear()  # closing would wait for the disk
        return self._next is not None

    async def _begin(self, given: Given) -> Life:
        store = await asyncio.to_thread(self._open, given.config)
        self._life = life = Life(
            given.config,
            self._notifier,
            lists=given.lists,
            kept=Kept(self._control, self._listener, store),
        )
        try:
            await life.begin()
        except BaseException:
            await life.end()
            raise
        _give_memory_back()
        for word in warnings(given.config):
            tell(events.CONFIG_NOTE, MESSAGE=word)
        tell(events.STARTED, STATUS=life.desk.status_line())
        self._notifier.notify(f"READY=1\nSTATUS={life.desk.status_line()}")
        for path in [path for path in self._locks if path != given.config.state]:
            self._stores.pop(path).close()
            self._locks.pop(path).release()
        return life

    def _open(self, config: Config) -> Store:
        """Hold and open the state, over all reloads that keep its path."""
        state = config.state
        make_parent(state)
        if state not in self._locks:
            self._locks[state] = StateLock(state, LOCK_PATIENCE)
        if state not in self._stores:
            self._stores[state] = Store(state)
        self._stores[state].dry = config.dry_run
        return self._stores[state]

    async def _succeed(self, before: Given, born: int, given: Given) -> Life:
        """Begin a life with the new configuration, or again with the old one."""
        self._next = None
        try:
            return await self._begin(given)
        except (BlockerError, OSError) as error:
            tell(events.BEGIN_FAILED, REASON=error)
            old = await self._begin(before)
            old.reload_failed, old.desk.figures.born = True, born
            return old

    def _on_stop(self, number: int) -> None:
        self._notifier.notify("STOPPING=1")
        self._stopped_by = number
        self._next = None
        self._stop.set()

    def _on_reload(self) -> None:
        """SIGHUP: a good configuration begins the next life, a bad one changes nothing."""
        if self._stopped_by:
            return
        monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={monotonic}")
        try:
            self._next = self.read()
        except (BlockerError, OSError) as error:
            self._refuse(error)
            return
        tell(events.RELOAD)
        self._stop.set()

    def _refuse(self, reason: object) -> None:
        """Go on with the configuration that is at work."""
        self._next = None
        tell(events.RELOAD_FAILED, REASON=reason)
        self._notifier.notify("READY=1\nSTATUS=reload refused, the old configuration stays")
        if self._life is not None:
            self._life.reload_failed = True


def _give_memory_back() -> None:
    """Free what the life before left behind, and give it back to the system.

    It is full of cycles, and a full collection by itself comes after a hundred reloads: without
    this one, 600 reloads took 100 MB.  What is free then lies between what is not, and the C
    library keeps it: without malloc_trim(3), 160 reloads took 6 MB more.
    """
    gc.collect()
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


async def _main(path: Path | None, *, dry_run: bool) -> int:
    return await Daemon(path, dry_run=dry_run).run()


def _first(error: BaseException) -> BaseException:
    """Return the first error of a group of groups: one sentence says why the process dies."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run(path: Path | None, *, dry_run: bool = False) -> None:
    """Run the daemon in the foreground.  A stop that was asked for is no failure.

    Raises:
        BlockerError: it could not start, or could not go on.
    """
    set_up_logging()
    # A flood makes hits by the million, none of them in a cycle: as shipped, the collector would
    # look at them again and again, for a tenth of the time.
    gc.set_threshold(10_000, 20, 50)
    # What the store's thread does in Python keeps the loop waiting no longer than this.
    sys.setswitchinterval(0.001)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            stopped_by = runner.run(_main(path, dry_run=dry_run))
    except BaseExceptionGroup as group:
        first = _first(group)
        if isinstance(first, BlockerError):
            raise first from None
        raise
    if stopped_by == signal.SIGINT:
        # As a shell expects of what Ctrl-C ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
