"""The daemon's own kind of event loop, for tests."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import uvloop

_T = TypeVar("_T")


def on_uvloop(scenario: Coroutine[object, object, _T]) -> _T:
    """Run a scenario to its end, also with the uvloop of Debian 12, which has no ``run``."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario)
