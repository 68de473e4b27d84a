"""Calls of the store: in which thread, how long they are waited for, and what is counted."""

import asyncio
import threading

import pytest
from support.loops import on_uvloop

from blocker.engine.store_calls import StoreCalls
from blocker.errors import StoreError
from blocker.store.store import Store


def with_calls(directory, scenario):
    """Run a scenario with a store and its calls."""
    store = Store(directory / "state.db")

    async def run():
        calls = StoreCalls(store)
        try:
            return await scenario(calls, store)
        finally:
            calls.close()

    try:
        return on_uvloop(run())
    finally:
        store.close()


def test_calls_run_one_after_the_other(tmp_path):
    """A call that was started before is finished before the next begins."""

    async def scenario(calls, _store):
        order, may_end = [], threading.Event()
        first = calls.start(lambda: (may_end.wait(), order.append("first")))
        second = asyncio.ensure_future(calls.run(order.append, "second"))
        await asyncio.sleep(0)
        assert order == []
        may_end.set()
        await asyncio.gather(first, second)
        return order

    assert with_calls(tmp_path, scenario) == ["first", "second"]


def test_a_call_that_does_not_return_is_not_waited_for(tmp_path):
    """The error says what is known of the trouble; reads and checks are answered meanwhile."""

    async def scenario(calls, store):
        may_end = threading.Event()
        hanging = calls.start(may_end.wait)
        with pytest.raises(StoreError, match=r"state\.db: no answer within 0\.05 s"):
            await calls.run(store.counters, within=0.05)
        calls.trouble = lambda: "another program has locked the database"
        with pytest.raises(StoreError, match="another program has locked the database"):
            await calls.run(store.counters, within=0.05)
        assert await calls.look_up(store.knows, bytes(4), within=60.0) is False
        assert await calls.look_for_damage() == ""
        may_end.set()
        await hanging
        assert await calls.run(store.counters, within=60.0) == {}
        return calls.failures

    assert with_calls(tmp_path, scenario) == 0


def test_a_call_that_fails_is_counted(tmp_path):
    """An error of the store; another exception is the caller's."""

    def refuse(error):
        raise error

    async def scenario(calls, _store):
        with pytest.raises(StoreError):
            await calls.run(refuse, StoreError("the disk is full"))
        with pytest.raises(StoreError):
            await calls.look_up(refuse, StoreError("the disk is full"), within=60.0)
        with pytest.raises(ValueError, match="wrong"):
            await calls.run(refuse, ValueError("wrong"))
        return calls.failures

    assert with_calls(tmp_path, scenario) == 2
