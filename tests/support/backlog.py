"""An engine by hand: it judges one batch at a time, so that there is always more."""

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

from blocker.config.schema import Config
from blocker.engine.enforcer import Enforcer
from blocker.engine.engine import Engine
from blocker.engine.parts import assemble
from blocker.engine.restore import restore
from blocker.friends.friends import Friends
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.matching.matchers import Matchers
from blocker.model import Subject
from blocker.sources.files.generation import Generation
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.files.tailer import FileTailer
from blocker.store.store import Store
from blocker.times import SECOND

EARLY, LATE = "198.51.100.66", "198.51.100.67"


def now() -> int:
    return time.time_ns() // 1000


def hits(address: str, count: int) -> str:
    stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    return f'{address} - - [{stamp}] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n' * count


async def whole(_log: Generation) -> int:
    return 0


class Backlog:
    """An engine that is given one batch at a time, so that there is always more."""

    def __init__(
        self, directory: Path, max_tracked: int = 1_000_000, max_remembered: int = 1_000_000
    ) -> None:
        self.log, self.state = directory / "access.log", directory / "state.db"
        self.log.touch()
        config = Config()
        limits = Limits(config.remember, max_tracked, config.ipv6_prefix, max_remembered)
        friends = Friends.build(lists={})
        judge = Judge(list(config.traps.items()), limits, friends.why)
        # A rehearsal, so that there is no kernel; the store takes its bans for real ones.
        enforcer, store = Enforcer(None, friends, now), Store(self.state)
        parts = assemble(judge=judge, enforcer=enforcer, store=store, clock=now)
        self.traps = list(config.traps)
        self.engine = Engine(
            Matchers(list(config.traps.values()), LogFormats(config.format)), parts
        )
        self._tailer: FileTailer | None = None

    @property
    def tailer(self) -> FileTailer:
        """What follows the log, after ``begin``."""
        assert self._tailer is not None
        return self._tailer

    async def begin(self) -> "Backlog":
        """Read back what is stored, and go on there."""
        checkpoints, self.doubted = await restore(
            self.engine.parts, self.traps, 90 * 86_400 * SECOND
        )
        self.engine.logs.resume(checkpoints)
        known = [checkpoint.position for checkpoint in checkpoints]
        self._tailer = FileTailer([str(self.log)], known, start_of=whole)
        await self.tailer.scan()
        return self

    async def batch(self, text: str) -> None:
        """Write, and judge one batch: the backlog goes on."""
        with self.log.open("a") as log:
            log.write(text)
        await self.tailer.scan()
        assert await self.engine.process_batch(self.tailer)

    async def close(self) -> None:
        await self.engine.close()
        self.engine.store.close()
        self.tailer.close()


def stored(state: Path) -> tuple[set[Subject], int, int]:
    """Return who is banned, how many hits and which position a later start would find."""
    store = Store(state)
    try:
        banned = {row.ban.subject for row in store.standing(now(), limit=10_000)}
        hits = sum(value for (_, name), value in store.counters().items() if name == "hits")
        return banned, hits, max(checkpoint.position.offset for checkpoint in store.checkpoints())
    finally:
        store.close()


class Thief:
    """Another program, that holds the database."""

    def __init__(self, backlog: Backlog) -> None:
        self._connection = sqlite3.connect(backlog.state, isolation_level=None)

    async def take(self, engine: Engine) -> None:
        """Take it; the engine's patience is short."""
        await engine.parts.calls.run(engine.store._db.execute, "PRAGMA busy_timeout = 1")
        self._connection.execute("BEGIN EXCLUSIVE")

    def let_go(self) -> None:
        """Give it back."""
        self._connection.close()
