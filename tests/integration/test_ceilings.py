"""All that strangers can make grow has a ceiling: with the real daemon, in small."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.daemons import daemon, line, wait_for, write

from blocker.engine.ceiling import MAX_GONE
from blocker.model import Ban
from blocker.sources.position import Position
from blocker.store.records import Batch, Checkpoint, NewRow
from blocker.store.store import KEPT_CHECKPOINTS, Store
from blocker.times import SECOND

ROOT = Path(__file__).parent.parent.parent
P = "xmlrpc_blocker_"
HOUR = 3600 * SECOND
GET = "GET / HTTP/1.1"


@pytest.fixture
def service(netns, tmp_path):
    with daemon(netns, tmp_path, '[metrics]\nlisten = "127.0.0.1:9947"') as made:
        yield made


def rows(service, table):
    """Return how many rows a table has."""
    with closing(sqlite3.connect(service.state)) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours


def test_a_start_on_more_bans_than_may_be_remembered_reads_and_keeps_the_heaviest(service):
    """Memory is bounded at once, the database after the start; the heaviest are known."""
    at = time.time_ns() // 1000 - 50 * HOUR
    strangers = [Ban((0x0B000000 + n).to_bytes(4, "big"), "xmlrpc", at, at + n, 3, 1)
                 for n in range(3000)]  # fmt: skip
    heavy = [Ban(bytes([198, 18, 0, 1]), "xmlrpc", at + n, at + n, 3, 1) for n in range(5)]
    made = [NewRow(ban, applied=True) for ban in (*heavy, *strangers)]
    store = Store(service.state)
    store.commit(Batch([], {}, made, {}, at))
    store.close()
    service.configure("max_remembered = 1000")
    service.start()
    assert service.metrics()[f"{P}remembered_bans"] <= 1000
    wait_for(lambda: rows(service, "bans") <= 1000, "the others to be swept")
    write(service.log, *[line("198.18.0.1")] * 3)
    service.until_blocked("198.18.0.1")
    assert "offence=6" in service.said()


def test_counters_of_logs_that_come_and_go_are_bounded_and_no_sum_goes_backwards(service):
    """A log that is gone is counted on; very many that are gone are counted as one."""
    service.logs = [f"{service.directory}/*access*.log"]
    service.configure()
    service.start()
    name, count = f"{P}log_lines_total", 2 * MAX_GONE
    logs = [service.directory / f"site{n}-access.log" for n in range(count)]
    for log in logs:
        write(log, line("198.18.0.2", request=GET))
    service.until(lines=count)
    service.stop()
    for log in logs[: MAX_GONE // 2]:
        log.unlink()
    service.start()
    few = {key: value for key, value in service.metrics().items() if key.startswith(name)}
    assert len(few) == sum(few.values()) == count
    service.stop()
    for log in logs[: MAX_GONE + 6]:
        log.unlink(missing_ok=True)
    service.start()
    gone = f'{name}{{log="gone"}}'
    wait_for(lambda: service.metrics().get(gone) == MAX_GONE + 6, "the logs that are gone")
    left = {key: value for key, value in service.metrics().items() if key.startswith(name)}
    assert (len(left), sum(left.values())) == (count - MAX_GONE - 5, count)
    service.stop()
    with closing(sqlite3.connect(service.state)) as db:
        logs = "SELECT count(*), sum(value) FROM counters WHERE name = 'lines' AND value > 0"
        assert db.execute(logs).fetchone() == (count - MAX_GONE - 5, count)


def test_a_start_on_the_positions_of_thousands_of_old_files_is_quick_and_deletes_them(service):
    """Of each log the latest are kept; the log is followed, and hits are judged."""
    now = time.time_ns() // 1000
    service.log.write_text(line("198.18.7.8", request=GET))
    service.start()
    service.until(lines=0)
    service.stop()
    store = Store(service.state)
    for at in range(0, 5000, 1000):
        checkpoints = [
            Checkpoint(Position(str(service.log), 1, n, b"%d" % n, 500, os.urandom(256)), now)
            for n in range(at, at + 1000)
        ]
        store.commit(Batch(checkpoints, {}, [], {}, now - 5 * HOUR + at))
    store.close()
    service.start()
    wait_for(lambda: rows(service, "positions") <= KEPT_CHECKPOINTS + 5, "the others to be deleted")
    write(service.log, *[line("198.18.0.1")] * 3)
    service.until_blocked("198.18.0.1")


def test_ninety_days_of_attackers_stay_within_the_limits():
    """The benchmark in small: everything is counted, and the heaviest are known at the end."""
    command = ["benchmarks/remember.py", "--addresses", "9000", "--ceiling", "5000"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "within the limits" in done.stdout
