"""Makes the kernel's sets match the standing bans: applies, retries, reconciles.

A ban that the kernel refuses waits here (and in the store, as not applied) and is retried with
growing pauses.  An element that another program removes is restored with the time that is left.
Friends are checked here a last time, just before the kernel.
"""

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from blocker.addresses import format_subject
from blocker.engine.outages import Outages
from blocker.errors import FirewallError, NotPermittedError
from blocker.firewall.facts import BannedTraffic, Drops, Element
from blocker.firewall.firewall import Firewall
from blocker.friends.friends import Friends
from blocker.model import Subject
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit

LIVE_CHUNK = 1000
RESTORE_CHUNK = 5000
DUMP_LIMIT = 65536
MAX_WAITING = 100_000
"""Bans that wait for the kernel, at most; further ones are ended in memory as well."""
ENDING = 2000
"""Milliseconds: an element that ends sooner is not compared."""


class Due(NamedTuple):
    """A subject to block, and until when (microseconds since the epoch)."""

    subject: Subject
    until: int


class Expected(NamedTuple):
    """The bans that the kernel's sets are compared with.

    Attributes:
        standing: every standing ban, page by page.
        sizes: their number, IPv4 and IPv6.
        known: whether a subject is one of them; None until the logs have been read to their ends:
            a daemon that was killed may have sent bans to the kernel that are judged again later.
    """

    standing: AsyncIterator[list[Due]]
    sizes: tuple[int, int]
    known: Callable[[Subject], bool] | None = None


class Enforcer:
    """Applies bans in the kernel, and keeps its sets complete.

    Args:
        firewall: None in a dry run: the kernel is not accessed.
        friends: which subjects are never banned.
        clock: returns microseconds since the epoch.
        ipv6_prefix: length of a subject's network, for friends and for messages.
    """

    def __init__(
        self,
        firewall: Firewall | None,
        friends: Friends,
        clock: Callable[[], int],
        ipv6_prefix: int = 64,
    ) -> None:
        self.firewall = firewall
        self.friends = friends
        self._clock = clock
        self._prefix = ipv6_prefix
        self.waiting: dict[Subject, int] = {}
        """Bans that the kernel has refused so far, and their ends in microseconds."""
        self.last_error = ""
        """Why the kernel refused the last change; empty if it accepted it."""
        self.refused_friends = self.given_up = 0
        self.drift = (0, 0)
        """Elements that were missing or unknown at the last comparison, IPv4 and IPv6."""
        self.outages = Outages()
        self.wake = asyncio.Event()
        """Set when reconciling should begin at once."""
        self._changed_at = 0
        """When another program changed the ruleset, microseconds; 0 if it did not."""
        self._incomplete = False
        """Whether the kernel's sets may lack bans, or hold ended ones."""
        self._to_unban: set[Subject] = set()
        """Subjects whose bans have ended in memory, but not in the kernel yet."""

    @property
    def enforcing(self) -> bool:
        """False in a dry run."""
        return self.firewall is not None

    # Bans --------------------------------------------------------------------------------------

    async def apply(self, dues: Sequence[Due], chunk: int = LIVE_CHUNK) -> bool:
        """Block subjects; False if the kernel refused (the bans then wait)."""
        firewall = self.firewall
        if firewall is None:
            return False
        dues = [due for due in dues if not self._is_friend(due.subject)]
        elements = self._elements(dues)
        if not elements:
            return True
        self._to_unban.difference_update(due.subject for due in dues)
        try:
            await firewall.ban(elements, chunk)
        except (FirewallError, NotPermittedError) as error:
            self.waiting.update(dues)
            self.note_refusal(error)
            return False
        for due in dues:
            self.waiting.pop(due.subject, None)
        return True

    @property
    def crowded(self) -> bool:
        """Whether more than ``MAX_WAITING`` bans wait."""
        return len(self.waiting) > MAX_WAITING

    def give_up(self, subject: Subject) -> bool:
        """Stop retrying a ban; True if it was waiting."""
        waited = self.waiting.pop(subject, None) is not None
        self.given_up += waited
        return waited

    async def unban(self, subjects: Sequence[Subject]) -> None:
        """Remove the elements of subjects.

        Raises:
            FirewallError: the kernel refuses; the bans have ended in memory nevertheless, and
                reconciling removes the elements when the kernel accepts changes again.
        """
        for subject in subjects:
            self.waiting.pop(subject, None)
        if self.firewall is None:
            return
        self._to_unban.update(subjects)
        try:
            await self._unban_rest(self.firewall)
        except (FirewallError, NotPermittedError) as error:
            self.note_refusal(error)
            raise

    async def unban_all(self) -> None:
        """Remove every element, including unknown ones.

        Raises:
            FirewallError: the kernel refuses; reconciling removes unknown elements later.
        """
        self.waiting.clear()
        if self.firewall is None:
            return
        try:
            await self.firewall.flush()
        except (FirewallError, NotPermittedError) as error:
            self._incomplete = True
            self.note_refusal(error)
            raise
        self._to_unban.clear()

    async def held(self, subjects: Sequence[Subject]) -> set[Subject]:
        """Return the subjects that the kernel blocks, known or not; none in a dry run."""
        if self.firewall is None or not subjects:
            return set()
        try:
            return set(await self.firewall.left(subjects))
        except (FirewallError, NotPermittedError):
            return set()  # the table is gone, and every element with it

    async def unban_later(self, subjects: Sequence[Subject]) -> None:
        """Remove elements now, or when the kernel accepts changes again; log a refusal."""
        with suppress(FirewallError, NotPermittedError):
            await self.unban(subjects)

    async def _unban_rest(self, firewall: Firewall) -> None:
        if self._to_unban:
            await firewall.unban(self._to_unban)
            self._to_unban.clear()

    def _elements(self, dues: Iterable[Due]) -> list[Element]:
        """Return elements with the milliseconds that are left; none for bans that are over."""
        now = self._clock()
        left = ((due.subject, (due.until - now) // 1000) for due in dues)
        return [Element(subject, ms) for subject, ms in left if ms > 0]

    def _is_friend(self, subject: Subject) -> bool:
        reason = self.friends.covers(subject, self._prefix)
        if reason is None:
            return False
        self.refused_friends += 1
        emit(events.FRIEND_REFUSED, CLIENT_IP=self._text(subject), REASON=reason)
        return True

    def _text(self, subject: Subject) -> str:
        return format_subject(subject, self._prefix)

    def note_refusal(self, error: Exception) -> None:
        """Note why the kernel refuses, and log it if that is new."""
        if str(error) != self.last_error:
            emit(events.KERNEL_REFUSED, REASON=error, COUNT=len(self.waiting))
        if not self.last_error:
            self.wake.set()  # reconcile at once: most likely the table has just been deleted
        self.last_error = str(error)

    # Keeping in step ---------------------------------------------------------------------------

    def changed_by_others(self) -> None:
        """Have the ruleset compared: another program changed one of its objects."""
        self._changed_at = self._changed_at or self._clock()
        self.wake.set()

    async def reconcile(self, bans: Expected) -> None:
        """Make the kernel hold the expected bans, and nothing else.

        Raises:
            FirewallError: the kernel refuses.
        """
        firewall = self.firewall
        if firewall is None:
            return
        self._drop_ended()
        changed_at, self._changed_at = self._changed_at, 0
        self._incomplete = self._incomplete or bool(changed_at)
        missing = not await firewall.present()
        if missing:
            self.outages.begin(changed_at or self._clock())
            await firewall.load()
            self.outages.rebuilds += 1
        sizes = await firewall.sizes()
        self.drift = _lacking(sizes, bans.sizes)
        # Elements that have ended stay in the count until the kernel collects them.
        excess = sizes is None or any(map(operator.gt, sizes, bans.sizes))
        look = bans.known is not None and (missing or self._incomplete or excess)
        if missing or self._incomplete or self.waiting or any(self.drift):
            await self._restore(firewall, bans.standing)
        await self._unban_rest(firewall)
        if look and bans.known is not None:
            unknown = await self._remove_unknown(bans.known)
            self.drift = self.drift[0] + unknown[0], self.drift[1] + unknown[1]
        self.outages.end(self._clock())
        self.last_error = ""

    async def enforce(self, standing: AsyncIterator[list[Due]]) -> None:
        """Put every standing ban into the kernel; retry what it refuses."""
        if self.firewall is None:
            return
        try:
            await self._restore(self.firewall, standing)
        except (FirewallError, NotPermittedError) as error:
            self.note_refusal(error)

    async def _restore(self, firewall: Firewall, standing: AsyncIterator[list[Due]]) -> None:
        self._incomplete = True  # until every page is written
        async for page in standing:
            dues = [due for due in page if not self._is_friend(due.subject)]
            await firewall.ban(self._elements(dues), RESTORE_CHUNK)
            for due in dues:
                self.waiting.pop(due.subject, None)
        self._incomplete = False

    def _drop_ended(self) -> None:
        now = self._clock()
        for subject in [who for who, until in self.waiting.items() if until <= now]:
            del self.waiting[subject]

    async def remove_unknown(self, known: Callable[[Subject], bool]) -> None:
        """Remove unknown elements, as far as a bounded dump shows them."""
        self.drift = await self._remove_unknown(known)

    async def _remove_unknown(self, known: Callable[[Subject], bool]) -> tuple[int, int]:
        """Do so and return how many were removed, IPv4 and IPv6."""
        if self.firewall is None:
            return 0, 0
        try:
            elements = await self.firewall.dump(DUMP_LIMIT)
        except (FirewallError, NotPermittedError) as error:
            self.note_refusal(error)  # the table is gone, and unknown elements with it
            return 0, 0
        # A ban that is about to end may have ended in memory a little earlier.
        lasting = (each.subject for each in elements if each.left > ENDING)
        unknown = [subject for subject in lasting if not known(subject)]
        if unknown:
            emit(events.UNKNOWN_REMOVED, COUNT=len(unknown))
            await self.unban_later(unknown)
        six = sum(len(subject) != 4 for subject in unknown)
        return len(unknown) - six, six

    async def drops(self) -> Drops | None:
        """Return the drop counters; None in a dry run or while the kernel refuses."""
        if self.firewall is None:
            return None
        try:
            return await self.firewall.drops()
        except (FirewallError, NotPermittedError):
            return None

    async def senders(self, subjects: Sequence[Subject]) -> list[BannedTraffic]:
        """Return the dropped traffic of subjects; none in a dry run or while the kernel refuses."""
        if self.firewall is None or not subjects:
            return []
        try:
            return await self.firewall.senders(subjects)
        except (FirewallError, NotPermittedError):
            return []


def _lacking(sizes: tuple[int, int] | None, expected: tuple[int, int]) -> tuple[int, int]:
    """Return how many elements the kernel lacks (ended ones stay in its count for a while)."""
    if sizes is None:
        return 0, 0
    return max(0, expected[0] - sizes[0]), max(0, expected[1] - sizes[1])
