"""Hits in, bans out: the exact sliding window, in event time.  Pure: time is an argument.

The semantics, to the letter:

* A hit enters the window of its subject at its own time.  It is judged at T, the latest event
  time seen from that subject: the hits in (T - findtime, T] count, and ``maxretry`` of them make
  a ban ``[T, T + bantime)`` and clear the window.
* A hit inside the latest ban is *blocked*: recorded, never in the window, never extending the ban.
* A line stamped before the start of the latest ban was let through, and never counts towards
  another ban, even if it was stamped inside an earlier one.
* A line stamped at or before T - findtime is *late*: too old for the window.  Apache stamps the
  start of a request and writes at its end, so requests that a client held open are late.  Late
  lines are judged by when they arrive, and that is T: ``maxretry`` late lines of one trap that
  arrived in (T - findtime, T] make a ban that starts at T.  They count among themselves, never
  together with the hits of the window: one slow request is no attack.
* The n-th ban within ``remember`` (offence n) lasts bantime * bantime_factor^(n-1), at most
  ``max_bantime``.
* Live, nothing is stamped more than ``AHEAD`` after the clock: such a hit is judged at the clock,
  and a pending hit or a ban that was stamped so, while the clock was wrong, is set back to it.
* Hits of friends are counted apart and change nothing.

Memory has a ceiling: ``max_tracked`` windows in two generations.  When the younger one is full
(half the ceiling), the older one is forgotten and the generations shift; a subject that goes on
hitting is always in the younger one, so what is forgotten is what has been quiet longest.  Each
window forgotten is counted.

Remembered bans have a ceiling, too: ``max_remembered``.  Beyond it subjects whose latest ban has
ended are evicted, those with the fewest bans first, and of equal ones those whose ban ended first,
until a sixteenth of the ceiling is free again.  An active ban is never evicted.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from blocker.addresses import subject_of
from blocker.judging.limits import Limits, Policy
from blocker.judging.tally import Accounts, Counts, FriendHits, Judgement, Tally
from blocker.judging.windows import LATE, MARK, NO_MARK, Window, marks_of
from blocker.model import Address, Ban, Hit, Subject
from blocker.times import DAY, SECOND

_LATEST = 1 << 62

REACH = 60 * SECOND
"""Time after which hits of a banned subject show that the ban does not reach it, microseconds."""

MAX_REACHED = 1000
"""Ceiling of the subjects that ``take_unreached`` returns."""

AHEAD = 300 * SECOND
"""Live, a hit stamped further ahead of the clock than this is judged at the clock."""

MAX_KNOWN = 16384
"""Ceiling of each cache by address; a cache that is full is emptied."""

ROOM = 16
"""An eviction frees 1/16 of ``max_remembered``: it has to look at every remembered ban, so it
must not be due again soon."""

EVICTION_SLICE = 10_000
"""Subjects that one step of an eviction looks at."""


Bans: TypeAlias = dict[Subject, tuple[int, ...]]
"""By subject: the end of the latest ban, then the starts of all within ``remember``."""


class Rank(NamedTuple):
    """Order of eviction: number of bans, end of the latest (microseconds), subject."""

    bans: int
    until: int
    subject: Subject


class Judge:
    """Holds windows and bans of all subjects and decides about new bans.

    Args:
        traps: name and policy of each trap; ``Hit.trap`` is an index into it.
        limits: limits that apply to all traps.
        friend: returns why an address may not be banned, or None.
    """

    def __init__(
        self,
        traps: Sequence[tuple[str, Policy]],
        limits: Limits,
        friend: Callable[[Address], str | None],
    ) -> None:
        self._traps = list(traps)
        self._findtimes = [policy.findtime for _, policy in self._traps]
        self._shortest = min(self._findtimes)
        self.limits = limits
        self.friend = friend
        self._young: dict[Subject, Window] = {}
        self._old: dict[Subject, Window] = {}
        self._bans: Bans = {}
        self.remembered = 0
        """Bans in ``_bans``, the earlier ones of each subject included."""
        self._full_at = limits.max_remembered
        self._known: dict[Address, Subject] = {}
        self._friends: dict[Address, str] = {}
        self.friend_hits: dict[str, int] = {}
        """Number of friends' hits since the start, by reason."""
        self._seen: dict[str, Address] = {}
        self._counted: dict[str, int] = {}
        """Of the call of ``judge`` under way, by reason: the friend that was seen last, and the
        number of hits."""
        self._late = 0
        """Late hits of the call of ``judge`` under way that were considered for a window."""
        self.reach_since = _LATEST
        """Blocked hits with a later time (microseconds) show that a ban may not reach."""
        self._unreached: dict[Subject, int] = {}
        self._ahead = NO_MARK
        """Greater marks are ahead of the clock."""
        self.tally = Tally()
        self._changed: set[Subject] = set()
        self._forgotten: list[Subject] = []

    # Judging -----------------------------------------------------------------------------------

    # One loop: a call per hit would cost as much as the decision does.
    def judge(  # noqa: C901, PLR0912 - see above
        self, hits: Iterable[Hit], now: int | None = None, accounts: Accounts | None = None
    ) -> Judgement:
        """Judge hits in the order of events.

        ``now`` is the clock, microseconds, or None for old logs; ``accounts``, if given, is updated
        for every subject.
        """
        known, remembered, reach_since = self._known, self._bans, self.reach_since
        limit = self._begin(now)
        made: list[Ban] = []
        count = blocked = late = 0
        for time, address, trap, _, _ in hits:
            if time > limit:
                time = self._capped(limit)  # noqa: PLW2901 - the clock is right, the stamp is not
            # An IPv4 address is its own subject: this look-up alone decides most hits of a flood.
            bans, subject = remembered.get(address), address
            if len(address) > 4:
                subject = known.get(address) or self._network_of(address)
                if not subject:
                    continue
                bans = remembered.get(subject)
            elif bans is None and self._is_friend(address):
                continue
            count += 1
            if accounts is not None:
                account = accounts.get(subject)
                if account is None:
                    account = accounts[subject] = [0, time, time]
                account[0] += 1
                if time > account[2]:
                    account[2] = time
                elif time < account[1]:
                    account[1] = time
            if bans is None or time >= bans[0]:
                if (ban := self._consider(subject, trap, time)) is not None:
                    made.append(ban)
            elif time >= bans[-1] or self._began_ahead(subject, limit):
                blocked += 1
                if time > reach_since:
                    self._note_unreached(subject, time)
            else:
                late += 1
        return self._judgement(made, count, blocked, late)

    def _judgement(self, made: list[Ban], hits: int, blocked: int, late: int) -> Judgement:
        """Return the answer of ``judge``, and add the hits of friends to their totals."""
        friends = {reason: FriendHits(n, self._seen[reason]) for reason, n in self._counted.items()}
        for reason, n in self._counted.items():
            self.friend_hits[reason] = self.friend_hits.get(reason, 0) + n
        counts = Counts(hits, blocked, late + self._late, sum(self._counted.values()))
        return Judgement(made, counts, friends)

    def _begin(self, now: int | None) -> int:
        """Reset what one call counts; return the latest time that is not ahead of the clock."""
        self._late, self._counted = 0, {}
        if now is None:
            self._ahead = NO_MARK
            return _LATEST
        self._ahead = MARK.pack((now + AHEAD) << 8 | 255)
        return now + AHEAD

    def _began_ahead(self, subject: Subject, limit: int) -> bool:
        """Return whether the latest ban begins ahead of the clock; if so, set it back to it."""
        if self._bans[subject][-1] <= limit:
            return False
        self._set_back(subject, _whole(limit - AHEAD))
        return True

    def _note_unreached(self, subject: Subject, time: int) -> None:
        if len(self._unreached) < MAX_REACHED:
            self._unreached[subject] = time

    def take_unreached(self) -> dict[Subject, int]:
        """Return by subject the time of its latest blocked hit after ``reach_since``, and reset.

        At most ``MAX_REACHED`` subjects are recorded between two calls.
        """
        unreached, self._unreached = self._unreached, {}
        return unreached

    def _capped(self, limit: int) -> int:
        self.tally.ahead += 1
        return limit - AHEAD

    def _is_friend(self, address: Address) -> bool:
        """Return whether an address is a friend; count its hit if so."""
        reason = self._friends.get(address) or self.friend(address)
        if reason is None:
            return False
        if len(self._friends) >= MAX_KNOWN:
            self._friends.clear()
        self._friends[address] = reason
        self._counted[reason] = self._counted.get(reason, 0) + 1
        self._seen[reason] = address
        return True

    def _network_of(self, address: Address) -> Subject:
        """Return the subject of an IPv6 address, or b"" for a friend."""
        if self._is_friend(address):
            return b""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        subject = self._known[address] = subject_of(address, self.limits.ipv6_prefix)
        return subject

    def _consider(self, subject: Subject, trap: int, time: int) -> Ban | None:
        """Add a hit to its window; return the ban if the window now holds ``maxretry`` hits."""
        name, policy = self._traps[trap]
        mark = MARK.pack(time << 8 | trap)
        window = self._young.get(subject) or self._old.get(subject, b"")
        if window[-8:] > self._ahead:
            window = self._without_future(window)
        self._changed.add(subject)
        if window and not self._goes_on(window, mark, time):
            latest, window = self._merged(window, mark)
        else:
            latest, window = time, window + mark
        if time <= latest - policy.findtime:
            self._late += 1
            trap |= LATE
            latest, window = self._merged(window, MARK.pack(latest << 8 | trap))
        count = window[7::8].count(trap)
        if count < policy.maxretry:
            self._remember(subject, window)
            return None
        ban = self._sentence(subject, name, policy, latest, count)
        self.add_ban(subject, ban.start, ban.until)
        return ban

    def _without_future(self, window: Window) -> Window:
        """Return a window in which marks ahead of the clock are set back to the clock."""
        (ahead,) = MARK.unpack(self._ahead)
        clock = _whole((ahead >> 8) - AHEAD) << 8
        marks = sorted(clock | mark & 255 if mark > ahead else mark for mark in marks_of(window))
        return struct.pack(f">{len(marks)}Q", *marks)

    def _goes_on(self, window: Window, mark: bytes, time: int) -> bool:
        """Return whether a hit is the latest of its window, and no mark in it has expired."""
        oldest = time - self._shortest
        # Marks are big-endian, so bytes compare as the numbers do.
        return mark >= window[-8:] and (oldest < 0 or window[:8] > MARK.pack(oldest << 8 | 255))

    def _merged(self, window: Window, mark: bytes) -> tuple[int, Window]:
        """Return the latest time, and the window with a mark inserted and expired ones removed."""
        marks = sorted(marks_of(window + mark))
        latest, findtimes = marks[-1] >> 8, self._findtimes
        if marks[0] >> 8 <= latest - self._shortest:
            marks = [each for each in marks if each >> 8 > latest - findtimes[each & ~LATE & 255]]
        return latest, struct.pack(f">{len(marks)}Q", *marks)

    def _sentence(self, subject: Subject, name: str, policy: Policy, start: int, hits: int) -> Ban:
        offence = self.offence(subject, start)
        try:
            length = policy.bantime * policy.bantime_factor ** (offence - 1)
        except OverflowError:  # a float ends at 2 ** 1024: offence 1,025 with factor 2
            length = policy.max_bantime
        until = start + int(min(length, policy.max_bantime))
        return Ban(subject, name, start, until, hits, offence)

    # Bans --------------------------------------------------------------------------------------

    def offence(self, subject: Subject, start: int) -> int:
        """Return the offence number of a ban starting at ``start``: 1 + the remembered bans."""
        bans = self._bans.get(subject)
        if bans is None:
            return 1
        return 1 + sum(start - self.limits.remember < time <= start for time in bans[1:])

    def add_ban(self, subject: Subject, start: int, until: int) -> None:
        """Remember a ban (judged, or by an administrator), and clear the subject's window."""
        self.restore_ban(subject, start, until)
        self._forget_window(subject)

    def restore_ban(self, subject: Subject, start: int, until: int) -> None:
        """Remember a ban; the subject's earlier bans beyond ``remember`` are dropped."""
        before = self._bans.get(subject)
        if before is None:
            self._bans[subject] = (until, start)
            self.remembered += 1
        else:
            oldest = start - self.limits.remember
            bans = (until, *(each for each in before[1:] if each > oldest), start)
            self._bans[subject] = bans
            self.remembered += len(bans) - len(before)

    def exchange_bans(self, bans: Bans) -> Bans:
        """Replace all remembered bans; return those that were remembered."""
        before, self._bans = self._bans, bans
        self.remembered = sum(map(len, bans.values())) - len(bans)
        return before

    def set_end(self, subject: Subject, until: int) -> None:
        """Set the end of the latest ban of a subject, microseconds."""
        self._bans[subject] = (until, *self._bans[subject][1:])

    def set_back(self, subjects: Iterable[Subject], now: int) -> None:
        """Set latest bans that begin ahead of the clock back to it; their length stays."""
        for subject in subjects:
            bans = self._bans.get(subject)
            if bans is not None and bans[-1] > now + AHEAD:
                self._set_back(subject, _whole(now))

    def _set_back(self, subject: Subject, clock: int) -> None:
        until, *starts = self._bans[subject]
        self._bans[subject] = (until - starts[-1] + clock, *(min(s, clock) for s in starts))

    def active_ban(self, subject: Subject, at: int) -> tuple[int, int] | None:
        """Return start and end of the latest ban, or None if it has ended at ``at``.

        The ban may start after ``at``: timestamps can be ahead of the clock.
        """
        bans = self._bans.get(subject)
        return None if bans is None or at >= bans[0] else (bans[-1], bans[0])

    def forget(self, subject: Subject) -> bool:
        """Erase the bans and the window of a subject; False if there were none."""
        known = self._forget_window(subject)
        return self._forget_bans(subject) > 0 or known

    def _forget_bans(self, subject: Subject) -> int:
        """Forget the bans of a subject; return their number."""
        count = len(self._bans.pop(subject, (0,))) - 1
        self.remembered -= count
        return count

    def clear(self) -> None:
        """Forget all subjects.

        At a reload, another judge reads them from the store; both would need twice the memory.
        """
        self._young, self._old, self._forgotten = {}, {}, []
        self._changed = set()
        self.exchange_bans({})

    def subjects(self) -> list[Subject]:
        """Return all subjects with a ban or a window; pass them to ``expire`` in slices."""
        return [*self._bans, *self._young, *self._old]

    def expire(self, subjects: Iterable[Subject], now: int) -> None:
        """Drop bans and windows of these subjects that can have no effect any more.

        A window is kept a day longer than its findtime, for logs that arrive late.
        """
        oldest = now - self.limits.remember
        quiet = now - max(self._findtimes) - DAY
        for subject in subjects:
            bans = self._bans.get(subject)
            if bans is not None and bans[-1] <= oldest and bans[0] <= now:
                self._forget_bans(subject)
            window = self.window(subject)
            if window and marks_of(window)[-1] >> 8 <= quiet:
                self._forget_window(subject)
                self._changed.add(subject)

    # Eviction ----------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether an eviction is due: more bans are remembered than the ceiling allows."""
        return self.remembered > self._full_at

    def evict(self, now: int) -> Iterator[int]:
        """Evict bans down to the target, in steps; ``judge`` may be called between two steps.

        Yields:
            the number of subjects with two or more bans that the step evicted.
        """
        ceiling = self.limits.max_remembered
        target = ceiling - ceiling // ROOM
        excess = max(0, self.remembered - target)
        subjects, ranked = self.banned(), list[Rank]()
        for at in range(0, len(subjects), EVICTION_SLICE):
            ranked += self._ended(subjects[at : at + EVICTION_SLICE], now)
            if len(ranked) > 2 * excess + EVICTION_SLICE:
                ranked = sorted(ranked)[:excess]  # enough, as each subject has at least one ban
            yield 0
        ranked.sort()
        for at in range(0, len(ranked), EVICTION_SLICE):
            yield self._evict(ranked[at : at + EVICTION_SLICE], target)
        # If most bans are active, few can be evicted: wait for 1/16 more before the next attempt.
        self._full_at = max(ceiling, self.remembered + ceiling // ROOM)

    def look_again(self) -> None:
        """Make the next eviction due at the ceiling again, as before the first one."""
        self._full_at = self.limits.max_remembered

    def _ended(self, subjects: Iterable[Subject], now: int) -> Iterator[Rank]:
        """Yield the ranks of those subjects whose latest ban has ended."""
        for subject in subjects:
            bans = self._bans.get(subject)
            if bans is not None and bans[0] <= now:
                yield Rank(len(bans) - 1, bans[0], subject)

    def _evict(self, ranked: Iterable[Rank], target: int) -> int:
        """Evict in this order until ``target`` bans remain; skip subjects that were banned again.

        Returns:
            the number of evicted subjects with two or more bans.
        """
        repeat_offenders = 0
        for bans, until, subject in ranked:
            if self.remembered <= target:
                break
            if self._bans.get(subject, (0,))[0] == until and self.bans_of(subject) == bans:
                self.tally.evicted_bans += self._forget_bans(subject)
                repeat_offenders += bans > 1
        return repeat_offenders

    # Queries -----------------------------------------------------------------------------------

    @property
    def tracked(self) -> int:
        """Number of pending windows."""
        return len(self._young) + len(self._old)

    @property
    def offenders(self) -> int:
        """Number of subjects with at least one remembered ban."""
        return len(self._bans)

    @property
    def repeat_offenders(self) -> int:
        """Number of subjects with at least two remembered bans; walks over all of them."""
        return sum(len(bans) > 2 for bans in self._bans.values())

    def banned(self) -> list[Subject]:
        """Return every subject with a remembered ban."""
        return list(self._bans)

    def bans_of(self, subject: Subject) -> int:
        """Return the number of remembered bans of a subject."""
        return len(self._bans.get(subject, (0,))) - 1

    def bans_since(self, subject: Subject, since: int) -> int:
        """Return the number of them that began after ``since`` (microseconds)."""
        return sum(start > since for start in self._bans.get(subject, (0,))[1:])

    def window(self, subject: Subject) -> Window:
        """Return the pending hits of a subject."""
        return self._young.get(subject) or self._old.get(subject, b"")

    # Windows -----------------------------------------------------------------------------------

    @property
    def changed_windows(self) -> int:
        """Number of windows that changed since they were last taken."""
        return len(self._changed)

    def take_changed(self) -> set[Subject]:
        """Return the subjects whose window changed, and reset; the caller stores the windows."""
        changed, self._changed = self._changed, set()
        return changed

    def put_back(self, subjects: Iterable[Subject]) -> None:
        """Count windows as changed again that were taken and could not be stored."""
        self._changed.update(subjects)

    def take_forgotten(self, count: int) -> list[Subject]:
        """Return up to ``count`` subjects whose window was evicted, each of them once.

        Half a million windows are evicted at a time: too many for one transaction of the store.
        """
        taken, self._forgotten[-count:] = self._forgotten[-count:], []
        return taken

    def restore_window(self, subject: Subject, window: Window) -> None:
        """Set the window of a subject to the one that the store holds."""
        if window:
            self._remember(subject, window)

    def _remember(self, subject: Subject, window: Window) -> None:
        if subject not in self._young:
            if subject in self._old:
                del self._old[subject]
            if len(self._young) * 2 >= self.limits.max_tracked:
                self.tally.evicted += len(self._old)
                self._forgotten += self._old
                self._old, self._young = self._young, {}
        self._young[subject] = window

    def _forget_window(self, subject: Subject) -> bool:
        young, old = self._young.pop(subject, b""), self._old.pop(subject, b"")
        return bool(young or old)


def _whole(time: int) -> int:
    """Return a time without its fraction of a second: logs and printed times have none."""
    return time - time % SECOND
