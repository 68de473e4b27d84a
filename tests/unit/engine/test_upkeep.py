"""The upkeep: what is done beside the batches, on an engine that enforces nothing."""

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from support.backlog import Backlog, Thief, hits, now
from support.loops import on_uvloop

from blocker.engine.upkeep import Upkeep
from blocker.model import Ban
from blocker.store.records import NewRow
from blocker.store.store import Store
from blocker.times import DAY, HOUR

REMEMBER = 90 * DAY
WHO, OTHER = bytes([198, 51, 100, 66]), bytes([198, 51, 100, 67])
PAGE = 4096


def with_upkeep(directory, scenario):
    """Run a scenario with an upkeep, and its engine that enforces nothing."""

    async def run():
        backlog = await Backlog(directory).begin()
        try:
            return await scenario(Upkeep(backlog.engine), backlog)
        finally:
            await backlog.close()

    return on_uvloop(run())


async def many_bans(engine, count=3000):
    """Store so many bans that they fill pages, and move them into the file."""
    subjects = [(11 << 24 | number).to_bytes(4, "big") for number in range(count)]
    rows = [NewRow(Ban(who, "xmlrpc", now(), now() + HOUR, 3, 1), applied=True) for who in subjects]
    engine.ledger.pending.bans += rows
    assert await engine.ledger.stored(30.0)
    await engine.committer.calls.run(engine.store._db.execute, "PRAGMA wal_checkpoint(TRUNCATE)")


def overwrite(path, pages):
    """Write over pages, as a failing disk or another program does."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(b"\xff" * PAGE)


def test_a_database_that_is_whole_is_left_alone(tmp_path):
    """A look changes nothing and logs nothing."""

    async def scenario(upkeep, backlog):
        await many_bans(backlog.engine)
        before = backlog.state.stat().st_ino
        await upkeep.check_store()
        committer = backlog.engine.committer
        return before == backlog.state.stat().st_ino, committer.trouble, committer.failures

    assert with_upkeep(tmp_path, scenario) == (True, "", 0)


def test_a_database_damaged_beneath_the_daemon_is_written_again_from_memory(tmp_path, caplog):
    """Commits go on without an error, but the next start would find nothing."""

    async def scenario(upkeep, backlog):
        engine = backlog.engine
        await many_bans(engine)
        overwrite(backlog.state, range(1, backlog.state.stat().st_size // PAGE))
        await backlog.batch(hits("198.51.100.66", 3))
        assert await engine.ledger.stored(5.0)
        assert engine.committer.last_error == ""
        await upkeep.check_store()
        (problem,) = engine.announcer.conditions.texts(now())
        return problem, engine.committer.trouble

    problem, trouble = with_upkeep(tmp_path, scenario)
    assert "was damaged" in problem
    assert trouble == ""
    assert problem in caplog.messages
    with closing(Store(tmp_path / "state.db")) as store:
        assert store.count_bans() == 3001
    assert (tmp_path / "state.db.replaced").exists()


def test_damage_that_memory_can_not_undo_is_a_problem_until_it_is_gone(tmp_path, caplog):
    """In ``status`` as everything that the store refuses; logged once; the file is left alone."""

    async def scenario(upkeep, backlog):
        engine = backlog.engine
        await many_bans(engine)
        whole = backlog.state.read_bytes()
        await engine.committer.calls.run(engine.store._db.execute, "PRAGMA shrink_memory")
        overwrite(backlog.state, range(10, len(whole) // PAGE))
        for _ in range(2):
            await upkeep.check_store()
            trouble = engine.committer.trouble
            assert "malformed" in trouble
            assert "move the file away" in trouble
            assert engine.committer.failures == 1
        assert caplog.messages.count(trouble) == 1
        assert not (tmp_path / "state.db.replaced").exists()
        backlog.state.write_bytes(whole)
        await upkeep.check_store()
        return engine.committer.trouble

    assert with_upkeep(tmp_path, scenario) == ""


def test_the_database_is_looked_over_only_every_so_often(tmp_path, monkeypatch):
    """Its size decides: reading all of it costs time."""
    monkeypatch.setattr("blocker.engine.upkeep.CHECK_PAUSE", 0.0)
    monkeypatch.setattr("blocker.engine.upkeep.CHECK_SHARE", 1e9)

    async def scenario(upkeep, backlog):
        looks = []
        backlog.engine.store.damage = lambda: looks.append(1) or ""
        for _ in range(3):
            await upkeep.keep_store()
        return len(looks)

    assert with_upkeep(tmp_path, scenario) == 1


def test_a_deleted_database_is_written_again(tmp_path):
    """From what is open, and it is reported."""

    async def scenario(upkeep, backlog):
        await backlog.batch(hits("198.51.100.66", 3))
        await backlog.engine.ledger.stored(5.0)
        for each in tmp_path.glob("state.db*"):
            each.unlink()
        await upkeep.keep_store()
        return backlog.engine.announcer.conditions.texts(now())

    (problem,) = with_upkeep(tmp_path, scenario)
    assert "deleted or replaced" in problem
    with closing(Store(tmp_path / "state.db")) as store:
        assert store.count_bans() == 1


def test_tidying_forgets_what_is_over_in_memory_and_store(tmp_path):
    """An offence that is older than ``remember``, and hits that are quiet for more than a day."""

    async def scenario(upkeep, backlog):
        engine, at = backlog.engine, now()
        engine.bans.add(WHO, at - 100 * DAY, at - 99 * DAY)
        ban = Ban(WHO, "xmlrpc", at - 100 * DAY, at - 99 * DAY, 3, 1)
        engine.ledger.pending.bans.append(NewRow(ban, applied=True))
        engine.judge.windows.restore(OTHER, ((at - 3 * DAY) << 8).to_bytes(8, "big"))
        await engine.ledger.stored(5.0)
        await upkeep.tidy(REMEMBER)
        return engine.judge.subjects(), engine.store.count_bans()

    assert with_upkeep(tmp_path, scenario) == ([], 0)


def test_after_the_clock_was_set_bans_are_those_of_the_store(tmp_path):
    """Times of logs ahead of the clock are distrusted, and the counts are made again."""

    async def scenario(upkeep, backlog):
        engine, at = backlog.engine, now()
        await backlog.batch(hits("198.51.100.66", 3))
        path = str(backlog.log)
        engine.logs._latest[path] = at + DAY
        engine.judge.bans.set_end(WHO, at - HOUR)
        assert not engine.bans.stands(WHO)
        await upkeep.resync(REMEMBER)
        assert engine.logs.latest(path) <= now()
        return engine.bans.stands(WHO), engine.bans.active.count(now())

    assert with_upkeep(tmp_path, scenario) == (True, (1, 0))


def test_while_the_disk_refuses_the_clock_may_be_set(tmp_path):
    """Bans in memory are kept: those of the store lack what was refused."""

    async def scenario(upkeep, backlog):
        engine = backlog.engine
        thief = Thief(SimpleNamespace(state=backlog.state))
        await thief.take(engine)
        await backlog.batch(hits("198.51.100.66", 3))
        await engine.ledger.stored(5.0)
        await upkeep.resync(REMEMBER)
        thief.let_go()
        return engine.bans.stands(WHO)

    assert with_upkeep(tmp_path, scenario)


@pytest.mark.parametrize("noted", ["", "xmlrpc_blocker", "former"])
def test_the_table_of_the_configuration_before_is_known(tmp_path, noted):
    """If it was another one."""

    async def scenario(upkeep, _backlog):
        if noted:
            await upkeep.note_table(noted)
        return await upkeep.former_table("xmlrpc_blocker")

    assert with_upkeep(tmp_path, scenario) == ("former" if noted == "former" else "")


def test_a_rehearsal_notices_no_bans_that_do_not_reach(tmp_path):
    """Nothing is enforced, so everybody is still in the log."""

    async def scenario(upkeep, backlog):
        before = backlog.engine.judge.reach_since
        await upkeep.caught_up()
        return backlog.engine.judge.reach_since == before

    assert with_upkeep(tmp_path, scenario)


def test_the_kernel_having_all_bans_is_not_stored_in_a_rehearsal(tmp_path):
    """What is applied is what a kernel acknowledged."""

    async def scenario(upkeep, backlog):
        await backlog.batch(hits("198.51.100.66", 3))
        await upkeep.enforce_all()
        await upkeep.reconcile()
        await backlog.engine.ledger.stored(5.0)
        with closing(sqlite3.connect(backlog.state)) as database:
            return database.execute("SELECT applied FROM bans").fetchall()

    assert with_upkeep(tmp_path, scenario) == [(0,)]
