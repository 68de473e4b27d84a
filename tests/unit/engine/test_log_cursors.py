"""Cursors of logs: which log is judged next, how much is read, and what is known of times."""

import pytest
from support.loops import on_uvloop

from blocker.config.schema import Config
from blocker.engine import log_cursors
from blocker.engine.batch import PendingBatch
from blocker.engine.log_cursors import LogCursors
from blocker.matching.matchers import Matchers
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.position import Position
from blocker.sources.stream import Block
from blocker.store.records import Checkpoint
from blocker.times import SECOND, parse_time

NOW = 1_773_144_000_000_000
TRAP, OTHER = "POST /xmlrpc.php", "GET /"


def line(seconds, request=TRAP, address="198.18.0.1"):
    stamp = f"10/Mar/2026:12:{seconds // 60:02}:{seconds % 60:02} +0000"
    return f'{address} - - [{stamp}] "{request} HTTP/1.1" 200 370 "-" "-"\n'.encode()


def at(seconds):
    return parse_time(f"10/Mar/2026:12:{seconds // 60:02}:{seconds % 60:02} +0000".encode())


class Lines:
    """A stream of lines in memory."""

    head, fresh_end, cutoff = b"head", 0, 0

    def __init__(self, path, *lines):
        self.path, self._left, self._at = path, list(lines), 0
        self.limits = []

    async def read(self, limit):
        self.limits.append(limit)
        data = b"".join(self._left[:1])
        del self._left[:1]
        start, self._at = self._at, self._at + len(data)
        return Block(data, start) if data else None

    def position(self, block, end):
        return Position(self.path, 1, 1, self.head, block.start + end, b"")


class Noted:
    """Notes what is logged of lines that are not understood."""

    def __init__(self):
        self.paths = []

    def not_understood(self, path, _trouble):
        self.paths.append(path)


@pytest.fixture
def cursors():
    config = Config()
    matchers = Matchers(list(config.traps.values()), LogFormats(config.format))
    return LogCursors(matchers, Noted(), lambda: NOW)


def test_the_log_with_the_earliest_hit_comes_first(cursors):
    """Lines without a hit are passed over; a log without one is not in the heap."""
    late, early = Lines("/late", line(0, OTHER), line(9)), Lines("/early", line(5))
    quiet, pending = Lines("/quiet", line(1, OTHER)), PendingBatch()
    heap = on_uvloop(cursors.gather([late, early, quiet], pending))
    assert [(key, order, cursor.log.path) for key, order, cursor in sorted(heap)] == [
        (at(5), 1, "/early"),
        (at(9), 0, "/late"),
    ]
    assert {log.path for log in pending.checkpoints} == {"/late", "/quiet"}
    assert pending.bytes == len(line(0, OTHER) + line(9) + line(5) + line(1, OTHER))


def test_a_log_goes_on_where_its_cursor_was(cursors):
    """Also when the source does not name it as ready again."""
    log, pending = Lines("/log", line(1), line(2)), PendingBatch()
    ((_, _, cursor),) = on_uvloop(cursors.gather([log], pending))
    cursor.take_hits()
    ((key, _, again),) = on_uvloop(cursors.gather([], pending))
    assert (key, again) == (at(2), cursor)
    cursor.take_hits()
    assert on_uvloop(cursors.gather([], pending)) == []


def test_a_batch_reads_so_many_bytes_and_no_more(cursors, monkeypatch):
    """The rest is left for the next batch."""
    monkeypatch.setattr(log_cursors, "MAX_BATCH_BYTES", 100)
    log, pending = Lines("/log", *[line(n, OTHER) for n in range(9)]), PendingBatch()
    assert on_uvloop(cursors.gather([log], pending)) == []
    assert 100 <= pending.bytes < 200


def test_many_logs_share_what_may_be_held(cursors, monkeypatch):
    """A quarter each for four; never less than the smallest block."""
    monkeypatch.setattr(log_cursors, "MAX_HELD", 1 << 20)
    logs = [Lines(f"/{n}", line(n)) for n in range(4)]
    on_uvloop(cursors.gather(logs, PendingBatch()))
    assert [log.limits for log in logs] == [[1 << 18]] * 4
    monkeypatch.setattr(log_cursors, "MAX_HELD", 1)
    (more,) = [Lines("/more", line(1))]
    on_uvloop(cursors.gather([more], PendingBatch()))
    assert more.limits == [log_cursors.MIN_BLOCK]


def checkpoint(path="/log", latest=0, fresh_end=0, cutoff=0):
    return Checkpoint(Position(path, 1, 1, b"head", 0, b""), latest, fresh_end, cutoff)


def test_a_log_goes_on_with_its_stored_times(cursors):
    """The time of its latest event, and which of its lines were too old."""
    cursors.resume([checkpoint(latest=at(7), fresh_end=10_000, cutoff=at(4)), checkpoint("/other")])
    log, pending = Lines("/log", line(3) + line(5)), PendingBatch()
    ((key, _, cursor),) = on_uvloop(cursors.gather([log], pending))
    assert key == at(7)
    assert [hit.time for hit in cursor.without_stale(cursor.take_hits(9))] == [at(5)]
    new = Position("/log", 1, 2, b"head", 5, b"")
    assert cursors.met(new) == Checkpoint(new, at(7), 10_000, at(4))
    assert cursors.met(new._replace(head=b"another")).cutoff == 0


def test_the_latest_time_of_a_log_only_grows_until_the_clock_is_set(cursors):
    """Or until the log is forgotten."""
    for seconds in (5, 9, 7):
        cursors.note_latest([checkpoint(latest=at(seconds))])
    assert (cursors.latest("/log"), cursors.latest("/other")) == (at(9), 0)
    log = Lines("/log", line(1))
    ((_, _, cursor),) = on_uvloop(cursors.gather([log], PendingBatch()))
    cursors.clock_set_to(at(6))
    assert (cursors.latest("/log"), cursor.key) == (at(6), at(6))
    cursors.forget(["/log", "/never"])
    assert cursors.latest("/log") == 0


def test_lines_that_are_not_understood_are_announced(cursors):
    """With the path of their log."""
    log = Lines("/log", b'198.18.0.1 "POST /xmlrpc.php HTTP/1.1" 200\n' * 5000)
    on_uvloop(cursors.gather([log], PendingBatch()))
    assert cursors._announcer.paths == ["/log"]
    assert cursors.parsing.troubles(NOW + SECOND).keys() == {"/log"}
