"""What the daemon tells of itself: each kind of event, its words and its fields.  Pure.

One table.  ``logs`` makes a line of text or an entry of the journal of it, and docs/events.md is
written from it:

    python -m blocker.events > docs/events.md

Rules:

* a name and a ``MESSAGE_ID`` belong to a kind for ever: people and programs search for them;
* no field is free for an attacker to choose: an address is parsed and written anew, a trap and a
  log are named by the configuration, and what went wrong is said by the kernel or by us.  The one
  exception is ``log_not_understood``, which quotes what could not be parsed: escaped, bounded.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Level = Literal["info", "warning", "error"]
_PLACE = re.compile(r"%\((\w+)\)")


class Event(NamedTuple):
    """One kind of event.

    Attributes:
        name: its ``EVENT``.
        message_id: its ``MESSAGE_ID``.
        level: how grave it is.
        about: what it means, and what to do.
        text: the message, with its fields in their places.
        also: fields that are not in the message.
    """

    name: str
    message_id: str
    level: Level
    about: str
    text: str = "%(MESSAGE)s"
    also: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(field for field in _PLACE.findall(self.text) if field != "MESSAGE") + self.also

    def worded(self, text: str, *also: str) -> "Event":
        """Return the same kind of event in other words."""
        return self._replace(text=text, also=also)


FIELDS: Mapping[str, str] = {
    "CLIENT_IP": "an IPv4 address, or the network that an IPv6 client is judged by, as printed"
    " everywhere: `203.0.113.7`, `2001:db8:1:2::/64`; by hand also a wider network",
    "TRAP": "which trap; `manual` for a ban by hand",
    "HITS": "hits in the window that led to the ban; 0 for one by hand",
    "OFFENCE": "1 + the earlier bans of this address within `remember`",
    "BAN_START": "when the ban begins, RFC 3339",
    "BAN_UNTIL": "when it ends",
    "LOG": "path of the log, control characters escaped; for a ban, that of the last hit; for"
    " `log_pattern`, the pattern",
    "COUNT": "how many",
    "SECONDS": "how long; of a clock, by how much it was set",
    "REASON": "why, in the words of the kernel, the library or the configuration; of a ban by"
    " hand, the administrator's `--reason`, if there is one",
    "STATUS": "the state in one line",
}
"""By name: what a field holds."""

_BAN = "%(CLIENT_IP)s until %(BAN_UNTIL)s: trap=%(TRAP)s hits=%(HITS)s offence=%(OFFENCE)s"

BAN = Event(
    "ban", "52050efd3197412eb5b1c7fdb588fc56", "info",
    "An address was banned, and the kernel has been told. When a ban ends by itself, nothing is"
    " said: `BAN_UNTIL` has said it.",
    f"banned {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
BAN_BY_HAND = BAN.worded(
    "banned %(CLIENT_IP)s until %(BAN_UNTIL)s by hand",
    *("TRAP", "HITS", "OFFENCE", "BAN_START", "REASON"),
)
BAN_NETWORK_BY_HAND = BAN.worded(
    "banned %(CLIENT_IP)s (%(COUNT)s) until %(BAN_UNTIL)s by hand", *BAN_BY_HAND.also
)
BAN_WAITS = Event(
    "ban_waits", "7a9059b733ae412e8b4acb020690f3e7", "warning",
    "An address is to be banned, and the kernel refused: it waits until there is room, or until"
    " what hinders the kernel is gone.",
    f"to be banned as soon as the kernel takes it: {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
WOULD_BAN = Event(
    "would_ban", "128601b171d44f3abd65de8469a72841", "info",
    "In a dry run: nobody is blocked.", f"would ban {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
WOULD_BAN_BY_HAND = WOULD_BAN.worded(
    "would ban %(CLIENT_IP)s until %(BAN_UNTIL)s by hand", *BAN_BY_HAND.also
)
WOULD_BAN_NETWORK_BY_HAND = WOULD_BAN.worded(
    "would ban %(CLIENT_IP)s (%(COUNT)s) until %(BAN_UNTIL)s by hand", *BAN_BY_HAND.also
)
PAST_BAN = Event(
    "past_ban", "41dfae03a5be423a9f78f0a1798f0896", "info",
    "A log that was read late shows an attack whose ban would be over by now. It counts as an"
    " offence.",
    f"noted an old attack, over by now: {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
MORE_BANS = Event(
    "more_bans", "ea48728c13f941c08d72557463698eb5", "info",
    "Of the bans that are made at once, 100 are told one by one; so many more were made."
    " `xmlrpc-blocker bans` has them all.",
    "and %(COUNT)s more",
)  # fmt: skip
RENEWAL = Event(
    "renewal", "ebf42198394c46ffb724ed84838fc82f", "info", "A standing ban was made longer.",
    "the ban of %(CLIENT_IP)s lasts until %(BAN_UNTIL)s now, by hand",
    ("TRAP", "HITS", "OFFENCE", "BAN_START", "REASON"),
)  # fmt: skip
UNBAN = Event(
    "unban", "0c8287279c1542488e98ac70b1cabd1e", "info", "A ban was ended by hand.",
    "unbanned %(CLIENT_IP)s by hand",
)  # fmt: skip
UNBAN_NETWORK = UNBAN.worded("unbanned %(CLIENT_IP)s (%(COUNT)s) by hand")
MORE_UNBANS = Event(
    "more_unbans", "f5132131b63846e5b5c615df745cad75", "info",
    "Of the bans that are ended at once by hand, 100 are told one by one; so many more were ended.",
    "and %(COUNT)s more unbanned by hand",
)  # fmt: skip
UNBAN_ALL = Event(
    "unban_all", "669c3f967e574dfb934e531415367287", "info", "All bans were ended by hand.",
    "unbanned everybody (%(COUNT)s) by hand",
)  # fmt: skip
FORGET = Event(
    "forget", "17973b9f85574d39b0c69b265c4bfc95", "info",
    "An address was erased by hand, its ban and its offences with it.", "forgot %(CLIENT_IP)s",
)  # fmt: skip
BANS_EVICTED = Event(
    "bans_evicted", "7e0e0425e937419f9a0b765af2240129", "warning",
    "More bans were remembered than `max_remembered`. Ended bans were evicted, of addresses with"
    " the fewest offences first; whoever of these comes back is banned as a first offender. Bans"
    " that stand are never evicted. Told at most hourly; `evicted_bans_total` counts all.",
    also=("COUNT",),
)  # fmt: skip
BANS_GIVEN_UP = Event(
    "bans_given_up", "562ffbe896e043559eeedeba2141ef31", "error",
    "The kernel does not take bans, and 100,000 wait for it already. Further bans end as soon as"
    " they are made; whoever of these hits again is judged afresh. Most likely the kernel's set is"
    " full: raise `[firewall] set_size`. Told at most hourly; `given_up_bans_total` counts all.",
    also=("REASON",),
)  # fmt: skip
FRIEND_REFUSED = Event(
    "friend_refused", "3e02dab26a8d44b7b2e7cf991b50d209", "warning",
    "A stored ban of somebody who has become a friend since; it was not enforced.",
    "not banned: %(CLIENT_IP)s is a friend (%(REASON)s)",
)  # fmt: skip
PROXY_SEEN = Event(
    "proxy_seen", "c158e29efe814a50a3f194aeff89117c", "warning",
    "The log shows a proxy instead of the clients: nobody can be banned. The message says what to"
    " change in the web server.",
    also=("CLIENT_IP", "REASON"),
)  # fmt: skip
BAN_UNREACHED = Event(
    "ban_unreached", "192ce901c97d4a8497f24e4f6df21441", "warning",
    "Banned addresses are in the log all the same. The message says what may be in between.",
    also=("CLIENT_IP", "COUNT"),
)  # fmt: skip

RULESET_MISSING = Event(
    "ruleset_missing", "d0a86f75d99e47669df5107ce7fb62de", "warning",
    "Somebody else changed or removed our table; it is built again at once. Most often a firewall"
    " script flushes everything: let it spare `inet xmlrpc_blocker`.",
    "the ruleset was changed by somebody else: building it again",
)  # fmt: skip
TABLE_TAKEN = RULESET_MISSING.worded(
    "the table was taken away while it was loaded: loading it again"
)
RULESET_REBUILT = Event(
    "ruleset_rebuilt", "48609ead0da743e9a525c1c5c1dfb65c", "warning",
    "The table and all bans are in the kernel again.",
    "protection is back, after %(SECONDS)s s without",
)  # fmt: skip
UNKNOWN_REMOVED = Event(
    "unknown_removed", "4d8a99ab8bb74156ab01b04deacdb0ae", "warning",
    "The kernel's set held bans that nobody here made; they were removed.",
    "removing %(COUNT)s bans from the kernel that nobody here made",
)  # fmt: skip
KERNEL_REFUSED = Event(
    "kernel_refused", "0e01cdcbe4ad4e618f31dc3e7b096488", "error",
    "The kernel does not take bans. They wait and are tried again, with growing pauses. Told once"
    " for each reason.",
    "the kernel refuses bans: %(REASON)s; %(COUNT)s wait",
)  # fmt: skip
KERNEL_ACCEPTS = Event(
    "kernel_accepts", "02ac395c1ee94a45afe3280e27d88b9a", "info",
    "What had been refused is in the kernel now.", "the kernel takes bans again",
)  # fmt: skip
STORE_REFUSED = Event(
    "store_refused", "6a475593b91f456fab8694a87f6fcb0a", "error",
    "The disk is full or read-only, or the database is damaged. Blocking goes on, from memory;"
    " what is in memory is lost when the daemon ends. Told once for each reason.",
    "going on in memory, nothing is stored: %(REASON)s",
)  # fmt: skip
STORE_HANGS = Event(
    "store_hangs", "c1e7b0f4d2a84f3e9b6a5d80f37c9e12", "error",
    "A commit does not come to an end: the disk does not answer, or another program holds the"
    " database. Judging and blocking go on, from memory, and everything is stored when it lets go.",
    "%(REASON)s",
)  # fmt: skip
STANDSTILL = Event(
    "standstill", "9d2c6c0e5b7f4a0c8e5f1b3a7d60e4c2", "error",
    "Neither the logs are looked at nor is anything judged. The watchdog of the service manager is"
    " not fed any more, and starts the daemon anew; nothing is lost by that. Report it, with the"
    " journal.",
    "work has stood still for %(SECONDS)s s: waiting for the watchdog to start the daemon anew",
)  # fmt: skip
CHORE_REFUSED = STORE_REFUSED.worded("%(REASON)s")
STORE_ACCEPTS = Event(
    "store_accepts", "6219722daf444a8f8ca4eafcbfd6dc8c", "info",
    "What was in memory alone is stored.", "the store takes changes again; nothing was lost",
)  # fmt: skip
STORE_GONE = Event(
    "store_gone", "5f0a3c8e9d6f4c0b8e1b2a7d44c6f913", "error",
    "Another program deleted the database or put another file in its place. It is written again"
    " from what the daemon has open; a file that stood there is kept as `state.db.replaced`. Stop"
    " the daemon before you move or restore its state.",
    "%(REASON)s",
)  # fmt: skip

FOLLOWING = Event(
    "following", "f294c77fc3f9454388f703dbd110e3da", "info",
    "The logs that are followed, the first ten of them.",
)  # fmt: skip
LOG_UNREADABLE = Event(
    "log_unreadable", "c354a700af51420aad7dfd1f2ca2e687", "warning",
    "A log can't be read, most often for lack of permission; or the kernel does not say what"
    " changes (`inotify`, and logs are looked at now and then). Told once.",
    also=("LOG",),
)  # fmt: skip
LOG_MENDED = Event(
    "log_mended", "73722f09707d4ffb81ffbf9c553fcae3", "info", "What was wrong with a log is over.",
    "mended: %(REASON)s", ("LOG",),
)  # fmt: skip
LOG_NOT_UNDERSTOOD = Event(
    "log_not_understood", "1c366c12117242e189bdf8e440577c22", "warning",
    "Most candidate lines of a log could not be parsed in the last hour, so attackers in it are not"
    " banned. The message says what to set. At most hourly for each log.",
    also=("LOG", "COUNT", "REASON"),
)  # fmt: skip
LOG_PATTERN = Event(
    "log_pattern", "f34605d2bc51423d914d3b17d8087244", "warning",
    "A pattern of `logs` matches no file, can never match one, or leads through a directory that"
    " can't be listed. Logged once.",
    also=("LOG",),
)  # fmt: skip
LOG_DIRECTORY_SLOW = Event(
    "log_directory_slow", "5e76f2ed835a4d83bcfc5105a91d86bd", "warning",
    "A directory that a pattern of `logs` leads through does not answer, or takes more than a"
    " second to be listed. Logs in it wait; others do not. Logged once.",
    also=("LOG",),
)  # fmt: skip
LOG_DIRECTORIES = Event(
    "log_directories", "9ee3af441c434c9b896a458855aae2d1", "warning",
    "The patterns of `logs` lead through more directories than can be looked at in time, or kept."
    " New logs are found late. Logged once.",
    also=("COUNT",),
)  # fmt: skip
LOGS_OVER_LIMIT = Event(
    "logs_over_limit", "f36edabd9f544b64a48d376702b95035", "warning",
    "More logs match than can be open at once; the rest is not followed. Logged once.",
    also=("COUNT",),
)  # fmt: skip
NO_LOG = Event(
    "no_log", "6c013ac967d4412ea5adf40457dfeb6b", "warning",
    "No log is followed: no pattern of `logs` matches a file that can be read. Logged once.",
)  # fmt: skip
METRICS_REFUSED = Event(
    "metrics_refused", "85931e218bed4f16a3e0bd736dca1d16", "warning",
    "Nobody can ask for metrics: somebody else has the port, or the web configuration is wrong."
    " It is tried again every minute.",
    also=("REASON",),
)  # fmt: skip
METRICS_SERVED = Event(
    "metrics_served", "9c2585a13be84de39dc6264d33f273b6", "info",
    "Metrics are served, after they could not be.",
)  # fmt: skip
WEB_CONFIG_READ = Event(
    "web_config_read", "d583555c6d654ae88a02bba4248dd5e2", "info",
    "The changed `[metrics] web_config` is at work.",
)  # fmt: skip
WEB_CONFIG_REFUSED = Event(
    "web_config_refused", "8082f24f364b4f5ab8277516c40d3f0f", "error",
    "The changed `[metrics] web_config` is wrong; the one before goes on.",
    "the web configuration before goes on: %(REASON)s",
)  # fmt: skip
ORIGINS_REFUSED = Event(
    "origins_refused", "4c087ad7de6a4f5b9140c624134a69cf", "warning",
    "A database of `[origins]` is missing or broken, or there is nothing to read it with. Countries"
    " and networks are not told; nothing else depends on it. Read again on a reload.",
    "origins are not told: %(REASON)s",
)  # fmt: skip

STARTED = Event(
    "started", "c1a9198cb4184ecf926022bac56e8a4b", "info",
    "A configuration is at work, and everybody due is blocked: after a start and after a reload.",
    "started: %(STATUS)s",
)  # fmt: skip
STOPPED = Event(
    "stopped", "7db57dd839434a779d6f3aaebd8b3117", "info",
    "The daemon ends, as it was asked to. Nobody is unblocked by that.",
    "stopped; the kernel goes on blocking; to end that: xmlrpc-blocker unban --all",
)  # fmt: skip
RELOAD = Event(
    "reload", "984cee5fb5214d34a155827ab92f18e8", "info",
    "Another configuration begins; `started` follows.", "reloading",
)  # fmt: skip
ADDRESSES_CHANGED = Event(
    "addresses_changed", "bbc6080707b04c54aaed56679c2fd2ed", "info",
    "This host has other addresses; they are friends from now on.",
    "the addresses of this host have changed: reloading",
)  # fmt: skip
RELOAD_FAILED = Event(
    "reload_failed", "32db093eda2749bdabf3891fbda1a11a", "error",
    "The old configuration goes on. `xmlrpc-blocker check` says what is wrong with the new one.",
    "reload refused, the old configuration stays: %(REASON)s",
)  # fmt: skip
BEGIN_FAILED = RELOAD_FAILED.worded(
    "the new configuration can't be used, keeping the old one: %(REASON)s"
)
CONFIG_NOTE = Event(
    "config_note", "642f77c587274986afe6cea293c53876", "warning",
    "Something in the configuration is allowed, but dangerous.",
)  # fmt: skip
CLOCK_SET = Event(
    "clock_set", "cc3f7b2ffd0f413dbc65df32f580d7c7", "warning",
    "The clock of this host was set by more than a minute; the bans' ends were kept.",
    "the clock was set by %(SECONDS)s s: setting all bans again",
)  # fmt: skip
TABLE_DOWN = Event(
    "table_down", "832335263b684f868be53e4afae79d2b", "info",
    "A dry run began and took our table down.",
)  # fmt: skip
TABLE_UNKNOWN = Event(
    "table_unknown", "cf3291e221a74bf8aef2af5a00642dab", "warning",
    "A dry run began and could not see whether our table is there: it may still block.",
    "dry run: could not look for an old table: %(REASON)s",
)  # fmt: skip

GROUPS: Mapping[str, tuple[Event, ...]] = {
    "Bans": (
        *(BAN, BAN_WAITS, MORE_BANS, RENEWAL, UNBAN, MORE_UNBANS, UNBAN_ALL, FORGET),
        *(WOULD_BAN, PAST_BAN, BANS_EVICTED, BANS_GIVEN_UP),
        *(FRIEND_REFUSED, PROXY_SEEN, BAN_UNREACHED),
    ),
    "Kernel and store": (
        *(RULESET_MISSING, RULESET_REBUILT, UNKNOWN_REMOVED, KERNEL_REFUSED, KERNEL_ACCEPTS),
        *(STORE_REFUSED, STORE_HANGS, STORE_ACCEPTS, STORE_GONE, STANDSTILL),
    ),
    "Logs and metrics": (
        *(FOLLOWING, LOG_UNREADABLE, LOG_NOT_UNDERSTOOD, LOG_PATTERN, LOGS_OVER_LIMIT, NO_LOG),
        *(LOG_DIRECTORY_SLOW, LOG_DIRECTORIES, LOG_MENDED, METRICS_REFUSED, METRICS_SERVED),
        *(WEB_CONFIG_READ, WEB_CONFIG_REFUSED, ORIGINS_REFUSED),
    ),
    "The daemon": (
        *(STARTED, STOPPED, RELOAD, ADDRESSES_CHANGED, RELOAD_FAILED, CONFIG_NOTE, CLOCK_SET),
        *(TABLE_DOWN, TABLE_UNKNOWN),
    ),
}
EVENTS = {event.name: event for group in GROUPS.values() for event in group}


# The page --------------------------------------------------------------------------------------

_HEAD = """\
# Events

What the daemon tells of itself. Under systemd each is an entry of the journal with fields, so \
that nothing has to be cut out of a text; elsewhere it is a line on standard error. This page is \
written by the program (`python -m blocker.events`), from the table that the messages are made of.

```console
# journalctl -u xmlrpc-blocker EVENT=ban CLIENT_IP=203.0.113.7
# journalctl -u xmlrpc-blocker EVENT=ban EVENT=unban EVENT=renewal --since today
# journalctl -u xmlrpc-blocker MESSAGE_ID=32db093eda2749bdabf3891fbda1a11a
# journalctl -u xmlrpc-blocker EVENT=ban -o json | jq -r '[.CLIENT_IP, .BAN_UNTIL, .HITS] | @tsv'
# journalctl -u xmlrpc-blocker -F CLIENT_IP
# journalctl -u xmlrpc-blocker -x
```

The last one explains each entry in the words of this page, where the package is installed.

Every entry has `MESSAGE`, `PRIORITY` (6 for info, 4 for warning, 3 for error) and \
`SYSLOG_IDENTIFIER=xmlrpc-blocker`; every event has `EVENT`, `MESSAGE_ID` and the fields that \
stand beside it. Names and ids stay as they are.

The daemon never waits for the journal. What that does not take at once, because it has too many \
entries waiting, goes to standard error as a line without fields, which the journal reads from \
there when it has time; what does not even find room there is dropped and counted \
(`xmlrpc_blocker_log_messages_dropped_total`).
"""

_SAFETY = """\
## What an attacker can write there

Nothing but his address. `CLIENT_IP` is parsed and written anew, `TRAP` and `LOG` come from the \
configuration, numbers and times are ours. Paths, user names, user agents and referers of requests \
are in no event, with one exception: the `REASON` of `log_not_understood` quotes up to 200 \
characters of a line that could not be parsed. Control characters are escaped in every text. A \
value with a newline in it is sent with its length, so that it can't begin another field.
"""


def page() -> str:
    """Return docs/events.md."""
    tables = (_table(title, group) for title, group in GROUPS.items())
    return "\n".join([_HEAD, *tables, _fields(), _SAFETY])


def _table(title: str, group: tuple[Event, ...]) -> str:
    rows = "\n".join(map(_row, group))
    return f"## {title}\n\n| event | level | means | fields | id |\n|---|---|---|---|---|\n{rows}\n"


def _row(event: Event) -> str:
    fields = " ".join(f"`{field}`" for field in event.fields)
    return f"| `{event.name}` | {event.level} | {event.about} | {fields} | `{event.message_id}` |"


def _fields() -> str:
    rows = "\n".join(f"| `{name}` | {about} |" for name, about in FIELDS.items())
    return f"## Fields\n\n| field | holds |\n|---|---|\n{rows}\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
