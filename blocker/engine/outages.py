"""How often and how long the ruleset was missing, and the log lines of it."""

from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.times import SECOND


class Outages:
    """Counts times without a ruleset in the kernel; all times are microseconds.

    Attributes:
        since: since when the ruleset is known to be missing; 0 while it is present.
        total: how long it was missing, from notice to repair.
        rebuilds: how often it was loaded again.
    """

    def __init__(self) -> None:
        self.since = 0
        self.total = 0
        self.rebuilds = 0

    def begin(self, at: int) -> None:
        """Note that the ruleset is missing; log it if that is new."""
        if not self.since:
            self.since = at
            emit(events.RULESET_MISSING)

    def end(self, at: int) -> None:
        """Note that the ruleset is complete; log it after an outage."""
        if self.since:
            gap = max(0, at - self.since)
            self.since = 0
            self.total += gap
            emit(events.RULESET_REBUILT, SECONDS=f"{gap / SECOND:.3f}")
