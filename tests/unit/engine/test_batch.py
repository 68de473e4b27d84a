"""What a batch has come to: whether there is something to commit, and its counts."""

import pytest

from blocker.engine.batch import PendingBatch
from blocker.judging.tally import Counts
from blocker.model import Ban
from blocker.sources.position import Position
from blocker.store.counter_names import (
    BANS_BY_OFFENCE,
    BANS_BY_TRAP,
    BLOCKED,
    FRIENDS,
    HITS,
    LATE,
    NO_LOG,
    OVERSIZE,
)
from blocker.store.records import Checkpoint, End, NewRow

WHO, OTHER = bytes([198, 18, 0, 1]), bytes([198, 18, 0, 2])


def ban(subject=WHO, trap="xmlrpc", offence=1):
    return Ban(subject, trap, 10, 20, 3, offence)


CHANGES = {
    "a new log": lambda batch: batch.met.append(Checkpoint(Position("/log", 1, 1, b"", 0, b""), 0)),
    "progress": lambda batch: batch.checkpoints.update({"log": None}),
    "a ban": lambda batch: batch.bans.append(NewRow(ban(), applied=True)),
    "an edit": lambda batch: batch.edit(End(15, frozenset([WHO]))),
    "a count": lambda batch: batch.count_lines("/log", 1, 0),
    "a count that was shown": lambda batch: batch.shown.update({("/log", "lines"): 1}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_kind_of_change_is_committed(change):
    """An empty batch is not."""
    batch = PendingBatch()
    assert not batch
    CHANGES[change](batch)
    assert batch


def test_counts_of_zero_are_nothing_to_commit():
    """They come with every block."""
    batch = PendingBatch()
    batch.count_lines("/log", 0, 0)
    batch.count_hits("/log", Counts())
    batch.count_oversize("/log", 0)
    assert not batch


def test_an_edit_changes_the_bans_of_the_batch():
    """Those that it is about; and it is kept for those that are stored."""
    batch = PendingBatch()
    batch.bans = [NewRow(ban(WHO), applied=True), NewRow(ban(OTHER), applied=True)]
    batch.edit(End(15, frozenset([WHO])))
    assert [row.ban.until for row in batch.bans] == [15, 20]
    assert len(batch.edits) == 1


def test_hits_are_counted_by_log_and_kind():
    """They add up over the calls of the judge."""
    batch = PendingBatch()
    for counts in (Counts(5, 2, 1, 3), Counts(1, 1, 0, 0)):
        batch.count_hits("/log", counts)
    batch.count_oversize("/log", 2)
    kinds = (HITS, BLOCKED, LATE, FRIENDS, OVERSIZE)
    assert [batch.counters["/log", kind] for kind in kinds] == [6, 3, 1, 3, 2]


def test_bans_are_counted_by_trap_and_offence():
    """Offences from the fourth on together."""
    batch = PendingBatch()
    batch.count_bans([ban(offence=1), ban(offence=4), ban(trap="login", offence=9)])
    traps = [batch.counters[NO_LOG, BANS_BY_TRAP.of(trap)] for trap in ("xmlrpc", "login")]
    assert traps == [2, 1]
    labels = ("1", "2", "4+")
    assert [batch.counters[NO_LOG, BANS_BY_OFFENCE.of(each)] for each in labels] == [1, 0, 2]
