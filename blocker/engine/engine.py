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
the lines wait in their files, and no queue can overflow.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from blocker.engine.batch import NewBan, PendingBatch
from blocker.engine.commits import HANGS
from blocker.engine.cursor import Cursor
from blocker.engine.enforcer import LIVE_CHUNK, Due
from blocker.engine.log_cursors import MAX_BATCH_BYTES, LogCursors
from blocker.engine.parts import Parts
from blocker.errors import StoreError
from blocker.matching.matchers import Matchers
from blocker.model import Ban, Hit
from blocker.sources.stream import Source
from blocker.store.counter_names import HITS_BY_FRIEND, NO_LOG, STALE, UNREACHED
from blocker.store.records import NewRow

MAX_BATCH_HITS = 20_000
CLOSE_PATIENCE = 5.0
"""Seconds that ``close`` waits for the last commit."""
SLICE = 1000
"""Hits that are judged before other tasks run."""


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
        self.parts = parts
        self.logs = LogCursors(matchers, parts.announcer, parts.clock)
        self.judge, self.enforcer, self.store = parts.judge, parts.enforcer, parts.store
        self.committer, self.ledger, self.bans = parts.committer, parts.ledger, parts.bans
        self.ceiling, self.offenders = parts.ceiling, parts.offenders
        self.announcer = parts.announcer
        self._lock, self._clock, self._on_latency = parts.lock, parts.clock, on_latency
        self.judged_at = monotonic()
        """When the last batch was done, monotonic seconds."""

    async def writable(self) -> str:
        """Test whether the store can be written, behind pending calls; return the error, or ""."""
        if self.committer.hangs:
            return self.committer.trouble
        try:
            await self.parts.calls.run(self.store.probe, within=CLOSE_PATIENCE)
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
                    await self.parts.calls.run(
                        self.store.set_offenders, rows, within=CLOSE_PATIENCE
                    )
            at_rest = not self.committer.busy and await self._store_answers()
            self.judge.clear()
        self.parts.calls.close()
        return at_rest

    async def _store_answers(self) -> bool:
        """Whether the store's thread has finished all its calls."""
        with suppress(StoreError):
            await self.parts.calls.run(lambda: None, within=HANGS)
            return True
        return False

    # Logs --------------------------------------------------------------------------------------

    async def process_batch(self, source: Source) -> bool:
        """Judge one batch from the logs; False if the logs had no more lines."""
        async with self._lock:
            pending, self.ledger.incomplete = self.ledger.pending, True
            pending.hits = pending.bytes = 0
            heap = await self.logs.gather(source.ready(), pending)
            pause = SLICE
            while heap and pending.hits < MAX_BATCH_HITS and pending.bytes < MAX_BATCH_BYTES:
                _, order, cursor = heapq.heappop(heap)
                self._judge_until(cursor, heap[0][:2] if heap else None, order, pending)
                if not cursor.empty or await self.logs.refill(cursor, pending):
                    heapq.heappush(heap, (cursor.key, order, cursor))
                if pending.hits >= pause:
                    pause = pending.hits + SLICE
                    await asyncio.sleep(0)
            for _, _, cursor in heap:
                cursor.record_progress(pending)
            pending.met += [self.logs.met(position) for position in source.new_positions()]
            await self._enforce_and_note(pending)
            self.ledger.incomplete = False
            judged, pending.judged = pending.judged, []
            self.offenders.note(judged, self._clock())
            more = bool(heap or pending.bytes)
            if not self.committer.last_error or self.ledger.may_retry():
                await (self.ledger.commit_in_time() if more else self.ledger.commit_now())
            self.judged_at = monotonic()
            return more

    def _judge_until(
        self, cursor: Cursor, rival: tuple[int, int] | None, order: int, pending: PendingBatch
    ) -> None:
        """Judge the hits of a log that are earlier than the next hit of another log."""
        run: list[Hit] = cursor.take_hits(SLICE) if rival is None else []
        while rival is not None and not cursor.empty and (cursor.key, order) <= rival:
            run += cursor.take_hits()
        path, counters = cursor.log.path, pending.counters
        fresh = cursor.without_stale(run)
        counters[path, STALE] += len(run) - len(fresh)
        bans, counts, friends = self.judge.judge(fresh, self._clock())
        if not cursor.is_of_events:  # totals are of requests, and each has been counted as one
            pending.judged += fresh
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
        self.logs.note_latest((*pending.met, *pending.checkpoints.values()))
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
