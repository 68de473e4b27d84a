"""From blocks to bans: reads, matches, judges, enforces and commits, one batch after the other.

The order within a batch is the promise that nothing is lost or counted twice: judge, kernel, then
one transaction with positions, windows, bans and counters.  Killed at any instant, the daemon
reads the lines that were not committed again and comes to the same bans, and applying a ban twice
is applying it once.

A commit goes on in the store's thread while the next batches are judged.  In a backlog there is one
every two seconds, of all that was judged since; when the logs have nothing more, everything is
committed.  Nobody waits for a disk that hangs: what an administrator orders is done in book and
kernel, and is part of the next commit; the answer says what could not be stored in time.  Nothing
holds the loop for long: hits are judged, told to the kernel and handed to the store in slices.

Logs are *pulled*: whoever has something new is asked for a block, so that a slow kernel or disk
makes the logs wait where they are, on disk, and no queue can overflow.  Several logs with a
backlog are merged by their own running maxima of time, exactly as ``replay`` does: a log whose
next hit is not known yet is read on before anything later is judged.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from time import monotonic
from typing import NamedTuple, TypeVar

from blocker import events, notices
from blocker.batch import Apply, Edit, End, Extend, Forget, NewRow, Place
from blocker.book import ActiveBans
from blocker.catalogue import GONE, offence_label
from blocker.ceiling import Ceiling, fold_gone
from blocker.committer import Committer
from blocker.enforce import LIVE_CHUNK, RESTORE_CHUNK, Book, Due, Enforcer
from blocker.errors import StoreError, UnchangedError
from blocker.generation import Log
from blocker.health import Conditions, ParseWatch
from blocker.intake import NewBan, Source, Work
from blocker.judge import AHEAD, DAY, REACH, Judge
from blocker.ledger import COMMAND_PATIENCE, COMMIT_PATIENCE, WINDOW_SLICE, Ledger
from blocker.logfile import BLOCK, Position
from blocker.logs import tell
from blocker.match import Matched, Matcher
from blocker.model import SECOND, Ban, Hit, Subject, format_subject
from blocker.notices import Notices
from blocker.offenders import Offenders
from blocker.orders import Order, Outcome
from blocker.report import format_time
from blocker.store import Store, StoredBan
from blocker.tail import Tails
from blocker.targets import Target
from blocker.threads import Threads

MAX_BATCH_HITS = 20_000
MAX_BATCH_BYTES = 8 << 20
CLOSE_PATIENCE = 5.0
"""Seconds that the end waits for the last commit."""
SLICE = 1000
"""Hits that are judged before others have their turn in the loop …"""
MAX_HELD_ASKED = 1000
"""Addresses of an unban that the book does not know and of which the kernel is asked: of more the
bans in the kernel are ended as well, and not counted."""
MAX_HELD = 32 << 20
"""Bytes that all logs together hold in hand while they are merged."""
MIN_BLOCK = 64 << 10
MAX_BAN_LINES = 100
"""Bans of one batch that get a log line of their own."""
MAX_ACKNOWLEDGED = 65536
"""Bans of which the time of the kernel's acknowledgement is known; of others it is the start."""
EXPIRE_SLICE = 10_000
_NEVER = 1 << 62
_UNSTORED = (
    ", but that is not stored yet: {}; it is tried again, and a restart before that knows nothing"
    " of it"
)

_T = TypeVar("_T")


class Stages(NamedTuple):
    """The stages that the engine drives."""

    matcher: Matcher
    judge: Judge
    enforcer: Enforcer
    store: Store


class Engine:
    """Drives the stages.

    Args:
        stages: matcher, judge, enforcer and store.
        traps: names of the traps, in the order of their index.
        clock: returns microseconds since the epoch.
        ipv6_prefix: for messages.
    """

    def __init__(
        self, stages: Stages, traps: Sequence[str], clock: Callable[[], int], ipv6_prefix: int = 64
    ) -> None:
        self.matcher, self.judge, self.enforcer, self.store = stages
        self._traps = list(traps)
        self._clock = clock
        self._prefix = ipv6_prefix
        self._threads, self._looking = Threads(1, "store"), Threads(1, "look")
        self.committer = Committer(self.store, self._threads)
        self._lock = asyncio.Lock()
        self._sources: dict[Log, Source] = {}
        self._latest: dict[str, int] = {}
        self._fresh: dict[tuple[str, bytes], tuple[int, int]] = {}
        self.ledger = Ledger(self.judge, self.committer, self._lock, clock)
        self.judged_at = monotonic()
        """When the last batch was done, monotonic seconds."""
        self.ceiling = Ceiling(self.judge, self.store, self._ask, self._lock)
        self.active = ActiveBans()
        self.counters = self.ledger.counters
        self.repeat_offenders = 0
        self._caught_up = False
        self._befriended: list[Subject] = []
        """Subjects that the kernel must not hold any more: friends by now, or of another prefix."""
        self._notices = Notices()
        self.parsing = ParseWatch()
        """How well each log is understood."""
        self.conditions = Conditions()
        """What was noticed about the set-up within the last hour."""
        self._acknowledged: dict[Subject, int] = {}
        self.on_latency: Callable[[float, int], None] = lambda _seconds, _count: None
        self.country_of: Callable[[Subject], str] | None = None
        """Says where a subject is from, if anybody wants to know."""
        self.offenders = Offenders()
        self.clock_in_doubt = False
        """Whether the last commit before the start was more than a day away by today's clock."""

    # Start and end -----------------------------------------------------------------------------

    async def restore(self, remember: int) -> list[Place]:
        """Read back what is stored; return how far each log has been judged."""
        now = self._clock()
        self._befriended += await self._ask(self.store.mask, self._prefix, now)
        await self._ask(self.store.set_traps, self._traps)
        last = await self._ask(self.store.last_commit)
        self.clock_in_doubt = bool(last) and abs(now - last) > DAY
        most = self.judge.limits.max_remembered
        if await self._ask(self.store.count_bans) > most:
            self.ceiling.reached.set()
        bans = self.store.remembered(now - remember, now, most)
        while rows := await self._ask(next, bans, None):
            for subject, start, until in rows:
                if self.may_be_banned(subject):
                    self.judge.add_ban(subject, start, until)
                elif until > now:
                    self._befriended.append(subject)
            await self.ceiling.evict(now)
        # Behind the bans: booking one clears the window, and these are younger than all of them.
        windows = self.store.windows(self._traps)
        while pending := await self._ask(next, windows, None):
            for subject, window in pending:
                self.judge.restore_window(subject, window)
        await self._recount(now)
        await self._ask(self.store.note_enforcing, now)
        self.counters.update(await self._ask(self.store.counters))
        if self.offenders.limit:
            self.offenders.restore(await self._ask(self.store.offenders))
        else:
            await self._ask(self.store.set_offenders, [])
        places = await self._ask(self.store.places)
        self._note_latest(places)
        self._fresh = {
            (place.position.path, place.position.head): (place.fresh_end, place.cutoff)
            for place in places
            if place.cutoff
        }
        return places

    def _book(self, subject: Subject, start: int, until: int) -> None:
        before = self.judge.bans_of(subject)
        if before:
            self._uncount(subject)
            self.repeat_offenders += before == 1
        self.judge.add_ban(subject, start, until)
        self.active.add(subject, until)

    def _uncount(self, subject: Subject) -> None:
        """A subject is counted once among the active, with its latest ban."""
        standing = self.judge.standing(subject, self._clock())
        if standing is not None:
            self.active.remove(subject, standing[1])

    async def all_stored(self) -> str:
        """Commit everything; return what the disk has against it, or nothing.

        That is what another engine needs to go on with the same store.
        """
        async with self._lock:
            if await self.ledger.stored(self.committer.patience(CLOSE_PATIENCE)):
                return ""
            return self.committer.trouble or f"no answer within {CLOSE_PATIENCE:.0f} s"

    async def close(self) -> bool:
        """Commit what is left; False if a disk that hangs still holds a commit."""
        async with self._lock:
            await self.ledger.stored(CLOSE_PATIENCE)
            if not self.committer.busy:
                with suppress(StoreError):  # a full disk: who hit most is no reason to fail
                    rows = self.offenders.rows()
                    await self._ask(self.store.set_offenders, rows, within=CLOSE_PATIENCE)
            self.judge.clear()
        self._threads.shutdown()
        self._looking.shutdown()
        return not self.committer.busy

    async def _ask(self, call: Callable[..., _T], *args: object, within: float | None = None) -> _T:
        """Run a call of the store in its thread."""
        return await self.committer.run(call, *args, within=within)

    async def _look_up(self, call: Callable[..., _T], *args: object) -> _T:
        """Ask what is stored beside a commit that may be under way, for an administrator."""
        run = self.committer.run
        return await run(call, *args, within=COMMAND_PATIENCE, threads=self._looking)

    # Logs --------------------------------------------------------------------------------------

    async def digest(self, tails: Tails) -> bool:
        """Judge one batch of what the logs hold; False if there was nothing."""
        async with self._lock:
            work, self.ledger.torn = self.ledger.work, True
            work.hits = work.bytes = 0
            heap = await self._gather(tails.ready(), work)
            pause = SLICE
            while heap and work.hits < MAX_BATCH_HITS and work.bytes < MAX_BATCH_BYTES:
                _, order, source = heapq.heappop(heap)
                self._judge_until(source, heap[0][:2] if heap else None, order, work)
                if not source.empty or await self._refill(source, work):
                    heapq.heappush(heap, (source.key, order, source))
                if work.hits >= pause:
                    pause = work.hits + SLICE
                    await asyncio.sleep(0)
            for _, _, source in heap:
                source.settle(work)
            work.met += [self._met(position) for position in tails.news()]
            await self._settle(work)
            self.ledger.torn = False
            judged, work.judged = work.judged, []
            self.offenders.note(judged, self._clock())
            more = bool(heap or work.bytes)
            if not self.committer.refusal or self.ledger.may_try_again():
                await (self.ledger.commit_in_time() if more else self.ledger.commit_now())
            self.judged_at = monotonic()
            return more

    def _met(self, position: Position) -> Place:
        """Return the place of a log that is new to this run, with what is known of it."""
        fresh = self._fresh.get((position.path, position.head), (0, 0))
        return Place(position, self._latest.get(position.path, 0), *fresh)

    async def _gather(self, logs: Sequence[Log], work: Work) -> list[tuple[int, int, Source]]:
        """Return the sources that hold a hit, as a heap by running time, then by order."""
        for file in logs:
            if file not in self._sources:
                fresh = self._fresh.get((file.path, file.head), (0, 0))
                self._sources[file] = Source(file, self._latest.get(file.path, 0), fresh)
        heap = []
        for order, source in enumerate(list(self._sources.values())):
            if not source.empty or await self._refill(source, work):
                heap.append((source.key, order, source))
        heapq.heapify(heap)
        return heap

    async def _refill(self, source: Source, work: Work) -> bool:
        """Read on until a hit is in hand; False at the end of the log, or of the batch."""
        while True:
            source.settle(work)
            size = source.appetite(MIN_BLOCK, self._share())
            block = await source.log.read(size) if work.bytes < MAX_BATCH_BYTES else None
            if block is None:
                del self._sources[source.log]
                return False
            work.bytes += len(block.data)
            matched = self.matcher.scan(block.data)
            source.take(block, matched)
            self._watch_parsing(source.log.path, block.data, matched)
            await asyncio.sleep(0)
            if not source.empty:
                return True

    def _watch_parsing(self, path: str, block: bytes, matched: Matched) -> None:
        """Log a warning, at most hourly, for a log whose candidate lines can't be parsed."""
        now = self._clock()
        trouble = self.parsing.look(path, now, block, matched, self.matcher.explain)
        if trouble is not None and self._notices.due(f"unparsed:{path}", now):
            fields = {"LOG": path, "COUNT": trouble.unparsed, "REASON": trouble.reason}
            tell(events.LOG_NOT_UNDERSTOOD, MESSAGE=trouble.words(path), **fields)

    def _share(self) -> int:
        """Return how much one log may hold, so that all together stay under a ceiling."""
        return max(MIN_BLOCK, min(BLOCK, MAX_HELD // max(len(self._sources), 1)))

    def _judge_until(
        self, source: Source, rival: tuple[int, int] | None, order: int, work: Work
    ) -> None:
        """Judge the hits of a source as long as they come before those of the next log."""
        run: list[Hit] = source.rest(SLICE) if rival is None else []
        while rival is not None and not source.empty and (source.key, order) <= rival:
            run.append(source.pop())
        tally, path, counters = self.judge.tally, source.log.path, work.counters
        friends = dict(self.judge.friend_hits)
        fresh = source.without_stale(run)
        counters[path, "stale"] += len(run) - len(fresh)
        work.judged += fresh
        before = tally.counts()
        bans = self.judge.judge(fresh, self._clock())
        for name, count in tally.counts().since(before)._asdict().items():
            counters[path, name] += count
        for reason, new in self.judge.friend_hits.items():
            if new > friends.get(reason, 0):
                counters["", f"friends:{reason}"] += new - friends.get(reason, 0)
                self._advise_of_proxy(reason)
        work.hits += len(run)
        if bans:
            self._count_bans(bans, work.counters)
            work.fresh += [NewBan(ban, path, source.read_at) for ban in bans]

    def _advise_of_proxy(self, reason: str) -> None:
        now = self._clock()
        if not notices.is_proxy(reason):
            return
        due = self._notices.due(reason, now)
        if not due and self.conditions.refresh(reason, now):
            return
        who = self.judge.friend_seen[reason]
        advice = notices.proxy_advice(reason, who)
        self.conditions.see(reason, advice, now)
        if due:
            tell(events.PROXY_SEEN, MESSAGE=advice, CLIENT_IP=ip_address(who), REASON=reason)

    def _note_unreached(self, work: Work) -> None:
        """Count and tell who is banned and goes on all the same."""
        unreached, self.judge.unreached = self.judge.unreached, {}
        beyond = [who for who, time in unreached.items() if time > self._effective(who) + REACH]
        work.counters["", "unreached"] += len(beyond)
        if beyond:
            who, count = self._text(beyond[0]), len(beyond)
            advice = notices.reach_advice(who, count)
            self._advise("reach", events.BAN_UNREACHED, advice, CLIENT_IP=who, COUNT=count)

    def _advise(self, topic: str, event: events.Event, text: str, **fields: object) -> None:
        """Tell of a condition, at most hourly; for an hour it is a problem."""
        now = self._clock()
        self.conditions.see(topic, text, now)
        if self._notices.due(topic, now):
            tell(event, MESSAGE=text, **fields)

    def _effective(self, subject: Subject) -> int:
        """Return when the kernel was told of the standing ban."""
        standing = self.judge.standing(subject, self._clock())
        started = standing[0] if standing is not None else _NEVER
        return max(self._acknowledged.get(subject, started), self.judge.heed)

    def _count_bans(self, bans: Iterable[Ban], counters: Counter[tuple[str, str]]) -> None:
        for ban in bans:
            self.active.add(ban.subject, ban.until)
        for (trap, offence), count in Counter((ban.trap, ban.offence) for ban in bans).items():
            counters["", f"bans:{trap}"] += count
            counters["", f"offence:{offence_label(offence)}"] += count
            self.repeat_offenders += count * (offence == 2)

    async def _settle(self, work: Work) -> None:
        """Tell the kernel of the new bans; from then on they may be committed."""
        self._note_unreached(work)
        self._note_latest((*work.met, *work.places.values()))
        fresh, work.fresh = work.fresh, []
        held: list[NewBan] = []
        for at in range(0, len(fresh), LIVE_CHUNK):
            part = fresh[at : at + LIVE_CHUNK]
            dues = [Due(new.ban.subject, new.ban.until) for new in part]
            applied = await self.enforcer.apply(dues)
            if applied and self.enforcer.enforcing:
                self._acknowledge(part)
            elif self.enforcer.crowded:
                work.bans += [NewRow(ban, applied=False) for ban in self._give_up(part)]
                continue
            work.bans += [NewRow(new.ban, applied) for new in part]
            held += part
        self._count_countries((new.ban for new in fresh), work.counters)
        self._tell(held)
        self.ceiling.look()

    def _give_up(self, part: Sequence[NewBan]) -> list[Ban]:
        """End bans that the kernel refused while too many wait: the next hits are judged afresh."""
        bans = []
        for ban, *_ in part:
            if waited := self.enforcer.give_up(ban.subject):
                self._uncount(ban.subject)
                self.judge.set_end(ban.subject, ban.start)
            bans.append(ban._replace(until=ban.start) if waited else ban)
        text = notices.waiting_advice(len(self.enforcer.waiting), self.enforcer.refusal)
        self._advise("waiting", events.BANS_GIVEN_UP, text, REASON=self.enforcer.refusal)
        return bans

    def _acknowledge(self, bans: Sequence[NewBan]) -> None:
        """Note when the kernel had these."""
        acknowledged, now = monotonic(), self._clock()
        if len(self._acknowledged) + len(bans) > MAX_ACKNOWLEDGED:
            self._acknowledged.clear()
        for read_at, count in Counter(new.read_at for new in bans).items():
            self.on_latency(acknowledged - read_at, count)
        self._acknowledged.update((new.ban.subject, now) for new in bans)

    def _count_countries(self, bans: Iterable[Ban], counters: Counter[tuple[str, str]]) -> None:
        """Count bans by country, if anybody knows countries."""
        if self.country_of is not None:
            for ban in bans:
                counters["", f"country:{self.country_of(ban.subject)}"] += 1

    def _note_latest(self, places: Iterable[Place]) -> None:
        for place in places:
            path = place.position.path
            self._latest[path] = max(self._latest.get(path, 0), place.latest)

    def _tell(self, bans: Sequence[NewBan]) -> None:
        now = self._clock()
        for ban, path, _ in bans[:MAX_BAN_LINES]:
            tell(self._kind(ban, now), **self._told(ban), LOG=path)
        if len(bans) > MAX_BAN_LINES:
            tell(events.MORE_BANS, COUNT=len(bans) - MAX_BAN_LINES)

    def _kind(self, ban: Ban, now: int) -> events.Event:
        if ban.until <= now:
            return events.PAST_BAN
        if ban.subject in self.enforcer.waiting:
            return events.BAN_WAITS
        return events.BAN if self.enforcer.enforcing else events.WOULD_BAN

    def _told(self, ban: Ban) -> dict[str, object]:
        return {
            "CLIENT_IP": self._text(ban.subject),
            "TRAP": ban.trap,
            "HITS": ban.hits,
            "OFFENCE": ban.offence,
            "BAN_START": format_time(ban.start),
            "BAN_UNTIL": format_time(ban.until),
        }

    def _text(self, subject: Subject) -> str:
        return format_subject(subject, self._prefix)

    def latest(self, path: str) -> int:
        """Return the latest event time of a log, microseconds; 0 while there was no hit."""
        return self._latest.get(path, 0)

    def may_be_banned(self, subject: Subject) -> bool:
        """Whether a subject is no friend."""
        return self.enforcer.friends.covers(subject, self._prefix) is None

    # By hand -----------------------------------------------------------------------------------

    async def ban(self, subject: Subject, length: int) -> None:
        """Ban one subject by hand for a length in microseconds; see ``ban_targets``."""
        (outcome,) = await self.ban_targets([Target(self._text(subject), (subject,))], length)
        if outcome.error is not None:
            raise outcome.error

    async def ban_targets(
        self, targets: Sequence[Target], length: int, reason: str = ""
    ) -> list[Outcome]:
        """Ban by hand for a length in microseconds; standing bans are only made longer.

        All of it is one transaction, and what is refused of it does not hold up the rest.

        Returns:
            one outcome for each target; an error is a ``FriendError``, an ``UnchangedError``
            where bans that last at least as long stand already, or a ``StoreError`` where the
            bans stand and could not be stored in time.
        """
        async with self._lock:
            now = self._clock()
            order = Order(self.judge, self.enforcer.friends, self._prefix, now, length)
            outcomes = []
            for target in targets:
                outcomes.append(order.add(target))
                await asyncio.sleep(0)
            number = await self._ban_by_hand(order, reason, now)
            self._tell_bans_by_hand(outcomes, order, reason)
            self.ceiling.look()
        return await self._with_refusal(outcomes, number, "banned")

    async def _ban_by_hand(self, order: Order, reason: str, now: int) -> int:
        """Make the bans in book and kernel; return the number of their batch."""
        counters, longer = self.ledger.work.counters, order.longer
        for at in range(0, len(order.new), WINDOW_SLICE):
            for ban in order.new[at : at + WINDOW_SLICE]:
                self._book(ban.subject, ban.start, ban.until)
                counters["", f"offence:{offence_label(ban.offence)}"] += 1
            await asyncio.sleep(0)
        counters["", "bans:manual"] += len(order.new)
        self._count_countries(order.new, counters)
        for ban in longer:
            self._uncount(ban.subject)
            self.judge.set_end(ban.subject, ban.until)
            self.active.add(ban.subject, ban.until)
        counters["", "renewals"] += len(longer)
        bans = order.new + longer
        if not bans:
            return 0
        applied = await self.enforcer.apply([Due(ban.subject, ban.until) for ban in bans])
        edits: list[Edit] = []
        if longer:
            edits.append(Extend(now, {ban.subject: ban.until for ban in longer}, reason))
            if applied:
                edits.append(Apply(now, frozenset(ban.subject for ban in longer)))
        number = self.ledger.order(*edits)
        self.ledger.work.bans += [NewRow(ban, applied, reason) for ban in order.new]
        return number

    async def _with_refusal(self, outcomes: list[Outcome], number: int, done: str) -> list[Outcome]:
        """Wait for an order to be stored; say of what was changed if it was not."""
        refusal = await self.ledger.see_stored(number, sum(each.changed for each in outcomes))
        if not refusal:
            return outcomes
        return [
            each._replace(error=StoreError(f"{each.name} is {done}{_UNSTORED.format(refusal)}"))
            if each.changed
            else each
            for each in outcomes
        ]

    def _tell_bans_by_hand(self, outcomes: Sequence[Outcome], order: Order, reason: str) -> None:
        made = [each for each in outcomes if each.changed]
        why = {"REASON": reason} if reason else {}
        longer = {ban.subject for ban in order.longer}
        single, network = events.BAN_BY_HAND, events.BAN_NETWORK_BY_HAND
        if not self.enforcer.enforcing:
            single, network = events.WOULD_BAN_BY_HAND, events.WOULD_BAN_NETWORK_BY_HAND
        for each in made[:MAX_BAN_LINES]:
            ban = order.first[each.name]
            told = {**self._told(ban), "CLIENT_IP": each.name, **why}
            if each.changed > 1:
                tell(network, **told, COUNT=each.changed)
            else:
                tell(events.RENEWAL if ban.subject in longer else single, **told)
        if more := sum(each.changed for each in made[MAX_BAN_LINES:]):
            tell(events.MORE_BANS, COUNT=more)

    async def unban(self, subject: Subject) -> None:
        """End the ban of one subject; see ``unban_targets``."""
        (outcome,) = await self.unban_targets([Target(self._text(subject), (subject,))])
        if outcome.error is not None:
            raise outcome.error

    async def unban_targets(self, targets: Sequence[Target]) -> list[Outcome]:
        """End bans: in book and kernel first, then in one transaction, whatever the disk says.

        Returns:
            one outcome for each target; an error is an ``UnchangedError`` where neither book nor
            kernel has a ban, or a ``StoreError`` where the end could not be stored in time.
        """
        async with self._lock:
            now = self._clock() // SECOND * SECOND  # what comes in this second is let in, too
            asked = list(dict.fromkeys(who for target in targets for who in target.subjects))
            standing = [who for who in asked if self.judge.standing(who, now) is not None]
            known = set(standing)
            unknown = [who for who in asked if who not in known]
            known |= await self.enforcer.held(unknown[:MAX_HELD_ASKED])
            named = [[who for who in target.subjects if who in known] for target in targets]
            for subject in standing:
                self._end(subject, now)
            number = self.ledger.order(End(now, frozenset(standing))) if standing else 0
            outcomes = [
                _unbanned(target, len(banned))
                for target, banned in zip(targets, named, strict=True)
            ]
            await self.enforcer.lift(asked)
            self._tell_unbans(outcomes)
        return await self._with_refusal(outcomes, number, "let in")

    def _tell_unbans(self, outcomes: Sequence[Outcome]) -> None:
        ended = [each for each in outcomes if each.changed]
        for each in ended[:MAX_BAN_LINES]:
            single = each.changed == 1
            event = events.UNBAN if single else events.UNBAN_NETWORK
            tell(event, CLIENT_IP=each.name, **({} if single else {"COUNT": each.changed}))
        if more := sum(each.changed for each in ended[MAX_BAN_LINES:]):
            tell(events.MORE_UNBANS, COUNT=more)

    async def unban_all(self) -> int:
        """End every ban, whatever the disk says; return how many those were.

        Raises:
            StoreError: everybody is let in, and that could not be stored in time.
        """
        async with self._lock:
            now = self._clock() // SECOND * SECOND
            standing = [who for who in self.judge.banned() if self.judge.standing(who, now)]
            for subject in standing:
                self._end(subject, now)
            number = self.ledger.order(End(now, None))
            await self.enforcer.lift_all()
            tell(events.UNBAN_ALL, COUNT=len(standing))
        if refusal := await self.ledger.see_stored(number, len(standing)):
            done = f"everybody is let in ({len(standing)})"
            raise StoreError(f"{done}{_UNSTORED.format(refusal)}")
        return len(standing)

    async def forget(self, subject: Subject) -> None:
        """Erase a subject everywhere, its ban included.

        Raises:
            UnchangedError: nothing is known of it.
            StoreError: it could not be erased from the disk in time.
        """
        name = self._text(subject)
        stored = await self._look_up(self.store.knows, subject)
        async with self._lock:
            self._uncount(subject)
            self.repeat_offenders -= self.judge.bans_of(subject) > 1
            self.offenders.forget(subject)
            if not self.judge.forget(subject) and not stored:
                raise UnchangedError(f"nothing is known of {name}")
            number = self.ledger.order(Forget(subject))
            await self.enforcer.lift([subject])
            tell(events.FORGET, CLIENT_IP=name)
        if refusal := await self.ledger.see_stored(number):
            raise StoreError(f"{name} is forgotten in memory{_UNSTORED.format(refusal)}")

    def _end(self, subject: Subject, now: int) -> None:
        self._uncount(subject)
        self.judge.set_end(subject, now)
        self.ledger.work.counters["", "unbans"] += 1

    # Keeping house -----------------------------------------------------------------------------

    async def standing(self, after: int = 0) -> list[StoredBan]:
        """Return a page of the bans that stand, behind a row."""
        return await self._look_up(self.store.standing, self._clock(), after)

    async def pages(self) -> AsyncIterator[list[Due]]:
        """Yield everybody who should be blocked, page by page."""
        subjects, now = self.judge.banned(), self._clock()
        for at in range(0, len(subjects), RESTORE_CHUNK):
            page = subjects[at : at + RESTORE_CHUNK]
            standing = ((who, self.judge.standing(who, now)) for who in page)
            yield [Due(who, ban[1]) for who, ban in standing if ban is not None]

    async def reconcile(self) -> None:
        """Make the kernel hold what the book says."""
        async with self._lock:
            waiting = frozenset(self.enforcer.waiting)
            expected = self.active.count(self._clock())
            known = self._stands if self._caught_up else None
            await self.enforcer.reconcile(Book(self.pages(), expected, known))
            if waiting:
                self.ledger.work.edit(Apply(self._clock(), waiting))
            await self.ledger.begin()

    async def enforce_all(self) -> None:
        """Put every standing ban into the kernel, with the time that is left."""
        async with self._lock:
            befriended, self._befriended = self._befriended, []
            await self.enforcer.lift_in_time(befriended)
            await self.enforcer.enforce(self.pages())
            if self.enforcer.enforcing and not self.enforcer.refusal:
                self.ledger.work.edit(Apply(self._clock(), None))
            await self.ledger.begin()

    async def resync(self, remember: int) -> None:
        """Distrust all times that are ahead of the clock, after the clock was set.

        The store is not changed before the daily tidying: the clock may be set again.  Bans are
        read back from it, those that begin in the future begin now, the counts of standing bans
        are made again, and so is the kernel's set.
        """
        async with self._lock:
            await self.ledger.stored(self.committer.patience(COMMIT_PATIENCE))
            now = self._clock()
            self._latest = {path: min(time, now) for path, time in self._latest.items()}
            for source in self._sources.values():
                source.latest = min(source.latest, now)
            self._acknowledged.clear()
            if not self.committer.busy and self.committer.unsaved is None:
                await self._read_back(remember, now)
            await self._recount(now)
            self.ceiling.look()
        await self.enforce_all()

    async def _read_back(self, remember: int, now: int) -> None:
        """Remember the bans that are stored; while the store refuses, those that are known."""
        before = self.judge.exchange_bans({})
        try:
            most = self.judge.limits.max_remembered
            bans = self.store.remembered(now - remember, now, most)
            while rows := await self._ask(next, bans, None, within=COMMAND_PATIENCE):
                for subject, start, until in rows:
                    if self.may_be_banned(subject):
                        self.judge.restore_ban(subject, start, until)
        except StoreError:
            self.judge.exchange_bans(before)

    async def _recount(self, now: int) -> None:
        """Set back bans that begin ahead of the clock, and count those that stand."""
        self.active = ActiveBans()
        subjects = self.judge.banned()
        for at in range(0, len(subjects), EXPIRE_SLICE):
            part = subjects[at : at + EXPIRE_SLICE]
            self.judge.set_back(part, now)
            for subject in part:
                standing = self.judge.standing(subject, now)
                if standing is not None:
                    self.active.add(subject, standing[1])
            await asyncio.sleep(0)
        self.repeat_offenders = self.judge.repeat_offenders

    async def former_table(self, table: str) -> str:
        """Return the table that held the bans before, if it was another one than this."""
        noted = await self._ask(self.store.noted, "table")
        return "" if noted == table else noted

    async def note_table(self, table: str) -> None:
        """Note which table holds the bans from now on."""
        await self._ask(self.store.note, "table", table)

    async def keep_store(self) -> None:
        """Write the database again if it was deleted or replaced while it was open.

        Raises:
            StoreError: it can't be written; the next turn tries again.
        """
        if await self._ask(self.store.in_place):
            return
        text = (
            f"{self.store.path} was deleted or replaced by another program and is written again"
            " from what is open here; stop the daemon before you move or restore it"
        )
        tell(events.STORE_GONE, REASON=text)
        self.conditions.see("state", text, self._clock())
        await self._ask(self.store.write_anew)

    async def caught_up(self) -> None:
        """Heed bans that do not reach, and remove elements that the book does not know."""
        async with self._lock:
            now = self._clock()
            if self.enforcer.enforcing:
                self.judge.heed = now
            self._caught_up = True
            await self.enforcer.remove_unknown(self._stands)

    def _stands(self, subject: Subject) -> bool:
        """Whether a subject is banned now."""
        return self.judge.standing(subject, self._clock()) is not None

    async def tidy(self, remember: int) -> None:
        """Forget what no longer matters, in slices that never hold up the loop."""
        now = self._clock()
        subjects = self.judge.subjects()
        for at in range(0, len(subjects), EXPIRE_SLICE):
            async with self._lock:
                self.judge.expire(subjects[at : at + EXPIRE_SLICE], now)
            await asyncio.sleep(0)
        async with self._lock:
            self.repeat_offenders = self.judge.repeat_offenders
            self.judge.look_again()
            self.ceiling.look()
            await self.ledger.begin()
        await self._ask(self.store.set_back, now, now + AHEAD)
        await self._ask(self.store.tidy, now - remember, now)
        await self.ceiling.give_back()

    async def fold_gone(self, followed: Iterable[str]) -> None:
        """Add the counters of logs that are gone to one, if those are many."""
        gone = fold_gone(self.counters, followed)
        for log in gone:
            self._latest.pop(log, None)
        if gone:
            await self._ask(self.store.fold_counters, gone, GONE)

    async def evict(self) -> None:
        """Forget ended bans beyond the ceiling, in memory and in the store."""
        self.ceiling.reached.clear()
        now, before = self._clock(), self.judge.tally.evicted_bans
        self.repeat_offenders -= await self.ceiling.evict(now)
        # Nor does what waits for the disk grow beyond what is remembered.
        self.ledger.drop_forgotten()
        if evicted := self.judge.tally.evicted_bans - before:
            text = notices.eviction_advice(evicted, self.judge.limits.max_remembered)
            self._advise("remembered", events.BANS_EVICTED, text, COUNT=evicted)
        await self.ceiling.sweep(now)


def _unbanned(target: Target, count: int) -> Outcome:
    error = None if count else UnchangedError(f"{target.name} is not banned")
    return Outcome(target.name, count, error=error)
