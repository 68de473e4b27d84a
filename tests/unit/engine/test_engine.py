"""The engine by hand: what is judged and not yet committed is never lost, and never comes back."""

import asyncio
import threading
import time

import pytest
from support.backlog import Backlog, Thief, hits, now, stored
from support.loops import on_uvloop

from blocker.engine.admin import Admin
from blocker.engine.ceiling import MAX_GONE
from blocker.engine.upkeep import Upkeep
from blocker.errors import StoreError, UnchangedError
from blocker.store.records import Batch
from blocker.store.store import Store
from blocker.times import SECOND

EARLY, LATE = "198.51.100.66", "198.51.100.67"


def test_what_is_judged_in_a_backlog_is_committed_at_the_end(tmp_path):
    """Batches that were not committed one by one are all there after closing."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        await backlog.batch(hits(EARLY, 3))
        await backlog.batch(hits(LATE, 2))
        await backlog.batch(hits(LATE, 1))
        await backlog.close()
        return backlog

    backlog = on_uvloop(scenario())
    banned, count, offset = stored(backlog.state)
    assert banned == {bytes([198, 51, 100, 66]), bytes([198, 51, 100, 67])}
    assert (count, offset) == (6, backlog.log.stat().st_size)


@pytest.mark.parametrize("command", ["unban", "forget", "unban_all"])
def test_a_ban_that_is_not_committed_yet_can_be_ended(tmp_path, command):
    """Lifted in the midst of a backlog, it does not come back with the next commit."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        await backlog.batch(hits(EARLY, 3))
        await backlog.batch(hits(LATE, 3))
        subject = bytes([198, 51, 100, 67])
        arguments = [] if command == "unban_all" else [subject]
        await getattr(Admin(backlog.engine.parts), command)(*arguments)
        await backlog.batch(hits("192.0.2.1", 1))
        await backlog.close()
        return subject, backlog.state

    subject, state = on_uvloop(scenario())
    assert subject not in stored(state)[0]


@pytest.mark.parametrize(
    ("command", "held"),
    [
        ("unban", False),
        ("unban", True),
        ("unban_all", False),
        ("unban_all", True),
        ("forget", False),  # what can't be erased from the disk is not said to be forgotten
    ],
)
def test_a_ban_that_the_disk_refused_can_be_ended(tmp_path, command, held):
    """It does not come back when the disk takes changes again, after the command or before."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        engine, thief, subject = backlog.engine, Thief(backlog), bytes([198, 51, 100, 67])
        await thief.take(engine)
        await backlog.batch(hits(LATE, 3))
        await engine.ledger.stored(5.0)
        assert "locked" in engine.committer.last_error
        arguments = [] if command == "unban_all" else [subject]
        if held:
            with pytest.raises(StoreError, match=r"unbanned.*not stored yet.*locked"):
                await getattr(Admin(engine.parts), command)(*arguments)
        thief.let_go()
        if not held:
            await getattr(Admin(engine.parts), command)(*arguments)
        await backlog.batch(hits("192.0.2.1", 1))
        await backlog.close()
        return subject, backlog.state

    subject, state = on_uvloop(scenario())
    assert subject not in stored(state)[0]


def test_a_ban_by_hand_stands_although_the_disk_refuses(tmp_path):
    """Behind what the disk has not taken yet; the longer one is what is stored at last."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        engine, thief, subject = backlog.engine, Thief(backlog), bytes([198, 51, 100, 67])
        await thief.take(engine)
        await backlog.batch(hits(LATE, 3))
        with pytest.raises(StoreError, match=r"banned.*not stored yet.*locked"):
            await Admin(engine.parts).ban(subject, 10 * 86_400 * SECOND)
        assert engine.judge.bans.active(subject, now())[1] > now() + 9 * 86_400 * SECOND
        thief.let_go()
        await backlog.close()
        return subject, backlog.state

    subject, state = on_uvloop(scenario())
    store = Store(state)
    (row,) = store.standing(now())
    store.close()
    assert row.ban.subject == subject
    assert row.ban.until > now() + 9 * 86_400 * SECOND


def test_a_store_that_hangs_holds_up_neither_bans_nor_commands(tmp_path, monkeypatch):
    """Judging goes on, an unban is done at once and says what is missing, all is stored later."""
    monkeypatch.setattr("blocker.engine.ledger.COMMAND_PATIENCE", 0.2)
    monkeypatch.setattr("blocker.engine.commits.HANGS", 0.05)
    hanging = threading.Event()

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        engine = backlog.engine
        engine.committer.calls._writer.submit(hanging.wait)
        began = time.monotonic()
        await backlog.batch(hits(EARLY, 3))
        assert not await engine.committer.wait(0.1)
        monkeypatch.setattr("blocker.engine.ledger.COMMIT_PAUSE", 0)
        await backlog.batch(hits(EARLY, 12))
        subject = bytes([198, 51, 100, 66])
        assert engine.judge.bans.active(subject, now()) is not None
        assert "a commit has been going on" in engine.committer.trouble
        assert engine.ledger.counters[str(backlog.log), "hits"] == 15
        with pytest.raises(StoreError, match=r"unbanned.*not stored yet.*commit has been going on"):
            await Admin(engine.parts).unban(subject)
        assert engine.judge.bans.active(subject, now()) is None
        await backlog.batch(hits(LATE, 3))
        assert time.monotonic() - began < 5
        hanging.set()
        await backlog.close()
        return backlog.state

    banned, count, _ = stored(on_uvloop(scenario()))
    assert banned == {bytes([198, 51, 100, 67])}
    assert count == 18


def test_what_the_disk_refuses_is_kept_within_bounds_and_stored_later(tmp_path, monkeypatch):
    """Windows by the thousand are not piled up; hits, windows and positions are there at last."""
    monkeypatch.setattr("blocker.engine.ledger.MAX_OPEN_WINDOWS", 10)

    async def scenario():
        backlog = await Backlog(tmp_path, max_tracked=20).begin()
        engine, thief = backlog.engine, Thief(backlog)
        await thief.take(engine)
        for number in range(30):
            await backlog.batch("".join(hits(f"192.0.{number}.{n}", 1) for n in range(10)))
            await engine.ledger.stored(5.0)
            assert not engine.committer.unsaved.windows
            assert engine.judge.windows.changed <= 20 + 10
        await backlog.batch(hits(EARLY, 2))
        thief.let_go()
        await backlog.close()
        again = await Backlog(tmp_path).begin()
        await again.batch(hits(EARLY, 1))
        await again.close()
        return again

    backlog = on_uvloop(scenario())
    banned, count, offset = stored(backlog.state)
    assert banned == {bytes([198, 51, 100, 66])}
    assert (count, offset) == (303, backlog.log.stat().st_size)


def test_a_ban_that_is_not_committed_yet_can_be_made_longer(tmp_path):
    """By hand, in the midst of a backlog: the store knows the longer one, and only that."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        await backlog.batch(hits(EARLY, 3))
        await backlog.batch(hits(LATE, 3))
        subject = bytes([198, 51, 100, 67])
        await Admin(backlog.engine.parts).ban(subject, 7 * 86_400 * SECOND)
        with pytest.raises(UnchangedError):
            await Admin(backlog.engine.parts).ban(subject, 86_400 * SECOND)
        await backlog.close()
        return subject, backlog.state

    subject, state = on_uvloop(scenario())
    store = Store(state)
    ends = [row.ban.until for row in store.standing(now()) if row.ban.subject == subject]
    store.close()
    assert len(ends) == 1
    assert ends[0] > now() + 6 * 86_400 * SECOND


@pytest.mark.parametrize("tracked", [0, 1, 1000, 2000, 2500])
def test_a_batch_that_is_broken_off_is_read_again(tmp_path, tracked):
    """Called off in the midst of judging, it leaves nothing half; every hit is counted once."""

    async def broken_off():
        backlog = await Backlog(tmp_path).begin()
        with backlog.log.open("a") as log:
            log.writelines(hits(f"198.18.{n >> 8}.{n & 255}", 2) for n in range(2500))
        await backlog.tailer.scan()
        processing = asyncio.create_task(backlog.engine.process_batch(backlog.tailer))
        while len(backlog.engine.judge.windows) < tracked and not processing.done():  # noqa: ASYNC110 - the judge sets no event
            await asyncio.sleep(0)
        processing.cancel()
        await asyncio.wait({processing})
        await backlog.close()

    async def again():
        backlog = await Backlog(tmp_path).begin()
        while await backlog.engine.process_batch(backlog.tailer):
            pass
        assert sum(backlog.engine.bans.active.count(now())) == 0
        with backlog.log.open("a") as log:
            log.writelines(hits(f"198.18.{n >> 8}.{n & 255}", 1) for n in range(2500))
        await backlog.tailer.scan()
        while await backlog.engine.process_batch(backlog.tailer):
            pass
        await backlog.close()
        return backlog.state

    on_uvloop(broken_off())
    banned, count, _ = stored(on_uvloop(again()))
    assert (len(banned), count) == (2500, 7500)


def test_counters_of_many_logs_that_are_gone_become_those_of_one(tmp_path):
    """In memory and in the store; the sums stay what they were, and few logs are left alone."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        engine = backlog.engine
        counters = {(f"/log/{n}", "lines"): n for n in range(MAX_GONE + 3)}
        engine.ledger.counters.update(counters)
        engine.store.commit(Batch([], {}, [], counters, now()))
        before = sum(engine.ledger.counters.values())
        await Upkeep(engine).fold_gone(["/log/1", "/log/2", "/log/3"])
        assert len(engine.ledger.counters) >= len(counters)
        await Upkeep(engine).fold_gone(["/log/1", "/log/2"])
        logs = {log for log, name in engine.ledger.counters if name == "lines"}
        assert logs == {"/log/1", "/log/2", "gone"}
        assert sum(engine.ledger.counters.values()) == before
        await backlog.close()
        return backlog.state, before

    state, before = on_uvloop(scenario())
    store = Store(state)
    assert {log for log, name in store.counters() if name == "lines"} == {
        "/log/1",
        "/log/2",
        "gone",
    }
    assert sum(store.counters().values()) == before
    store.close()
