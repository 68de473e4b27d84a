"""The database: positions, windows, bans, offences and counters, in one SQLite file.

One writer, one transaction per batch: a batch is stored as a whole or not at all, so a judged hit
and the position behind it are always consistent.  WAL mode with ``synchronous = NORMAL``: after a
power failure both are rolled back *together* (the lines are read again); commands of an
administrator commit with ``FULL`` before they are answered.

All methods block; the daemon calls them in a thread.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from blocker.judging.windows import Window
from blocker.model import Ban, Subject
from blocker.sources.position import SHORT_TAIL, Position
from blocker.store.convert import in_order, renumbered, widen
from blocker.store.counter_names import ENFORCING_SINCE, NO_LOG
from blocker.store.database import Database
from blocker.store.edits import OF_SUBJECTS, write_edit
from blocker.store.mend import mend, sound, unsound
from blocker.store.records import Batch, Checkpoint, End
from blocker.store.rows import chosen_bans, each_many, insert_bans, unsigned, write_checkpoints
from blocker.times import DAY

BAN_PAGE = 1000
"""Rows in one answer about bans."""

KEPT_CHECKPOINTS = 64
"""Ceiling of the stored positions of one log's files; those that were seen last are kept."""

RESTORE_PAGE = 10_000
"""Rows that are read at a time."""

MAX_ROWS = 1 << 62


_CHECKPOINTS_BY_AGE = """
    SELECT *, row_number() OVER (PARTITION BY path, head = x'' ORDER BY seen DESC) AS age
    FROM positions
"""
"""A row with an empty ``head`` is of a file that was empty: it records that the log is known, and
is ranked separately."""


class StoredBan(NamedTuple):
    """A ban, with its row, whether the kernel has it, and the administrator's reason."""

    id: int
    ban: Ban
    applied: bool
    reason: str = ""


class Store(Database):
    """The database.

    Args:
        path: the file; its directory must exist.
        dry: whether this is a dry run; its bans are never enforced later.

    Attributes:
        path: of the file.
        dry: the same; the next configuration may change it.

    Raises:
        StoreError: it can't be opened, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | Path, *, dry: bool = False) -> None:
        self.dry = dry
        super().__init__(path)

    # Commits -----------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Write one batch in one transaction."""
        with self._transaction(durable=batch.durable) as db:
            for edit in batch.edits:
                write_edit(db, edit)
            write_checkpoints(db, batch)
            kept = ((who, window) for who, window in batch.windows.items() if window)
            gone = (who for who, window in batch.windows.items() if not window)
            each_many(db, "DELETE FROM windows WHERE subject IN ({})", "?", gone)
            each_many(db, "REPLACE INTO windows VALUES {}", "(?, ?)", chain.from_iterable(kept))
            insert_bans(db, batch.bans, dry=self.dry)
            db.executemany(
                "INSERT INTO counters VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [(log, name, value) for (log, name), value in batch.counters.items() if value],
            )

    # Start -------------------------------------------------------------------------------------

    def mend(self) -> dict[str, int]:
        """Correct or delete rows with values that no commit writes; return their number by table.

        Nothing is written if there are none.
        """
        with self._explained():
            found = unsound(self._db)
        if found:
            with self._transaction() as db:
                # A damaged index without the current value would refuse the change.
                db.execute("REINDEX")
                for table in found:
                    mend(db, table)
        return found

    def noted(self, name: str) -> str:
        """Return the value that was noted under a name, or ""."""
        with self._explained():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def note(self, name: str, value: str) -> None:
        """Note a value under a name; an equal value is not written again."""
        if self.noted(name) == value:
            return
        with self._transaction() as db:
            db.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))

    def mask(self, ipv6_prefix: int, now: int) -> list[Subject]:
        """Convert the stored IPv6 subjects if the prefix length has changed.

        With a shorter prefix each becomes the network that contains it.  With a longer one it is
        unknown which part of the network attacked, so the rows of these subjects are deleted.

        Returns:
            the subjects that were banned with the former prefix: the kernel may hold them.
        """
        noted = self.noted("ipv6_prefix")
        before = int(noted) if noted in map(str, range(1, 129)) else 0
        if before == ipv6_prefix:
            return []
        query = "SELECT DISTINCT subject FROM bans WHERE until > ? AND length(subject) = 16"
        with self._transaction() as db:
            held = [who for (who,) in db.execute(query, (now,))] if before else []
            if before > ipv6_prefix:
                widen(db, ipv6_prefix)
            elif before:
                for table in OF_SUBJECTS:
                    db.execute(f"DELETE FROM {table} WHERE length(subject) = 16")  # noqa: S608
            db.execute("REPLACE INTO meta VALUES ('ipv6_prefix', ?)", (str(ipv6_prefix),))
        return held

    def last_commit(self) -> int:
        """Return the clock of the latest commit that moved a position, microseconds, or 0."""
        with self._explained():
            (latest,) = self._db.execute("SELECT max(seen) FROM positions").fetchone()
        return latest or 0

    def set_back(self, now: int, limit: int) -> None:
        """Set all times beyond a limit back to the clock; bans keep their length.

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
            query = "UPDATE counters SET value = ? WHERE name = ? AND value > ?"
            db.execute(query, (now, ENFORCING_SINCE, limit))

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints of each log, at most ``KEPT_CHECKPOINTS``, the latest."""
        with self._explained():
            columns = "path, device, inode, head, offset, tail, cursor, latest, fresh_end, cutoff"
            query = f"SELECT {columns} FROM ({_CHECKPOINTS_BY_AGE}) WHERE age <= ? ORDER BY seen"  # noqa: S608 - ours
            rows = self._db.execute(query, (KEPT_CHECKPOINTS,))
            return [
                Checkpoint(Position(path, unsigned(device), unsigned(inode), *row[:4]), *row[4:])
                for path, device, inode, *row in rows
            ]

    def windows(self, traps: Sequence[str]) -> Iterator[list[tuple[Subject, Window]]]:
        """Yield all pending windows in pages, with the indexes of the current traps."""
        with self._explained():
            stored = dict(self._db.execute("SELECT number, name FROM traps"))
            numbers = {n: traps.index(name) for n, name in stored.items() if name in traps}
            rows = self._db.execute("SELECT subject, marks FROM windows")
            while page := rows.fetchmany(RESTORE_PAGE):
                yield [(who, renumbered(in_order(window), numbers)) for who, window in page]

    def set_traps(self, traps: Sequence[str]) -> None:
        """Store the indexes of traps in windows, and renumber the stored windows."""
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
        """Yield (subject, start, until) of remembered bans in the order of their rows, in pages.

        Bans of a dry run are included in a dry run only.  Beyond the ceiling the standing bans are
        kept, then those of the subjects with the most bans, then those that end last.
        """
        with self._explained():
            chosen, values = chosen_bans(self._db, now, ceiling)
            rows = self._db.execute(
                "SELECT subject, start, until FROM bans"  # noqa: S608 - ours
                f" WHERE (start > ? OR until > ?) AND dry <= ? AND {chosen} ORDER BY id",
                (since, now, self.dry, *values),
            )
            while page := rows.fetchmany(RESTORE_PAGE):
                yield page

    def count_bans(self) -> int:
        """Return how many bans are stored."""
        with self._explained():
            (count,) = self._db.execute("SELECT count(*) FROM bans").fetchone()
        return int(count)

    def ended(self, now: int, after: int) -> list[tuple[int, Subject]]:
        """Return a page of ended bans, as row and subject, from the row behind ``after``."""
        with self._explained():
            # The plus sign makes SQLite read in the order of rows, not by the index of ends.
            query = "SELECT id, subject FROM bans WHERE id > ? AND +until <= ? ORDER BY id LIMIT ?"
            return self._db.execute(query, (after, now, RESTORE_PAGE)).fetchall()

    def delete_bans(self, rows: Iterable[int]) -> None:
        """Delete bans by their rows."""
        with self._transaction() as db:
            each_many(db, "DELETE FROM bans WHERE id IN ({})", "?", rows)

    def note_enforcing(self, now: int) -> None:
        """Store since when bans are enforced, as a counter; a dry run deletes it.

        Nothing is written if it is stored already, so that a start does not wait for another
        program's lock.
        """
        with self._explained():
            query = "SELECT count(*) FROM counters WHERE name = ?"
            (noted,) = self._db.execute(query, (ENFORCING_SINCE,)).fetchone()
        if bool(noted) != self.dry:
            return
        with self._transaction() as db:
            if self.dry:
                db.execute("DELETE FROM counters WHERE name = ?", (ENFORCING_SINCE,))
            else:
                row = (NO_LOG, ENFORCING_SINCE, now)
                db.execute("INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

    def counters(self) -> dict[tuple[str, str], int]:
        """Return every counter by (log, name)."""
        with self._explained():
            rows = self._db.execute("SELECT log, name, value FROM counters")
            return {(log, name): value for log, name, value in rows}

    def fold_counters(self, logs: Iterable[str], into: str) -> None:
        """Sum the counters of logs under one name, and delete them."""
        with self._transaction() as db:
            for log in logs:
                db.execute(
                    "INSERT INTO counters SELECT ?, name, value FROM counters WHERE log = ?"
                    " ON CONFLICT DO UPDATE SET value = value + excluded.value",
                    (into, log),
                )
                db.execute("DELETE FROM counters WHERE log = ?", (log,))

    def offenders(self) -> list[tuple[int, Subject, int]]:
        """Return hour, subject and hits of the top offenders at the last stop."""
        with self._explained():
            return list(self._db.execute("SELECT hour, subject, hits FROM offenders"))

    def set_offenders(self, rows: Iterable[tuple[int, Subject, int]]) -> None:
        """Replace the stored top offenders."""
        rows = list(rows)
        if not rows and not self.offenders():
            return
        with self._transaction() as db:
            db.execute("DELETE FROM offenders")
            db.executemany("INSERT INTO offenders VALUES (?, ?, ?)", rows)

    # Bans --------------------------------------------------------------------------------------

    def standing(self, now: int, after: int = 0, limit: int = BAN_PAGE) -> list[StoredBan]:
        """Return a page of the bans that have not ended, in the order of rows.

        May be called in another thread, while a commit is under way.
        """
        with self._explained():
            rows = self._reader.execute(
                "SELECT id, subject, trap, start, until, hits, offence, applied, reason FROM bans"  # noqa: S608 - ours
                f" WHERE id > ? AND until > ? AND dry <= ? AND {sound('bans')} ORDER BY id LIMIT ?",
                (after, now, self.dry, limit),
            )
            return [StoredBan(row[0], Ban(*row[1:7]), bool(row[7]), row[8]) for row in rows]

    def end_all(self, now: int) -> int:
        """End all standing bans; return how many."""
        with self._transaction(durable=True) as db:
            return write_edit(db, End(now, None))

    def knows(self, subject: Subject) -> bool:
        """Whether a subject has any row; may be called as ``standing``."""
        with self._explained():
            rows = (
                self._reader.execute(f"SELECT 1 FROM {table} WHERE subject = ?", (subject,))  # noqa: S608 - ours
                for table in OF_SUBJECTS
            )
            return any(each.fetchone() for each in rows)

    def tidy(self, oldest: int, now: int) -> None:
        """Delete expired bans, positions of logs not seen since ``oldest``, and of old files.

        Of files that were not read for a day a shorter tail is kept: most are rotated ones.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM bans WHERE start <= ? AND until <= ?", (oldest, now))
            db.execute("DELETE FROM positions WHERE seen <= ?", (oldest,))
            query = f"""DELETE FROM positions WHERE (path, head, device, inode) IN
                (SELECT path, head, device, inode FROM ({_CHECKPOINTS_BY_AGE}) WHERE age > ?)"""  # noqa: S608 - ours
            db.execute(query, (KEPT_CHECKPOINTS,))
            db.execute(
                "UPDATE positions SET tail = substr(tail, ?) WHERE seen <= ? AND length(tail) > ?",
                (-SHORT_TAIL, now - DAY, SHORT_TAIL),
            )
        with self._explained():
            self._db.execute("PRAGMA optimize")
