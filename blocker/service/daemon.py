"""The process: signals, reloads and the exit status.

A reload reads and validates the new files first, including the lists of networks.  Then it ends
one runtime and begins the next in the same process: the kernel goes on blocking, the
store knows how far each log has been judged, and no setting is changed in any other way.  If the
new runtime can't begin, the previous configuration begins again as it was read then, because its
files may have changed or be damaged.

If a task fails, the process exits with the reason, and the service manager restarts it.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from attrs import evolve

from blocker.config.files import load
from blocker.config.lint import warnings
from blocker.errors import BlockerError
from blocker.escape import printable
from blocker.friends.shipped import shipped_lists
from blocker.service.control import ControlServer
from blocker.service.notifier import Notifier
from blocker.service.runtime import Kept, LoadedConfig, Runtime
from blocker.service.states import States
from blocker.sources.live import Inboxes
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit, set_up_logging
from blocker.telemetry.server import Listener
from blocker.threads import Patience

START_PATIENCE = 6.0
"""Seconds of a step of a start until the log says what the start waits for."""
FILES_PATIENCE = 5.0
"""Timeout for reading the files of the configuration at a reload, seconds."""
_T = TypeVar("_T")
_LIBC = ctypes.CDLL(None)
_M_ARENA_MAX = -8
"""Parameter of mallopt(3), as ``malloc.h`` defines it."""


class Daemon:
    """Runs until stopped; a reload replaces the running configuration.

    Args:
        path: the configuration file; None for the default.
        dry_run: whether nothing is enforced, even if the configuration does not say so.
    """

    def __init__(self, path: Path | None, *, dry_run: bool = False) -> None:
        self._path = path
        self._dry_run = dry_run
        self._notifier = Notifier()
        self._interrupt = asyncio.Event()
        self._stopped_by = 0
        self._next: LoadedConfig | None = None
        self._reload_error = ""
        self._files = Patience("config", FILES_PATIENCE)
        self._reading: asyncio.Task[None] | None = None
        self._read_again = False
        self._runtime: Runtime | None = None
        self._control, self._listener = ControlServer(), Listener()
        self._states = States()
        self._inboxes = Inboxes()

    def read(self) -> LoadedConfig:
        """Read the configuration and the lists of networks.

        Raises:
            ConfigError: the configuration is invalid.
            OSError: a list that is part of the program can't be read.
        """
        config = load(self._path)
        config = evolve(config, dry_run=True) if self._dry_run else config
        return LoadedConfig(config, shipped_lists())

    async def run(self) -> int:
        """Run until stopped; return the number of the signal that stopped the daemon."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        try:
            runtime = await self._begin(self.read())
            while (loaded := await self._live(runtime)) is not None:
                if loaded is not runtime.loaded:
                    before = runtime.loaded
                    del runtime  # otherwise it would stay in memory until the next reload
                    runtime = await self._replace(before, loaded)
        finally:
            self._files.close()
            self._notifier.close()
            await self._control.close()
            self._listener.close()
            await self._inboxes.keep()
            self._states.close()
        if not runtime.loaded.config.dry_run:
            emit(events.STOPPED)
        return self._stopped_by

    async def _live(self, runtime: Runtime) -> LoadedConfig | None:
        """Run until a stop or a reload; return the configuration to go on with, None for a stop.

        A reload is refused while the state can't be written, because the next runtime reads from
        it what this one knows.  Signals arrive at any moment of this: an interrupt alone is no
        stop, since the reload that caused it may have been refused meanwhile.
        """
        ends = True
        try:
            await runtime.live(self._interrupt)
            if self._stopped_by or runtime.input_ended:
                await runtime.finish()
                return None
            self._interrupt.clear()
            refusal = await runtime.all_stored() if self._next is not None else ""
            if refusal:
                self._refuse(f"the state could not be stored: {refusal}")
            loaded, self._next = self._next, None
            ends = loaded is not None
            return loaded or runtime.loaded
        finally:
            if ends and not await self._end(runtime):
                self._states.abandon()

    async def _end(self, runtime: Runtime) -> bool:
        """End a runtime, which a reload must not ask any more; False if a commit still runs."""
        self._runtime = None
        return await runtime.end()

    async def _begin(self, loaded: LoadedConfig) -> Runtime:
        state = printable(loaded.config.state)
        opened = asyncio.to_thread(self._states.open, loaded.config)
        store = await self._awaited(opened, f"the state {state} to be opened")
        kept = Kept(self._control, self._listener, store, self._inboxes)
        self._runtime = runtime = Runtime(loaded, self._notifier, kept=kept)
        runtime.health.reload_error = self._reload_error
        try:
            began = runtime.begin()
            await self._awaited(began, f"the bans in {state} to be read and set in the kernel")
        except BaseException:
            await self._end(runtime)
            raise
        _give_memory_back()
        for word in warnings(loaded.config):
            emit(events.CONFIG_NOTE, MESSAGE=word)
        emit(events.STARTED, STATUS=runtime.status.line())
        self._notifier.notify(f"READY=1\nSTATUS={runtime.status.line()}")
        self._states.keep(loaded.config.state)
        await self._inboxes.keep(loaded.config.patterns)
        return runtime

    async def _awaited(self, step: Coroutine[Any, Any, _T], what: str) -> _T:
        """Wait for a step of a start; say what it waits for if that takes longer than usual."""
        task = asyncio.create_task(step)
        try:
            await asyncio.wait({task}, timeout=START_PATIENCE)
            if not task.done():
                emit(events.START_WAITS, REASON=what)
                self._notifier.notify(f"STATUS=the start waits for {what}")
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _replace(self, before: LoadedConfig, loaded: LoadedConfig) -> Runtime:
        """Begin a runtime with the new configuration, or with the previous one if that fails."""
        try:
            return await self._begin(loaded)
        except (BlockerError, OSError) as error:
            emit(events.BEGIN_FAILED, REASON=error)
            self._reload_error = str(error)
            return await self._begin(before)

    def _on_stop(self, number: int) -> None:
        self._notifier.notify("STOPPING=1")
        self._stopped_by = number
        self._interrupt.set()

    def _on_reload(self) -> None:
        """Read the files on SIGHUP; if that is running already, read them once more afterwards."""
        if self._stopped_by:
            return
        monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={monotonic}")
        self._read_again = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        """Read the files; a valid configuration replaces the running one, an invalid one does not.

        The runtime goes on while the files are read and the state is checked, because the disk of
        either may hang.
        """
        while self._read_again:
            self._read_again = False
            try:
                loaded = await self._files.ask(self.read)
            except TimeoutError:
                self._refuse("the disk of the configuration files does not answer")
                continue
            except (BlockerError, OSError) as error:
                self._refuse(error)
                continue
            refusal = await self._runtime.writable() if self._runtime is not None else ""
            if refusal:
                self._refuse(f"the state could not be stored: {refusal}")
            elif not self._stopped_by:
                self._next, self._reload_error = loaded, ""
                emit(events.RELOAD)
                self._interrupt.set()

    def _refuse(self, reason: object) -> None:
        """Log why a reload was refused, and go on with the running configuration."""
        self._next, self._reload_error = None, str(reason)
        emit(events.RELOAD_FAILED, REASON=reason)
        self._notifier.notify("READY=1\nSTATUS=reload refused, the old configuration stays")
        if self._runtime is not None:
            self._runtime.health.reload_error = self._reload_error


def _give_memory_back() -> None:
    """Free the memory of the previous runtime, and return it to the system.

    The runtime is full of reference cycles, and a full collection runs by itself only after about a
    hundred reloads: without this one, 600 reloads took 100 MB.  The freed memory is fragmented, and
    the C library keeps it: without malloc_trim(3), 160 reloads took 6 MB more.
    """
    gc.collect()
    with suppress(AttributeError):  # another C library than glibc
        _LIBC.malloc_trim(0)


def _use_one_arena() -> None:
    """Have all threads allocate from one heap, by mallopt(3).

    The interpreter's lock serialises the threads anyway.  Each new runtime has new threads, and an
    arena that a thread leaves behind is seldom free as a whole.
    """
    with suppress(AttributeError):  # another C library than glibc
        _LIBC.mallopt(_M_ARENA_MAX, 1)


async def _main(path: Path | None, *, dry_run: bool) -> int:
    return await Daemon(path, dry_run=dry_run).run()


def _first(error: BaseException) -> BaseException:
    """Return the first error in nested groups, because the process exits with one message."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run(path: Path | None, *, dry_run: bool = False) -> None:
    """Run the daemon in the foreground, and return when it was stopped by a signal.

    Raises:
        BlockerError: the daemon could not start, or could not go on.
    """
    set_up_logging()
    # A flood makes millions of hits, none of them in a reference cycle.  With its default
    # thresholds the collector would traverse them again and again, for a tenth of the time.
    gc.set_threshold(10_000, 20, 50)
    _use_one_arena()
    # Upper bound for how long Python code in the store's thread delays the loop.
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
        # A shell expects a process that Ctrl-C ended to die of the signal.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
