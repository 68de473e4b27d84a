"""Hits in, bans out: the exact sliding window, in event time.  Pure: time is an argument.

The semantics, to the letter:

* A hit enters the window of its subject at its own time.  It is judged at T, the latest event
  time seen from that subject: the hits in (T - findtime, T] count, and ``maxretry`` of them make
  a ban ``[T, T + bantime)`` and clear the window.
* A hit inside the latest ban is *blocked*: recorded, never in the window, never extending it.
* A line stamped before the start of the latest ban was let through, and never counts towards
  another ban, whatever ban it may have been stamped in.
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
until a sixteenth of the ceiling is free again.  A ban that stands is never evicted.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from blocker.model import SECOND, Address, Ban, Hit, Subject, subject_of

_LATEST = 1 << 62
REACH = 60 * SECOND
"""A banned address still in the log this long after its ban: the ban does not reach it."""

MAX_REACHED = 1000

AHEAD = 300 * SECOND
"""Live, a hit stamped further ahead of the clock than this is judged at the clock."""

DAY = 86400 * SECOND

MAX_KNOWN = 16384

ROOM = 16
"""One in so many remembered bans is evicted at a time: finding them costs a look at all of them."""

EVICTION_SLICE = 10_000
"""Subjects that are looked at in one step of an eviction."""

LATE = 128
"""Added to the index of the trap in the mark of a late hit; there are at most 64 traps."""
_MARK = struct.Struct(">Q")
_NO_MARK = b"\xff" * 8
"""Greater than every mark."""

Window: TypeAlias = bytes
"""Pending hits of one subject in order of time: eight bytes each, big-endian, microseconds * 256
+ index of the trap.  A late hit stands at the time when it arrived, with ``LATE`` added to the
index.  A third of the memory of a list of numbers, and ready for the database."""


class Policy(Protocol):
    """What the judge needs to know of a trap; durations in microseconds."""

    @property
    def maxretry(self) -> int:
        """Hits that make a ban."""

    @property
    def findtime(self) -> int:
        """Length of the window."""

    @property
    def bantime(self) -> int:
        """Length of a first ban."""

    @property
    def bantime_factor(self) -> float:
        """What each further offence multiplies the ban by."""

    @property
    def max_bantime(self) -> int:
        """Ceiling of a ban's length."""


class Limits(NamedTuple):
    """What holds over all traps.

    Attributes:
        remember: how long an offence is remembered, microseconds.
        max_tracked: ceiling of pending windows.
        ipv6_prefix: length of the IPv6 network that is judged as one.
        max_remembered: ceiling of remembered bans; those that stand may exceed it.
    """

    remember: int
    max_tracked: int = 1_000_000
    ipv6_prefix: int = 64
    max_remembered: int = 1_000_000


Accounts: TypeAlias = dict[Subject, list[int]]
"""By subject: hits, time of the first, time of the last."""


Bans: TypeAlias = dict[Subject, tuple[int, ...]]
"""By subject: the end of the latest ban, then the starts of all within ``remember``."""


class Rank(NamedTuple):
    """What decides who is evicted: how many bans, the end of the latest, and whose they are."""

    bans: int
    until: int
    subject: Subject


class Counts(NamedTuple):
    """Hits of strangers, those of them that were blocked or late, and hits of friends."""

    hits: int
    blocked: int
    late: int
    friends: int

    def since(self, before: "Counts") -> "Counts":
        """Return what has been added."""
        return Counts(*(new - old for new, old in zip(self, before, strict=True)))


class Tally:
    """Running totals; plain integers, read by metrics and reports."""

    __slots__ = ("ahead", "blocked", "evicted", "evicted_bans", "friends", "hits", "late")

    def __init__(self) -> None:
        self.hits = self.blocked = self.friends = self.late = self.ahead = self.evicted = 0
        self.evicted_bans = 0

    def counts(self) -> Counts:
        """Return what is counted for each log."""
        return Counts(self.hits, self.blocked, self.late, self.friends)

    def add(self, hits: int, blocked: int, late: int) -> None:
        """Count hits, and those of them that were blocked or late."""
        self.hits += hits
        self.blocked += blocked
        self.late += late


class Judge:
    """Windows, bans and offences of everybody seen.

    Args:
        traps: name and policy of each trap, in the order that ``Hit.trap`` speaks of.
        limits: what holds over all traps.
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
        self.friend_seen: dict[str, Address] = {}
        """By reason: how many hits, and who was the latest."""
        self.heed = _LATEST
        """Blocked hits stamped after this are noted in ``unreached``, by subject, with the time."""
        self.unreached: dict[Subject, int] = {}
        self._ahead = _NO_MARK
        """Marks beyond this one are ahead of the clock."""
        self.tally = Tally()
        self.changed: set[Subject] = set()
        """Whose window has changed since somebody last cleared this."""
        self._forgotten: list[Subject] = []

    # Judging -----------------------------------------------------------------------------------

    # One loop, for a call per hit would cost as much as the decision does.
    def judge(  # noqa: C901, PLR0912 - see above
        self, hits: Iterable[Hit], now: int | None = None, accounts: Accounts | None = None
    ) -> list[Ban]:
        """Judge hits in the order of events and return the bans that they make.

        ``now`` is the clock, microseconds, where there is one; account of every attacker is kept
        in ``accounts``, if anybody wants to know.
        """
        known, standing, heed = self._known, self._bans, self.heed
        limit = self._limit(now)
        made: list[Ban] = []
        count = blocked = late = 0
        for time, address, trap, _, _ in hits:
            if time > limit:
                time = self._capped(limit)  # noqa: PLW2901 - the clock is right, the stamp is not
            # An IPv4 address is its own subject: most of a flood is settled by this one look.
            bans, subject = standing.get(address), address
            if len(address) > 4:
                subject = known.get(address) or self._network_of(address)
                if not subject:
                    continue
                bans = standing.get(subject)
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
                if time > heed:
                    self._note_unreached(subject, time)
            else:
                late += 1
        self.tally.add(count, blocked, late)
        return made

    def _limit(self, now: int | None) -> int:
        """Return the time beyond which stamps are ahead of the clock, and note it for marks."""
        if now is None:
            self._ahead = _NO_MARK
            return _LATEST
        self._ahead = _MARK.pack((now + AHEAD) << 8 | 255)
        return now + AHEAD

    def _began_ahead(self, subject: Subject, limit: int) -> bool:
        """Tell whether a ban begins ahead of the clock; then it begins at the clock instead."""
        if self._bans[subject][-1] <= limit:
            return False
        self._set_back(subject, _whole(limit - AHEAD))
        return True

    def _note_unreached(self, subject: Subject, time: int) -> None:
        if len(self.unreached) < MAX_REACHED:
            self.unreached[subject] = time

    def _capped(self, limit: int) -> int:
        self.tally.ahead += 1
        return limit - AHEAD

    def _is_friend(self, address: Address) -> bool:
        """Tell whether an address is a friend's; if so, its hit is counted here."""
        reason = self._friends.get(address) or self.friend(address)
        if reason is None:
            return False
        if len(self._friends) >= MAX_KNOWN:
            self._friends.clear()
        self._friends[address] = reason
        self.tally.friends += 1
        self.friend_hits[reason] = self.friend_hits.get(reason, 0) + 1
        self.friend_seen[reason] = address
        return True

    def _network_of(self, address: Address) -> Subject:
        """Return the network that an IPv6 address is judged as; nobody for a friend."""
        if self._is_friend(address):
            return b""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        subject = self._known[address] = subject_of(address, self.limits.ipv6_prefix)
        return subject

    def _consider(self, subject: Subject, trap: int, time: int) -> Ban | None:
        """Let a hit into its window, and see whether that is one too many."""
        name, policy = self._traps[trap]
        mark = _MARK.pack(time << 8 | trap)
        window = self._young.get(subject) or self._old.get(subject, b"")
        if window[-8:] > self._ahead:
            window = self._without_future(window)
        self.changed.add(subject)
        if window and not self._goes_on(window, mark, time):
            latest, window = self._merged(window, mark)
        else:
            latest, window = time, window + mark
        if time <= latest - policy.findtime:
            self.tally.late += 1
            trap |= LATE
            latest, window = self._merged(window, _MARK.pack(latest << 8 | trap))
        count = window[7::8].count(trap)
        if count < policy.maxretry:
            self._remember(subject, window)
            return None
        ban = self._sentence(subject, name, policy, latest, count)
        self.add_ban(subject, ban.start, ban.until)
        return ban

    def _without_future(self, window: Window) -> Window:
        """Return a window whose marks ahead of the clock stand at the clock."""
        (ahead,) = _MARK.unpack(self._ahead)
        clock = _whole((ahead >> 8) - AHEAD) << 8
        marks = sorted(clock | mark & 255 if mark > ahead else mark for mark in _marks(window))
        return struct.pack(f">{len(marks)}Q", *marks)

    def _goes_on(self, window: Window, mark: bytes, time: int) -> bool:
        """Whether a hit is the latest of its window, and none in it is too old by now."""
        oldest = time - self._shortest
        # Big-endian, so the bytes are in the order of the numbers.
        return mark >= window[-8:] and (oldest < 0 or window[:8] > _MARK.pack(oldest << 8 | 255))

    def _merged(self, window: Window, mark: bytes) -> tuple[int, Window]:
        """Return the latest time, and the window with a hit put in its place, old ones gone."""
        marks = sorted(_marks(window + mark))
        latest, findtimes = marks[-1] >> 8, self._findtimes
        if marks[0] >> 8 <= latest - self._shortest:
            marks = [each for each in marks if each >> 8 > latest - findtimes[each & ~LATE & 255]]
        return latest, struct.pack(f">{len(marks)}Q", *marks)

    def _sentence(self, subject: Subject, name: str, policy: Policy, start: int, hits: int) -> Ban:
        offence = self.offence(subject, start)
        try:
            length = policy.bantime * policy.bantime_factor ** (offence - 1)
        except OverflowError:  # 2 ** 1024: who comes a thousand times
            length = policy.max_bantime
        until = start + int(min(length, policy.max_bantime))
        return Ban(subject, name, start, until, hits, offence)

    # Bans --------------------------------------------------------------------------------------

    def offence(self, subject: Subject, start: int) -> int:
        """Return the number that a ban starting then would have: 1 + the remembered ones."""
        bans = self._bans.get(subject)
        if bans is None:
            return 1
        return 1 + sum(start - self.limits.remember < time <= start for time in bans[1:])

    def add_ban(self, subject: Subject, start: int, until: int) -> None:
        """Book a ban (judged, by hand, or restored); its window is cleared."""
        self.restore_ban(subject, start, until)
        self._forget_window(subject)

    def restore_ban(self, subject: Subject, start: int, until: int) -> None:
        """Put back a ban that was stored; what is beyond ``remember`` is dropped."""
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
        """Remember these bans instead; return those that were remembered."""
        before, self._bans = self._bans, bans
        self.remembered = sum(map(len, bans.values())) - len(bans)
        return before

    def set_end(self, subject: Subject, until: int) -> None:
        """Let the latest ban of a subject end at another time."""
        self._bans[subject] = (until, *self._bans[subject][1:])

    def set_back(self, subjects: Iterable[Subject], now: int) -> None:
        """Let latest bans that begin ahead of the clock begin at the clock, as long as before."""
        for subject in subjects:
            bans = self._bans.get(subject)
            if bans is not None and bans[-1] > now + AHEAD:
                self._set_back(subject, _whole(now))

    def _set_back(self, subject: Subject, clock: int) -> None:
        until, *starts = self._bans[subject]
        self._bans[subject] = (until - starts[-1] + clock, *(min(s, clock) for s in starts))

    def standing(self, subject: Subject, at: int) -> tuple[int, int] | None:
        """Return start and end of the ban that has not ended by a time, or None.

        It may start a little later: stamps can be ahead of the clock.
        """
        bans = self._bans.get(subject)
        return None if bans is None or at >= bans[0] else (bans[-1], bans[0])

    def forget(self, subject: Subject) -> bool:
        """Erase everything known of a subject; False if nothing was."""
        known = self._forget_window(subject)
        return self._forget_bans(subject) > 0 or known

    def _forget_bans(self, subject: Subject) -> int:
        """Forget the bans of a subject; return how many those were."""
        count = len(self._bans.pop(subject, (0,))) - 1
        self.remembered -= count
        return count

    def clear(self) -> None:
        """Forget everybody: another judge reads them back, and both would take twice the memory."""
        self._young, self._old, self._forgotten = {}, {}, []
        self.changed = set()
        self.exchange_bans({})

    def subjects(self) -> list[Subject]:
        """Return everybody who is tracked or remembered, to be given to ``expire`` in slices."""
        return [*self._bans, *self._young, *self._old]

    def expire(self, subjects: Iterable[Subject], now: int) -> None:
        """Drop those of the subjects' bans and windows that can't matter any more.

        A window is kept a day longer than its findtime, for logs that arrive late.
        """
        oldest = now - self.limits.remember
        quiet = now - max(self._findtimes) - DAY
        for subject in subjects:
            bans = self._bans.get(subject)
            if bans is not None and bans[-1] <= oldest and bans[0] <= now:
                self._forget_bans(subject)
            window = self.window(subject)
            if window and _marks(window)[-1] >> 8 <= quiet:
                self._forget_window(subject)
                self.changed.add(subject)

    # The ceiling of bans -----------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether so many bans are remembered that it is time to evict some."""
        return self.remembered > self._full_at

    def evict(self, now: int) -> Iterator[int]:
        """Evict bans until there is room again, a step at a time; others may judge in between.

        Yields:
            how many subjects with two or more bans that step evicted.
        """
        ceiling = self.limits.max_remembered
        target = ceiling - ceiling // ROOM
        excess = max(0, self.remembered - target)
        subjects, ranked = self.banned(), list[Rank]()
        for at in range(0, len(subjects), EVICTION_SLICE):
            ranked += self._ended(subjects[at : at + EVICTION_SLICE], now)
            if len(ranked) > 2 * excess + EVICTION_SLICE:
                ranked = sorted(ranked)[:excess]  # of one ban each, if not of more
            yield 0
        ranked.sort()
        for at in range(0, len(ranked), EVICTION_SLICE):
            yield self._evict(ranked[at : at + EVICTION_SLICE], target)
        # Where most bans stand, little is evicted, and the next look waits for as many again.
        self._full_at = max(ceiling, self.remembered + ceiling // ROOM)

    def look_again(self) -> None:
        """Let the next look at the ceiling be due as if there had been none."""
        self._full_at = self.limits.max_remembered

    def _ended(self, subjects: Iterable[Subject], now: int) -> Iterator[Rank]:
        """Yield the ranks of those subjects whose latest ban has ended."""
        for subject in subjects:
            bans = self._bans.get(subject)
            if bans is not None and bans[0] <= now:
                yield Rank(len(bans) - 1, bans[0], subject)

    def _evict(self, ranked: Iterable[Rank], target: int) -> int:
        """Evict these in order, down to a number of bans; not those banned again since then."""
        repeat_offenders = 0
        for bans, until, subject in ranked:
            if self.remembered <= target:
                break
            if self._bans.get(subject, (0,))[0] == until and self.bans_of(subject) == bans:
                self.tally.evicted_bans += self._forget_bans(subject)
                repeat_offenders += bans > 1
        return repeat_offenders

    # Windows -----------------------------------------------------------------------------------

    @property
    def tracked(self) -> int:
        """Pending windows."""
        return len(self._young) + len(self._old)

    @property
    def offenders(self) -> int:
        """Subjects with at least one remembered ban."""
        return len(self._bans)

    @property
    def repeat_offenders(self) -> int:
        """Subjects with at least two remembered bans; looks at all of them."""
        return sum(len(bans) > 2 for bans in self._bans.values())

    def banned(self) -> list[Subject]:
        """Return every subject with a remembered ban."""
        return list(self._bans)

    def bans_of(self, subject: Subject) -> int:
        """Return how many bans of a subject are remembered."""
        return len(self._bans.get(subject, (0,))) - 1

    def bans_since(self, subject: Subject, since: int) -> int:
        """Return how many of them began after a time."""
        return sum(start > since for start in self._bans.get(subject, (0,))[1:])

    def window(self, subject: Subject) -> Window:
        """Return the pending hits of a subject."""
        return self._young.get(subject) or self._old.get(subject, b"")

    def take_forgotten(self, count: int) -> list[Subject]:
        """Return some of those whose window was pushed out, each once.

        There are half a million at a time, too many to be forgotten by the store at one go.
        """
        taken, self._forgotten[-count:] = self._forgotten[-count:], []
        return taken

    def restore_window(self, subject: Subject, window: Window) -> None:
        """Put back a window that was stored."""
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
    """Return a time without its fraction of a second: logs have none, nor what is printed."""
    return time - time % SECOND


def _marks(window: Window) -> tuple[int, ...]:
    return struct.unpack(f">{len(window) // 8}Q", window)
