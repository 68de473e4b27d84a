"""Waiting for what may hang: for so long, and for one call at a time."""

import asyncio
import threading

import pytest

from blocker.threads import Patience


def test_an_answer_in_time_is_returned():
    """And what the call raises is raised."""

    async def scenario() -> None:
        patience = Patience("test", 10)
        assert await patience.ask(int, "7") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await patience.ask(int, "seven")
        patience.close()

    asyncio.run(scenario())


def test_a_call_that_hangs_is_left_and_the_next_waits_for_its_end():
    """Calls that are no longer waited for do not pile up."""

    async def scenario() -> list[str]:
        patience, going_on = Patience("test", 0.05), threading.Event()
        asked: list[str] = []
        with pytest.raises(TimeoutError):
            await patience.ask(going_on.wait)
        with pytest.raises(TimeoutError):
            await patience.ask(asked.append, "behind it")
        patience.seconds = 10
        waiting = asyncio.ensure_future(patience.ask(asked.append, "when it has ended"))
        await asyncio.sleep(0)
        going_on.set()
        await waiting
        patience.close()
        return asked

    assert asyncio.run(scenario()) == ["when it has ended"]
