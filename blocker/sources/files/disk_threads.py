"""Threads that touch the disk of logs; one that hangs blocks no other."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from aiofiles.os import wrap

from blocker.threads import Threads

_T = TypeVar("_T")
PATIENCE = 0.25
"""Seconds that a disk may take to answer until others go on without it …"""
HANGS = 1.0
"""… and until it is said to hang."""
MAX_THREADS = 24
"""Threads that may be touching logs at once, those that hang included."""


@cache
def disk_threads() -> Threads:
    """Return the threads for what touches logs; one that hangs does not delay the others."""
    return Threads(MAX_THREADS, "logs")


async def in_thread(call: Callable[..., _T], *arguments: object) -> _T:
    """Run what touches the disk in a thread, and don't leave before it has ended.

    The caller that is cancelled closes descriptors next, and a thread must not use others instead.
    A call that hangs is waited for ``PATIENCE``; its descriptors must not be closed afterwards.
    """
    task = begun_in_thread(call, *arguments)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=PATIENCE)
        if task.done() and not task.cancelled():
            task.exception()  # has been looked at: the cancellation is the news
        raise


def begun_in_thread(call: Callable[..., _T], *arguments: object) -> "asyncio.Task[_T]":
    """Begin to run what touches the disk in a thread, and return without waiting for its end."""
    return asyncio.ensure_future(wrap(call)(*arguments, executor=disk_threads()))
