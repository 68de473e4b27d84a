"""One file on disk: blocks, packed files, rotated names, fingerprints and the search by time."""

import asyncio
import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from blocker.sources.files import reserved
from blocker.sources.files.logfile import LogFile, blocks
from blocker.sources.files.naming import group_rotated, rotation_key, siblings
from blocker.sources.files.plain import BlockReader
from blocker.sources.files.seek import first_line_since, start_of_unknown
from blocker.sources.position import Position
from blocker.sources.stream import BLOCK, HEAD, TAIL, LogFileError, head_of

PACK = {".gz": gzip.compress, ".xz": partial(lzma.compress, preset=0), ".bz2": bz2.compress}
KINDS = ["", *PACK]


def written(directory: Path, content: bytes, packed: str = "") -> str:
    path = directory / f"log{packed}"
    path.write_bytes(PACK[packed](content) if packed else content)
    return str(path)


def collected(path: str) -> tuple[bytes, int]:
    found = list(blocks(path))
    return b"".join(block.data for block in found), sum(block.lines_cut for block in found)


# Blocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", KINDS)
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"one\n", b"one\ntwo", b"\n\n\n", b"a" * 300 + b"\nb\n"]
)
def test_small_files_are_one_block(tmp_path, packed, content):
    """Everything comes; offline a last line without newline is a line, and gets its newline."""
    expected = content if content.endswith(b"\n") or not content else content + b"\n"
    assert collected(written(tmp_path, content, packed)) == (expected, 0)


@pytest.mark.parametrize("packed", KINDS)
def test_blocks_are_whole_lines_at_their_offsets(tmp_path, packed):
    """Each block starts where the one before ended, ends with a newline, and is at most 1 MiB."""
    content = b"".join(b"%06d %s\n" % (n, b"x" * (n % 200)) for n in range(40_000))
    found = list(blocks(written(tmp_path, content, packed)))
    assert len(found) > 3
    for block in found:
        assert block.data == content[block.start : block.start + len(block.data)]
        assert block.data.endswith(b"\n")
        assert len(block.data) <= BLOCK
        assert block.before == content[max(0, block.start - TAIL) : block.start]
    assert b"".join(block.data for block in found) == content


@pytest.mark.parametrize("packed", KINDS)
@pytest.mark.parametrize("excess", [-1, 0, 1, BLOCK, BLOCK + 1])
def test_a_line_beyond_the_ceiling_is_cut_and_counted(tmp_path, packed, excess):
    """A line of 1 MiB with its newline is read whole, of a longer one the first MiB."""
    long = b"x" * (BLOCK - 1 + excess) + b"\n"
    content = b"first\n" + long + b"last\n"
    expected = b"first\n" + long[: min(len(long), BLOCK) - 1] + b"\nlast\n"
    assert collected(written(tmp_path, content, packed)) == (expected, int(len(long) > BLOCK))


@pytest.mark.parametrize("packed", KINDS)
def test_long_lines_in_a_row_and_at_the_end_are_counted_each(tmp_path, packed):
    """Two lines beyond the ceiling behind each other are two; one without newline is one."""
    long = b"x" * (BLOCK + 10)
    content = long + b"\n" + long + b"\nshort\n" + long
    cut = b"x" * (BLOCK - 1) + b"\n"
    assert collected(written(tmp_path, content, packed)) == (cut + cut + b"short\n" + cut, 3)


@pytest.mark.parametrize("packed", KINDS)
@pytest.mark.parametrize("size", [BLOCK - 2, BLOCK, BLOCK + 1, 9 * BLOCK + 5])
@pytest.mark.parametrize("end", [b"\n", b"\nlast\n", b""])
def test_a_hole_before_a_line_hides_nothing(tmp_path, packed, size, end):
    """NULs in front of a line are skipped, however many; they are no long line."""
    content = b"first\n" + bytes(size) + b"behind" + end
    found, cut = collected(written(tmp_path, content, packed))
    expected = b"first\nbehind" + (end or b"\n")
    assert (found.replace(b"\0", b""), cut) == (expected, 0)


@pytest.mark.parametrize("packed", KINDS)
def test_a_long_line_behind_a_hole_comes_by_its_own_beginning(tmp_path, packed):
    """What is cut is counted from the first byte that is no NUL."""
    content = bytes(BLOCK + 9) + b"begin" + b"x" * (2 * BLOCK) + b"\nlast\n"
    found, cut = collected(written(tmp_path, content, packed))
    assert (found, cut) == (b"begin" + b"x" * (BLOCK - 6) + b"\nlast\n", 1)


def test_a_sparse_hole_takes_no_time(tmp_path):
    """A hole of a hundred GiB, which the file system knows of, is not read."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.truncate(100 << 30)
        file.seek(100 << 30)
        file.write(b"behind\n")
    found, cut = collected(str(path))
    assert (found.replace(b"\0", b""), cut) == (b"first\nbehind\n", 0)
    path.unlink()


@pytest.mark.parametrize("packed", KINDS)
def test_offsets_stay_true_behind_a_long_line(tmp_path, packed):
    """The block behind a line that was cut knows its offset and the bytes before it."""
    content = b"a\n" + b"x" * (BLOCK + 5) + b"tail\nafter\n"
    *_, long, last = blocks(written(tmp_path, content, packed))
    assert long.place(len(long.data)) == (last.start, last.before)
    assert (last.data, long.lines_cut, last.lines_cut) == (b"after\n", 1, 0)
    assert last.start == content.index(b"after")
    assert last.before == content[last.start - TAIL : last.start]


def test_standard_input_is_read(monkeypatch):
    """A dash is standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo")))
    assert collected("-") == (b"one\ntwo\n", 0)


def test_a_pipe_is_read_like_a_stream(tmp_path):
    """A named pipe, as a shell's process substitution gives one, is read to its end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[b"one\n" * 50_000])
    writer.start()
    assert collected(str(path)) == (b"one\n" * 50_000, 0)
    writer.join()


@pytest.mark.parametrize("packed", PACK)
def test_a_truncated_packed_file_yields_what_is_left(tmp_path, packed):
    """What could be unpacked comes first, then an error that names the file."""
    content = b"".join(b"%d\n" % (n * n) for n in range(200_000))
    path = Path(written(tmp_path, content, packed))
    path.write_bytes(path.read_bytes()[:-1000])
    found = []
    with pytest.raises(LogFileError, match=str(path)):
        found.extend(blocks(str(path)))
    data = b"".join(block.data for block in found)
    assert len(data) > len(content) // 4
    assert content.startswith(data[:-1])


@pytest.mark.parametrize("packed", PACK)
def test_a_file_that_only_says_it_is_packed_is_an_error(tmp_path, packed):
    """Plain text under a packed name is reported, not guessed at."""
    path = tmp_path / f"log{packed}"
    path.write_bytes(b"one\ntwo\n")
    with pytest.raises(LogFileError, match=str(path)):
        list(blocks(str(path)))


def test_several_gzip_members_are_one_log(tmp_path):
    """Files that were packed and then joined are read to the end."""
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert collected(str(path)) == (b"one\ntwo\n", 0)


def test_zstd_needs_its_module_and_says_so(tmp_path, monkeypatch):
    """Without the module the error names the package to install."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    path = tmp_path / "log.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(LogFileError, match="python3-zstandard"):
        list(blocks(str(path)))


def test_zstd_is_read_frame_by_frame(tmp_path):
    """Frames behind each other are one log, and a missing end is an error."""
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "log.zst"
    pack = zstandard.ZstdCompressor().compress
    packed = pack(b"one\n" * 100_000) + pack(b"two\n" * 100_000)
    path.write_bytes(packed)
    assert collected(str(path)) == (b"one\n" * 100_000 + b"two\n" * 100_000, 0)
    path.write_bytes(packed[:-4])
    with pytest.raises(LogFileError, match="the end is missing"):
        list(blocks(str(path)))


@pytest.mark.parametrize("name", ["nobody", "."])
def test_what_can_not_be_read_is_an_error(tmp_path, name):
    """A missing file and a directory are errors that name the path."""
    with pytest.raises(OSError, match=str(tmp_path)):
        list(blocks(str(tmp_path / name)))


def test_a_reader_waits_for_the_newline(tmp_path):
    """While a file grows, half a line is no line; of the line beyond the ceiling neither."""
    path = tmp_path / "log"
    path.write_bytes(b"one\nhalf")
    with LogFile(str(path)) as file, path.open("ab", buffering=0) as writer:
        reader = BlockReader(file.fd)
        reader.advance(reader.block())
        assert reader.block() is None
        writer.write(b"x" * BLOCK)
        assert reader.block() is None
        assert reader.offset == 4
        writer.write(b"x\n")
        block = reader.block()
        end = 4 + 4 + BLOCK + 2, b"x" * (TAIL - 1) + b"\n"
        assert block == (b"half" + b"x" * (BLOCK - 5) + b"\n", 4, b"one\n", end)
        reader.advance(block)
        writer.write(b"next\n")
        assert reader.block().data == b"next\n"


def test_a_small_limit_makes_small_blocks_but_no_small_ceiling(tmp_path):
    """A limit cuts blocks; a line longer than the limit is still read whole."""
    path = written(tmp_path, b"a\nb\n" + b"c" * 100 + b"\nd\n")
    with LogFile(path) as file:
        reader = BlockReader(file.fd)
        found = []
        while block := reader.block(3):
            found.append(block.data)
            reader.advance(block)
            if len(found) == 2:
                break
        assert found == [b"a\n", b"b\n"]
        assert reader.block(3).data == b"c" * 100 + b"\nd\n"


# Rotated files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "live"),
    [
        ("/l/access.log", "/l/access.log"),
        ("/l/access.log.1", "/l/access.log"),
        ("/l/access.log.2.gz", "/l/access.log"),
        ("/l/access.log-20240131", "/l/access.log"),
        ("/l/access.log-20240131.gz", "/l/access.log"),
        ("/l/access.log-20240131-1706659200", "/l/access.log"),
        ("/l/access.log-2024013105.xz", "/l/access.log"),
        ("/l/access.log-2024-01-31", "/l/access.log"),
        ("/l/access.log.20240131", "/l/access.log"),
        ("/l/access-20240131.log", "/l/access.log"),
        ("/l/access-20240131.log.gz", "/l/access.log"),
        ("/l/access_log.3.bz2", "/l/access_log"),
        ("access.log.1", "access.log"),
        ("/l.1/access.log", "/l.1/access.log"),
        ("/l/192.0.2.1", "/l/192.0.2.1"),
        ("/l/site-12345678.log", "/l/site-12345678.log"),
        ("/l/access.log.123456", "/l/access.log.123456"),
        ("/l/access.log.bak", "/l/access.log.bak"),
        ("-", "-"),
    ],
)
def test_the_live_path_of_a_rotated_file(path, live):
    """The names that logrotate gives lead back to the log; others are logs of their own."""
    assert rotation_key(path) == live


def test_rotated_sets_are_grouped_from_old_to_new():
    """Groups come in the order of their first member, files within from old to new, once."""
    given = [
        "b.log", "a.log.10.gz", "a.log", "a.log.2.gz", "a.log.1", "b.log-20240201",
        "b.log-20240131-1706659200.gz", "b.log-20240131.gz", "a.log", "./a.log.1", "-",
    ]  # fmt: skip
    assert group_rotated(given) == [
        ["b.log-20240131.gz", "b.log-20240131-1706659200.gz", "b.log-20240201", "b.log"],
        ["a.log.10.gz", "a.log.2.gz", "a.log.1", "a.log"],
        ["-"],
    ]


def test_siblings_are_what_is_on_disk_without_the_log_itself(tmp_path):
    """The rotated files of one log, old to new; of one that is being packed, the plain one."""
    names = ["a.log", "a.log.1", "a.log.1.gz", "a.log.2.gz", "b.log.1", "a.log.bak"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "a.log.7").symlink_to("nowhere")
    found = siblings(str(tmp_path / "a.log"))
    assert [Path(path).name for path in found] == ["a.log.7", "a.log.2.gz", "a.log.1"]


# Fingerprints ------------------------------------------------------------------------------------


def at(content: bytes, offset: int) -> Position:
    tail = content[max(0, offset - TAIL) : offset]
    return Position("/l", 1, 1, head_of(content[:HEAD]), offset, tail)


CONTENT = b"".join(b"line %d\n" % n for n in range(1000))


@pytest.mark.parametrize("packed", KINDS)
def test_a_file_is_recognised_by_head_and_tail(tmp_path, packed):
    """The same content is the same file, packed or not; another head or tail is another."""
    with LogFile(written(tmp_path, CONTENT, packed)) as file:
        assert file.holds(at(CONTENT, 0))
        assert file.holds(at(CONTENT, 70))
        assert file.holds(at(CONTENT, len(CONTENT)))
        other = CONTENT.replace(b"line 5\n", b"lane 5\n")
        assert not file.holds(at(other, 70))
        assert file.holds(at(other, 5000))
        assert not file.holds(at(b"x" + CONTENT, 70))
        assert not file.holds(at(CONTENT + b"more\n", len(CONTENT) + 5))
        assert file.lost_tail_of(at(CONTENT + b"more\n", len(CONTENT) + 5))
        assert not file.lost_tail_of(at(CONTENT, len(CONTENT)))


@pytest.mark.parametrize("packed", KINDS)
def test_the_end_of_a_file_is_a_position_in_it(tmp_path, packed):
    """A file noted at its end is recognised later and has nothing more, until it grows."""
    path = written(tmp_path, CONTENT, packed)
    with LogFile(path) as file:
        end = file.end("/l")
        assert end.offset == len(CONTENT)
        assert file.holds(end)
        assert not file.has_more(end) or packed in {".xz", ".bz2"}


def test_a_plain_file_noted_at_its_end_is_recognised_when_it_is_packed(tmp_path):
    """Rotation packs what was noted plain."""
    with LogFile(written(tmp_path, CONTENT)) as file:
        end = file.end("/l")
    with LogFile(written(tmp_path, CONTENT, ".gz")) as file:
        assert file.holds(end)
        assert not file.has_more(end)


def test_an_empty_file_is_recognised_by_its_inode_alone(tmp_path):
    """Where there was no first line, nothing else is left; a packed file is never that one."""
    path = written(tmp_path, CONTENT)
    with LogFile(path) as file:
        empty = Position("/l", file.device, file.inode, b"", 0, b"")
        assert file.holds(empty)
        assert not file.holds(empty._replace(inode=file.inode + 1))


@pytest.mark.parametrize("length", [HEAD - 1, HEAD, HEAD + 1, HEAD + 100])
def test_the_head_of_a_long_first_line_does_not_change_as_it_grows(length):
    """With a newline or 4096 bytes the head is final."""
    line = b"x" * length
    grown = head_of((line + b"xxx\nnext\n")[:HEAD])
    assert head_of(line[:HEAD]) == (grown if length >= HEAD else b"")


def test_a_copy_of_the_beginning_is_covered(tmp_path):
    """A copy that is being made of a growing log is no other log."""
    path, copy = tmp_path / "log", tmp_path / "copy"
    path.write_bytes(CONTENT)
    for content, expected in [
        (CONTENT, True), (CONTENT[:700], True), (CONTENT[:3], True), (b"", False),
        (CONTENT + b"x", False), (CONTENT[:600] + b"x" * 100, False), (b"x" + CONTENT[1:], False),
    ]:  # fmt: skip
        copy.write_bytes(content)
        with LogFile(str(path)) as file, LogFile(str(copy)) as other:
            assert file.covers(other) is expected


# Time --------------------------------------------------------------------------------------------


def time_of(line: bytes) -> int | None:
    first = line.split(b" ")[0]
    return int(first) if first.isdigit() else None


def since(path: str, cutoff: int, size: int | None = None) -> int:
    with LogFile(path) as file:
        size = file.stat().st_size if size is None else size
        return asyncio.run(first_line_since(file.fd, size, cutoff, time_of))


@pytest.mark.parametrize("cutoff", [0, 1, 2, 14_999, 15_000, 29_998, 29_999, 30_000, 99_999])
def test_the_first_line_since_a_time_is_found(tmp_path, cutoff):
    """The search finds the very line, with lines that have no time among them."""
    lines = [
        b"%d %s\n" % (n, b"x" * (n % 90)) if n % 7 else b"no time here\n" for n in range(30_000)
    ]
    content = b"".join(lines)
    found = since(written(tmp_path, content + b"29999 half"), cutoff)
    first = next((n for n, line in enumerate(lines) if (time_of(line) or -1) >= cutoff), None)
    assert found == (sum(map(len, lines[:first])) if first is not None else len(content))


def test_only_a_part_of_a_large_log_is_read(tmp_path):
    """The search looks at a handful of places, not at the file."""
    content = b"".join(b"%09d %s\n" % (n, b"x" * 90) for n in range(100_000))
    path = written(tmp_path, content)
    asked = []

    def counting(line: bytes) -> int | None:
        asked.append(line)
        return time_of(line)

    with LogFile(path) as file:
        found = asyncio.run(first_line_since(file.fd, len(content), 77_777, counting))
    assert content[found:].startswith(b"000077777 ")
    assert len(asked) < 1500


@pytest.mark.parametrize("content", [b"", b"\n", b"half", b"junk\n" * 50_000])
def test_a_log_without_times_starts_at_its_end(tmp_path, content):
    """Where no line has a time, none is young; half a line at the end is still to come."""
    assert since(written(tmp_path, content), 5) == content.rfind(b"\n") + 1


def test_regions_without_times_are_stepped_over(tmp_path):
    """Junk between dated lines, longer than any probe, hides nothing."""
    content = b"1 a\n" + b"junk\n" * 60_000 + b"5 b\n" + b"junk\n" * 60_000 + b"9 c\n"
    path = written(tmp_path, content)
    assert since(path, 5) == content.index(b"5 b")
    assert since(path, 6) == content.index(b"9 c")
    assert since(path, 0) == 0


def unknown(tmp_path, content, *, age=0):
    """Return where a log with this content starts, whose lines begin with their time or none."""
    path = tmp_path / "log"
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))

    def time_of(line):
        return 1 if line.startswith(b"1 ") else None

    cutoff = int((time.time() - 3600) * 1e6)
    with LogFile(str(path)) as file:
        return asyncio.run(start_of_unknown(file.fd, len(content), cutoff, time_of))


def test_a_log_without_a_readable_time_is_read_from_its_last_mebibyte(tmp_path):
    """From the start of a line on; one with times, or one that is old, is left as it is."""
    line = b"at noon\n"
    assert unknown(tmp_path, line * 10) == 0
    assert unknown(tmp_path, b"") == 0
    long = line * (1 << 18)
    start = unknown(tmp_path, long)
    assert start % len(line) == 0
    assert 0 < len(long) - start <= 1 << 20
    assert unknown(tmp_path, line * 10, age=4000) == 80
    assert unknown(tmp_path, line * 10 + b"1 o'clock\n" + line * 9) == 162
    endless = b"x" * (2 << 20) + b"\n"
    assert unknown(tmp_path, endless) == len(endless)


def test_the_daemons_own_database_is_never_opened_as_a_log(tmp_path):
    """By any name: closing it would end the locks that SQLite has on it in this process."""
    database, link = tmp_path / "state.db", tmp_path / "access.log"
    database.write_bytes(b"SQLite format 3\0")
    link.symlink_to(database)
    reserved.leave_alone([str(database), str(tmp_path / "state.db-wal")])
    try:
        for path in (database, link):
            with pytest.raises(OSError, match="daemon's own"):
                LogFile(str(path))
    finally:
        reserved.leave_alone([])
    LogFile(str(link)).close()
