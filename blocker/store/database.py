"""The SQLite file: opened, migrated, checked, replaced, and changed by transactions."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from blocker.errors import NotPermittedError, StoreError
from blocker.store.schema import MIGRATIONS

COMPANIONS = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a database."""

INCREMENTAL = 2
"""Mode of ``PRAGMA auto_vacuum``."""

_DAMAGED = re.compile("malformed|not a database|no such|codec")
"""Matches the messages of SQLite and Python for a damaged file."""

GIVEN_BACK = 1000
"""Free pages that are returned to the file system at a time."""


class Database:
    """One SQLite file, with a connection that writes and one that reads.

    Args:
        path: the file; its directory must exist.

    Attributes:
        path: of the file.

    Raises:
        StoreError: it can't be opened, is damaged, or was written by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        if Path(path).exists() and not os.access(path, os.W_OK):
            raise NotPermittedError(f"{path}: not writable for this user; run as its owner or root")
        with self._explained():
            self._open()

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.text_factory = _text
        self._reader = self._db
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        # Setting it writes to the file, and would wait while another program locks the database.
        if self._db.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            self._db.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._migrate()
        # Reading creates the WAL file, so that ``_found`` can identify it.
        self._db.execute("SELECT count(*) FROM traps").fetchone()
        self._identity = self._found()
        # Lists are read concurrently with a commit that waits for a lock of another program.
        if self.path != ":memory:":
            uri = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            self._reader = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._reader.text_factory = _text

    def _found(self) -> tuple[tuple[int, int], ...]:
        """Return device and inode of the files at the paths of the database and of its WAL."""
        return tuple(_identity(f"{self.path}{ending}") for ending in ("", "-wal"))

    def in_place(self) -> bool:
        """Whether the open files are still those at their paths."""
        return self._found() == self._identity

    def damage(self) -> str:
        """Return the damage that a new connection finds, with advice; "" if there is none.

        The open connections use pages in memory, and do not notice when another program or the
        disk changes the file.
        """
        if self.path == ":memory:":
            return ""
        uri = f"{Path(self.path).absolute().as_uri()}?mode=ro"
        try:
            with self._explained(), closing(sqlite3.connect(uri, uri=True)) as fresh:
                _check(fresh)
        except StoreError as error:
            if _DAMAGED.search(str(error)) is None:
                raise
            return str(error)
        return ""

    def rewrite(self, *, if_whole: bool = False) -> bool:
        """Write a new file at the path, from the open files and the pages in memory.

        For a database that was deleted, replaced or damaged: SQLite still has the open files.  A
        file that is at the path now is renamed to the same name with ``.replaced``.

        With ``if_whole``, nothing is changed if the copy is damaged; returns False then.
        """
        if self.path == ":memory:":
            return False
        new = f"{self.path}.new"
        with self._explained():
            for ending in ("", *COMPANIONS):
                Path(f"{new}{ending}").unlink(missing_ok=True)
            with closing(sqlite3.connect(new)) as copy:
                self._db.backup(copy)
                try:
                    _check(copy)
                except sqlite3.DatabaseError:
                    if if_whole:
                        return False
            for ending in ("", *COMPANIONS):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{ending}").replace(f"{self.path}.replaced{ending}")
            # Closing deletes -wal and -shm by their names, so other files were renamed before.
            self.close()
            Path(new).replace(self.path)
            self._open()
        return True

    def probe(self) -> None:
        """Write a row, to test whether the database can be written."""
        with self._transaction() as db:
            now = time.time_ns() // 1000
            db.execute("REPLACE INTO meta VALUES ('probed', ?)", (str(now),))

    def give_back(self) -> bool:
        """Return some free pages to the file system; True if there are more."""
        with self._explained():
            # As a script: a statement alone is stepped once, and frees a single page.
            self._db.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK})")
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return bool(free)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._db.close()

    # Transactions ------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        # A message that quotes a damaged schema may not be valid UTF-8.
        except (sqlite3.DatabaseError, UnicodeDecodeError, OSError) as error:
            advice = "is its directory there, writable, and the disk not full?"
            if _DAMAGED.search(str(error)):
                advice = (
                    "move the file away to start with an empty one; then only attackers within "
                    "lookback are banned again, and all other bans end"
                )
            if "locked" in str(error):
                advice = f"another program has locked it: `fuser -v {self.path}` names it"
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


def _text(data: bytes) -> str:
    """Decode a stored text; invalid UTF-8 is damage, and replaced."""
    return data.decode(errors="replace")


def _check(db: sqlite3.Connection) -> None:
    """Read every page.

    Raises:
        sqlite3.DatabaseError: the database is malformed.
    """
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"malformed: {found.splitlines()[-1]}")


def _identity(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)  # noqa: PTH116 - a path as text, many times a minute
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino
