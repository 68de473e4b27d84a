"""What must survive: positions, windows, bans, offences and counters, in one SQLite file.

One writer, one transaction per batch: a batch is all there or not at all, so a
hit that was judged and the position behind it can't come apart.  WAL mode with
``synchronous = NORMAL``: a power failure rolls everything back *together* (the lines are read
again); commands of an administrator commit with ``FULL`` before they are answered.

The class is plain and blocking; the daemon calls it in a thread of its own.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from blocker.batch import Apply, Batch, Edit, End, Extend, Forget, NewRow, Place
from blocker.errors import NotPermittedError, StoreError
from blocker.judge import DAY, LATE, Window
from blocker.logfile import SHORT_TAIL, Position
from blocker.model import Ban, Subject, subject_of

MIGRATIONS = (
    """
    CREATE TABLE positions (
        path TEXT NOT NULL, head BLOB NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
        offset INTEGER NOT NULL, tail BLOB NOT NULL, latest INTEGER NOT NULL,
        fresh_end INTEGER NOT NULL, cutoff INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (path, head, device, inode)
    ) WITHOUT ROWID;
    CREATE TABLE traps (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE windows (subject BLOB PRIMARY KEY, marks BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE bans (
        id INTEGER PRIMARY KEY, subject BLOB NOT NULL, trap TEXT NOT NULL,
        start INTEGER NOT NULL, until INTEGER NOT NULL, hits INTEGER NOT NULL,
        offence INTEGER NOT NULL, applied INTEGER NOT NULL, dry INTEGER NOT NULL
    );
    CREATE INDEX bans_subject ON bans (subject, start);
    CREATE INDEX bans_until ON bans (until);
    CREATE TABLE counters (
        log TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (log, name)
    ) WITHOUT ROWID;
    """,
    # How often it was each ban of its address, instead of how often it was not the first; since
    # when there is any that was enforced; and who hit most, by the hour.
    """
    DELETE FROM counters WHERE name = 'repeat_bans';
    INSERT INTO counters
        SELECT '', 'offence:' || CASE WHEN offence < 4 THEN offence ELSE '4+' END, count(*)
        FROM bans GROUP BY 2;
    INSERT INTO counters
        SELECT '', 'enforcing_since', first
        FROM (SELECT min(start) AS first FROM bans WHERE NOT dry) WHERE first NOT NULL;
    CREATE TABLE offenders (
        hour INTEGER NOT NULL, subject BLOB NOT NULL, hits INTEGER NOT NULL,
        PRIMARY KEY (hour, subject)
    ) WITHOUT ROWID;
    """,
    # Why an administrator banned.
    """
    ALTER TABLE bans ADD COLUMN reason TEXT NOT NULL DEFAULT '';
    """,
    # What the stored subjects and the kernel's elements were made for.
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)
"""Each brings the schema from its index to the next; never edited once released."""

_OF_SUBJECTS = ("bans", "windows", "offenders")
"""Tables with rows of a subject."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a database."""

BAN_PAGE = 1000
"""Rows in one answer about bans."""

MANY = 500
"""Rows that are written by one run of a statement."""

KEPT_PLACES = 64
"""Files of one log whose positions are kept, those seen last: as many as are remembered of it."""

RESTORE_PAGE = 10_000
"""Rows in memory at a time while a million of them are read back."""

MAX_ROWS = 1 << 62

GIVEN_BACK = 1000
"""Pages of the file that are given back to the disk at a time."""


_PLACES_BY_AGE = """
    SELECT *, row_number() OVER (PARTITION BY path, head = x'' ORDER BY seen DESC) AS age
    FROM positions
"""
"""Without a first line is what was met empty: it says that the log is known, and stays apart."""


class StoredBan(NamedTuple):
    """A ban, with its row, whether the kernel was told, and the administrator's reason."""

    id: int
    ban: Ban
    applied: bool
    reason: str = ""


class Store:
    """The database.

    Args:
        path: the file; its directory must exist.
        dry: whether bans are only rehearsed; such bans are never enforced later.

    Attributes:
        path: of the file.
        dry: the same; the next configuration may change it.

    Raises:
        StoreError: it can't be opened, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | Path, *, dry: bool = False) -> None:
        self.path = str(path)
        self.dry = dry
        if Path(path).exists() and not os.access(path, os.W_OK):
            raise NotPermittedError(f"{path}: not writable for this user; run as its owner or root")
        with self._explained():
            self._open()

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._reader = self._db
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._migrate()
        # Reading opens the log of changes, so that it is there to be recognised.
        self._db.execute("SELECT count(*) FROM traps").fetchone()
        self._identity = self._found()
        # Lists are read beside a commit that waits for whoever holds the database.
        if self.path != ":memory:":
            uri = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            self._reader = sqlite3.connect(uri, uri=True, check_same_thread=False)

    def _found(self) -> tuple[tuple[int, int], ...]:
        """Return device and inode of what stands at the place of the database and of its WAL."""
        return tuple(_identity(f"{self.path}{ending}") for ending in ("", "-wal"))

    def in_place(self) -> bool:
        """Whether the open files are still those that their paths lead to."""
        return self._found() == self._identity

    def write_anew(self) -> None:
        """Write everything into a new file at the path, from the files that are open.

        They were deleted or replaced, and SQLite goes on with files that no path leads to.  What
        stands at the path by now is moved aside, to the same name with ``.replaced``.
        """
        if self.path == ":memory:":
            return
        new = f"{self.path}.new"
        with self._explained():
            for ending in ("", *COMPANIONS):
                Path(f"{new}{ending}").unlink(missing_ok=True)
            with closing(sqlite3.connect(new)) as copy:
                self._db.backup(copy)
            for ending in ("", *COMPANIONS):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{ending}").replace(f"{self.path}.replaced{ending}")
            # Closing deletes -wal and -shm by their names: those of others are out of the way.
            self.close()
            Path(new).replace(self.path)
            self._open()

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._reader.close()
        self._db.close()

    # Transactions ------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            advice = "is its directory there, writable, and the disk not full?"
            if "malformed" in str(error) or "not a database" in str(error):
                advice = (
                    "move the file away to start afresh; then only who has attacked within "
                    "lookback is banned again, and all others are let in"
                )
            if "locked" in str(error):
                advice = f"another program holds it: `fuser -v {self.path}` names it"
            raise StoreError(f"{self.path}: {error}; {advice}") from error

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        with self._explained():
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            finally:
                if durable:
                    self._db.execute("PRAGMA synchronous = NORMAL")

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self.path}: schema {version} is newer than this program's {len(MIGRATIONS)}; "
                "install the newer version again, or move the file away"
            )
        for number in range(version, len(MIGRATIONS)):
            script = f"BEGIN;{MIGRATIONS[number]};PRAGMA user_version = {number + 1};COMMIT"
            self._db.executescript(script)

    def commit(self, batch: Batch) -> None:
        """Write one batch: all of it, or nothing."""
        with self._transaction(durable=batch.durable) as db:
            for edit in batch.edits:
                _edit(db, edit)
            self._write_places(db, batch)
            kept = ((who, window) for who, window in batch.windows.items() if window)
            gone = (who for who, window in batch.windows.items() if not window)
            _each_many(db, "DELETE FROM windows WHERE subject IN ({})", "?", gone)
            _each_many(db, "REPLACE INTO windows VALUES {}", "(?, ?)", chain.from_iterable(kept))
            self._insert_bans(db, batch.bans)
            db.executemany(
                "INSERT INTO counters VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [(log, name, value) for (log, name), value in batch.counters.items() if value],
            )

    def _write_places(self, db: sqlite3.Connection, batch: Batch) -> None:
        db.executemany(
            "REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(p.path, p.head, _signed(p.device), _signed(p.inode), p.offset, p.tail),
                    *(*place[1:], batch.now),
                )
                for place in batch.places
                for p in (place.position,)
            ],
        )

    def _insert_bans(self, db: sqlite3.Connection, rows: Iterable[NewRow]) -> None:
        _each_many(
            db,
            "INSERT INTO bans (subject, trap, start, until, hits, offence, applied, dry, reason)"
            " VALUES {}",
            "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            chain.from_iterable((*row.ban, row.applied, self.dry, row.reason) for row in rows),
        )

    # Start -------------------------------------------------------------------------------------

    def noted(self, name: str) -> str:
        """Return what was noted under a name, or nothing."""
        with self._explained():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def note(self, name: str, value: str) -> None:
        """Note a value under a name."""
        with self._transaction() as db:
            db.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))

    def mask(self, ipv6_prefix: int, now: int) -> list[Subject]:
        """Make the stored IPv6 subjects those of another prefix, if that has changed.

        Under a shorter prefix each becomes the network that it lies in.  Under a longer one
        nobody knows which part of the network attacked, so what is stored of it is deleted.

        Returns:
            the subjects that were banned under the prefix before: the kernel may hold them.
        """
        before = int(self.noted("ipv6_prefix") or 0)
        if before == ipv6_prefix:
            return []
        query = "SELECT DISTINCT subject FROM bans WHERE until > ? AND length(subject) = 16"
        with self._transaction() as db:
            held = [who for (who,) in db.execute(query, (now,))] if before else []
            if before > ipv6_prefix:
                _widen(db, ipv6_prefix)
            elif before:
                for table in _OF_SUBJECTS:
                    db.execute(f"DELETE FROM {table} WHERE length(subject) = 16")  # noqa: S608
            db.execute("REPLACE INTO meta VALUES ('ipv6_prefix', ?)", (str(ipv6_prefix),))
        return held

    def last_commit(self) -> int:
        """Return the clock of the latest commit that moved a position, microseconds, or 0."""
        with self._explained():
            (latest,) = self._db.execute("SELECT max(seen) FROM positions").fetchone()
        return latest or 0

    def set_back(self, now: int, limit: int) -> None:
        """Set all times beyond a limit back to the clock; bans stay as long as they were.

        Such times were stored while the clock was ahead.
        """
        with self._transaction() as db:
            db.execute(
                "UPDATE bans SET until = until - start + ?, start = ?, applied = 0 WHERE start > ?",
                (now, now, limit),
            )
            for column in ("latest", "cutoff", "seen"):
                query = f"UPDATE positions SET {column} = ? WHERE {column} > ?"  # noqa: S608 - ours
                db.execute(query, (now, limit))
            query = "UPDATE counters SET value = ? WHERE name = 'enforcing_since' AND value > ?"
            db.execute(query, (now, limit))

    def places(self) -> list[Place]:
        """Return how far each known log has been judged; of its old files, the latest."""
        with self._explained():
            columns = "path, device, inode, head, offset, tail, latest, fresh_end, cutoff"
            query = f"SELECT {columns} FROM ({_PLACES_BY_AGE}) WHERE age <= ? ORDER BY seen"  # noqa: S608 - ours
            rows = self._db.execute(query, (KEPT_PLACES,))
            return [
                Place(Position(path, _unsigned(device), _unsigned(inode), *row[:3]), *row[3:])
                for path, device, inode, *row in rows
            ]

    def windows(self, traps: Sequence[str]) -> Iterator[list[tuple[Subject, Window]]]:
        """Yield all pending windows in pages, numbered for the traps of today's configuration."""
        with self._explained():
            stored = dict(self._db.execute("SELECT number, name FROM traps"))
            numbers = {n: traps.index(name) for n, name in stored.items() if name in traps}
            rows = self._db.execute("SELECT subject, marks FROM windows")
            while page := rows.fetchmany(RESTORE_PAGE):
                yield [(subject, _renumbered(window, numbers)) for subject, window in page]

    def set_traps(self, traps: Sequence[str]) -> None:
        """Write down which number in a window means which trap, and renumber the stored ones."""
        with self._explained():
            stored = [
                name for (name,) in self._db.execute("SELECT name FROM traps ORDER BY number")
            ]
        if stored == list(traps):
            return
        windows = [row for page in self.windows(traps) for row in page if row[1]]
        with self._transaction() as db:
            db.execute("DELETE FROM traps")
            db.executemany("INSERT INTO traps VALUES (?, ?)", enumerate(traps))
            db.execute("DELETE FROM windows")
            db.executemany("INSERT INTO windows VALUES (?, ?)", windows)

    def remembered(
        self, since: int, now: int, ceiling: int = MAX_ROWS
    ) -> Iterator[list[tuple[Subject, int, int]]]:
        """Yield (subject, start, until) of bans that still matter, as they were made, in pages.

        Bans of a dry run matter in a dry run only.  Beyond the ceiling these are the bans that
        stand, those of subjects with the most, and of the others those that end last.
        """
        with self._explained():
            chosen, values = self._chosen(now, ceiling)
            rows = self._db.execute(
                "SELECT subject, start, until FROM bans"  # noqa: S608 - ours
                f" WHERE (start > ? OR until > ?) AND dry <= ? AND {chosen} ORDER BY id",
                (since, now, self.dry, *values),
            )
            while page := rows.fetchmany(RESTORE_PAGE):
                yield page

    def _chosen(self, now: int, ceiling: int) -> tuple[str, Sequence[int]]:
        """Return the condition for rows of bans that are kept under a ceiling, and its values."""
        if self.count_bans() <= ceiling:
            return "1", ()
        room, most = ceiling, 0
        counts = "SELECT count(*) AS bans FROM bans GROUP BY subject"
        query = f"SELECT bans, sum(bans) FROM ({counts}) GROUP BY bans ORDER BY bans DESC"  # noqa: S608 - ours
        for bans, rows in self._db.execute(query):
            if rows > room:
                most = bans
                break
            room -= rows
        query = "SELECT until FROM bans ORDER BY until DESC LIMIT 1 OFFSET ?"
        (least,) = self._db.execute(query, (room,)).fetchone()
        often = "SELECT subject FROM bans GROUP BY subject HAVING count(*) > ?"
        return f"(until > ? OR subject IN ({often}))", (min(least, now), most)

    def count_bans(self) -> int:
        """Return how many bans are stored."""
        with self._explained():
            (count,) = self._db.execute("SELECT count(*) FROM bans").fetchone()
        return int(count)

    def ended(self, now: int, after: int) -> list[tuple[int, Subject]]:
        """Return row and subject of bans that have ended, behind a row, a page at a time."""
        with self._explained():
            # The plus sign: in order of the rows, not by the index of ends.
            query = "SELECT id, subject FROM bans WHERE id > ? AND +until <= ? ORDER BY id LIMIT ?"
            return self._db.execute(query, (after, now, RESTORE_PAGE)).fetchall()

    def delete_bans(self, rows: Iterable[int]) -> None:
        """Delete bans by their rows."""
        with self._transaction() as db:
            _each_many(db, "DELETE FROM bans WHERE id IN ({})", "?", rows)

    def note_enforcing(self, now: int) -> None:
        """Note since when bans are enforced, beside the counters; a dry run ends that."""
        with self._transaction() as db:
            if self.dry:
                db.execute("DELETE FROM counters WHERE name = 'enforcing_since'")
            else:
                row = ("", "enforcing_since", now)
                db.execute("INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

    def counters(self) -> dict[tuple[str, str], int]:
        """Return every counter by (log, name)."""
        with self._explained():
            rows = self._db.execute("SELECT log, name, value FROM counters")
            return {(log, name): value for log, name, value in rows}

    def fold_counters(self, logs: Iterable[str], into: str) -> None:
        """Add the counters of these logs to those of one name, and delete them."""
        with self._transaction() as db:
            for log in logs:
                db.execute(
                    "INSERT INTO counters SELECT ?, name, value FROM counters WHERE log = ?"
                    " ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    (into, log),
                )
                db.execute("DELETE FROM counters WHERE log = ?", (log,))

    def offenders(self) -> list[tuple[int, Subject, int]]:
        """Return hour, subject and hits of those who hit most before the last stop."""
        with self._explained():
            return list(self._db.execute("SELECT hour, subject, hits FROM offenders"))

    def set_offenders(self, rows: Iterable[tuple[int, Subject, int]]) -> None:
        """Write down who hit most, instead of what was written before."""
        with self._transaction() as db:
            db.execute("DELETE FROM offenders")
            db.executemany("INSERT INTO offenders VALUES (?, ?, ?)", rows)

    # Bans --------------------------------------------------------------------------------------

    def standing(self, now: int, after: int = 0, limit: int = BAN_PAGE) -> list[StoredBan]:
        """Return the bans that have not ended, by row, ``limit`` at a time.

        It may be asked while a commit is under way, in another thread.
        """
        with self._explained():
            rows = self._reader.execute(
                "SELECT id, subject, trap, start, until, hits, offence, applied, reason FROM bans"
                " WHERE id > ? AND until > ? AND dry <= ? ORDER BY id LIMIT ?",
                (after, now, self.dry, limit),
            )
            return [StoredBan(row[0], Ban(*row[1:7]), bool(row[7]), row[8]) for row in rows]

    def end_all(self, now: int) -> int:
        """End all standing bans; return how many."""
        with self._transaction(durable=True) as db:
            return _edit(db, End(now, None))

    def knows(self, subject: Subject) -> bool:
        """Whether anything is stored of a subject; asked as ``standing`` may be."""
        with self._explained():
            rows = (
                self._reader.execute(f"SELECT 1 FROM {table} WHERE subject = ?", (subject,))  # noqa: S608 - ours
                for table in _OF_SUBJECTS
            )
            return any(each.fetchone() for each in rows)

    def tidy(self, oldest: int, now: int) -> None:
        """Delete bans that no longer matter, logs not seen since, and old files of others.

        Of files that were not read for a day fewer bytes are kept: most are rotated ones.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM bans WHERE start <= ? AND until <= ?", (oldest, now))
            db.execute("DELETE FROM positions WHERE seen <= ?", (oldest,))
            query = f"""DELETE FROM positions WHERE (path, head, device, inode) IN
                (SELECT path, head, device, inode FROM ({_PLACES_BY_AGE}) WHERE age > ?)"""  # noqa: S608 - ours
            db.execute(query, (KEPT_PLACES,))
            db.execute(
                "UPDATE positions SET tail = substr(tail, ?) WHERE seen <= ? AND length(tail) > ?",
                (-SHORT_TAIL, now - DAY, SHORT_TAIL),
            )
        with self._explained():
            self._db.execute("PRAGMA optimize")

    def give_back(self) -> bool:
        """Give some free space of the file back to the disk; whether there is more."""
        with self._explained():
            # A script: one statement by itself is stepped once, and gives back a single page.
            self._db.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK})")
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return bool(free)


def _edit(db: sqlite3.Connection, edit: Edit) -> int:
    """Change what is stored; return how many bans that were."""
    whose = " AND subject = ?"
    match edit:
        case End(now, subjects):
            query = "UPDATE bans SET until = ? WHERE until > ?"
            if subjects is None:
                return db.execute(query, (now, now)).rowcount
            return db.executemany(query + whose, [(now, now, who) for who in subjects]).rowcount
        case Extend(now, ends, reason):
            query = (
                "UPDATE bans SET until = ?, applied = 0, reason = coalesce(nullif(?, ''), reason)"
                " WHERE until > ?"
            )
            each = [(until, reason, now, who) for who, until in ends.items()]
            return db.executemany(query + whose, each).rowcount
        case Apply(now, subjects):
            query = "UPDATE bans SET applied = 1 WHERE until > ? AND NOT dry AND NOT applied"
            if subjects is None:
                return db.execute(query, (now,)).rowcount
            return db.executemany(query + whose, [(now, who) for who in subjects]).rowcount
        case Forget(subject):
            for table in _OF_SUBJECTS:
                db.execute(f"DELETE FROM {table} WHERE subject = ?", (subject,))  # noqa: S608 - ours
            return 0


def _widen(db: sqlite3.Connection, ipv6_prefix: int) -> None:
    """Mask the subjects of all tables; what comes together is joined."""
    db.create_function("masked", 1, lambda who: subject_of(who, ipv6_prefix), deterministic=True)
    db.execute("UPDATE bans SET subject = masked(subject) WHERE length(subject) = 16")
    windows: dict[Subject, Window] = {}
    for who, marks in db.execute("SELECT subject, marks FROM windows WHERE length(subject) = 16"):
        subject = subject_of(who, ipv6_prefix)
        windows[subject] = windows.get(subject, b"") + marks
    db.execute("DELETE FROM windows WHERE length(subject) = 16")
    rows = [(who, _in_order(marks)) for who, marks in windows.items()]
    db.executemany("INSERT INTO windows VALUES (?, ?)", rows)
    rows = db.execute(
        "SELECT hour, masked(subject), sum(hits) FROM offenders WHERE length(subject) = 16"
        " GROUP BY 1, 2"
    ).fetchall()
    db.execute("DELETE FROM offenders WHERE length(subject) = 16")
    db.executemany("INSERT INTO offenders VALUES (?, ?, ?)", rows)


def _in_order(marks: Window) -> Window:
    return b"".join(sorted(marks[at : at + 8] for at in range(0, len(marks), 8)))


def _identity(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)  # noqa: PTH116 - a path as text, many times a minute
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino


def _each_many(db: sqlite3.Connection, statement: str, row: str, values: Iterable[object]) -> None:
    """Run a statement for many rows, so many at a time.

    With a run for each row the thread would need the interpreter's lock for each, and wait for it
    while others work.
    """
    width = row.count("?")
    values = iter(values)
    while part := list(islice(values, MANY * width)):
        rows = ", ".join([row] * (len(part) // width))
        db.execute(statement.format(rows), part)


def _signed(number: int) -> int:
    """Return what SQLite has for an unsigned number of 64 bits.

    File systems of a network or in user space have inodes of 2**63 and more.
    """
    return number - (1 << 64) if number >> 63 else number


def _unsigned(number: int) -> int:
    return number % (1 << 64)


def _renumbered(window: Window, numbers: Mapping[int, int]) -> Window:
    numbers = {**numbers, **{old | LATE: new | LATE for old, new in numbers.items()}}
    if all(numbers.get(number) == number for number in window[7::8]):
        return window
    marks = [window[at : at + 8] for at in range(0, len(window), 8)]
    kept = [mark[:7] + bytes([numbers[mark[7]]]) for mark in marks if mark[7] in numbers]
    return b"".join(sorted(kept))
