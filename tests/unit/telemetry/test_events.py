"""Events: their words, their fields, and the journal's native protocol on a real socket."""

import ast
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from events_page import page

from blocker.telemetry import events
from blocker.telemetry.eventlog import JournalHandler, emit, emitted, entry, log
from blocker.telemetry.events import EVENTS, FIELDS, Event

ROOT = Path(__file__).parents[3]
KINDS = [value for value in vars(events).values() if isinstance(value, Event)]
BAN = {
    "CLIENT_IP": "203.0.113.7", "TRAP": "xmlrpc", "HITS": 3, "OFFENCE": 2, "LOG": "/var/log/a.log",
    "BAN_START": "2026-03-01T00:00:00Z", "BAN_UNTIL": "2026-03-02T00:00:00Z",
}  # fmt: skip


def parsed(datagram):
    """Read the journal's native protocol, as its description has it."""
    fields = []
    while datagram:
        name, end, rest = datagram.partition(b"\n")
        assert end, "every field ends"
        name, equals, value = name.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name)
        fields.append((name.decode(), value.decode()))
        datagram = rest
    assert len(dict(fields)) == len(fields), "each field once"
    return dict(fields)


@pytest.fixture
def journal(tmp_path):
    """A socket that stands where the journal's would, while we tell it things."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "socket"))
    listening.settimeout(5)
    before = log.handlers[:], log.level, log.propagate, dict(emitted)
    with (tmp_path / "stderr").open("w+") as stream:
        handler = JournalHandler(stream, str(tmp_path / "socket"))
        log.handlers[:], log.propagate = [handler], False
        log.setLevel(logging.INFO)
        yield listening
        handler.close()
    log.handlers[:], level, log.propagate, counts = before
    log.setLevel(level)
    emitted.clear()
    emitted.update(counts)
    listening.close()


def heard(listening):
    return parsed(listening.recv(1 << 20))


def test_a_ban_is_an_entry_with_fields(journal):
    """Address, trap, hits, offence, times and log can be searched for, and the text is as ever."""
    emit(events.BAN, **BAN)
    assert heard(journal) == {
        "MESSAGE": "banned 203.0.113.7 until 2026-03-02T00:00:00Z: trap=xmlrpc hits=3 offence=2"
        " log=/var/log/a.log",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "xmlrpc-blocker",
        "EVENT": "ban",
        "MESSAGE_ID": "52050efd3197412eb5b1c7fdb588fc56",
        **{name: str(value) for name, value in BAN.items()},
    }


@pytest.mark.parametrize("event", KINDS, ids=lambda event: f"{event.name}: {event.text[:20]}")
def test_every_event_can_be_logged(journal, event):
    """With all of its fields, and its level as the priority."""
    values = {name: f"<{name}>" for name in event.fields}
    emit(event, **values, **({"MESSAGE": "words"} if "(MESSAGE)" in event.text else {}))
    fields = heard(journal)
    assert fields["PRIORITY"] == {"info": "6", "warning": "4", "error": "3"}[event.level]
    assert (fields["EVENT"], fields["MESSAGE_ID"]) == (event.name, event.message_id)
    assert {name: fields[name] for name in event.fields} == values
    assert "%(" not in fields["MESSAGE"]


UNTIL = "until 2026-03-02T00:00:00Z"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (events.BAN_BY_HAND, f"banned 203.0.113.7 {UNTIL} by hand"),
        (events.BAN_NETWORK_BY_HAND, f"banned 203.0.113.7 (5) {UNTIL} by hand"),
        (events.WOULD_BAN_BY_HAND, f"would ban 203.0.113.7 {UNTIL} by hand"),
        (events.WOULD_BAN_NETWORK_BY_HAND, f"would ban 203.0.113.7 (5) {UNTIL} by hand"),
        (
            events.WOULD_BAN,
            f"would ban 203.0.113.7 {UNTIL}: trap=xmlrpc hits=3 offence=2 log=/var/log/a.log",
        ),
        (events.UNBAN_NETWORK, "unbanned 203.0.113.7 (5) by hand"),
        (events.CHORE_REFUSED, "disk full"),
        (events.RELOAD, "reloading"),
    ],
)
def test_each_kind_of_an_event_has_words_of_its_own(journal, event, said):
    """A ban by hand, a network and a dry run can be distinguished by the text alone."""
    values = {**BAN, "COUNT": 5, "REASON": "disk full"}
    emit(event, **{name: values[name] for name in event.fields})
    assert heard(journal)["MESSAGE"] == said


def test_a_plain_message_is_an_entry_without_an_event(journal):
    """Text, priority and who says it; a traceback belongs to the text."""
    try:
        int("why")
    except ValueError:
        log.exception("how")
    fields = heard(journal)
    assert set(fields) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}
    assert fields["MESSAGE"].startswith("how\nTraceback")
    assert fields["PRIORITY"] == "3"


def test_no_value_begins_another_field(journal):
    """A newline in a value, such as one in the name of a log, is escaped."""
    path = "/var/log/a\nEVENT=unban\nCLIENT_IP=198.51.100.1\n.log"
    emit(events.BAN, **{**BAN, "LOG": path})
    fields = heard(journal)
    assert fields["LOG"] == path.replace("\n", "\\n")
    assert "\n" not in fields["MESSAGE"]
    assert (fields["EVENT"], fields["CLIENT_IP"]) == ("ban", "203.0.113.7")


def test_a_value_that_is_no_text_is_logged_all_the_same(journal):
    """A path may hold any bytes."""
    emit(events.BAN, **{**BAN, "LOG": os.fsdecode(b"/var/log/\xff.log")})
    assert heard(journal)["LOG"] == "/var/log/\\udcff.log"


def test_no_control_character_reaches_the_journal_or_a_terminal(journal):
    """Escape sequences, bidi marks and C1 are escaped in every field; a text keeps its lines."""
    hostile = "/var/log/\x1b[2J\x9b31m\u202e.log"
    emit(events.BAN, **{**BAN, "LOG": hostile})
    emit(events.LOG_UNREADABLE, MESSAGE=f"{hostile}: Permission denied\nand more", LOG=hostile)
    emit(events.RELOAD_FAILED, REASON=OSError(f"{hostile}: no"))
    for fields in (heard(journal), heard(journal), heard(journal)):
        values = "".join(fields.values()).replace("\n", "")
        assert values.isprintable()
        assert r"\x1b[2J\x9b31m\u202e" in fields["MESSAGE"]


def test_an_entry_has_a_ceiling(journal):
    """However long the reason is, the datagram can be sent."""
    emit(events.LOG_MENDED, REASON="x" * (1 << 20), LOG="y" * (1 << 20))
    fields = heard(journal)
    assert len(fields["REASON"]) == len(fields["MESSAGE"]) == len(fields["LOG"]) == 16 << 10


def fill(condition):
    for _ in range(5000):
        emit(events.BAN, **BAN)
        if condition():
            return
    raise AssertionError("it takes everything")


def test_what_the_journal_does_not_take_is_a_line(journal, tmp_path):
    """It has many entries waiting: those are whole, and the next is there as text."""
    lines = tmp_path / "stderr"
    fill(lambda: lines.stat().st_size)
    assert lines.read_text().startswith("<6>banned 203.0.113.7 until ")
    assert heard(journal)["EVENT"] == "ban"
    emit(events.UNBAN, CLIENT_IP="203.0.113.7")
    journal.settimeout(0)
    last = ""
    while last != "unban":
        last = heard(journal)["EVENT"]


def test_readers_that_do_not_read_are_not_waited_for(journal):
    """Neither the journal nor standard error: what both refuse is dropped and counted."""
    reader, writer = os.pipe()
    dropped = emitted["dropped"]
    with os.fdopen(writer, "w") as log.handlers[0].stream:
        fill(lambda: emitted["dropped"] > dropped + 10)
        os.read(reader, 1 << 20)
        before = emitted["dropped"]
        emit(events.BAN, **BAN)
        assert emitted["dropped"] == before
        assert os.read(reader, 1 << 20).startswith(b"<6>banned 203.0.113.7 until ")
    os.close(reader)


def test_without_a_journal_lines_go_to_stderr(journal, tmp_path):
    """With the priority in front: that may be its stream, and it may come back."""
    (tmp_path / "socket").unlink()
    emit(events.STORE_REFUSED, REASON="disk\nfull")
    assert (tmp_path / "stderr").read_text() == (
        "<3>nothing is stored, continuing in memory: disk\n full\n"
    )


def test_warnings_and_errors_are_counted(journal):
    """Whether the journal takes them or not."""
    before = dict(emitted)
    for event in (events.CLOCK_SET, events.UNKNOWN_REMOVED, events.RELOAD_FAILED, events.RELOAD):
        emit(event, **dict.fromkeys(event.fields, 1))
        heard(journal)
    assert (emitted["warning"], emitted["error"]) == (before["warning"] + 2, before["error"] + 1)


# The table -------------------------------------------------------------------------------------


def test_each_event_is_itself():
    """Names and ids belong to one kind each, and ids are those of the journal's kind."""
    assert len({event.message_id for event in EVENTS.values()}) == len(EVENTS)
    assert len(EVENTS) == len({event.name for event in KINDS})
    for event in KINDS:
        assert re.fullmatch(r"[0-9a-f]{32}", event.message_id)
        assert re.fullmatch(r"[a-z_]+", event.name)
        assert (event.message_id, event.level) == EVENTS[event.name][1:3]
        assert event.about.endswith(".")
        assert set(event.fields) <= set(FIELDS)


def test_every_field_is_some_events():
    """No field is described that is never logged."""
    assert set(FIELDS) == {field for event in KINDS for field in event.fields}


def test_the_page_is_written_by_the_program():
    """docs/events.md is what ``make docs`` writes."""
    assert (ROOT / "docs/events.md").read_text() == page()


def uses():
    """Yield each call of ``tell``: the event's name in the table, and the fields it is given."""
    for path in sorted((ROOT / "blocker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == f"events.{node.attr}":
                yield node.attr


def test_every_event_is_logged_somewhere():
    """What is in the table happens, and what happens is in the table."""
    names = {name for name, value in vars(events).items() if isinstance(value, Event)}
    assert {use for use in uses() if use.isupper()} == names


def test_no_log_call_bypasses_the_table():
    """Every message of the daemon is an event; only ``eventlog`` knows how those are written."""
    for path in sorted((ROOT / "blocker").rglob("*.py")):
        if path.stem != "eventlog":
            assert "getLogger" not in path.read_text(), path.name


# Where it goes ---------------------------------------------------------------------------------

SAY = (
    "from blocker.telemetry import eventlog, events; eventlog.set_up_logging();"
    " print(type(eventlog.log.handlers[0]).__name__); eventlog.emit(events.RELOAD)"
)


def said(stderr, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        stdout=subprocess.PIPE, stderr=stderr, env={**inherited, **environment}, check=True,
    )  # fmt: skip
    return done.stdout.decode().strip()


def test_elsewhere_lines_have_a_time(tmp_path):
    """On a terminal or in a file: time, level, text."""
    with (tmp_path / "stderr").open("wb") as stream:
        assert said(stream) == "StreamHandler"
    assert re.fullmatch(r"\S+Z info: reloading\n", (tmp_path / "stderr").read_text())


def written_while_not_read(descriptor, lines):
    """Have another process write lines to a descriptor; return how many it dropped."""
    many = (
        "from blocker.telemetry import eventlog, events; eventlog.set_up_logging();"
        f"[eventlog.emit(events.RELOAD) for _ in range({lines})];"
        "print(eventlog.emitted['dropped'])"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", many],
        stdout=subprocess.PIPE, stderr=descriptor, env=inherited, check=True, timeout=30,
    )  # fmt: skip
    return int(done.stdout)


def test_a_pipe_that_is_not_read_blocks_nothing():
    """What fits is there, whole lines of it; the rest is dropped and counted."""
    reader, writer = os.pipe()
    dropped = written_while_not_read(writer, 5000)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().splitlines()
    assert dropped > 0
    assert len(lines) == 5000 - dropped
    assert all(line.endswith(b"Z info: reloading") for line in lines)


def test_a_reader_that_has_gone_ends_nothing():
    """EPIPE is a dropped line."""
    reader, writer = os.pipe()
    os.close(reader)
    assert written_while_not_read(writer, 3) == 3
    os.close(writer)


def test_a_full_disk_under_stderr_ends_nothing():
    """ENOSPC is a dropped line."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        assert written_while_not_read(full, 3) == 3


def test_a_redirected_stderr_is_not_the_journals(tmp_path):
    """JOURNAL_STREAM is inherited by each child process; device and inode say whose it is."""
    with (tmp_path / "stderr").open("wb") as stream:
        info = os.fstat(stream.fileno())
        assert said(stream, JOURNAL_STREAM=f"{info.st_dev}:{info.st_ino + 1}") == "StreamHandler"
        ours = f"{info.st_dev}:{info.st_ino}"
        assert said(stream, JOURNAL_STREAM=ours) == "JournalHandler"


def test_an_entry_without_values_is_one():
    """A record of another library has no fields, and does no harm."""
    record = logging.LogRecord("blocker", logging.DEBUG, "", 0, "text", None, None)
    assert parsed(entry(record))["PRIORITY"] == "7"
