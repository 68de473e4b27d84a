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
* In a trap of events, a hit with an attempt (``model.attempt_time``) is a guess of one password.
  The same attempt of a subject counts once in a window, with its latest time.
* Hits of friends are counted apart and change nothing.

Windows are held by ``PendingWindows``, bans by ``RememberedBans``; each has a ceiling.
"""

import struct
from collections.abc import Callable, Iterable, Sequence

from blocker.addresses import subject_of
from blocker.judging.friend_filter import MAX_KNOWN, FriendFilter
from blocker.judging.limits import AHEAD, Limits, Policy, whole_second
from blocker.judging.pending_windows import PendingWindows
from blocker.judging.remembered_bans import RememberedBans
from blocker.judging.tally import Accounts, Counts, Judgement
from blocker.judging.windows import LATE, MARK, NO_MARK, Window, marks_of, without_attempt
from blocker.model import EVENT, Address, Ban, Hit, Subject, attempt_of, untagged
from blocker.times import DAY, SECOND

_LATEST = 1 << 62

REACH = 60 * SECOND
"""Time after which hits of a banned subject show that the ban does not reach it, microseconds."""

MAX_REACHED = 1000
"""Ceiling of the subjects that ``take_unreached`` returns."""


class Judge:
    """Decides about new bans.

    Args:
        traps: name and policy of each trap; ``Hit.trap`` is an index into it.
        limits: limits that apply to all traps.
        friend: returns why an address may not be banned, or None.

    Attributes:
        limits: as given.
        of_events: name of each trap of events, by its index.
        windows: the pending hits of each subject.
        bans: the remembered bans of each subject.
        friends: recognises friends, and counts their hits.
        reach_since: blocked hits with a later time (microseconds) show that a ban may not reach.
        ahead: number of hits since the start that were stamped ahead of the clock.
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
        self.of_events = {
            index: name for index, (name, policy) in enumerate(traps) if policy.kind == EVENT
        }
        self.limits = limits
        self.windows = PendingWindows(limits.max_tracked)
        self.bans = RememberedBans(limits)
        self.friends = FriendFilter(friend)
        self._networks: dict[Address, Subject] = {}
        """Subjects of IPv6 addresses."""
        self._late = 0
        """Late hits of the call of ``judge`` under way that were considered for a window."""
        self.reach_since = _LATEST
        self._unreached: dict[Subject, int] = {}
        self._ahead = NO_MARK
        """Greater marks are ahead of the clock."""
        self.ahead = 0

    # Judging -----------------------------------------------------------------------------------

    # One loop: a call per hit would cost as much as the decision does.
    def judge(  # noqa: C901, PLR0912 - see above
        self, hits: Iterable[Hit], now: int | None = None, accounts: Accounts | None = None
    ) -> Judgement:
        """Judge hits in the order of events.

        ``now`` is the clock, microseconds, or None for old logs; ``accounts``, if given, is updated
        for every subject.
        """
        remembered, networks, reach_since = self.bans.by_subject, self._networks, self.reach_since
        is_friend = self.friends.takes
        limit = self._begin(now)
        made: list[Ban] = []
        count = blocked = late = 0
        for time, address, trap, _, _ in hits:
            if time > limit:
                time = self._capped(time, trap, limit)  # noqa: PLW2901 - the clock is right
            # An IPv4 address is its own subject: this look-up alone decides most hits of a flood.
            bans, subject = remembered.get(address), address
            if len(address) > 4:
                subject = networks.get(address) or self._network_of(address)
                if not subject:
                    continue
                bans = remembered.get(subject)
            elif bans is None and is_friend(address):
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
            elif time >= bans[-1] or self.bans.set_back_one(subject, limit - AHEAD):
                blocked += 1
                if time > reach_since:
                    self._note_unreached(subject, time)
            else:
                late += 1
        return self._judgement(made, count, blocked, late)

    def _judgement(self, made: list[Ban], hits: int, blocked: int, late: int) -> Judgement:
        """Return the answer of ``judge``."""
        friends = self.friends.take()
        friendly = sum(each.hits for each in friends.values())
        return Judgement(made, Counts(hits, blocked, late + self._late, friendly), friends)

    def _begin(self, now: int | None) -> int:
        """Reset what one call counts; return the latest time that is not ahead of the clock."""
        self._late = 0
        if now is None:
            self._ahead = NO_MARK
            return _LATEST
        self._ahead = MARK.pack((now + AHEAD) << 8 | 255)
        return now + AHEAD

    def _note_unreached(self, subject: Subject, time: int) -> None:
        if len(self._unreached) < MAX_REACHED:
            self._unreached[subject] = time

    def take_unreached(self) -> dict[Subject, int]:
        """Return by subject the time of its latest blocked hit after ``reach_since``, and reset.

        At most ``MAX_REACHED`` subjects are recorded between two calls.
        """
        unreached, self._unreached = self._unreached, {}
        return unreached

    def _capped(self, time: int, trap: int, limit: int) -> int:
        """Return the clock in place of a time; a hit of an event trap keeps its attempt."""
        self.ahead += 1
        clock = limit - AHEAD
        return untagged(clock) + attempt_of(time) if trap in self.of_events else clock

    def _network_of(self, address: Address) -> Subject:
        """Return the subject of an IPv6 address, or b"" for a friend."""
        if self.friends.takes(address):
            return b""
        if len(self._networks) >= MAX_KNOWN:
            self._networks.clear()
        subject = self._networks[address] = subject_of(address, self.limits.ipv6_prefix)
        return subject

    def _consider(self, subject: Subject, trap: int, time: int) -> Ban | None:
        """Add a hit to its window; return the ban if the window now holds ``maxretry`` hits."""
        name, policy = self._traps[trap]
        mark = MARK.pack(time << 8 | trap)
        window = self.windows.get(subject)
        if window[-8:] > self._ahead:
            window = self._without_future(window)
        if trap in self.of_events and attempt_of(time):
            known = without_attempt(window, mark, policy.findtime)
            if known is None:
                return None
            window = known
        oldest = time - self._shortest
        # Marks are big-endian, so bytes compare as the numbers do.
        if window and (
            mark < window[-8:] or (oldest >= 0 and window[:8] <= MARK.pack(oldest << 8 | 255))
        ):  # not the latest of its window, or a mark in it has expired
            latest, window = self._merged(window, mark)
        else:
            latest, window = time, window + mark
        if time <= latest - policy.findtime:
            self._late += 1
            trap |= LATE
            latest, window = self._merged(window, MARK.pack(latest << 8 | trap))
        count = window[7::8].count(trap)
        if count < policy.maxretry:
            self.windows.put(subject, window)
            return None
        start = untagged(latest) if trap & ~LATE in self.of_events else latest
        ban = self._sentence(subject, name, policy, start, count)
        self.bans.add(subject, ban.start, ban.until)
        self.windows.drop(subject)
        return ban

    def _without_future(self, window: Window) -> Window:
        """Return a window in which marks ahead of the clock are set back to the clock."""
        (ahead,) = MARK.unpack(self._ahead)
        clock = whole_second((ahead >> 8) - AHEAD) << 8
        marks = sorted(clock | mark & 255 if mark > ahead else mark for mark in marks_of(window))
        return struct.pack(f">{len(marks)}Q", *marks)

    def _merged(self, window: Window, mark: bytes) -> tuple[int, Window]:
        """Return the latest time, and the window with a mark inserted and expired ones removed."""
        marks = sorted(marks_of(window + mark))
        latest, findtimes = marks[-1] >> 8, self._findtimes
        if marks[0] >> 8 <= latest - self._shortest:
            marks = [each for each in marks if each >> 8 > latest - findtimes[each & ~LATE & 255]]
        return latest, struct.pack(f">{len(marks)}Q", *marks)

    def _sentence(self, subject: Subject, name: str, policy: Policy, start: int, hits: int) -> Ban:
        offence = self.bans.offence(subject, start)
        try:
            length = policy.bantime * policy.bantime_factor ** (offence - 1)
        except OverflowError:  # a float ends at 2 ** 1024: offence 1,025 with factor 2
            length = policy.max_bantime
        until = start + int(min(length, policy.max_bantime))
        return Ban(subject, name, start, until, hits, offence)

    # Changes by others --------------------------------------------------------------------------

    def add_ban(self, subject: Subject, start: int, until: int) -> None:
        """Remember a ban by an administrator or of the store, and clear the subject's window."""
        self.bans.add(subject, start, until)
        self.windows.forget(subject)

    def forget(self, subject: Subject) -> bool:
        """Erase the bans and the window of a subject; False if there were none."""
        known = self.windows.forget(subject)
        return self.bans.forget(subject) > 0 or known

    def clear(self) -> None:
        """Forget all subjects.

        At a reload, another judge reads them from the store; both would need twice the memory.
        """
        self.windows.clear()
        self.bans.exchange({})

    def subjects(self) -> list[Subject]:
        """Return all subjects with a ban or a window; pass them to ``expire`` in slices."""
        return [*self.bans.by_subject, *self.windows.subjects()]

    def expire(self, subjects: Iterable[Subject], now: int) -> None:
        """Drop bans and windows of these subjects that can have no effect any more.

        A window is kept a day longer than its findtime, for logs that arrive late.
        """
        quiet = now - max(self._findtimes) - DAY
        for subject in subjects:
            self.bans.expire(subject, now)
            window = self.windows.get(subject)
            if window and marks_of(window)[-1] >> 8 <= quiet:
                self.windows.drop(subject)
