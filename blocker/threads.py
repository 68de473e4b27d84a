"""Threads for calls that may hang: a disk that does not answer, a locked database.

The executors of the standard library wait for their threads at exit, without a timeout.  A thread
that hangs in the kernel must block neither a reload nor the exit.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Job = tuple["Future[Any]", Callable[[], Any]]


class Threads(Executor):
    """Runs calls in daemon threads, in the order in which they were submitted.

    Args:
        most: ceiling of the threads; with one, each call waits for the previous one.
        name: name of the threads, as ``ps -L`` shows it; at most 15 characters, proc(5).
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._begun = self._idle = 0

    def submit(
        self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> "Future[_T]":
        """Run a call in a thread."""
        future: Future[_T] = Future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._begun < self._most:
                self._begun += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._jobs.put((future, lambda: call(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - as the base class has it
        """Let the threads end after the submitted calls; do not wait for them."""
        with self._lock:
            for _ in range(self._begun):
                self._jobs.put(None)

    def _work(self) -> None:
        name_thread(self._name)
        while (job := self._jobs.get()) is not None:
            _run(*job)
            del job  # an idle thread must hold nothing
            with self._lock:
                self._idle += 1


def name_thread(name: str) -> None:
    """Name the calling thread, as ``ps -L`` shows it; at most 15 characters, proc(5)."""
    with suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name)


def _run(future: "Future[Any]", call: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised again by the future
            future.set_exception(error)
        else:
            future.set_result(result)


class Patience:
    """Runs calls one at a time in a thread of its own, with a timeout.

    Args:
        name: name of the thread.
        seconds: timeout of a call, the wait for the previous one included.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self.seconds = seconds
        self._threads = Threads(1, name)
        self._free = asyncio.Semaphore(1)

    async def ask(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call, and return its result.

        Raises:
            TimeoutError: the call, or the call before it, did not end in time.  It goes on in its
                thread.
        """
        async with asyncio.timeout(self.seconds):
            await self._free.acquire()
            asked = asyncio.get_running_loop().run_in_executor(
                self._threads, partial(call, *args, **kwargs)
            )
            asked.add_done_callback(lambda _: self._free.release())
            return await asyncio.shield(asked)

    def close(self) -> None:
        """Let the thread end after the running call."""
        self._threads.shutdown()
