"""The ceiling of remembered bans, with the real judge, store and engine."""

import asyncio

import pytest
from support.backlog import Backlog, Thief, hits, now
from support.loops import on_uvloop

from blocker.engine.upkeep import Upkeep
from blocker.errors import StoreError
from blocker.model import Ban
from blocker.store.records import Batch, NewRow
from blocker.store.store import Store
from blocker.times import SECOND

REMEMBER = 90 * 86_400 * SECOND
HOUR = 3600 * SECOND


def subject(number):
    return bytes([11, 0, number >> 8, number & 255])


def fill(state, count, *, repeat=()):
    """Store bans that have ended, one a subject, and two of those who come back."""
    store, at = Store(state), now() - 3 * HOUR
    made = [Ban(subject(n), "xmlrpc", at + n, at + HOUR + n, 3, 1) for n in range(count)]
    made += [Ban(subject(n), "xmlrpc", at + HOUR + n, at + HOUR + n, 3, 2) for n in repeat]
    store.commit(Batch([], {}, [NewRow(ban, applied=True) for ban in made], {}, now()))
    store.close()


def stored(state):
    store = Store(state)
    try:
        return {row[0] for page in store.remembered(0, now()) for row in page}
    finally:
        store.close()


def test_a_start_with_too_many_stored_bans_reads_the_heaviest_and_sweeps_the_others(tmp_path):
    """What memory does not hold is gone from the store as well, bit by bit, after the start."""

    async def scenario():
        backlog = Backlog(tmp_path, max_remembered=100)
        fill(backlog.state, 1000, repeat=range(20))
        engine = (await backlog.begin()).engine
        assert engine.judge.bans.total <= 100
        assert engine.bans.repeat_offenders == 20
        assert engine.ceiling.reached.is_set()
        await Upkeep(engine).evict()
        remembered = set(engine.judge.bans.subjects())
        await backlog.close()
        return backlog.state, remembered

    state, remembered = on_uvloop(scenario())
    assert set(map(subject, range(20))) < remembered
    assert subject(999) in remembered
    assert stored(state) == remembered


def test_bans_beyond_the_ceiling_are_evicted_counted_and_reported(tmp_path):
    """Live, as soon as one is made: memory, store, metric and the list of problems agree."""

    async def scenario():
        backlog = Backlog(tmp_path, max_remembered=100)
        fill(backlog.state, 100, repeat=())
        engine = (await backlog.begin()).engine
        assert not engine.ceiling.reached.is_set()
        await backlog.batch(hits("198.51.100.66", 3))
        assert engine.ceiling.reached.is_set()
        await Upkeep(engine).evict()
        assert engine.judge.bans.evicted == 101 - engine.judge.bans.total == 7
        assert "max_remembered = 100" in engine.announcer.conditions.texts(now())[0]
        await engine.ledger.stored(5.0)
        remembered = set(engine.judge.bans.subjects())
        await backlog.close()
        return backlog.state, remembered

    state, remembered = on_uvloop(scenario())
    assert bytes([198, 51, 100, 66]) in remembered
    assert stored(state) == remembered


def test_a_store_that_refuses_a_sweep_is_swept_another_time(tmp_path):
    """Memory is bounded at once; the rows go with the next sweep."""

    async def scenario():
        backlog = Backlog(tmp_path, max_remembered=100)
        fill(backlog.state, 100)
        engine = (await backlog.begin()).engine
        await backlog.batch(hits("198.51.100.66", 3))
        await engine.ledger.stored(5.0)
        await asyncio.to_thread(engine.store._db.execute, "PRAGMA query_only = 1")
        try:
            await Upkeep(engine).evict()
        except Exception as error:  # noqa: BLE001 - asserted below
            refusal = str(error)
        assert "readonly" in refusal or "read" in refusal
        assert engine.judge.bans.total == 94
        assert engine.store.count_bans() == 101
        await asyncio.to_thread(engine.store._db.execute, "PRAGMA query_only = 0")
        await Upkeep(engine).evict()
        assert engine.store.count_bans() == 94
        await backlog.close()

    on_uvloop(scenario())


def test_what_waits_for_the_disk_is_bounded_by_what_is_remembered(tmp_path):
    """While the store is locked, bans that are evicted are not kept to be stored either."""

    async def scenario():
        backlog = await Backlog(tmp_path, max_remembered=100).begin()
        engine, thief = backlog.engine, Thief(backlog)
        await thief.take(engine)
        for number in range(150):
            await backlog.batch(hits(f"11.1.0.{number}", 3))
            await engine.ledger.stored(5.0)
        for who in engine.judge.bans.subjects():
            engine.judge.bans.set_end(who, now() - SECOND)
        with pytest.raises(StoreError, match="locked"):
            await Upkeep(engine).evict()
        waiting = {row.ban.subject for row in engine.committer.unsaved.bans}
        assert len(waiting) == engine.judge.bans.total == 94
        assert waiting == set(engine.judge.bans.subjects())
        thief.let_go()
        await backlog.close()

    on_uvloop(scenario())
