"""Log lines and advice about bans: made, waiting, ended, or without effect.

A flood must not fill the journal: at most ``MAX_BAN_LINES`` bans of one batch or command get a line
of their own, the others one line with their number, and advice is logged at most hourly.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import ip_address

from blocker.addresses import format_subject
from blocker.engine import advice
from blocker.engine.advice import RateLimit
from blocker.engine.batch import NewBan
from blocker.engine.enforcer import Enforcer
from blocker.engine.orders import Order, Outcome
from blocker.judging.judge import REACH, Judge
from blocker.matching.parse_health import Conditions, Unparsed
from blocker.model import Address, Ban, Subject
from blocker.rows import counted
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.times import format_time

MAX_BAN_LINES = 100
"""Bans of one batch, or of one command, that get a log line of their own."""
MAX_ACKNOWLEDGED = 65536
"""Ceiling of remembered acknowledgement times; the start of a ban is used for the others."""
_NEVER = 1 << 62


class Announcer:
    """Logs bans and conditions; changes no ban.

    Args:
        judge: knows which bans stand, and which have no effect.
        enforcer: knows which bans wait for the kernel.
        clock: returns microseconds since the epoch.
        ipv6_prefix: length of a subject's network, for messages.

    Attributes:
        conditions: problems of the set-up that were noticed within the last hour.
    """

    def __init__(
        self, judge: Judge, enforcer: Enforcer, clock: Callable[[], int], ipv6_prefix: int
    ) -> None:
        self._judge, self._enforcer, self._clock = judge, enforcer, clock
        self._prefix = ipv6_prefix
        self._rate_limit = RateLimit()
        self.conditions = Conditions()
        self._acknowledged: dict[Subject, int] = {}

    # Bans --------------------------------------------------------------------------------------

    def bans(self, bans: Sequence[NewBan]) -> None:
        """Log the bans of a batch."""
        now = self._clock()
        for ban, path, _ in bans[:MAX_BAN_LINES]:
            emit(self._kind(ban, now), **self._fields(ban), LOG=path)
        if len(bans) > MAX_BAN_LINES:
            emit(events.MORE_BANS, COUNT=len(bans) - MAX_BAN_LINES)

    def _kind(self, ban: Ban, now: int) -> events.Event:
        if ban.until <= now:
            return events.PAST_BAN
        if ban.subject in self._enforcer.waiting:
            return events.BAN_WAITS
        return events.BAN if self._enforcer.enforcing else events.WOULD_BAN

    def _fields(self, ban: Ban) -> dict[str, object]:
        return {
            "CLIENT_IP": self.text(ban.subject),
            "TRAP": ban.trap,
            "HITS": ban.hits,
            "OFFENCE": ban.offence,
            "BAN_START": format_time(ban.start),
            "BAN_UNTIL": format_time(ban.until),
        }

    def text(self, subject: Subject) -> str:
        """Return a subject as it is written in messages."""
        return format_subject(subject, self._prefix)

    def bans_by_hand(self, outcomes: Sequence[Outcome], order: Order, reason: str) -> None:
        """Log what an administrator banned."""
        made = [each for each in outcomes if each.changed]
        why = {"REASON": reason} if reason else {}
        longer = {ban.subject for ban in order.longer}
        single, network = events.BAN_BY_HAND, events.BAN_NETWORK_BY_HAND
        if not self._enforcer.enforcing:
            single, network = events.WOULD_BAN_BY_HAND, events.WOULD_BAN_NETWORK_BY_HAND
        for each in made[:MAX_BAN_LINES]:
            ban = order.first[each.name]
            fields = {**self._fields(ban), "CLIENT_IP": each.name, **why}
            if each.changed > 1:
                emit(network, **fields, COUNT=each.changed)
            else:
                emit(events.RENEWAL if ban.subject in longer else single, **fields)
        if more := sum(each.changed for each in made[MAX_BAN_LINES:]):
            emit(events.MORE_BANS, COUNT=more)

    def unbans(self, outcomes: Sequence[Outcome]) -> None:
        """Log which bans an administrator ended."""
        ended = [each for each in outcomes if each.changed]
        for each in ended[:MAX_BAN_LINES]:
            single = each.changed == 1
            event = events.UNBAN if single else events.UNBAN_NETWORK
            emit(event, CLIENT_IP=each.name, **({} if single else {"COUNT": each.changed}))
        if more := sum(each.changed for each in ended[MAX_BAN_LINES:]):
            emit(events.MORE_UNBANS, COUNT=more)

    # Advice ------------------------------------------------------------------------------------

    def proxy(self, reason: str, seen: Address) -> None:
        """Advise on hits from a friend that is a proxy; other friends need no advice."""
        now = self._clock()
        if not advice.is_proxy(reason):
            return
        due = self._rate_limit.due(reason, now)
        if not due and self.conditions.refresh(reason, now):
            return
        text = advice.proxy_advice(reason, seen)
        self.conditions.see(reason, text, now)
        if due:
            emit(events.PROXY_SEEN, MESSAGE=text, CLIENT_IP=ip_address(seen), REASON=reason)

    def not_understood(self, path: str, trouble: Unparsed) -> None:
        """Log a warning, at most hourly, for a log whose candidate lines can't be parsed."""
        if self._rate_limit.due(f"unparsed:{path}", self._clock()):
            fields = {"LOG": path, "COUNT": trouble.unparsed, "REASON": trouble.reason}
            emit(events.LOG_NOT_UNDERSTOOD, MESSAGE=trouble.words(path), **fields)

    def unreached(self) -> int:
        """Advise on subjects that send hits although they are banned; return their number."""
        unreached = self._judge.take_unreached()
        beyond = [who for who, time in unreached.items() if time > self._effective(who) + REACH]
        if beyond:
            who, count = self.text(beyond[0]), len(beyond)
            text = advice.reach_advice(who, count)
            self._advise("reach", events.BAN_UNREACHED, text, CLIENT_IP=who, COUNT=count)
        return len(beyond)

    def given_up(self) -> None:
        """Advise on bans that ended because too many wait for the kernel."""
        refusal = self._enforcer.last_error
        text = advice.waiting_advice(len(self._enforcer.waiting), refusal)
        self._advise("waiting", events.BANS_GIVEN_UP, text, REASON=refusal)

    def evicted(self, count: int) -> None:
        """Advise on ended bans that were evicted because of the ceiling."""
        text = advice.eviction_advice(count, self._judge.limits.max_remembered)
        self._advise("remembered", events.BANS_EVICTED, text, COUNT=count)

    def mended(self, path: str, found: Mapping[str, int]) -> None:
        """Log how many rows of the database were corrected or deleted, by table."""
        rows = " and ".join(f"{counted(count, 'row')} of {table}" for table, count in found.items())
        text = (
            f"{path}: {rows} held values that this program does not write; they were corrected, or"
            " deleted where that can't be done, and all other rows are used. Was the database"
            " edited by hand, or is its disk failing?"
        )
        self.conditions.see("rows", text, self._clock())
        emit(events.CHORE_REFUSED, REASON=text)

    def _advise(self, topic: str, event: events.Event, text: str, **fields: object) -> None:
        """Log a condition, at most hourly; for an hour it is a problem in ``status``."""
        now = self._clock()
        self.conditions.see(topic, text, now)
        if self._rate_limit.due(topic, now):
            emit(event, MESSAGE=text, **fields)

    # When a ban took effect --------------------------------------------------------------------

    def acknowledged(self, subjects: Collection[Subject]) -> None:
        """Note that the kernel has just acknowledged the bans of these."""
        now = self._clock()
        if len(self._acknowledged) + len(subjects) > MAX_ACKNOWLEDGED:
            self._acknowledged.clear()
        self._acknowledged.update(dict.fromkeys(subjects, now))

    def forget_acknowledged(self) -> None:
        """Forget when the kernel acknowledged bans: the clock was set."""
        self._acknowledged.clear()

    def _effective(self, subject: Subject) -> int:
        """Return when the standing ban took effect in the kernel, microseconds."""
        standing = self._judge.bans.active(subject, self._clock())
        started = standing[0] if standing is not None else _NEVER
        return max(self._acknowledged.get(subject, started), self._judge.reach_since)
