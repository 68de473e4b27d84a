"""Lines of syslog and the journal: the samples, their times, and who wrote them."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocker.addresses import format_subject, subject_of
from blocker.matching.event_lines import Entry, read_line, split_line, time_of
from blocker.matching.event_messages import Event
from blocker.times import DAY, format_time, parse_time

SAMPLES = Path(__file__).parents[2] / "samples/events"
WEB = {33}
NOW = parse_time(b"2026-11-30T12:00:00Z")


def verdict(line: bytes) -> str:
    found = read_line(split_line(line), WEB)
    if not isinstance(found, Event):
        return "unparsed" if found.is_broken else "no event"
    address = format_subject(subject_of(found.address, 64), 64)
    return f"event {found.name} {address} n={found.failures or 'maxretry'}"


def samples():
    lines = [each for each in (SAMPLES / "syslog.txt").read_text().splitlines() if each]
    lines = [each for each in lines if not each.startswith("#")]
    return list(zip(lines[::2], [each[2:] for each in lines[1::2]], strict=True))


@pytest.mark.parametrize(("line", "expected"), samples())
def test_a_line_of_syslog_has_its_verdict(line, expected):
    """Ours and those of other plugins, recorded and hostile."""
    assert verdict(line.encode()) == expected


@pytest.mark.parametrize("row", (SAMPLES / "journal.jsonl").read_text().splitlines())
def test_an_exported_entry_has_its_verdict(row):
    """Also where a field is a list, or missing."""
    sample = json.loads(row)
    assert (
        verdict(json.dumps(sample["entry"]).encode()).split(" ")[0]
        == (sample["verdict"].split(" ")[0])
    )


def test_a_message_of_another_user_is_no_event():
    """Any local program may write with the identifier; the journal knows whose it is."""
    message = b"xmlrpc-blocker: addr=198.51.100.1 n=1 event=login"
    assert isinstance(read_line(Entry(b"", b"wordpress", message, 33), WEB), Event)
    assert "user 1000" in read_line(Entry(b"", b"wordpress", message, 1000), WEB).reason
    assert "user -1" in read_line(Entry(b"", b"wordpress", message, -1), WEB).reason


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b'{"MESSAGE": "x"}', b"[1]", b"Nov 28 13:55:29", b"Nov 28 13:55:29 www: ",
        b'{"MESSAGE": ' + b"[" * 3000, b'192.0.2.1 - - [28/Nov/2026:13:55:29 +0000] "GET /"',
    ],
)  # fmt: skip
def test_other_lines_are_not_split(line):
    """Access logs, halves of lines, and JSON of other programs."""
    found = split_line(line)
    assert found is None or not isinstance(read_line(found, WEB), Event)


@given(st.binary(max_size=200))
def test_any_line_has_a_verdict(line):
    """No bytes raise an error."""
    for each in (line, b"Nov 28 13:55:29 www wordpress[1]: " + line, b'{"MESSAGE"' + line):
        if (entry := split_line(each)) is not None:
            read_line(entry, WEB)
            time_of(entry.time, NOW)


@pytest.fixture
def zone(monkeypatch):
    """Set the zone of this process, and return to what it was."""

    def setting(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield setting
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nov 28 13:55:29", "2026-11-28T13:55:29Z"), ("Dec  1 11:00:00", "2026-12-01T11:00:00Z"),
        ("Dec  2 11:00:00", "2025-12-02T11:00:00Z"), ("Feb 29 00:00:00", "2024-02-29T00:00:00Z"),
    ],
)  # fmt: skip
def test_a_time_without_a_year_is_at_most_a_day_ahead(zone, text, expected):
    """The year is the latest that fits; a leap day has one."""
    zone("UTC")
    assert format_time(time_of(text.encode(), NOW)) == expected


def test_a_time_without_a_zone_is_local(zone):
    """The zone is that of this host."""
    zone("Europe/Berlin")
    assert format_time(time_of(b"Nov 28 13:55:29", NOW)) == "2026-11-28T12:55:29Z"


@pytest.mark.parametrize("text", [b"", b"Foo 28 13:55:29", b"Nov 31 13:55:29", b"Nov 28 25:00:00"])
def test_what_is_no_time_is_none(text):
    """An entry without a time is judged at its arrival."""
    assert time_of(text, NOW) is None


def test_the_journals_time_is_microseconds():
    """In digits, as the export has it."""
    assert time_of(str(NOW - DAY).encode(), NOW) == NOW - DAY
