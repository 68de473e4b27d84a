"""The store: all of a batch or nothing, and everything back after a restart."""

import sqlite3
from contextlib import closing

import pytest

from blocker.errors import StoreError
from blocker.judging.windows import LATE
from blocker.model import Ban
from blocker.sources.position import Position
from blocker.store.records import (
    Apply,
    Batch,
    Checkpoint,
    End,
    Extend,
    Forget,
    NewRow,
    edited,
    joined,
)
from blocker.store.schema import MIGRATIONS
from blocker.store.store import KEPT_CHECKPOINTS, Store
from blocker.times import SECOND

NOW = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR
WHO, OTHER = bytes([203, 0, 113, 7]), bytes.fromhex("20010db800010002") + bytes(8)
BAN = Ban(WHO, "xmlrpc", NOW, NOW + HOUR, 3, 1)
CHECKPOINT = Checkpoint(
    Position("/var/log/a.log", 1, 2, b"head", 300, b"tail"), NOW, 10, NOW - HOUR
)


def batch(**parts):
    empty = {"checkpoints": [], "windows": {}, "bans": [], "counters": {}, "now": NOW}
    return Batch(**{**empty, **parts})


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "state.db")
    yield opened
    opened.close()


def rows(pages):
    return [row for page in pages for row in page]


def reopened(store, **options):
    store.close()
    return Store(store.path, **options)


def test_everything_of_a_batch_is_there_after_a_restart(store):
    """Positions, windows, bans and counters come back as they were written."""
    store.set_traps(["xmlrpc"])
    window = (NOW << 8).to_bytes(8, "big")
    store.commit(
        batch(
            checkpoints=[CHECKPOINT],
            windows={OTHER: window},
            bans=[NewRow(BAN, applied=True)],
            counters={("a", "x"): 2},
        )
    )
    store.commit(batch(counters={("a", "x"): 3}))
    again = reopened(store)
    assert again.checkpoints() == [CHECKPOINT]
    assert rows(again.windows(["xmlrpc"])) == [(OTHER, window)]
    assert rows(again.remembered(0, NOW)) == [(WHO, NOW, NOW + HOUR)]
    assert again.counters() == {("a", "x"): 5}
    assert again.standing(NOW + 1)[0].ban == BAN
    again.close()


def test_a_file_may_have_the_largest_numbers(store):
    """Inodes of a network's file system use all 64 bits, and SQLite has signed ones."""
    largest = 2**64 - 1
    checkpoint = CHECKPOINT._replace(
        position=CHECKPOINT.position._replace(device=largest, inode=largest)
    )
    store.commit(batch(checkpoints=[CHECKPOINT, checkpoint]))
    store.commit(batch(checkpoints=[checkpoint]))
    again = reopened(store)
    assert sorted(again.checkpoints()) == [CHECKPOINT, checkpoint]
    again.close()


def test_a_batch_that_fails_leaves_nothing_behind(store):
    """A batch is one transaction."""
    with pytest.raises(StoreError):
        store.commit(
            batch(
                checkpoints=[CHECKPOINT],
                counters={("a", "x"): 1},
                bans=[NewRow(BAN._replace(trap=None), applied=True)],
            )
        )
    assert store.checkpoints() == []
    assert store.counters() == {}


def test_an_emptied_window_is_deleted(store):
    """Windows that were cleared take no room."""
    store.set_traps(["xmlrpc"])
    store.commit(batch(windows={WHO: bytes(8)}))
    store.commit(batch(windows={WHO: b""}))
    assert rows(store.windows(["xmlrpc"])) == []


def test_windows_follow_their_trap_when_traps_are_renumbered(store):
    """A hit of a trap that moved stays its hit; those of a removed trap are dropped."""
    marks = [((NOW + n) << 8 | n).to_bytes(8, "big") for n in range(2)]
    store.set_traps(["old", "xmlrpc"])
    store.commit(batch(windows={WHO: b"".join(marks)}))
    store.set_traps(["xmlrpc"])
    assert rows(store.windows(["xmlrpc"])) == [(WHO, ((NOW + 1) << 8).to_bytes(8, "big"))]


def test_late_hits_follow_their_trap_when_traps_are_renumbered(store):
    """They are marked as late under the new number."""
    late = [(NOW << 8 | LATE | n).to_bytes(8, "big") for n in range(2)]
    store.set_traps(["old", "xmlrpc"])
    store.commit(batch(windows={WHO: b"".join(late)}))
    store.set_traps(["xmlrpc"])
    assert rows(store.windows(["xmlrpc"])) == [(WHO, late[0])]


def test_times_ahead_of_the_clock_are_set_back(store):
    """Bans begin at the clock and last as long; positions and commits are of now at the latest."""
    ahead, limit = NOW + 365 * DAY, NOW + HOUR
    checkpoint = CHECKPOINT._replace(latest=ahead, cutoff=ahead)
    ban = BAN._replace(start=ahead, until=ahead + DAY)
    store.commit(
        batch(checkpoints=[checkpoint], bans=[NewRow(ban, applied=True)])._replace(now=ahead)
    )
    assert store.last_commit() == ahead
    store.set_back(NOW, limit)
    assert [row.ban for row in store.standing(NOW)] == [ban._replace(start=NOW, until=NOW + DAY)]
    assert store.checkpoints() == [checkpoint._replace(latest=NOW, cutoff=NOW)]
    assert store.last_commit() == NOW


def test_a_shorter_prefix_masks_and_a_longer_one_deletes_what_is_stored(store):
    """Windows of one network are joined in order; IPv4 stays as it is."""
    near, far = (bytes.fromhex(f"20010db80001000{n}") + bytes(8) for n in (1, 2))
    wide = bytes.fromhex("20010db80001") + bytes(10)
    mark = [((NOW + n) << 8).to_bytes(8, "big") for n in range(3)]
    four = bytes([198, 51, 100, 9])
    store.set_traps(["xmlrpc"])
    assert store.mask(64, NOW) == []
    windows = {near: mark[0] + mark[2], far: mark[1], four: mark[0]}
    store.commit(
        batch(
            windows=windows,
            bans=[NewRow(BAN._replace(subject=near), applied=True), NewRow(BAN, applied=True)],
        )
    )
    store.set_offenders([(1, near, 3), (1, far, 4)])
    assert store.mask(48, NOW) == [near]
    assert sorted(rows(store.windows(["xmlrpc"]))) == sorted(
        [(wide, b"".join(mark)), (four, mark[0])]
    )
    assert {row.ban.subject for row in store.standing(NOW)} == {wide, BAN.subject}
    assert store.offenders() == [(1, wide, 7)]
    assert store.mask(48, NOW) == []
    assert store.mask(64, NOW) == [wide]
    assert rows(store.windows(["xmlrpc"])) == [(four, mark[0])]
    assert [row.ban.subject for row in store.standing(NOW)] == [BAN.subject]


def test_bans_of_a_dry_run_are_never_enforced_later(store):
    """They stand in a dry run only."""
    dry = reopened(store, dry=True)
    dry.commit(batch(bans=[NewRow(BAN, applied=False)]))
    assert len(dry.standing(NOW)) == 1
    wet = reopened(dry)
    assert wet.standing(NOW) == []
    assert rows(wet.remembered(0, NOW)) == []
    wet.close()


def test_what_the_kernel_refused_waits_until_it_is_applied(store):
    """An unapplied ban says so, and no longer once the kernel has it."""
    other = BAN._replace(subject=OTHER)
    store.commit(batch(bans=[NewRow(BAN, applied=False), NewRow(other, applied=False)]))
    store.commit(batch(edits=[Apply(NOW, {WHO})]))
    assert [row.applied for row in store.standing(NOW)] == [True, False]
    store.commit(batch(edits=[Apply(NOW, None)]))
    assert [row.applied for row in store.standing(NOW)] == [True, True]


def test_ending_bans_ends_one_or_all(store):
    """An ended ban no longer stands but is remembered."""
    other = BAN._replace(subject=OTHER)
    store.commit(batch(bans=[NewRow(BAN, applied=True), NewRow(other, applied=True)]))
    store.commit(batch(edits=[End(NOW + 1, {WHO})]))
    assert [row.ban.subject for row in store.standing(NOW + 2)] == [OTHER]
    assert store.end_all(NOW + 3) == 1
    assert store.standing(NOW + 4) == []
    assert len(rows(store.remembered(0, NOW))) == 2


def test_a_reason_stands_beside_its_ban(store):
    """Without one a longer ban keeps the reason that it had; a judged ban has none."""
    other = BAN._replace(subject=OTHER)
    store.commit(
        batch(bans=[NewRow(other, applied=True), NewRow(BAN, applied=True, reason="spam")])
    )
    assert [row.reason for row in store.standing(NOW)] == ["", "spam"]
    until = BAN.until + HOUR
    store.commit(batch(edits=[Extend(NOW, {WHO: until})]))
    assert [(row.ban.until, row.reason) for row in store.standing(NOW)][1] == (until, "spam")
    store.commit(batch(edits=[Extend(NOW, {WHO: until}, "more spam")]))
    assert [row.reason for row in store.standing(NOW)] == ["", "more spam"]


def test_edits_come_before_the_bans_of_their_batch(store):
    """Who is banned again after an unban stays banned, although both are stored at once."""
    store.commit(batch(bans=[NewRow(BAN, applied=True)]))
    again = BAN._replace(start=NOW + 5, until=NOW + 2 * HOUR)
    store.commit(batch(edits=[End(NOW + 1, {WHO})], bans=[NewRow(again, applied=True)]))
    assert [row.ban for row in store.standing(NOW + 10)] == [again]


def test_a_ban_that_waits_is_stored_as_the_edits_left_it():
    """Ended, made longer, sent to the kernel or forgotten, before the disk took it."""
    row = NewRow(BAN, applied=False, reason="spam")
    (ended,) = edited([row], [End(NOW + 1, {WHO})])
    assert ended.ban.until == NOW + 1
    (longer,) = edited([row], [Extend(NOW, {WHO: NOW + 9 * HOUR}), Apply(NOW, {WHO})])
    assert (longer.ban.until, longer.applied, longer.reason) == (NOW + 9 * HOUR, True, "spam")
    assert edited([row], [Forget(WHO)]) == []
    assert edited([row], [End(NOW + 1, {OTHER}), Forget(OTHER)]) == [row]
    (late,) = edited([row], [End(NOW - HOUR, None)])
    assert late.ban.until == BAN.start


def test_a_batch_that_was_refused_is_stored_with_the_next(store):
    """Its counters are added, its bans come first, the newer checkpoint of a log stays."""
    newer = CHECKPOINT._replace(position=CHECKPOINT.position._replace(offset=900))
    first = batch(
        checkpoints=[CHECKPOINT], bans=[NewRow(BAN, applied=True)], counters={("", "hits"): 3}
    )
    second = batch(checkpoints=[newer], counters={("", "hits"): 2}, durable=True)
    both = joined(first, second)
    assert both.durable
    store.commit(both)
    assert store.counters() == {("", "hits"): 5}
    assert store.checkpoints() == [newer]
    assert len(store.standing(NOW)) == 1


def test_pages_of_bans_cover_all_of_them_once(store):
    """Page after page, nothing twice, nothing missing."""
    bans = [BAN._replace(subject=n.to_bytes(4, "big")) for n in range(25)]
    store.commit(batch(bans=[NewRow(ban, applied=True) for ban in bans]))
    seen, after = [], 0
    while page := store.standing(NOW, after, 10):
        seen += [row.ban.subject for row in page]
        after = page[-1].id
    assert seen == [ban.subject for ban in bans]


def test_forgetting_erases_everywhere(store):
    """Nothing of the address is left in any table."""
    store.commit(batch(bans=[NewRow(BAN, applied=True)], windows={WHO: bytes(8)}))
    assert store.knows(WHO)
    store.commit(batch(edits=[Forget(WHO)]))
    assert not store.knows(WHO)


def test_tidying_deletes_what_is_old_and_keeps_what_stands(store):
    """A ban that stands stays, however long ago it began."""
    long = BAN._replace(subject=OTHER, until=NOW + 1000 * HOUR)
    store.commit(batch(bans=[NewRow(BAN, applied=True), NewRow(long, applied=True)]))
    store.tidy(NOW + 10 * HOUR, NOW + 100 * HOUR)
    assert [row.ban.subject for row in store.standing(NOW + 100 * HOUR)] == [OTHER]


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    """It is refused with advice, not misread."""
    path = tmp_path / "state.db"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(StoreError, match="newer"):
        Store(path)


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    """The message says what to do."""
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match="move the file away"):
        Store(path)
    assert path.read_bytes().startswith(b"this is no database")


def test_an_upgrade_counts_bans_by_offence(tmp_path):
    """The first version counted repeated bans together; the bans themselves tell them apart."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(f"{MIGRATIONS[0]};PRAGMA user_version = 1;")
        bans = [
            (n, WHO, "xmlrpc", NOW + n, NOW + HOUR, 3, n, 1, n == 0) for n in (0, 1, 2, 3, 4, 9)
        ]
        old.executemany("INSERT INTO bans VALUES (?, ?, ?, ?, ?, ?, max(?, 1), ?, ?)", bans)
        old.execute("INSERT INTO counters VALUES ('', 'repeat_bans', 4), ('a', 'hits', 20)")
        old.commit()
    with closing(Store(path)) as store:
        assert store.counters() == {
            ("", "offence:1"): 2, ("", "offence:2"): 1, ("", "offence:3"): 1,
            ("", "offence:4+"): 2, ("", "enforcing_since"): NOW + 1, ("a", "hits"): 20,
        }  # fmt: skip


def test_an_upgrade_keeps_the_positions_of_files(tmp_path):
    """They have no cursor; that of a journal is stored beside them."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript("".join(MIGRATIONS[:4]) + "PRAGMA user_version = 4;")
        row = ("/var/log/a.log", b"head", 1, 2, 300, b"tail", NOW, 10, NOW - HOUR, NOW)
        old.execute("INSERT INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        old.commit()
    journal = Checkpoint(Position("journal:a.service", 0, 0, b"", NOW, b"", "s=1;i=2"), NOW)
    with closing(Store(path)) as store:
        assert store.checkpoints() == [CHECKPOINT]
        store.commit(Batch([journal], {}, [], {}, NOW + 1))
    with closing(Store(path)) as store:
        assert store.checkpoints() == [CHECKPOINT, journal]


def test_since_when_bans_are_enforced_outlives_a_restart(store):
    """Until a dry run, which ends it."""
    since = ("", "enforcing_since")
    store.note_enforcing(NOW)
    again = reopened(store)
    again.note_enforcing(NOW + HOUR)
    assert again.counters() == {since: NOW}
    dry = reopened(again, dry=True)
    dry.note_enforcing(NOW + 2 * HOUR)
    assert dry.counters() == {}
    last = reopened(dry)
    last.note_enforcing(NOW + 3 * HOUR)
    assert last.counters() == {since: NOW + 3 * HOUR}
    last.close()


def test_who_hit_most_is_kept_and_can_be_forgotten(store):
    """What is written replaces what was; a forgotten subject is in none of it."""
    store.set_offenders([(1, WHO, 5)])
    store.set_offenders([(2, WHO, 7), (2, OTHER, 3), (3, WHO, 1)])
    assert store.offenders() == [(2, OTHER, 3), (2, WHO, 7), (3, WHO, 1)]
    store.commit(batch(edits=[Forget(WHO)]))
    assert store.offenders() == [(2, OTHER, 3)]


def fill_with_bans(store, counts, ends):
    """Store so many bans of each subject, the latest of which ends so many hours after NOW."""
    made = [
        Ban(bytes([203, 0, 113, n]), "xmlrpc", NOW + k, NOW + end * HOUR, 3, k + 1)
        for n, (count, end) in enumerate(zip(counts, ends, strict=True))
        for k in range(count)
    ]
    store.commit(batch(bans=[NewRow(ban, applied=True) for ban in made]))


@pytest.mark.parametrize(
    ("ceiling", "kept"),
    [
        (9, {0: 3, 1: 1, 2: 2, 3: 1, 4: 1, 5: 1}),
        (8, {0: 3, 2: 2, 3: 1, 4: 1, 5: 1}),
        (7, {0: 3, 2: 2, 4: 1, 5: 1}),
        (3, {0: 3, 5: 1}),
    ],
)
def test_beyond_the_ceiling_the_heaviest_and_the_latest_are_read_back(store, ceiling, kept):
    """With any ceiling, a ban that stands is read back."""
    fill_with_bans(store, [3, 1, 2, 1, 1, 1], [-9, -8, -7, -6, -5, 1])
    found = [who[3] for who, _, _ in rows(store.remembered(0, NOW, ceiling))]
    assert {number: found.count(number) for number in found} == kept


def test_ended_bans_are_found_in_pages_and_deleted_by_their_rows(store):
    """Those that stand are not among them."""
    fill_with_bans(store, [2, 1, 1], [-2, -1, 1])
    page = store.ended(NOW, 0)
    assert [who[3] for _, who in page] == [0, 0, 1]
    assert [who[3] for _, who in store.ended(NOW, page[1][0])] == [1]
    store.delete_bans([page[0][0], page[2][0]])
    assert store.count_bans() == 2


def test_free_space_is_given_back_to_the_disk_a_little_at_a_time(store):
    """All of it in the end: a statement that is stepped once would give back a single page."""
    fill_with_bans(store, [1] * 200, [-1] * 200)
    for _ in range(8):
        store._db.execute(
            "INSERT INTO bans SELECT NULL, subject, trap, start, until, hits, offence,"
            " applied, dry, reason FROM bans"
        )
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.delete_bans([row for (row,) in store._db.execute("SELECT id FROM bans").fetchall()])
    turns = 1
    while store.give_back():
        turns += 1
    assert turns > 1
    (left,) = store._db.execute("PRAGMA page_count").fetchone()
    assert left < 30


def test_of_the_old_files_of_a_log_the_latest_are_kept(store):
    """However often it was rotated; that it was met empty is kept apart."""
    for n in range(KEPT_CHECKPOINTS + 40):
        position = CHECKPOINT.position._replace(inode=n, head=b"%d" % n)
        store.commit(
            batch(checkpoints=[CHECKPOINT._replace(position=position)])._replace(now=NOW + n)
        )
    met = CHECKPOINT._replace(position=Position("/var/log/a.log", 0, 0, b"", 0, b""))
    other = CHECKPOINT._replace(position=CHECKPOINT.position._replace(path="/var/log/b.log"))
    store.commit(batch(checkpoints=[met, other])._replace(now=NOW - DAY))
    before = store.checkpoints()
    assert [checkpoint.position.inode for checkpoint in before] == [
        0,
        2,
        *range(40, KEPT_CHECKPOINTS + 40),
    ]
    store.tidy(NOW - 2 * DAY, NOW)
    assert store.checkpoints() == before
    (count,) = store._db.execute("SELECT count(*) FROM positions").fetchone()
    assert count == KEPT_CHECKPOINTS + 2


def test_counters_of_several_logs_are_added_to_those_of_one(store):
    """Once and again; nothing is lost of them, and others stay."""
    names = {("a", "lines"): 1, ("b", "lines"): 2, ("b", "hits"): 4, ("c", "lines"): 8}
    store.commit(batch(counters=names))
    store.fold_counters(["a", "b"], "gone")
    store.fold_counters(["c"], "gone")
    assert store.counters() == {("gone", "lines"): 11, ("gone", "hits"): 4}


def test_of_files_read_long_ago_fewer_bytes_are_kept(store):
    """A rotated log is recognised by them all the same; a log that is written keeps its own."""
    old = CHECKPOINT._replace(position=CHECKPOINT.position._replace(tail=bytes(3072) + b"x" * 1024))
    new = old._replace(position=old.position._replace(inode=3))
    store.commit(batch(checkpoints=[old]))
    store.commit(batch(checkpoints=[new], now=NOW + DAY))
    store.tidy(NOW - DAY, NOW + DAY)
    assert store.checkpoints() == [old._replace(position=old.position.shortened()), new]
    assert old.position.shortened().tail == b"x" * 1024
