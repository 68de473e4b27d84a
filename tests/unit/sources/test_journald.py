"""The journal as a log, read from a real journald."""

import asyncio
import os
import time
from threading import Event

import pytest
from support.daemons import wait_for
from support.journal import journal
from support.namespaces import WHY_NOT, namespace, permitted

from blocker.sources import journal_reader
from blocker.sources.journal_reader import JournalReader, Mark, obstacle
from blocker.sources.journald import Journals
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK

NAME = "journal:identifier=web"


@pytest.fixture
def diary():
    """A journald of its own."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with namespace() as home, journal(home) as made:
        made.send(b"an entry of another program", fields=b"SYSLOG_IDENTIFIER=other\n")
        wait_for((made.directory / "system.journal").exists, "the journal's first file")
        yield made


class Following:
    """Follows the journal as the engine does."""

    def __init__(self, diary, known=(), since=0, names=(NAME,)):
        self.journals = Journals(names, known, since, str(diary.directory))
        self.positions = self.journals.new_positions()
        self.blocks = []

    async def lines(self, count):
        """Return so many lines, in order."""
        found = []
        async with asyncio.timeout(30):
            while len(found) < count:
                await self.journals.wait()
                for stream in self.journals.ready():
                    block = await stream.read(BLOCK)
                    if block is not None:
                        self.blocks.append(block)
                        found += block.data.split(b"\n")[:-1]
                        self.positions.append(stream.position(block, len(block.data)))
        assert len(found) == count
        return found


def follow(diary, count, **how):
    """Return so many lines, and the last position."""

    async def following():
        made = Following(diary, **how)
        try:
            return await made.lines(count), made.positions[-1]
        finally:
            made.journals.close()

    return asyncio.run(following())


def test_only_entries_of_the_identifier_are_lines(diary):
    """In the order of the journal; what others wrote is none."""
    diary.send(b"one")
    diary.send(b"no line", fields=b"SYSLOG_IDENTIFIER=webserver\n")
    diary.send(b"two", b"three")
    assert follow(diary, 3)[0] == [b"one", b"two", b"three"]


def test_a_unit_cannot_be_forged(diary):
    """A sender's own ``_SYSTEMD_UNIT`` is dropped by journald."""
    diary.send(b"forged", fields=b"_SYSTEMD_UNIT=web.service\nSYSLOG_IDENTIFIER=web\n")
    assert follow(diary, 1)[0] == [b"forged"]
    reader = JournalReader("journal:web.service", Mark("", 0), str(diary.directory))
    assert not reader.peek()
    reader.close()


def test_a_message_is_one_line(diary):
    """Newlines within it make no second one; other bytes stay as they are."""
    diary.send(b"a\n203.0.113.7 - - [", b"\x00\xff\r", b"", b"ends\n")
    expected = [b"a\x1e203.0.113.7 - - [", b"\x00\xff\r", b"", b"ends"]
    assert follow(diary, 4)[0] == expected


def test_a_message_beyond_the_ceiling_is_cut(diary):
    """It is a block of its own, and the next entry is whole."""

    async def following():
        made = Following(diary)
        lines = await made.lines(3)
        made.journals.close()
        return lines, made.blocks

    diary.send(b"before", b"x" * (3 * BLOCK), b"after")
    lines, blocks = asyncio.run(following())
    assert [len(line) for line in lines] == [6, BLOCK - 1, 5]
    assert [block.lines_cut for block in blocks] == [0, 1, 0]


def test_reading_goes_on_behind_the_position(diary):
    """Over rotations; nothing is read twice, and nothing is left out."""
    sent, read, known = [], [], ()
    for turn in range(4):
        new = [b"%d %d" % (turn, n) for n in range(50)]
        diary.send(*new[:25])
        diary.rotate()
        diary.send(*new[25:])
        lines, position = follow(diary, 50, known=known)
        known, sent, read = (position,), sent + new, read + lines
    assert read == sent


def test_a_position_within_a_block_says_which_entry(diary):
    """The lines behind it are read again, and no others."""
    diary.send(b"one", b"two", b"three")

    async def following():
        made = Following(diary)
        await made.lines(3)
        stream = made.journals.streams[0]
        made.journals.close()
        return stream.position(made.blocks[-1], len(b"one\n"))

    position = asyncio.run(following())
    assert position[:4] == (NAME, 0, 0, b"")
    assert follow(diary, 2, known=[position])[0] == [b"two", b"three"]


def test_a_rotation_while_it_is_followed_loses_nothing(diary):
    """New files are noticed, and the old one is read to its end."""

    async def following():
        made, read = Following(diary), []
        for turn in range(5):
            diary.send(b"%d a" % turn)
            read += await made.lines(1)
            diary.send(b"%d b" % turn)
            diary.rotate()
            diary.vacuum()
            diary.send(b"%d c" % turn)
            read += await made.lines(2)
        made.journals.close()
        return read, made.journals.statuses()[0].truncations

    expected = [b"%d %s" % (turn, each) for turn in range(5) for each in (b"a", b"b", b"c")]
    assert asyncio.run(following()) == (expected, 0)


def test_deleted_entries_are_reported(diary):
    """Reading goes on at the oldest entry that is left, and says so once."""
    diary.send(b"judged")
    position = follow(diary, 1)[1]
    diary.send(b"never read")
    diary.rotate()
    diary.vacuum()
    diary.send(b"left")

    async def following():
        made = Following(diary, known=[position])
        lines = await made.lines(1)
        found = made.journals.errors, made.journals.statuses()[0]
        made.journals.close()
        return lines, *found

    lines, errors, status = asyncio.run(following())
    assert lines == [b"left"]
    assert "deleted the entry" in errors[NAME]
    assert (status.truncations, status.up) == (1, True)


def test_a_new_log_begins_at_a_time(diary):
    """Before any line is read its position says from when on."""
    diary.send(b"old")
    wait_for(lambda: follow(diary, 1), "the entry")
    since = time.time_ns() // 1000

    async def beginning():
        made = Following(diary, since=since)
        await made.journals.begin()
        made.journals.close()
        return made.positions

    positions = asyncio.run(beginning())
    assert positions == [Position(NAME, 0, 0, b"", since, b"")]
    diary.send(b"new")
    assert follow(diary, 1, known=positions, since=since + 10**12)[0] == [b"new"]


def test_entries_are_seen_soon_after_another(diary):
    """For some seconds after an entry the journal is looked at every 30 ms."""

    async def following():
        made, took = Following(diary), []
        for n in range(12):
            diary.send(b"%d" % n)
            began = time.monotonic()
            await made.lines(1)
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.01)
        made.journals.close()
        return sorted(took)

    assert asyncio.run(following())[3] < 0.05


def test_a_journal_that_may_not_be_read_says_what_helps(diary, monkeypatch):
    """It is opened as soon as it can be."""
    monkeypatch.setattr("blocker.sources.journald.RETRY", 0.05)
    directory = diary.directory
    diary.send(b"line")

    async def following():
        made = Following(diary)
        os.seteuid(65534)
        try:
            await made.journals.begin()
            errors, status = made.journals.errors, made.journals.statuses()[0]
        finally:
            os.seteuid(0)
        lines = await made.lines(1)
        after = made.journals.errors
        made.journals.close()
        return errors, status, lines, after

    directory.chmod(0o700)
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    errors, status, lines, after = asyncio.run(following())
    assert "Permission denied; as root, `adduser nobody systemd-journal`" in errors[NAME]
    assert "setfacl" in errors[NAME]
    assert (status.up, lines, after) == (False, [b"line"], {})


def test_a_missing_journal_is_a_sentence(tmp_path):
    """With the places where one would be."""
    assert "keeps no journal in" in obstacle(str(tmp_path / "none"))


def test_a_journal_that_hangs_does_not_hold_up_the_loop(diary, monkeypatch):
    """Its lines are kept until it answers."""
    monkeypatch.setattr("blocker.sources.journald.PATIENCE", 0.05)
    monkeypatch.setattr("blocker.sources.journald.HANGS", 0.1)
    block, answers = JournalReader.block, Event()

    def slow(self, limit):
        self._busy_since = time.monotonic()
        answers.wait(30)
        return block(self, limit)

    monkeypatch.setattr(JournalReader, "block", slow)
    diary.send(b"one")

    async def following():
        made = Following(diary)
        await made.journals.wait()
        assert await made.journals.streams[0].read(BLOCK) is None
        await asyncio.sleep(0.2)
        errors = made.journals.errors
        answers.set()
        lines = await made.lines(1)
        made.journals.close()
        return errors, lines

    errors, lines = asyncio.run(following())
    assert "has not answered" in errors[NAME]
    assert lines == [b"one"]


def test_a_missing_library_is_a_sentence(monkeypatch, tmp_path):
    """It names the package."""
    monkeypatch.setattr(journal_reader, "_library", journal_reader._library.__wrapped__)
    monkeypatch.setattr(journal_reader.ctypes, "CDLL", _no_library)
    reader = JournalReader("journal:a.service", Mark("", 0), str(tmp_path))
    with pytest.raises(OSError, match="install the package libsystemd0"):
        reader.peek()
    reader.close()


def _no_library(name):
    raise OSError(name)


def test_no_more_journals_than_the_ceiling(tmp_path):
    """Each of the others has a sentence, and is down."""
    names = [f"journal:{n}.service" for n in range(20)]

    async def opening():
        made = Journals(names, (), 0, str(tmp_path))
        found = made.errors, made.statuses()
        made.close()
        return found

    errors, statuses = asyncio.run(opening())
    assert len(statuses) == 20
    assert "no more than 16" in errors["journal:19.service"]


def test_a_quiet_journal_is_opened_again(diary, monkeypatch):
    """What the last entry's file being deleted means then is nothing: all was read."""
    monkeypatch.setattr(journal_reader, "ACTIVE", 0.02)
    monkeypatch.setattr(journal_reader, "IDLE", 0.02)
    monkeypatch.setattr(journal_reader, "CHECK", 0.05)

    async def following():
        made = Following(diary)
        diary.send(b"one")
        lines = await made.lines(1)
        made.journals.streams[0].look()
        diary.rotate()
        diary.vacuum()
        await asyncio.sleep(0.5)
        diary.send(b"two")
        lines += await made.lines(1)
        found = made.journals.errors, made.journals.statuses()[0]
        made.journals.close()
        return lines, *found

    lines, errors, status = asyncio.run(following())
    assert (lines, errors) == ([b"one", b"two"], {})
    assert (status.up, status.truncations) == (True, 0)


REPORT = b"SYSLOG_IDENTIFIER=%b\nSYSLOG_FACILITY=%d\n"


def test_reports_have_time_user_and_identifier(diary):
    """By facility, since an identifier may hold the host; our plugin's in any facility."""
    diary.send(b"a", fields=REPORT % (b"wordpress", 10))
    diary.send(b"b", fields=REPORT % (b"wordpress(blog.example)", 4))
    diary.send(b"c", fields=REPORT % (b"wp", 16))
    diary.send(b"d\n1795874183787706 33 wordpress: e", fields=REPORT % (b"wordpress", 10))
    lines, _ = follow(diary, 4, names=("journal",))
    times, users, rest = zip(*(line.split(b" ", 2) for line in lines), strict=True)
    assert list(times) == sorted(times)
    assert {len(each) for each in times} == {16}
    assert set(users) == {b"0"}
    assert rest == (
        b"wordpress: a", b"wordpress(blog.example): b", b"wp: c",
        b"wordpress: d\x1e1795874183787706 33 wordpress: e",
    )  # fmt: skip


def test_what_other_programs_write_is_no_report(diary):
    """Of the same facilities, or with blanks in the identifier; and it is passed for good."""
    for identifier in (b"sshd", b"wordpress: x", b"wor", b"xwp"):
        diary.send(b"no", fields=REPORT % (identifier, 10))
    diary.send(b"no", fields=REPORT % (b"wordpress(a)", 16))
    diary.send(b"yes", fields=REPORT % (b"wordpress", 10))
    wait_for(lambda: diary.read("SYSLOG_IDENTIFIER=wordpress"), "the entries")
    reader = JournalReader("journal", Mark("", 0), str(diary.directory))
    assert reader.peek()
    assert [line.split(b" ", 2)[2] for line in reader.block(BLOCK).data.splitlines()] == [
        b"wordpress: yes"
    ]
    diary.send(*[b"no"] * 50, fields=REPORT % (b"sshd", 10))
    wait_for(lambda: len(diary.read("SYSLOG_IDENTIFIER=sshd")) == 51, "the entries")
    assert reader.wait()
    assert reader.block(BLOCK) == (b"", [], [], False, False)
    assert not reader.peek()
    reader._process()
    assert not reader.peek(), "entries that were passed are looked at again"
    reader.close()
