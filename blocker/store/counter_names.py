"""The names under which counters are stored.  Pure.

A counter is stored by (log, name).  Its name is in users' databases and never changes after a
release, even where the catalogue gives the metric another; a rename would be a migration.
"""

from typing import NamedTuple

# The logs --------------------------------------------------------------------------------------

NO_LOG = ""
"""In place of a log, for counters that belong to none."""

GONE = "gone"
"""In place of a log, for the sums of logs that are no longer followed."""

# Counters of a log -----------------------------------------------------------------------------

LINES = "lines"
UNPARSED = "unparsed"
OVERSIZE = "oversize"
HITS = "hits"
BLOCKED = "blocked"
LATE = "late"
FRIENDS = "friends"
STALE = "stale"

IGNORED = {"banned": BLOCKED, "late": LATE, "friend": FRIENDS, "stale": STALE}
"""The counter of ignored hits by their label ``reason``."""

# Counters of no log ----------------------------------------------------------------------------

RENEWALS = "renewals"
UNBANS = "unbans"
UNREACHED = "unreached"
BANS_UNSTORED = "bans_unstored"
ENFORCING_SINCE = "enforcing_since"
"""Not a count: microseconds since the epoch."""


class Labelled(NamedTuple):
    """Counters that differ in one label.

    >>> Labelled("bans").of("xmlrpc")
    'bans:xmlrpc'
    >>> Labelled("friends").label("friends:proxy:cloudflare")
    'proxy:cloudflare'
    """

    prefix: str

    def of(self, label: str) -> str:
        """Return the name of the counter with this label."""
        return f"{self.prefix}:{label}"

    def label(self, name: str) -> str | None:
        """Return the label of a counter, or None if it is none of these."""
        prefix, colon, label = name.partition(":")
        return label if colon and prefix == self.prefix else None


BANS_BY_TRAP = Labelled("bans")
BANS_BY_OFFENCE = Labelled("offence")
BANS_BY_COUNTRY = Labelled("country")
HITS_BY_FRIEND = Labelled("friends")
"""Hits of friends, by the reason of the friendship."""

EVENTS_BY_NAME = Labelled("event")
"""Events that WordPress reported, by name."""
FAILURES_BY_NAME = Labelled("failures")
"""The failures that these events stand for."""

EVENT_NAMES = ("login", "multicall", "pingback", "users", "disabled", "other")
"""Every label of ``EVENTS_BY_NAME``."""


def event_label(name: str) -> str:
    """Return the label of an event: its name, if that is known.

    >>> event_label("login"), event_label("haxx0red")
    ('login', 'other')
    """
    return name if name in EVENT_NAMES else "other"


OFFENCES = ("1", "2", "3", "4+")
"""Every label of ``BANS_BY_OFFENCE``."""


def offence_label(offence: int) -> str:
    """Return the label of a subject's n-th ban, from 1.

    >>> offence_label(5)
    '4+'
    """
    return OFFENCES[min(offence, len(OFFENCES)) - 1]
