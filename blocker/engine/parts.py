"""The objects that engine, administration and upkeep share, and their lock."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from blocker.engine.announce import Announcer
from blocker.engine.ceiling import Ceiling
from blocker.engine.commits import Committer
from blocker.engine.enforcer import Enforcer
from blocker.engine.ledger import Ledger
from blocker.engine.standing_bans import StandingBans
from blocker.engine.store_calls import StoreCalls
from blocker.judging.judge import Judge
from blocker.judging.top_offenders import TopOffenders
from blocker.model import Subject
from blocker.store.store import Store


class Parts(NamedTuple):
    """Shared objects.

    Attributes:
        judge: decides about bans, and remembers them.
        enforcer: applies bans in the kernel.
        store: the database.
        calls: runs calls of the store in threads.
        committer: writes batches into the store.
        ledger: changes that are not stored yet, and the counters.
        bans: changes and counts standing bans.
        ceiling: evicts remembered bans beyond a limit.
        offenders: the subjects with the most hits.
        announcer: logs bans and advice.
        lock: held while judge, ledger or bans are changed.
        clock: returns microseconds since the epoch.
        ipv6_prefix: length of a subject's network.
    """

    judge: Judge
    enforcer: Enforcer
    store: Store
    calls: StoreCalls
    committer: Committer
    ledger: Ledger
    bans: StandingBans
    ceiling: Ceiling
    offenders: TopOffenders
    announcer: Announcer
    lock: asyncio.Lock
    clock: Callable[[], int]
    ipv6_prefix: int


def assemble(
    *,
    judge: Judge,
    enforcer: Enforcer,
    store: Store,
    clock: Callable[[], int],
    offenders: TopOffenders | None = None,
    country_of: Callable[[Subject], str | None] = lambda _subject: None,
) -> Parts:
    """Make the shared objects of one engine.

    Args:
        judge: decides about bans, and remembers them.
        enforcer: applies bans in the kernel.
        store: the database.
        clock: returns microseconds since the epoch.
        offenders: by default one that counts nothing.
        country_of: returns the country of a subject; None while no country database is open.
    """
    lock, committer, ipv6_prefix = asyncio.Lock(), Committer(store), judge.limits.ipv6_prefix
    return Parts(
        judge,
        enforcer,
        store,
        committer.calls,
        committer,
        ledger=Ledger(judge, committer, lock, clock, country_of),
        bans=StandingBans(judge, enforcer.friends, clock, ipv6_prefix),
        ceiling=Ceiling(judge.bans, store, committer.calls.run, lock),
        offenders=TopOffenders() if offenders is None else offenders,
        announcer=Announcer(judge, enforcer, clock, ipv6_prefix),
        lock=lock,
        clock=clock,
        ipv6_prefix=ipv6_prefix,
    )
