"""From blocks to bans: reads, matches, judges, enforces and commits, one batch after the other.

The order within a batch ensures that no hit is lost or counted twice: judge, kernel, then one
transaction with positions, windows, bans and counters.  If the daemon is killed at any instant, it
reads the uncommitted lines again and comes to the same bans, and applying a ban twice is applying
it once.

A commit runs in the store's thread while the next batches are judged.  In a backlog there is one
commit every two seconds, of everything judged since the last; when the logs have no more lines,
everything is committed.  No task waits for a disk that hangs: an administrator's order is carried
out in memory and kernel, and is part of the next commit; the answer says what could not be stored
in time.  The event loop is never held for long: hits are judged, sent to the kernel and handed to
the store in slices.

Logs are *pulled*: a log with new lines is asked for a block, so that with a slow kernel or disk
the lines wait in their files, and no queue can overflow.  Several logs with a backlog are merged
by their own running maxima of time, exactly as ``replay`` does: a log whose next hit is not known
yet is read further before any later hit is judged.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic

from blocker.engine.batch import NewBan, PendingBatch
from blocker.engine.commits import HANGS
from blocker.engine.cursor import Cursor
from blocker.engine.enforcer import LIVE_CHUNK, Due
from blocker.engine.parts import Parts
from blocker.errors import StoreError
from blocker.matching.matcher import Matched
from blocker.matching.matchers import Matchers
from blocker.matching.parse_health import ParseWatch
from blocker.model import Ban, Hit
from blocker.sources.stream import BLOCK, Position, Source, Stream
from blocker.store.counters import HITS_BY_FRIEND, NO_LOG, STALE, UNREACHED
from blocker.store.records import Checkpoint, NewRow

MAX_BATCH_HITS = 20_000
MAX_BATCH_BYTES = 8 << 20
CLOSE_PATIENCE = 5.0
"""Seconds that ``close`` waits for the last commit."""
SLICE = 1000
"""Hits that are judged before other tasks run."""
MAX_HELD = 32 << 20
"""Bytes of blocks that are held in memory while logs are merged, for all logs together."""
MIN_BLOCK = 64 << 10


class Engine:
    """Runs batches through matching, judging, firewall and store.

    Args:
        matchers: find hits; one matcher for each log format.
        parts: the other components, shared with administration and upkeep.
        on_latency: called with the seconds from reading a line to the kernel's acknowledgement of
            its ban, and the number of bans.
    """

    def __init__(
        self,
        matchers: Matchers,
        parts: Parts,
        on_latency: Callable[[float, int], None] = lambda _seconds, _count: None,
    ) -> None:
        self.matchers, self.parts = matchers, parts
        self.judge, self.enforcer, self.store = parts.judge, parts.enforcer, parts.store
        self.committer, self.ledger, self.bans = parts.committer, parts.ledger, parts.bans
        self.ceiling, self.offenders = parts.ceiling, parts.offenders
        self.announcer = parts.announcer
        self._lock, self._clock = parts.lock, parts.clock
        self._ask, self._on_latency = parts.committer.run, on_latency
        self._cursors: dict[Stream, Cursor] = {}
        self._latest: dict[str, int] = {}
        self._fresh: dict[tuple[str, bytes], tuple[int, int]] = {}
        self.judged_at = monotonic()
        """When the last batch was done, monotonic seconds."""
        self._caught_up = False
        self.parsing = ParseWatch()
        """Counts lines that could not be parsed, by log."""

    # Start and end -----------------------------------------------------------------------------

    def resume(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Continue each log at its stored checkpoint."""
        self._note_latest(checkpoints)
        self._fresh = {
            (checkpoint.position.path, checkpoint.position.head): (
                checkpoint.fresh_end,
                checkpoint.cutoff,
            )
            for checkpoint in checkpoints
            if checkpoint.cutoff
        }

    async def writable(self) -> str:
        """Test whether the store can be written, behind pending calls; return the error, or ""."""
        if self.committer.hangs:
            return self.committer.trouble
        try:
            await self._ask(self.store.probe, within=CLOSE_PATIENCE)
        except StoreError as error:
            return str(error)
        return ""

    async def all_stored(self) -> str:
        """Commit everything; return why it could not be stored, or "".

        Needed before another engine continues with the same store.
        """
        async with self._lock:
            if await self.ledger.stored(self.committer.patience(CLOSE_PATIENCE)):
                return ""
            return self.committer.trouble or f"no answer within {CLOSE_PATIENCE:.0f} s"

    async def close(self) -> bool:
        """Commit what is left; False if a call of the store still hangs."""
        async with self._lock:
            await self.ledger.stored(CLOSE_PATIENCE)
            if not self.committer.busy:
                with suppress(StoreError):  # e.g. disk full: top offenders may be lost
                    rows = self.offenders.rows()
                    await self._ask(self.store.set_offenders, rows, within=CLOSE_PATIENCE)
            at_rest = not self.committer.busy and await self._store_answers()
            self.judge.clear()
        self.committer.close()
        return at_rest

    async def _store_answers(self) -> bool:
        """Whether the store's thread has finished all its calls."""
        with suppress(StoreError):
            await self._ask(lambda: None, within=HANGS)
            return True
        return False

    # Logs --------------------------------------------------------------------------------------

    async def process_batch(self, source: Source) -> bool:
        """Judge one batch from the logs; False if the logs had no more lines."""
        async with self._lock:
            pending, self.ledger.incomplete = self.ledger.pending, True
            pending.hits = pending.bytes = 0
            heap = await self._gather(source.ready(), pending)
            pause = SLICE
            while heap and pending.hits < MAX_BATCH_HITS and pending.bytes < MAX_BATCH_BYTES:
                _, order, cursor = heapq.heappop(heap)
                self._judge_until(cursor, heap[0][:2] if heap else None, order, pending)
                if not cursor.empty or await self._refill(cursor, pending):
                    heapq.heappush(heap, (cursor.key, order, cursor))
                if pending.hits >= pause:
                    pause = pending.hits + SLICE
                    await asyncio.sleep(0)
            for _, _, cursor in heap:
                cursor.record_progress(pending)
            pending.met += [self._met(position) for position in source.new_positions()]
            await self._enforce_and_note(pending)
            self.ledger.incomplete = False
            judged, pending.judged = pending.judged, []
            self.offenders.note(judged, self._clock())
            more = bool(heap or pending.bytes)
            if not self.committer.last_error or self.ledger.may_retry():
                await (self.ledger.commit_in_time() if more else self.ledger.commit_now())
            self.judged_at = monotonic()
            return more

    def _met(self, position: Position) -> Checkpoint:
        """Return the checkpoint of a log that is new to this run, with its stored times."""
        fresh = self._fresh.get((position.path, position.head), (0, 0))
        return Checkpoint(position, self._latest.get(position.path, 0), *fresh)

    async def _gather(
        self, logs: Sequence[Stream], pending: PendingBatch
    ) -> list[tuple[int, int, Cursor]]:
        """Return the cursors that hold a hit, as a heap by running time, then by order."""
        for log in logs:
            if log not in self._cursors:
                fresh = self._fresh.get((log.path, log.head), (0, 0))
                self._cursors[log] = Cursor(log, self._latest.get(log.path, 0), fresh)
        heap = []
        for order, cursor in enumerate(list(self._cursors.values())):
            if not cursor.empty or await self._refill(cursor, pending):
                heap.append((cursor.key, order, cursor))
        heapq.heapify(heap)
        return heap

    async def _refill(self, cursor: Cursor, pending: PendingBatch) -> bool:
        """Read blocks until the cursor has a hit; False at the end of the log, or of the batch."""
        while True:
            cursor.record_progress(pending)
            size = cursor.read_size(MIN_BLOCK, self._share())
            block = await cursor.log.read(size) if pending.bytes < MAX_BATCH_BYTES else None
            if block is None:
                del self._cursors[cursor.log]
                return False
            pending.bytes += len(block.data)
            matched = self.matchers.of(cursor.log.path).scan(block.data)
            cursor.take(block, matched)
            self._watch_parsing(cursor.log.path, block.data, matched)
            await asyncio.sleep(0)
            if not cursor.empty:
                return True

    def _watch_parsing(self, path: str, block: bytes, matched: Matched) -> None:
        now = self._clock()
        trouble = self.parsing.look(path, now, block, matched, self.matchers.of(path).explain)
        if trouble is not None:
            self.announcer.not_understood(path, trouble)

    def _share(self) -> int:
        """Return how many bytes one log may hold, so that all logs together keep ``MAX_HELD``."""
        return max(MIN_BLOCK, min(BLOCK, MAX_HELD // max(len(self._cursors), 1)))

    def _judge_until(
        self, cursor: Cursor, rival: tuple[int, int] | None, order: int, pending: PendingBatch
    ) -> None:
        """Judge the hits of a log that are earlier than the next hit of another log."""
        run: list[Hit] = cursor.rest(SLICE) if rival is None else []
        while rival is not None and not cursor.empty and (cursor.key, order) <= rival:
            run.append(cursor.pop())
        path, counters = cursor.log.path, pending.counters
        fresh = cursor.without_stale(run)
        counters[path, STALE] += len(run) - len(fresh)
        pending.judged += fresh
        bans, counts, friends = self.judge.judge(fresh, self._clock())
        pending.count_hits(path, counts)
        for reason, (hits, seen) in friends.items():
            counters[NO_LOG, HITS_BY_FRIEND.of(reason)] += hits
            self.announcer.proxy(reason, seen)
        pending.hits += len(run)
        if bans:
            self.bans.count(bans)
            pending.count_bans(bans)
            pending.fresh += [NewBan(ban, path, cursor.read_at) for ban in bans]

    async def _enforce_and_note(self, pending: PendingBatch) -> None:
        """Send the new bans to the kernel; from then on they may be committed."""
        pending.counters[NO_LOG, UNREACHED] += self.announcer.unreached()
        self._note_latest((*pending.met, *pending.checkpoints.values()))
        fresh, pending.fresh = pending.fresh, []
        held: list[NewBan] = []
        for at in range(0, len(fresh), LIVE_CHUNK):
            part = fresh[at : at + LIVE_CHUNK]
            dues = [Due(new.ban.subject, new.ban.until) for new in part]
            applied = await self.enforcer.apply(dues)
            if applied and self.enforcer.enforcing:
                self._acknowledge(part)
            elif self.enforcer.crowded:
                pending.bans += [NewRow(ban, applied=False) for ban in self._give_up(part)]
                continue
            pending.bans += [NewRow(new.ban, applied) for new in part]
            held += part
        self.ledger.count_countries(new.ban for new in fresh)
        self.announcer.bans(held)
        self.ceiling.look()

    def _give_up(self, part: Sequence[NewBan]) -> list[Ban]:
        """End bans that the kernel refused while too many wait; later hits are judged again."""
        bans = []
        for ban, *_ in part:
            if waited := self.enforcer.give_up(ban.subject):
                self.bans.end(ban.subject, ban.start)
            bans.append(ban._replace(until=ban.start) if waited else ban)
        self.announcer.given_up()
        return bans

    def _acknowledge(self, bans: Sequence[NewBan]) -> None:
        """Measure the latency of bans that the kernel has just acknowledged."""
        acknowledged = monotonic()
        for read_at, count in Counter(new.read_at for new in bans).items():
            self._on_latency(acknowledged - read_at, count)
        self.announcer.acknowledged([new.ban.subject for new in bans])

    def _note_latest(self, checkpoints: Iterable[Checkpoint]) -> None:
        for checkpoint in checkpoints:
            path = checkpoint.position.path
            self._latest[path] = max(self._latest.get(path, 0), checkpoint.latest)

    def latest(self, path: str) -> int:
        """Return the latest event time of a log, microseconds; 0 before its first hit."""
        return self._latest.get(path, 0)

    def forget_logs(self, paths: Iterable[str]) -> None:
        """Forget the event times of logs that are no longer followed."""
        for path in paths:
            self._latest.pop(path, None)

    def clock_set_to(self, now: int) -> None:
        """Limit event times to the clock, after it was set; the caller holds the lock."""
        self._latest = {path: min(time, now) for path, time in self._latest.items()}
        for cursor in self._cursors.values():
            cursor.latest = min(cursor.latest, now)
