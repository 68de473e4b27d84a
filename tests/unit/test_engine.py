"""The engine by hand: what is judged and not yet committed is never lost, and never comes back."""

import asyncio
import sqlite3
import threading
import time
from datetime import UTC, datetime

import pytest
from loops import on_uvloop

from blocker.batch import Batch
from blocker.ceiling import MAX_GONE
from blocker.config import Config
from blocker.enforce import Enforcer
from blocker.engine import Engine, Stages
from blocker.errors import StoreError, UnchangedError
from blocker.friends import Friends
from blocker.judge import Judge, Limits
from blocker.match import Matcher
from blocker.model import SECOND
from blocker.store import Store
from blocker.tail import Tails

EARLY, LATE = "198.51.100.66", "198.51.100.67"


def now():
    return time.time_ns() // 1000


def hits(address, count):
    stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    return f'{address} - - [{stamp}] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n' * count


async def whole(_log):
    return 0


class Backlog:
    """An engine that is given one batch at a time, so that there is always more."""

    def __init__(self, directory, max_tracked=1_000_000, max_remembered=1_000_000):
        self.log, self.state = directory / "access.log", directory / "state.db"
        self.log.touch()
        config = Config()
        limits = Limits(config.remember, max_tracked, config.ipv6_prefix, max_remembered)
        friends = Friends.build(lists={})
        judge = Judge(list(config.traps.items()), limits, friends.why)
        # A rehearsal, so that there is no kernel; the store takes its bans for real ones.
        stages = Stages(
            Matcher(list(config.traps.values())),
            judge,
            Enforcer(None, friends, now),
            Store(self.state),
        )
        self.engine = Engine(stages, list(config.traps), now)
        self.tails = None

    async def begin(self):
        """Read back what is stored, and go on there."""
        places = await self.engine.restore(90 * 86_400 * SECOND)
        known = [place.position for place in places]
        self.tails = Tails([str(self.log)], known, start_of=whole)
        await self.tails.scan()
        return self

    async def batch(self, text):
        """Write, and judge one batch: the backlog goes on."""
        with self.log.open("a") as log:
            log.write(text)
        await self.tails.scan()
        assert await self.engine.digest(self.tails)

    async def close(self):
        await self.engine.close()
        self.engine.store.close()
        self.tails.close()


def stored(state):
    """Return who is banned, how many hits and which position a later start would find."""
    store = Store(state)
    try:
        banned = {row.ban.subject for row in store.standing(now(), limit=10_000)}
        hits = sum(value for (_, name), value in store.counters().items() if name == "hits")
        return banned, hits, max(place.position.offset for place in store.places())
    finally:
        store.close()


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
        await getattr(backlog.engine, command)(*arguments)
        await backlog.batch(hits("192.0.2.1", 1))
        await backlog.close()
        return subject, backlog.state

    subject, state = on_uvloop(scenario())
    assert subject not in stored(state)[0]


class Thief:
    """Another program, that holds the database."""

    def __init__(self, backlog):
        self._connection = sqlite3.connect(backlog.state, isolation_level=None)

    async def take(self, engine):
        """Take it; the engine's patience is short."""
        await engine._ask(engine.store._db.execute, "PRAGMA busy_timeout = 1")
        self._connection.execute("BEGIN EXCLUSIVE")

    def let_go(self):
        """Give it back."""
        self._connection.close()


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
        assert "locked" in engine.committer.refusal
        arguments = [] if command == "unban_all" else [subject]
        if held:
            with pytest.raises(StoreError, match=r"let in.*not stored yet.*locked"):
                await getattr(engine, command)(*arguments)
        thief.let_go()
        if not held:
            await getattr(engine, command)(*arguments)
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
            await engine.ban(subject, 10 * 86_400 * SECOND)
        assert engine.judge.standing(subject, now())[1] > now() + 9 * 86_400 * SECOND
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
    monkeypatch.setattr("blocker.ledger.COMMAND_PATIENCE", 0.2)
    monkeypatch.setattr("blocker.committer.HANGS", 0.05)
    hanging = threading.Event()

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        engine = backlog.engine
        engine.committer._threads.submit(hanging.wait)
        began = time.monotonic()
        await backlog.batch(hits(EARLY, 3))
        assert not await engine.committer.landed(0.1)
        monkeypatch.setattr("blocker.ledger.COMMIT_PAUSE", 0)
        await backlog.batch(hits(EARLY, 12))
        subject = bytes([198, 51, 100, 66])
        assert engine.judge.standing(subject, now()) is not None
        assert "a commit has been going on" in engine.committer.trouble
        assert engine.counters[str(backlog.log), "hits"] == 15
        with pytest.raises(StoreError, match=r"let in.*not stored yet.*commit has been going on"):
            await engine.unban(subject)
        assert engine.judge.standing(subject, now()) is None
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
    monkeypatch.setattr("blocker.ledger.MAX_OPEN_WINDOWS", 10)

    async def scenario():
        backlog = await Backlog(tmp_path, max_tracked=20).begin()
        engine, thief = backlog.engine, Thief(backlog)
        await thief.take(engine)
        for number in range(30):
            await backlog.batch("".join(hits(f"192.0.{number}.{n}", 1) for n in range(10)))
            await engine.ledger.stored(5.0)
            assert not engine.committer.unsaved.windows
            assert len(engine.judge.changed) <= 20 + 10
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
        await backlog.engine.ban(subject, 7 * 86_400 * SECOND)
        with pytest.raises(UnchangedError):
            await backlog.engine.ban(subject, 86_400 * SECOND)
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
        await backlog.tails.scan()
        digesting = asyncio.create_task(backlog.engine.digest(backlog.tails))
        while backlog.engine.judge.tracked < tracked and not digesting.done():  # noqa: ASYNC110 - the judge tells nobody
            await asyncio.sleep(0)
        digesting.cancel()
        await asyncio.wait({digesting})
        await backlog.close()

    async def again():
        backlog = await Backlog(tmp_path).begin()
        while await backlog.engine.digest(backlog.tails):
            pass
        assert sum(backlog.engine.active.count(now())) == 0
        with backlog.log.open("a") as log:
            log.writelines(hits(f"198.18.{n >> 8}.{n & 255}", 1) for n in range(2500))
        await backlog.tails.scan()
        while await backlog.engine.digest(backlog.tails):
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
        engine.counters.update(counters)
        engine.store.commit(Batch([], {}, [], counters, now()))
        before = sum(engine.counters.values())
        await engine.fold_gone(["/log/1", "/log/2", "/log/3"])
        assert len(engine.counters) >= len(counters)
        await engine.fold_gone(["/log/1", "/log/2"])
        logs = {log for log, name in engine.counters if name == "lines"}
        assert logs == {"/log/1", "/log/2", "gone"}
        assert sum(engine.counters.values()) == before
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
