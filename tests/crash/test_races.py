"""Instants that a kill rarely meets, held still: what happens between two looks at one file."""

import asyncio
import shutil

from blocker import generations
from blocker.tail import Tails


async def begin_at_start(_log):
    return 0


async def lines_of(tails):
    """Return all that there is to read, looking three times."""
    found = []
    for _ in range(3):
        await tails.scan()
        while logs := tails.ready():
            for log in logs:
                while block := await log.read():
                    found += block.data.splitlines()
            if any(log.truncated for log in tails.logs):
                break
    return found


def judged(tails):
    return [log.delivered for log in tails.logs] + tails.news()


def test_a_log_truncated_between_being_recognised_and_being_opened(tmp_path, monkeypatch):
    """Its copy holds what was read before the restart: none of it is read again."""
    path = tmp_path / "access.log"
    search = generations.Search.run

    def truncated_just_then(self, listing):
        found = search(self, listing)
        if path.stat().st_size and not path.with_suffix(".log.1").exists():
            shutil.copyfile(path, path.with_suffix(".log.1"))
            path.write_bytes(b"")
        return found

    async def scenario():
        path.touch()
        first = Tails([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\ntwo\n")
        assert await lines_of(first) == [b"one", b"two"]
        known = judged(first)
        first.close()
        monkeypatch.setattr(generations.Search, "run", truncated_just_then)
        second = Tails([str(path)], known, start_of=begin_at_start)
        await second.scan()
        path.write_bytes(b"three\n")
        assert await lines_of(second) == [b"three"]
        second.close()

    asyncio.run(scenario())


def test_a_log_truncated_while_its_copy_is_looked_at(tmp_path, monkeypatch):
    """The copy lacks the last line, which was read: all the others are still not read again."""
    path = tmp_path / "access.log"
    examine = generations.Search._examine

    def truncated_just_then(self, name):
        if path.read_bytes().startswith(b"one"):
            path.write_bytes(b"")
        return examine(self, name)

    async def scenario():
        path.touch()
        tails = Tails([str(path)], start_of=begin_at_start)
        await tails.scan()
        path.write_bytes(b"one\ntwo\nlost\n")
        assert await lines_of(tails) == [b"one", b"two", b"lost"]
        path.with_suffix(".log.1").write_bytes(b"one\ntwo\n")
        monkeypatch.setattr(generations.Search, "_examine", truncated_just_then)
        tails._look = True
        assert await lines_of(tails) == []
        path.write_bytes(b"three\n")
        assert await lines_of(tails) == [b"three"]
        tails.close()

    asyncio.run(scenario())


def test_a_log_truncated_while_its_copy_is_looked_at_after_a_restart(tmp_path, monkeypatch):
    """The same, where nothing is open yet and only the store knows what was read."""
    path = tmp_path / "access.log"
    examine = generations.Search._examine

    def truncated_just_then(self, name):
        if path.read_bytes().startswith(b"one"):
            path.write_bytes(b"")
        return examine(self, name)

    async def scenario():
        path.touch()
        first = Tails([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\ntwo\nlost\n")
        assert await lines_of(first) == [b"one", b"two", b"lost"]
        known = judged(first)
        first.close()
        path.with_suffix(".log.1").write_bytes(b"one\ntwo\n")
        monkeypatch.setattr(generations.Search, "_examine", truncated_just_then)
        second = Tails([str(path)], known, start_of=begin_at_start)
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
        first = Tails([str(path)], start_of=begin_at_start)
        await first.scan()
        path.write_bytes(b"one\ntwo\nlost\n")
        assert await lines_of(first) == [b"one", b"two", b"lost"]
        known = judged(first)
        first.close()
        copy.write_bytes(b"one\ntwo\n")
        path.write_bytes(b"three\n")
        info = copy.stat()
        empty = known[-1]._replace(device=info.st_dev, inode=info.st_ino, head=b"", offset=0)
        second = Tails([str(path)], [empty._replace(tail=b""), *known], start_of=begin_at_start)
        assert await lines_of(second) == [b"three"]
        second.close()

    asyncio.run(scenario())
