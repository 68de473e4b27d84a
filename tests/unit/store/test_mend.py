"""A database that was edited by hand or is damaged: sound rows are used, others reported."""

import random
import sqlite3
from contextlib import closing, suppress

import pytest
from support.backlog import Backlog, hits, now
from support.loops import on_uvloop

from blocker.engine.admin import Admin
from blocker.engine.restore import read_back
from blocker.engine.upkeep import Upkeep
from blocker.errors import StoreError
from blocker.model import Ban
from blocker.sources.position import Position
from blocker.store.mend import MAX_TIME, TABLES
from blocker.store.records import Batch, Checkpoint, NewRow
from blocker.store.store import Store
from blocker.times import DAY, HOUR, SECOND

REMEMBER = 90 * DAY
GOOD, BAD = bytes([198, 18, 0, 1]), bytes([198, 18, 0, 2])
ATTACKER, PENDING = bytes([198, 51, 100, 66]), bytes([198, 18, 0, 101])
LOG = "/var/log/good.log"
NOT_UTF8 = b"\xff\xfe"
VALUES = ("text", "", b"", b"\x00" * 7, 1.5, -1, MAX_TIME + 1, 2**63 - 1, -(2**63), None, NOT_UTF8)
COLUMNS = [(table, each.name) for table, columns in TABLES.items() for each in columns]


def filled(state, who, log, when):
    """Store one row of everything."""
    store = Store(state)
    store.set_traps(["xmlrpc"])
    store.mask(64, when)
    store.note("table", "xmlrpc_blocker")
    mark = ((when - 60 * SECOND) << 8).to_bytes(8, "big")
    pending = who[:-1] + bytes([who[-1] + 100])
    store.commit(
        Batch(
            [Checkpoint(Position(log, 1, 2, b"head", 0, b""), when, 0, 0)],
            {pending: mark * 2},
            [NewRow(Ban(who, "xmlrpc", when, when + HOUR, 3, 1), applied=True, reason="why")],
            {(log, "hits"): 5},
            when,
        )
    )
    store.set_offenders([*store.offenders(), (when // HOUR, who, 5)])
    store.close()


def spoil(state, table, column, value, where):
    """Set a column against its constraints, as damage does."""
    with closing(sqlite3.connect(state, isolation_level=None)) as database:
        (before,) = database.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        database.execute("PRAGMA writable_schema = ON")
        rewrite = "UPDATE sqlite_master SET sql = ? WHERE name = ?"
        database.execute(rewrite, (before.replace(" NOT NULL", ""), table))
    with closing(sqlite3.connect(state, isolation_level=None)) as database:
        changed = "CAST(? AS TEXT)" if value is NOT_UTF8 else "?"
        query = f"UPDATE OR IGNORE {table} SET {column} = {changed} WHERE {where}"  # noqa: S608 - ours
        database.execute(query, (value,))
        database.execute("PRAGMA writable_schema = ON")
        database.execute(rewrite, (before, table))


def where_bad(table, number=2):
    """Return which row of a table is to be spoilt."""
    return {
        "bans": f"subject = x'c61200{number:02x}'",
        "windows": f"subject = x'c61200{number + 100:02x}'",
        "offenders": f"subject = x'c61200{number:02x}'",
        "positions": f"path = '/var/log/{number}.log'",
        "counters": f"log = '/var/log/{number}.log'",
    }.get(table, "1")


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "state.db"
    filled(path, GOOD, LOG, now())
    filled(path, BAD, "/var/log/2.log", now())
    return path


async def used(directory):
    """Do everything that reads the store; return who is banned, the problems and counters."""
    backlog = await Backlog(directory).begin()
    engine = backlog.engine
    upkeep = Upkeep(engine)
    await upkeep.enforce_all()
    await upkeep.former_table("xmlrpc_blocker")
    await backlog.batch(hits("198.51.100.66", 3) + hits("198.18.0.101", 1))
    await upkeep.tidy(REMEMBER)
    await upkeep.resync(REMEMBER)
    await upkeep.evict()
    engine.offenders.limit = 1
    engine.offenders.restore(engine.store.offenders())
    engine.offenders.top(now(), engine.bans.may_be_banned)
    rows = await Admin(engine.parts).standing()
    banned = {who for who in engine.judge.bans.subjects() if engine.bans.stands(who)}
    assert {row.ban.subject for row in rows} == banned
    texts = engine.announcer.conditions.texts(now())
    counters = dict(engine.ledger.counters)
    assert all(
        isinstance(count, int) and count >= 0 and log.isprintable()
        for (log, _), count in counters.items()
    )
    await backlog.close()
    return banned, texts, counters


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_that_no_commit_writes_ends_nothing(state, table, column, caplog):
    """With anything in any column: the other rows are used, and it is reported once."""
    alone = table in {"traps", "meta"}
    for number in range(3, len(VALUES) + 3):
        if not alone:
            filled(state, bytes([198, 18, 0, number]), f"/var/log/{number}.log", now())
    raw = state.read_bytes()
    for number, value in enumerate(VALUES, 3):
        spoil(state, table, column, value, where_bad(table, number))
        if alone or number == len(VALUES) + 2:
            caplog.clear()
            banned, texts, counters = on_uvloop(used(state.parent))
            assert banned >= {GOOD, BAD, ATTACKER}
            assert alone or PENDING in banned
            assert counters[LOG, "hits"] == 5
            message = [each for each in caplog.messages if "does not write" in each]
            assert len(message) <= 1
            assert bool(texts) == bool(message)
            assert on_uvloop(used(state.parent))[1] == []
            state.write_bytes(raw)


@pytest.mark.parametrize("value", ["soon", None, 1.5, b"x"])
def test_how_many_rows_were_not_sound_is_reported_with_their_table(state, value, caplog):
    """The ban without an end is deleted; the other stands."""
    spoil(state, "bans", "until", value, "1")
    filled(state, bytes([198, 18, 0, 3]), "/var/log/third.log", now())
    banned, (problem,), _ = on_uvloop(used(state.parent))
    assert bytes([198, 18, 0, 3]) in banned
    assert not {GOOD, BAD} & banned
    assert f"{state}: 2 rows of bans held values that this program does not write" in problem
    assert problem in caplog.messages


@pytest.mark.parametrize(
    ("column", "expected"),
    [("trap", "unknown"), ("hits", 0), ("offence", 1), ("applied", False), ("reason", "")],
)
def test_a_ban_without_a_detail_stands(state, column, expected):
    """Who is blocked, and until when, is what matters."""
    spoil(state, "bans", column, None, where_bad("bans"))
    store = Store(state)
    assert store.mend() == {"bans": 1}
    (row,) = (row for row in store.standing(now()) if row.ban.subject == BAD)
    assert getattr(row, column, getattr(row.ban, column, None)) == expected
    assert store.mend() == {}
    store.close()


@pytest.mark.parametrize("column", ["latest", "fresh_end", "cutoff", "seen"])
def test_a_position_without_a_time_stays(state, column):
    """Its lines are not read a second time."""
    spoil(state, "positions", column, "yesterday", where_bad("positions"))
    store = Store(state)
    assert store.mend() == {"positions": 1}
    assert {each.position.path for each in store.checkpoints()} == {LOG, "/var/log/2.log"}
    store.close()


def test_a_rehearsed_ban_is_not_enforced_because_of_a_damaged_flag(state):
    """It is deleted: whether it was one is not known."""
    spoil(state, "bans", "dry", -1, where_bad("bans"))
    banned, _, _ = on_uvloop(used(state.parent))
    assert GOOD in banned
    assert BAD not in banned


def test_a_sound_database_is_not_written(state):
    """Another program may hold it at a start."""
    with closing(sqlite3.connect(state, isolation_level=None)) as other:
        store = Store(state)
        other.execute("BEGIN IMMEDIATE")
        assert store.mend() == {}
        store.close()


def test_rows_that_are_spoilt_while_the_daemon_runs_end_nothing(state, tmp_path):
    """Bans are read back when the clock is set, and listed on request."""

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        parts = backlog.engine.parts
        spoil(state, "bans", "start", "then", where_bad("bans"))
        rows = await Admin(parts).standing()
        await read_back(parts, REMEMBER, now())
        texts = parts.announcer.conditions.texts(now())
        await backlog.close()
        return {row.ban.subject for row in rows}, set(parts.judge.bans.subjects()), texts

    listed, banned, (problem,) = on_uvloop(scenario())
    assert listed == {GOOD}
    assert "1 row of bans held" in problem
    assert BAD not in banned


def test_marks_that_are_out_of_order_are_put_in_order(state):
    """The judge takes the last one for the latest."""
    later, earlier = ((now() - n * SECOND << 8).to_bytes(8, "big") for n in (10, 20))
    spoil(state, "windows", "marks", later + earlier, where_bad("windows"))
    store = Store(state)
    windows = dict(row for page in store.windows(["xmlrpc"]) for row in page)
    assert windows[bytes([198, 18, 0, 102])] == earlier + later
    store.close()


@pytest.mark.parametrize("prefix", ["text", "-3", "64.0", "129", "0", "²"])
def test_a_noted_prefix_that_is_none_deletes_nothing(state, prefix):
    """What is stored stays as it is, and the prefix is noted again."""
    spoil(state, "meta", "value", prefix, "name = 'ipv6_prefix'")
    filled(state, bytes.fromhex("20010db800010002") + bytes(8), "/var/log/six.log", now())
    store = Store(state)
    assert store.mask(64, now()) == []
    assert store.count_bans() == 3
    assert store.noted("ipv6_prefix") == "64"
    store.close()


@pytest.mark.parametrize("table", ["filter; flush ruleset", "", "1", "a" * 65])
def test_a_noted_table_that_is_no_name_is_left_alone(state, table, tmp_path):
    """No text of the database is a command to the kernel."""
    spoil(state, "meta", "value", table, "name = 'table'")

    async def scenario():
        backlog = await Backlog(tmp_path).begin()
        former = await Upkeep(backlog.engine).former_table("xmlrpc_blocker")
        await backlog.close()
        return former

    assert on_uvloop(scenario()) == ""


def test_bytes_that_flipped_end_a_start_with_a_reason_or_not_at_all(state, tmp_path):
    """Some bits anywhere behind the header: no traceback in any case."""
    raw, dice = state.read_bytes(), random.Random(7)
    reasons = []
    for number in range(60):
        directory = tmp_path / str(number)
        directory.mkdir()
        damaged = bytearray(raw)
        for _ in range(dice.choice([1, 3, 30])):
            damaged[dice.randrange(100, len(raw))] ^= 1 << dice.randrange(8)
        (directory / "state.db").write_bytes(damaged)
        # Flipped bits in an address are another address: what is found is of no matter.
        with suppress(AssertionError):
            try:
                on_uvloop(used(directory))
            except StoreError as error:
                reasons.append(str(error))
    assert len(reasons) < 50
    assert all("move the file away" in each for each in reasons)
