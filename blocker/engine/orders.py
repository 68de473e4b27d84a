"""Plans an administrator's order: which bans are new, which are extended, what is refused.

Pure: bans and friends are only asked; nothing is changed here.
"""

from typing import NamedTuple

from blocker.addresses import format_subject
from blocker.engine.targets import Target
from blocker.errors import BlockerError, FriendError, UnchangedError
from blocker.friends.friends import Friends
from blocker.judging.remembered_bans import RememberedBans
from blocker.model import MANUAL, Ban, Subject
from blocker.times import SECOND, format_time

SHOWN_FRIENDS = 3


class Outcome(NamedTuple):
    """The result of an order for one target.

    Attributes:
        name: of the target.
        changed: how many of its subjects were changed.
        until: when its bans end, microseconds; 0 for an unban.
        friends: friends in a network, which are not banned, as text.
        error: why nothing was changed, or was not stored.
    """

    name: str
    changed: int = 0
    until: int = 0
    friends: str = ""
    error: BlockerError | None = None


class Order:
    """Bans by hand that are to be made.

    Args:
        bans: of all subjects.
        friends: which subjects are never banned.
        ipv6_prefix: length of a subject's network.
        now: the clock, microseconds.
        length: of the bans, microseconds.

    Attributes:
        new: bans of subjects without a standing ban.
        longer: standing bans with their new ends.
        first: the first of these bans of each target, by name: for log lines.
    """

    def __init__(
        self, bans: RememberedBans, friends: Friends, ipv6_prefix: int, now: int, length: int
    ) -> None:
        self._bans, self._friends, self._prefix = bans, friends, ipv6_prefix
        self._now, self._least = now, now + length
        # Whole seconds, as printed; rounded up, so that a ban is never shorter than requested.
        self._start, self.until = now // SECOND * SECOND, -(-self._least // SECOND) * SECOND
        self._seen: set[Subject] = set()
        self.new: list[Ban] = []
        self.longer: list[Ban] = []
        self.first: dict[str, Ban] = {}

    def add(self, target: Target) -> Outcome:
        """Plan the bans of one target."""
        reasons = {who: self._friends.covers(who, self._prefix) for who in target.subjects}
        friendly = [(who, reason) for who, reason in reasons.items() if reason is not None]
        if len(friendly) == len(reasons):
            error = FriendError(f"{target.name} is a friend ({friendly[0][1]}); it is never banned")
            return Outcome(target.name, error=error)
        changed = repeated = 0
        for who, reason in reasons.items():
            if reason is None:
                repeated += who in self._seen
                changed += self._plan(who, target.name)
        if not changed and not repeated:
            return Outcome(target.name, error=self._unchanged(target))
        return Outcome(target.name, changed, self.until, self._spared(target, friendly))

    def _plan(self, who: Subject, name: str) -> bool:
        """Plan the ban of one subject; False if nothing has to be changed."""
        standing = self._bans.active(who, self._now)
        if who in self._seen or (standing is not None and standing[1] >= self._least):
            return False
        self._seen.add(who)
        offence = self._bans.count(who) + (standing is None)
        ban = Ban(who, MANUAL, self._start, self.until, 0, max(offence, 1))
        (self.new if standing is None else self.longer).append(ban)
        self.first.setdefault(name, ban)
        return True

    def _unchanged(self, target: Target) -> UnchangedError:
        bans = [self._bans.active(who, self._now) for who in target.subjects]
        until = min(ban[1] for ban in bans if ban is not None)
        return UnchangedError(f"{target.name} is banned until {format_time(until)} already")

    def _spared(self, target: Target, friendly: list[tuple[Subject, str]]) -> str:
        """Return the friends in a network as text; those that stay out of a ban or pass it."""
        if len(target.subjects) == 1:
            return ""
        found = [f"{format_subject(who, self._prefix)} ({reason})" for who, reason in friendly]
        if len(target.subjects[0]) == 16:
            low = target.subjects[0]
            end = int.from_bytes(target.subjects[-1]) + (1 << (128 - self._prefix))
            found += [
                str(each)
                for each in self._friends.networks6
                if each.prefixlen > self._prefix
                and int.from_bytes(low) <= int(each.network_address) < end
            ]
        more = len(found) - SHOWN_FRIENDS
        return ", ".join(found[:SHOWN_FRIENDS]) + (f" and {more} more" if more > 0 else "")
