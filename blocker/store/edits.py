"""Writes edits of stored bans: ended, extended, applied or forgotten."""

import sqlite3

from blocker.store.records import Apply, Edit, End, Extend, Forget

OF_SUBJECTS = ("bans", "windows", "offenders")
"""Tables with rows of a subject."""


def write_edit(db: sqlite3.Connection, edit: Edit) -> int:
    """Apply an edit to the stored bans; return how many bans it changed."""
    of_subject = " AND subject = ?"
    match edit:
        case End(now, subjects):
            query = "UPDATE bans SET until = ? WHERE until > ?"
            if subjects is None:
                return db.execute(query, (now, now)).rowcount
            return db.executemany(
                query + of_subject, [(now, now, who) for who in subjects]
            ).rowcount
        case Extend(now, ends, reason):
            query = (
                "UPDATE bans SET until = ?, applied = 0, reason = coalesce(nullif(?, ''), reason)"
                " WHERE until > ?"
            )
            each = [(until, reason, now, who) for who, until in ends.items()]
            return db.executemany(query + of_subject, each).rowcount
        case Apply(now, subjects):
            query = "UPDATE bans SET applied = 1 WHERE until > ? AND NOT dry AND NOT applied"
            if subjects is None:
                return db.execute(query, (now,)).rowcount
            return db.executemany(query + of_subject, [(now, who) for who in subjects]).rowcount
        case Forget(subject):
            for table in OF_SUBJECTS:
                db.execute(f"DELETE FROM {table} WHERE subject = ?", (subject,))  # noqa: S608 - ours
            return 0
