"""Instants that a kill rarely meets, held still: what happens between two looks at one file."""

import asyncio
import shutil

import pytest

from blocker.sources.files import search
from blocker.sources.files.tailer import FileTailer


async def begin_at_start(_log):
    return 0


async def lines_of(tailer):
    """Return all that there is to read, looking three times."""
    found = []
    for _ in range(3):
        await tailer.scan()
        while logs := tailer.ready():
            for log in logs:
                while block := await log.read():
                    found += block.data.splitlines()
            if any(log.state.truncated for log in tailer.generations):
                break
    return found


def judged(tailer):
    return [log.delivered for log in tailer.generations] + tailer.new_positions()


def test_a_log_truncated_between_being_recognised_and_being_opened(tmp_path, monkeypatch):
    """Its copy holds what was read before the restart: none of it is read again."""
    path = tmp_path / "access.log"
    run = search.UnreadSearch.run

    def truncated_just_then(self, listing):
        found = run(self, listing)
        if path.stat().st_size and not path.with_suffix(".log.1").exists():
            shutil.copyfile(path, path.with_suffix(".log.1"))
            path.write_bytes(b"")
        return found

    async def scenario():
        path.touch()
        first = FileTailer([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\ntwo\n")
        assert await lines_of(first) == [b"one", b"two"]
        known = judged(first)
        first.close()
        monkeypatch.setattr(search.UnreadSearch, "run", truncated_just_then)
        second = FileTailer([str(path)], known, start_of=begin_at_start)
        await second.scan()
        path.write_bytes(b"three\n")
        assert await lines_of(second) == [b"three"]
        second.close()

    asyncio.run(scenario())


def test_a_log_truncated_while_its_copy_is_looked_at(tmp_path, monkeypatch):
    """The copy lacks the last line, which was read: all the others are still not read again."""
    path = tmp_path / "access.log"
    examine = search.UnreadSearch._examine

    def truncated_just_then(self, name, inode):
        if path.read_bytes().startswith(b"one"):
            path.write_bytes(b"")
        return examine(self, name, inode)

    async def scenario():
        path.touch()
        tailer = FileTailer([str(path)], start_of=begin_at_start)
        await tailer.scan()
        path.write_bytes(b"one\ntwo\nlost\n")
        assert await lines_of(tailer) == [b"one", b"two", b"lost"]
        path.with_suffix(".log.1").write_bytes(b"one\ntwo\n")
        monkeypatch.setattr(search.UnreadSearch, "_examine", truncated_just_then)
        tailer._look = True
        assert await lines_of(tailer) == []
        path.write_bytes(b"three\n")
        assert await lines_of(tailer) == [b"three"]
        tailer.close()

    asyncio.run(scenario())


def test_a_log_truncated_while_its_copy_is_looked_at_after_a_restart(tmp_path, monkeypatch):
    """The same, where nothing is open yet and only the store knows what was read."""
    path = tmp_path / "access.log"
    examine = search.UnreadSearch._examine

    def truncated_just_then(self, name, inode):
        if path.read_bytes().startswith(b"one"):
            path.write_bytes(b"")
        return examine(self, name, inode)

    async def scenario():
        path.touch()
        first = FileTailer([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\ntwo\nlost\n")
        assert await lines_of(first) == [b"one", b"two", b"lost"]
        known = judged(first)
        first.close()
        path.with_suffix(".log.1").write_bytes(b"one\ntwo\n")
        monkeypatch.setattr(search.UnreadSearch, "_examine", truncated_just_then)
        second = FileTailer([str(path)], known, start_of=begin_at_start)
        assert await lines_of(second) == []
        path.write_bytes(b"three\n")
        assert await lines_of(second) == [b"three"]
        second.close()

    asyncio.run(scenario())


def test_a_copy_that_got_the_inode_of_a_log_that_was_met_empty(tmp_path):
    """The inode says that nothing was read of it, its first line says that nearly all was."""
    path, copy = tmp_path / "access.log", tmp_path / "access.log.1"

    async def scenario():
        path.touch()
        first = FileTailer([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\ntwo\nlost\n")
        assert await lines_of(first) == [b"one", b"two", b"lost"]
        known = judged(first)
        first.close()
        copy.write_bytes(b"one\ntwo\n")
        path.write_bytes(b"three\n")
        info = copy.stat()
        empty = known[-1]._replace(device=info.st_dev, inode=info.st_ino, head=b"", offset=0)
        second = FileTailer(
            [str(path)], [empty._replace(tail=b""), *known], start_of=begin_at_start
        )
        assert await lines_of(second) == [b"three"]
        second.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("postponed", [1, 2])
def test_a_log_renamed_while_rotated_files_are_on_the_move(tmp_path, monkeypatch, postponed):
    """What was rotated before the start is read first, however often the look is postponed."""
    path, new = tmp_path / "access.log", tmp_path / "access.log-20260102"
    run, moved = search.UnreadSearch.run, []

    def moving(self, listing):
        """Take one more of the rotated files away while they are looked at."""
        if len(moved) == postponed:
            return run(self, listing)
        moved.append(True)
        gone = tmp_path / f"access.log-2025010{len(moved)}"
        gone.unlink()
        return run(self, listing)

    async def scenario():
        path.touch()
        first = FileTailer([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\n")
        assert await lines_of(first) == [b"one"]
        known = judged(first)
        first.close()
        path.rename(tmp_path / "access.log-20260101")
        new.write_bytes(b"two\n")
        path.write_bytes(b"three\n")
        for number in (1, 2):
            (tmp_path / f"access.log-2025010{number}").write_bytes(b"old %d\n" % number)
        monkeypatch.setattr(search.UnreadSearch, "run", moving)
        second = FileTailer([str(path)], known, start_of=begin_at_start)
        await second.scan()
        path.rename(tmp_path / "access.log-20260103")
        path.write_bytes(b"four\n")
        assert await lines_of(second) == [b"two", b"three", b"four"]
        second.close()

    asyncio.run(scenario())
