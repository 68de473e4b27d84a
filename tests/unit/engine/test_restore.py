"""Reading back what is stored, at a start and after the clock was set."""

import sqlite3
from contextlib import closing

from support.backlog import Backlog, Thief, hits, now
from support.loops import on_uvloop

from blocker.engine.restore import read_back
from blocker.friends.friends import Friends
from blocker.model import Ban
from blocker.store.records import Batch, NewRow
from blocker.store.store import Store
from blocker.times import DAY, HOUR, SECOND

REMEMBER = 90 * DAY
WHO, OTHER = bytes([198, 51, 100, 66]), bytes([198, 51, 100, 67])


def store_bans(state, *bans):
    """Store (subject, start, until)."""
    with closing(Store(state)) as store:
        rows = [NewRow(Ban(*ban[:1], "xmlrpc", *ban[1:], 3, 1), applied=True) for ban in bans]
        store.commit(Batch([], {}, rows, {("", "bans:xmlrpc"): len(rows)}, now()))


def restored(directory, look):
    """Start on what is stored, and return what ``look`` sees of the engine."""

    async def run():
        backlog = await Backlog(directory).begin()
        try:
            return look(backlog.engine)
        finally:
            await backlog.close()

    return on_uvloop(run())


def test_bans_offences_and_counters_are_there_after_a_start(tmp_path):
    """Those that stand are counted; an ended one is an offence still."""
    at = now()
    store_bans(
        tmp_path / "state.db",
        (WHO, at - DAY, at - DAY + HOUR),
        (WHO, at, at + HOUR),
        (OTHER, at - DAY, at - HOUR),
    )
    active, offences, repeat, counters = restored(
        tmp_path,
        lambda engine: (
            engine.bans.active.count(now()),
            [engine.judge.bans.count(who) for who in (WHO, OTHER)],
            engine.bans.repeat_offenders,
            dict(engine.ledger.counters),
        ),
    )
    assert (active, offences, repeat) == ((1, 0), [2, 1], 1)
    assert counters["", "bans:xmlrpc"] == 3


def test_pending_hits_go_on_counting(tmp_path):
    """Two before the stop and one after it make a ban."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        await backlog.batch(hits("198.51.100.66", 2))
        await backlog.close()
        backlog = await Backlog(tmp_path).begin()
        assert len(backlog.engine.judge.windows.get(WHO)) == 16
        await backlog.batch(hits("198.51.100.66", 1))
        stands = backlog.engine.bans.stands(WHO)
        await backlog.close()
        return stands

    assert on_uvloop(scenario())


def test_a_ban_of_who_is_a_friend_by_now_is_ended_in_the_kernel(tmp_path):
    """It is not remembered; one that has ended need not be looked for there."""
    at = now()
    store_bans(tmp_path / "state.db", (WHO, at, at + HOUR), (OTHER, at - DAY, at - HOUR))

    async def scenario():
        backlog = Backlog(tmp_path)
        backlog.engine.bans._friends = Friends.build(lists={}, allow=("198.51.100.0/24",))
        await backlog.begin()
        bans = backlog.engine.bans
        found = bans.now_friends, backlog.engine.judge.bans.subjects(), bans.active.count(at)
        await backlog.close()
        return found

    assert on_uvloop(scenario()) == ([WHO], [], (0, 0))


def test_a_clock_that_is_more_than_a_day_from_the_last_commit_is_in_doubt(tmp_path):
    """Nothing is tidied then for a turn; the first start of all has nothing to compare with."""

    async def doubt():
        backlog = Backlog(tmp_path)
        await backlog.begin()
        await backlog.batch(hits("198.51.100.66", 1))
        await backlog.close()
        return backlog.doubted

    assert on_uvloop(doubt()) is False
    for days, expected in ((0, False), (2, True), (-2, True)):
        with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
            database.execute("UPDATE positions SET seen = ?", (now() + days * DAY,))
        assert on_uvloop(doubt()) is expected


def test_bans_are_read_back_as_they_were_made(tmp_path):
    """What memory made of them meanwhile, under a wrong clock, is forgotten."""
    at = now() // SECOND * SECOND
    store_bans(tmp_path / "state.db", (WHO, at, at + HOUR))

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        judge = backlog.engine.judge
        judge.bans.set_end(WHO, at + 7 * DAY)
        judge.add_ban(OTHER, at, at + HOUR)
        await read_back(backlog.engine.parts, REMEMBER, at)
        found = judge.bans.active(WHO, at), judge.bans.subjects()
        await backlog.close()
        return found

    assert on_uvloop(scenario()) == ((at, at + HOUR), [WHO])


def test_while_the_store_refuses_the_known_bans_are_kept(tmp_path):
    """No ban is lost because the disk fails in the same moment."""
    at = now()
    store_bans(tmp_path / "state.db", (WHO, at, at + HOUR))

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        engine = backlog.engine
        engine.judge.add_ban(OTHER, at, at + HOUR)
        await engine.parts.calls.run(engine.store._db.execute, "ALTER TABLE bans RENAME TO away")
        await read_back(engine.parts, REMEMBER, at)
        found = set(engine.judge.bans.subjects())
        await engine.parts.calls.run(engine.store._db.execute, "ALTER TABLE away RENAME TO bans")
        await backlog.close()
        return found

    assert on_uvloop(scenario()) == {WHO, OTHER}


def test_a_database_that_another_program_holds_can_be_read_back(tmp_path):
    """A start does not wait for it."""
    at = now()
    store_bans(tmp_path / "state.db", (WHO, at, at + HOUR))
    restored(tmp_path, bool)

    async def scenario():
        backlog = Backlog(tmp_path)
        thief = Thief(backlog)
        await thief.take(backlog.engine)
        await backlog.begin()
        banned = backlog.engine.judge.bans.subjects()
        thief.let_go()
        await backlog.close()
        return banned

    assert on_uvloop(scenario()) == [WHO]
