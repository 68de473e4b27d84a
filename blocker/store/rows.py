"""Rows as SQLite has them, and statements for many of them at once."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from blocker.store.records import Batch, NewRow

MANY = 500
"""Rows that are written by one run of a statement."""


def each_many(db: sqlite3.Connection, statement: str, row: str, values: Iterable[object]) -> None:
    """Execute a statement for many rows, ``MANY`` at a time.

    An execution per row would acquire the interpreter's lock for each row, and wait for it while
    other threads run.
    """
    width = row.count("?")
    values = iter(values)
    while part := list(islice(values, MANY * width)):
        rows = ", ".join([row] * (len(part) // width))
        db.execute(statement.format(rows), part)


def signed(number: int) -> int:
    """Return an unsigned 64-bit number as SQLite's signed one.

    Network and FUSE file systems have inode numbers of 2**63 and more.
    """
    return number - (1 << 64) if number >> 63 else number


def unsigned(number: int) -> int:
    """Return the unsigned number of 64 bits that is stored as a signed one."""
    return number % (1 << 64)


def write_checkpoints(db: sqlite3.Connection, batch: Batch) -> None:
    """Write how far logs have been judged."""
    db.executemany(
        "REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(p.path, p.head, signed(p.device), signed(p.inode), p.offset, p.tail),
                *(*checkpoint[1:], batch.now, p.cursor),
            )
            for checkpoint in batch.checkpoints
            for p in (checkpoint.position,)
        ],
    )


def insert_bans(db: sqlite3.Connection, rows: Iterable[NewRow], *, dry: bool) -> None:
    """Add bans; those of a dry run are only rehearsed."""
    each_many(
        db,
        "INSERT INTO bans (subject, trap, start, until, hits, offence, applied, dry, reason)"
        " VALUES {}",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        chain.from_iterable((*row.ban, row.applied, dry, row.reason) for row in rows),
    )


def chosen_bans(db: sqlite3.Connection, now: int, ceiling: int) -> tuple[str, Sequence[int]]:
    """Return the condition for rows of bans that are kept under a ceiling, and its values."""
    (count,) = db.execute("SELECT count(*) FROM bans").fetchone()
    if count <= ceiling:
        return "1", ()
    room, most = ceiling, 0
    counts = "SELECT count(*) AS bans FROM bans GROUP BY subject"
    query = f"SELECT bans, sum(bans) FROM ({counts}) GROUP BY bans ORDER BY bans DESC"  # noqa: S608 - ours
    for bans, rows in db.execute(query):
        if rows > room:
            most = bans
            break
        room -= rows
    query = "SELECT until FROM bans ORDER BY until DESC LIMIT 1 OFFSET ?"
    (least,) = db.execute(query, (room,)).fetchone()
    often = "SELECT subject FROM bans GROUP BY subject HAVING count(*) > ?"
    return f"(until > ? OR subject IN ({often}))", (min(least, now), most)
