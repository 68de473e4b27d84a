"""Rows that this program never writes, in a database that was edited by hand or is damaged.

SQLite stores a value of any type in any column (https://sqlite.org/datatype3.html), and text that
is not UTF-8.  A row is *sound* if every value has the type and the range that a commit writes.  In
other rows, descriptive values are replaced by a default; a row whose essential values are not sound
is deleted.  After ``mend`` every row is sound.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from blocker.times import HOUR

MAX_TIME = 253_402_300_799_000_000
"""The end of the year 9999, microseconds: ``datetime`` and RFC 3339 end there."""

Value: TypeAlias = int | str | None


class Column(NamedTuple):
    """One column, and the condition that its values have to meet.

    Attributes:
        name: of the column.
        sound: SQL, true for a value that this program writes; ``{}`` is the column.
        instead: replaces a value that is not sound; None if the row is deleted.
    """

    name: str
    sound: str
    instead: Value = None

    @property
    def condition(self) -> str:
        """SQL, true for a row whose value is sound, and never NULL."""
        return f"({self.sound.format(self.name)})"


_SUBJECT = "typeof({0}) = 'blob' AND length({0}) IN (4, 16)"
_TIME = f"typeof({{0}}) = 'integer' AND {{0}} BETWEEN 0 AND {MAX_TIME}"
_COUNT = "typeof({0}) = 'integer' AND {0} >= 0"
_FLAG = "typeof({0}) = 'integer' AND {0} IN (0, 1)"
_INTEGER, _BLOB = "typeof({0}) = 'integer'", "typeof({0}) = 'blob'"
_TEXT = "typeof({0}) = 'text'"
_PATH = "typeof({0}) = 'text' AND instr({0}, char(0)) = 0"
_MARKS = "typeof({0}) = 'blob' AND length({0}) > 0 AND length({0}) % 8 = 0"
_HOUR = f"typeof({{0}}) = 'integer' AND {{0}} BETWEEN 0 AND {MAX_TIME // HOUR}"

TABLES: Mapping[str, Sequence[Column]] = {
    "bans": (
        Column("subject", _SUBJECT),
        Column("start", _TIME),
        Column("until", _TIME),
        Column("dry", _FLAG),  # a rehearsed ban must never be enforced
        Column("trap", _TEXT, "unknown"),
        Column("hits", _COUNT, 0),
        Column("offence", "typeof({0}) = 'integer' AND {0} > 0", 1),
        Column("applied", _FLAG, 0),
        Column("reason", _TEXT, ""),
    ),
    "positions": (
        Column("path", _PATH),
        Column("head", _BLOB),
        Column("device", _INTEGER),
        Column("inode", _INTEGER),
        Column("offset", _COUNT),
        Column("tail", _BLOB),
        Column("latest", _TIME, 0),
        Column("fresh_end", _COUNT, 0),
        Column("cutoff", _TIME, 0),
        Column("seen", _TIME, 0),
        Column("cursor", _TEXT, ""),
    ),
    "traps": (Column("name", _TEXT),),
    "windows": (Column("subject", _SUBJECT), Column("marks", _MARKS)),
    "counters": (Column("log", _TEXT), Column("name", _TEXT), Column("value", _COUNT)),
    "offenders": (
        Column("hour", _HOUR),
        Column("subject", _SUBJECT),
        Column("hits", "typeof({0}) = 'integer' AND {0} > 0"),
    ),
    "meta": (Column("name", _TEXT), Column("value", _TEXT)),
}
"""By table: the columns whose values are checked."""


def sound(table: str, *, essential: bool = False) -> str:
    """Return SQL that is true for sound rows of a table; with ``essential``, for rows to keep."""
    columns = TABLES[table]
    return " AND ".join(each.condition for each in columns if each.instead is None or not essential)


def unsound(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many rows of each table are not sound; only reads."""
    found = {}
    for table in TABLES:
        query = f"SELECT count(*) FROM {table} WHERE NOT ({sound(table)})"  # noqa: S608 - ours
        (found[table],) = db.execute(query).fetchone()
    return {table: count for table, count in found.items() if count}


def mend(db: sqlite3.Connection, table: str) -> None:
    """Replace values or delete rows that are not sound in a table."""
    essential = sound(table, essential=True)
    db.execute(f"DELETE FROM {table} WHERE NOT ({essential})")  # noqa: S608 - ours
    for column in TABLES[table]:
        if column.instead is not None:
            db.execute(
                f"UPDATE {table} SET {column.name} = ? WHERE NOT {column.condition}",  # noqa: S608
                (column.instead,),
            )
