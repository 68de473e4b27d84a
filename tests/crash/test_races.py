"""Instants that a kill rarely meets, held still: what happens between two looks at one file."""

import asyncio
import shutil

from blocker import tail
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
    search = tail._Search.run

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
        monkeypatch.setattr(tail._Search, "run", truncated_just_then)
        second = Tails([str(path)], known, start_of=begin_at_start)
        await second.scan()
        path.write_bytes(b"three\n")
        assert await lines_of(second) == [b"three"]
        second.close()

    asyncio.run(scenario())
