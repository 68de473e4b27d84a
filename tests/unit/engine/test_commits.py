"""The committer: one commit at a time, what the disk refused, and how long anything waits."""

import asyncio
import threading

import pytest
from support.backlog import now
from support.loops import on_uvloop

from blocker.engine.commits import Committer
from blocker.errors import StoreError
from blocker.model import Ban
from blocker.store.records import Batch, NewRow
from blocker.store.store import Store
from blocker.times import HOUR


def counting(**counters):
    return Batch([], {}, [], {("", name): count for name, count in counters.items()}, now())


def banning(*subjects):
    rows = [NewRow(Ban(who, "xmlrpc", now(), now() + HOUR, 3, 1), applied=True) for who in subjects]
    return Batch([], {}, rows, {}, now())


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "state.db")
    yield opened
    opened.close()


def with_committer(store, scenario):
    """Run a scenario with a committer of its own."""

    async def run():
        committer = Committer(store)
        try:
            return await scenario(committer)
        finally:
            committer.calls.close()

    return on_uvloop(run())


async def refusing(committer, store):
    """Let the store refuse the next commit, as a full disk does."""
    await committer.calls.run(store._db.execute, "PRAGMA max_page_count = 1")


async def accepting(committer, store):
    await committer.calls.run(store._db.execute, "PRAGMA max_page_count = 1000000")


def many():
    return banning(*((11 << 24 | number).to_bytes(4, "big") for number in range(5000)))


def test_a_commit_is_numbered_from_its_beginning_to_its_end(store):
    """Who waits for a number knows when it is stored, and that everything before it is."""

    async def scenario(committer):
        committer.begin(counting(hits=1))
        assert (committer.begun, committer.ended, committer.stored) == (1, 0, 0)
        assert committer.busy
        assert await committer.wait(5.0)
        assert (committer.begun, committer.ended, committer.stored) == (1, 1, 1)
        assert not committer.busy
        assert committer.age == 0.0

    with_committer(store, scenario)
    assert store.counters() == {("", "hits"): 1}


def test_what_was_refused_is_stored_with_the_next_batch(store, caplog):
    """The reason is logged once, however often the disk refuses, and so is its end."""
    caplog.set_level("INFO")

    async def scenario(committer):
        await refusing(committer, store)
        for count in (1, 2):
            committer.begin(many() if count == 1 else counting(hits=1))
            await committer.wait(5.0)
            assert "full" in committer.last_error
            assert committer.trouble == committer.last_error
            assert (committer.failures, committer.stored) == (count, 0)
            assert len(committer.unsaved.bans) == 5000
        await accepting(committer, store)
        committer.begin(counting(hits=2))
        assert committer.unsaved is None
        await committer.wait(5.0)
        assert (committer.last_error, committer.trouble, committer.stored) == ("", "", 3)

    with_committer(store, scenario)
    assert store.counters() == {("", "hits"): 3}
    assert store.count_bans() == 5000
    assert len([each for each in caplog.messages if "nothing is stored" in each]) == 1
    assert caplog.messages[-1] == "the store accepts changes again; nothing was lost"


def test_what_is_kept_of_a_refused_batch_is_decided_by_whom_it_came_from(store):
    """The ledger keeps no windows, for instance."""

    async def scenario(committer):
        committer.on_refused = lambda batch: batch._replace(bans=batch.bans[:7])
        await refusing(committer, store)
        committer.begin(many())
        await committer.wait(5.0)
        return len(committer.unsaved.bans)

    assert with_committer(store, scenario) == 7


def test_a_commit_that_hangs_is_reported_once_and_not_waited_for(store, monkeypatch, caplog):
    """Until it ends; a call behind it is refused in time, with the reason."""
    monkeypatch.setattr("blocker.engine.commits.HANGS", 0.05)
    caplog.set_level("INFO")
    hanging = threading.Event()

    async def scenario(committer):
        calls = asyncio.ensure_future(committer.calls.run(hanging.wait))
        await asyncio.sleep(0)
        committer.begin(counting(hits=1))
        assert committer.patience(3.0) == 3.0
        assert not await committer.wait(0.1)
        assert committer.hangs
        assert committer.patience(3.0) == 0.0
        for _ in range(2):
            committer.log_if_hanging()
        with pytest.raises(StoreError, match="a commit has been going on"):
            await committer.calls.run(store.counters, within=0.05)
        assert await committer.calls.look_up(store.knows, bytes(4), within=5.0) is False
        hanging.set()
        await calls
        assert await committer.wait(5.0)
        assert committer.trouble == ""

    with_committer(store, scenario)
    assert len([each for each in caplog.messages if "a commit has been going on" in each]) == 1
    assert store.counters() == {("", "hits"): 1}


def test_an_error_that_is_no_refusal_is_raised_at_the_next_commit(store):
    """It is a fault of the program, and ends the daemon."""

    async def scenario(committer):
        committer.begin(Batch([], {}, [None], {}, now()))
        await committer.wait(5.0)
        with pytest.raises(AttributeError):
            committer.begin(counting(hits=1))

    with_committer(store, scenario)


def test_a_call_that_the_store_refuses_is_counted(store):
    """As ``store_failures_total`` has it."""

    async def scenario(committer):
        await refusing(committer, store)
        with pytest.raises(StoreError):
            await committer.calls.run(store.commit, many())
        return committer.failures

    assert with_committer(store, scenario) == 1
