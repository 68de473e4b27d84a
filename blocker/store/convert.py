"""Converts stored subjects and windows to the current configuration."""

import sqlite3
from collections.abc import Mapping

from blocker.addresses import subject_of
from blocker.judging.windows import LATE, Window
from blocker.model import Subject


def widen(db: sqlite3.Connection, ipv6_prefix: int) -> None:
    """Mask the subjects of all tables; rows of subjects that become equal are merged."""
    db.create_function("masked", 1, lambda who: subject_of(who, ipv6_prefix), deterministic=True)
    db.execute("UPDATE bans SET subject = masked(subject) WHERE length(subject) = 16")
    windows: dict[Subject, Window] = {}
    for who, marks in db.execute("SELECT subject, marks FROM windows WHERE length(subject) = 16"):
        subject = subject_of(who, ipv6_prefix)
        windows[subject] = windows.get(subject, b"") + marks
    db.execute("DELETE FROM windows WHERE length(subject) = 16")
    rows = [(who, in_order(marks)) for who, marks in windows.items()]
    db.executemany("INSERT INTO windows VALUES (?, ?)", rows)
    rows = db.execute(
        "SELECT hour, masked(subject), sum(hits) FROM offenders WHERE length(subject) = 16"
        " GROUP BY 1, 2"
    ).fetchall()
    db.execute("DELETE FROM offenders WHERE length(subject) = 16")
    db.executemany("INSERT INTO offenders VALUES (?, ?, ?)", rows)


def in_order(marks: Window) -> Window:
    """Return a window with its marks in order of time."""
    if len(marks) <= 8:
        return marks
    return b"".join(sorted(marks[at : at + 8] for at in range(0, len(marks), 8)))


def renumbered(window: Window, numbers: Mapping[int, int]) -> Window:
    """Return a window with the current indexes of traps, without marks of removed traps.

    ``numbers`` maps old indexes to new ones.
    """
    numbers = {**numbers, **{old | LATE: new | LATE for old, new in numbers.items()}}
    if all(numbers.get(number) == number for number in window[7::8]):
        return window
    marks = [window[at : at + 8] for at in range(0, len(window), 8)]
    kept = [mark[:7] + bytes([numbers[mark[7]]]) for mark in marks if mark[7] in numbers]
    return b"".join(sorted(kept))
