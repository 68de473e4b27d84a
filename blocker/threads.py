"""Threads for what may hang: a disk that does not answer, a database that someone else holds.

The executors of the standard library wait for their threads when the process ends, without an end
of their own.  A thread that hangs in the kernel must keep neither a reload nor the exit waiting.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Job = tuple["Future[Any]", Callable[[], Any]]


class Threads(Executor):
    """Runs calls in daemon threads, in the order in which they came.

    Args:
        most: threads at a time; with one, each call waits for the one before.
        name: of the threads, as ``ps -L`` shows it; 15 characters at most, proc(5).
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
        """Let the threads end after what they were given; nobody waits for them."""
        with self._lock:
            for _ in range(self._begun):
                self._jobs.put(None)

    def _work(self) -> None:
        with suppress(OSError):
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(self._name)
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - whoever waits is told
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del job, future, call
            with self._lock:
                self._idle += 1
