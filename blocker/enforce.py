"""Keeps the kernel in step with the book: applies bans, retries, reconciles.

The store holds who should be blocked, the kernel blocks.  Whatever the kernel refuses waits here
(and in the store, as not applied) and is tried again with growing pauses; whatever somebody else
removes is put back with the time that is left.  Friends are checked here once more, last, just
before the kernel.
"""

import asyncio
import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from blocker import events
from blocker.errors import FirewallError, NotPermittedError
from blocker.firewall import Drops, Element, Firewall, Sender
from blocker.friends import Friends
from blocker.logs import tell
from blocker.model import SECOND, Subject, format_subject

LIVE_CHUNK = 1000
RESTORE_CHUNK = 5000
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
DUMP_LIMIT = 65536
MAX_WAITING = 100_000
"""Bans that wait for the kernel, at most: of those that come then, the book lets go."""
ENDING = 2000
"""Milliseconds: an element that has no more left is not looked at."""


class Due(NamedTuple):
    """Who should be blocked, and until when (microseconds since the epoch)."""

    subject: Subject
    until: int


class Book(NamedTuple):
    """What the kernel is compared with.

    Attributes:
        standing: everybody who should be blocked, page by page.
        expected: how many those are, IPv4 and IPv6.
        known: whether a subject is one of them; None while the logs are still caught up on, for
            a daemon that was killed may have told the kernel what is judged again only now.
    """

    standing: AsyncIterator[list[Due]]
    expected: tuple[int, int]
    known: Callable[[Subject], bool] | None = None


class Enforcer:
    """Applies what the book says.

    Args:
        firewall: None in a dry run: nothing is enforced, and nothing is tried.
        friends: who is never banned.
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
        """Bans that the kernel refused so far, and their ends."""
        self.refusal = ""
        """Why the kernel refuses, or nothing."""
        self.refused_friends = self.given_up = 0
        self.rebuilds = 0
        self.drift = (0, 0)
        """Elements that were missing or unknown at the last look, IPv4 and IPv6."""
        self.unprotected_since = 0
        """Since when the ruleset is known to be missing, microseconds; 0 while it is there."""
        self.unprotected_time = 0
        """Microseconds from the news of a change that broke the ruleset to its repair, in all."""
        self._wake = asyncio.Event()
        self._touched = 0
        self._behind = False
        """Whether the kernel may lack, or hold otherwise, what the book says."""
        self._unlifted: set[Subject] = set()
        """Whose bans have ended in the book while the kernel refused to let them in."""

    @property
    def enforcing(self) -> bool:
        """False in a dry run."""
        return self.firewall is not None

    # Bans --------------------------------------------------------------------------------------

    async def apply(self, dues: Sequence[Due], chunk: int = LIVE_CHUNK) -> bool:
        """Block everybody who is due; False if the kernel refused (they wait then)."""
        firewall = self.firewall
        if firewall is None:
            return False
        dues = [due for due in dues if not self._is_friend(due.subject)]
        elements = self._elements(dues)
        if not elements:
            return True
        self._unlifted.difference_update(due.subject for due in dues)
        try:
            await firewall.ban(elements, chunk)
        except (FirewallError, NotPermittedError) as error:
            self.waiting.update(dues)
            self._refused(error)
            return False
        for due in dues:
            self.waiting.pop(due.subject, None)
        return True

    @property
    def crowded(self) -> bool:
        """Whether more bans wait than may."""
        return len(self.waiting) > MAX_WAITING

    def give_up(self, subject: Subject) -> bool:
        """Let a ban wait no longer; whether it did."""
        waited = self.waiting.pop(subject, None) is not None
        self.given_up += waited
        return waited

    async def lift(self, subjects: Sequence[Subject]) -> None:
        """Let these in again.

        Raises:
            FirewallError: the kernel refuses; the bans have ended in the book all the same, and
                reconciling removes the elements when it takes changes again.
        """
        for subject in subjects:
            self.waiting.pop(subject, None)
        if self.firewall is None:
            return
        self._unlifted.update(subjects)
        try:
            await self._lift_rest(self.firewall)
        except (FirewallError, NotPermittedError) as error:
            self._refused(error)
            raise

    async def lift_all(self) -> None:
        """End every ban in the kernel, those that are in no book too.

        Raises:
            FirewallError: the kernel refuses; reconciling ends what the book does not know.
        """
        self.waiting.clear()
        if self.firewall is None:
            return
        try:
            await self.firewall.flush()
        except (FirewallError, NotPermittedError) as error:
            self._behind = True
            self._refused(error)
            raise
        self._unlifted.clear()

    async def held(self, subjects: Sequence[Subject]) -> set[Subject]:
        """Return those that the kernel blocks, whatever the book says; none in a dry run."""
        if self.firewall is None or not subjects:
            return set()
        try:
            return set(await self.firewall.left(subjects))
        except (FirewallError, NotPermittedError):
            return set()  # the table is gone, and with it every ban

    async def lift_in_time(self, subjects: Sequence[Subject]) -> None:
        """Let these in again, now or when the kernel takes changes; a refusal is told."""
        with suppress(FirewallError, NotPermittedError):
            await self.lift(subjects)

    async def _lift_rest(self, firewall: Firewall) -> None:
        if self._unlifted:
            await firewall.unban(self._unlifted)
            self._unlifted.clear()

    def _elements(self, dues: Iterable[Due]) -> list[Element]:
        """What is left of each ban now, in milliseconds; nothing of those that are over."""
        now = self._clock()
        left = ((due.subject, (due.until - now) // 1000) for due in dues)
        return [Element(subject, ms) for subject, ms in left if ms > 0]

    def _is_friend(self, subject: Subject) -> bool:
        reason = self.friends.covers(subject, self._prefix)
        if reason is None:
            return False
        self.refused_friends += 1
        tell(events.FRIEND_REFUSED, CLIENT_IP=self._text(subject), REASON=reason)
        return True

    def _text(self, subject: Subject) -> str:
        return format_subject(subject, self._prefix)

    def _refused(self, error: Exception) -> None:
        if str(error) != self.refusal:
            tell(events.KERNEL_REFUSED, REASON=error, COUNT=len(self.waiting))
        if not self.refusal:
            self._wake.set()  # once, at once: most likely somebody has just taken the table away
        self.refusal = str(error)

    # Keeping in step ---------------------------------------------------------------------------

    def changed_by_others(self) -> None:
        """Somebody else changed the ruleset: have a look at ours."""
        self._touched = self._touched or self._clock()
        self._wake.set()

    async def keep(self, every: float, reconcile: Callable[[], Awaitable[None]]) -> None:
        """Reconcile when something changed, when the kernel refused, and every so many seconds.

        While it refuses the pauses grow, and a change by others ends each of them.
        """
        pause = FIRST_PAUSE
        while True:
            refused = self.refusal
            await self._woken(pause if refused else every)
            pause = min(pause * 2, LAST_PAUSE) if refused else FIRST_PAUSE
            self._wake.clear()
            try:
                await reconcile()
            except (FirewallError, NotPermittedError) as error:
                self._refused(error)
            else:
                if refused:
                    tell(events.KERNEL_ACCEPTS)

    async def _woken(self, every: float) -> None:
        try:
            async with asyncio.timeout(every):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def reconcile(self, book: "Book") -> None:
        """Make the kernel hold what the book says, and nothing else.

        Raises:
            FirewallError: the kernel refuses.
        """
        firewall = self.firewall
        if firewall is None:
            return
        self._drop_ended()
        touched, self._touched = self._touched, 0
        self._behind = self._behind or bool(touched)
        missing = not await firewall.present()
        if missing:
            if not self.unprotected_since:
                self.unprotected_since = touched or self._clock()
                tell(events.RULESET_MISSING)
            await firewall.load()
            self.rebuilds += 1
        sizes = await firewall.sizes()
        self.drift = _lacking(sizes, book.expected)
        # Elements that have ended stay in the count until the kernel collects them.
        excess = sizes is None or any(map(operator.gt, sizes, book.expected))
        look = book.known is not None and (missing or self._behind or excess)
        if missing or self._behind or self.waiting or any(self.drift):
            await self._restore(firewall, book.standing)
        await self._lift_rest(firewall)
        if look and book.known is not None:
            unknown = await self._remove_unknown(book.known)
            self.drift = self.drift[0] + unknown[0], self.drift[1] + unknown[1]
        self._note_protected()
        self.refusal = ""

    def _note_protected(self) -> None:
        if self.unprotected_since:
            gap = max(0, self._clock() - self.unprotected_since)
            self.unprotected_since = 0
            self.unprotected_time += gap
            tell(events.RULESET_REBUILT, SECONDS=f"{gap / SECOND:.3f}")

    async def enforce(self, standing: AsyncIterator[list[Due]]) -> None:
        """Put every standing ban into the kernel; what it refuses is tried again."""
        if self.firewall is None:
            return
        try:
            await self._restore(self.firewall, standing)
        except (FirewallError, NotPermittedError) as error:
            self._refused(error)

    async def _restore(self, firewall: Firewall, standing: AsyncIterator[list[Due]]) -> None:
        self._behind = True  # until all of it is there
        async for page in standing:
            dues = [due for due in page if not self._is_friend(due.subject)]
            await firewall.ban(self._elements(dues), RESTORE_CHUNK)
            for due in dues:
                self.waiting.pop(due.subject, None)
        self._behind = False

    def _drop_ended(self) -> None:
        now = self._clock()
        for subject in [who for who, until in self.waiting.items() if until <= now]:
            del self.waiting[subject]

    async def remove_unknown(self, known: Callable[[Subject], bool]) -> None:
        """Remove elements that the book does not know, as far as a bounded dump shows them."""
        self.drift = await self._remove_unknown(known)

    async def _remove_unknown(self, known: Callable[[Subject], bool]) -> tuple[int, int]:
        """Do so and return how many those were, IPv4 and IPv6."""
        if self.firewall is None:
            return 0, 0
        try:
            elements = await self.firewall.dump(DUMP_LIMIT)
        except (FirewallError, NotPermittedError) as error:
            self._refused(error)  # it is just gone, and with it what nobody knows
            return 0, 0
        # What ends at this moment has ended in the book a little earlier.
        lasting = (each.subject for each in elements if each.left > ENDING)
        unknown = [subject for subject in lasting if not known(subject)]
        if unknown:
            tell(events.UNKNOWN_REMOVED, COUNT=len(unknown))
            await self.lift_in_time(unknown)
        six = sum(len(subject) != 4 for subject in unknown)
        return len(unknown) - six, six

    async def drops(self) -> Drops | None:
        """Return what was dropped so far; None in a dry run or while the kernel refuses."""
        if self.firewall is None:
            return None
        try:
            return await self.firewall.drops()
        except (FirewallError, NotPermittedError):
            return None

    async def senders(self, subjects: Sequence[Subject]) -> list[Sender]:
        """Return what these kept sending; nothing in a dry run or while the kernel refuses."""
        if self.firewall is None or not subjects:
            return []
        try:
            return await self.firewall.senders(subjects)
        except (FirewallError, NotPermittedError):
            return []


def _lacking(sizes: tuple[int, int] | None, expected: tuple[int, int]) -> tuple[int, int]:
    """Return how many elements fewer than the book the kernel holds (ended ones linger in it)."""
    if sizes is None:
        return 0, 0
    return max(0, expected[0] - sizes[0]), max(0, expected[1] - sizes[1])
