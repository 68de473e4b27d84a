"""The ledger: what comes into a commit, what waits, and what is shown meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest
from support.backlog import Backlog, Thief, hits, now
from support.loops import on_uvloop

from blocker.engine.ledger import Ledger
from blocker.model import Ban
from blocker.store.records import End, NewRow
from blocker.times import HOUR

WHO, OTHER = bytes([198, 51, 100, 66]), bytes([198, 51, 100, 67])


def ban_of(who):
    return Ban(who, "xmlrpc", now(), now() + HOUR, 3, 1)


def thief_of(engine):
    return Thief(SimpleNamespace(state=engine.store.path))


def with_engine(directory, scenario, **options):
    """Run a scenario with an engine that enforces nothing."""

    async def run():
        backlog = await Backlog(directory, **options).begin()
        try:
            return await scenario(backlog.engine)
        finally:
            await backlog.close()

    return on_uvloop(run())


def test_what_was_noted_is_committed_once(tmp_path):
    """A second commit has nothing of the first; what is stored shows in the counters."""

    async def scenario(engine):
        ledger = engine.ledger
        ledger.pending.counters["", "hits"] += 3
        assert ledger.counters["", "hits"] == 0
        assert await ledger.stored(5.0)
        assert ledger.counters["", "hits"] == 3
        assert await ledger.stored(5.0)
        return engine.store.counters()["", "hits"]

    assert with_engine(tmp_path, scenario) == 3


def test_nothing_is_committed_of_a_batch_that_is_not_complete(tmp_path):
    """Its positions and windows are not of one moment."""

    async def scenario(engine):
        ledger = engine.ledger
        ledger.pending.counters["", "hits"] += 3
        ledger.incomplete = True
        await ledger.stored(5.0)
        assert ("", "hits") not in engine.store.counters()
        ledger.incomplete = False
        await ledger.stored(5.0)
        return engine.store.counters()["", "hits"]

    assert with_engine(tmp_path, scenario) == 3


def test_bans_are_counted_by_country_only_while_countries_are_known(tmp_path):
    """Without a database there is no such counter, not even for unknown countries."""
    known = {}

    async def scenario(engine):
        ledger = Ledger(engine.judge, engine.committer, asyncio.Lock(), now, known.get)
        ledger.count_countries([ban_of(WHO)])
        assert not ledger.pending.counters
        known[WHO] = "DE"
        ledger.count_countries([ban_of(WHO), ban_of(OTHER), ban_of(WHO)])
        return dict(ledger.pending.counters)

    assert with_engine(tmp_path, scenario) == {("", "country:DE"): 2}


def test_windows_of_a_commit_that_is_cancelled_are_in_the_next(tmp_path, monkeypatch):
    """They were taken from the judge already."""
    monkeypatch.setattr("blocker.engine.ledger.WINDOW_SLICE", 1)

    async def scenario(engine):
        judge = engine.judge
        judge.windows.put_back([WHO, OTHER])
        judge.windows.restore(WHO, bytes(8))
        taking = asyncio.ensure_future(engine.ledger.begin())
        await asyncio.sleep(0)
        assert judge.windows.changed == 0
        taking.cancel()
        await asyncio.wait({taking})
        assert judge.windows.changed == 2
        await engine.ledger.stored(5.0)
        return judge.windows.changed

    assert with_engine(tmp_path, scenario) == 0


def test_beyond_the_ceiling_the_oldest_bans_stand_in_the_kernel_alone(tmp_path, monkeypatch):
    """And are counted."""
    monkeypatch.setattr("blocker.engine.ledger.MAX_UNSTORED", 2)

    async def scenario(engine):
        rows = [NewRow(ban_of(bytes([198, 18, 0, n])), applied=True) for n in range(5)]
        engine.ledger.pending.bans += rows
        await engine.ledger.stored(5.0)
        return [row.ban.subject[3] for row in engine.store.standing(now())], engine.ledger.counters

    standing, counters = with_engine(tmp_path, scenario)
    assert standing == [3, 4]
    assert counters["", "bans_unstored"] == 3


def test_an_order_reaches_what_the_disk_refused_before(tmp_path):
    """A ban that waits for the disk ends with the order, not with the commit."""

    async def scenario(engine):
        ledger, thief = engine.ledger, thief_of(engine)
        await thief.take(engine)
        ledger.pending.bans.append(NewRow(ban_of(WHO), applied=True))
        assert not await ledger.stored(5.0)
        at = now()
        number = ledger.order(End(at, frozenset([WHO])))
        assert [row.ban.until for row in engine.committer.unsaved.bans] == [at]
        thief.let_go()
        assert await ledger.wait_stored(number) == ""
        return engine.store.standing(at)

    assert with_engine(tmp_path, scenario) == []


def test_the_answer_to_an_order_has_the_error_of_the_disk(tmp_path, monkeypatch):
    """After two seconds at most, and a tenth of a second for a thousand rows."""
    monkeypatch.setattr("blocker.engine.ledger.COMMAND_PATIENCE", 0.1)

    async def scenario(engine):
        thief = thief_of(engine)
        await thief.take(engine)
        said = await engine.ledger.wait_stored(engine.ledger.order(End(now(), None)))
        thief.let_go()
        return said

    assert "locked" in with_engine(tmp_path, scenario)


def test_a_store_that_refused_is_asked_later_the_more_there_is(tmp_path, monkeypatch):
    """Each attempt gathers all changed windows again."""
    monkeypatch.setattr("blocker.engine.ledger.RETRIED_WINDOWS", 0.001)

    async def scenario(engine):
        assert engine.ledger.may_retry()
        engine.judge.windows.put_back(range(10))
        engine.committer.saved_at = asyncio.get_running_loop().time()
        asked = engine.ledger.may_retry()
        engine.judge.windows.take_changed()
        return asked

    assert with_engine(tmp_path, scenario) is False


def test_bans_of_who_was_evicted_wait_no_longer(tmp_path):
    """What waits for the disk grows no further than what is remembered."""

    async def scenario(engine):
        thief = thief_of(engine)
        await thief.take(engine)
        engine.bans.add(WHO, now(), now() + HOUR)
        rows = [NewRow(ban_of(who), applied=True) for who in (WHO, OTHER)]
        engine.ledger.pending.bans += rows
        await engine.ledger.stored(5.0)
        engine.ledger.drop_forgotten()
        kept = [row.ban.subject for row in engine.committer.unsaved.bans]
        thief.let_go()
        return kept

    assert with_engine(tmp_path, scenario) == [WHO]


@pytest.mark.parametrize("pause", [0, 1000])
def test_in_a_backlog_a_commit_is_begun_every_so_often(tmp_path, monkeypatch, pause):
    """Not with every batch."""
    monkeypatch.setattr("blocker.engine.ledger.COMMIT_PAUSE", pause)

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        backlog.engine.committer.saved_at = asyncio.get_running_loop().time()
        before = backlog.engine.committer.begun
        await backlog.batch(hits("198.51.100.66", 1))
        begun = backlog.engine.committer.begun - before
        await backlog.close()
        return begun

    assert on_uvloop(scenario()) == (pause == 0)
