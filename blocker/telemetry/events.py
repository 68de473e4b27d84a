"""The events that the daemon logs: names, MESSAGE_IDs, texts and fields.  Pure.

``eventlog`` formats them as lines or journal entries; docs/events.md is generated from them:

    make docs

Rules:

* the name and the ``MESSAGE_ID`` of an event never change: people and programs search for them;
* an attacker can't choose the text of a field: an address is parsed and formatted again, traps and
  logs are named by the configuration, and a reason comes from the kernel or from our code.  The
  only exception is ``log_not_understood``, which quotes an unparsed line: escaped, with a ceiling.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Level = Literal["info", "warning", "error"]
_PLACE = re.compile(r"%\((\w+)\)")


class Event(NamedTuple):
    """One kind of event.

    Attributes:
        name: value of the field ``EVENT``.
        message_id: value of the field ``MESSAGE_ID``.
        level: severity.
        about: meaning and advice, for the documentation.
        text: the message, with placeholders for its fields.
        also: names of fields that are not part of the message.
    """

    name: str
    message_id: str
    level: Level
    about: str
    text: str = "%(MESSAGE)s"
    also: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields."""
        return tuple(field for field in _PLACE.findall(self.text) if field != "MESSAGE") + self.also

    def worded(self, text: str, *also: str) -> "Event":
        """Return the same event with another text."""
        return self._replace(text=text, also=also)


FIELDS: Mapping[str, str] = {
    "CLIENT_IP": "an IPv4 address, or the network that an IPv6 client is judged by, as printed"
    " everywhere: `203.0.113.7`, `2001:db8:1:2::/64`; by hand also a wider network",
    "TRAP": "name of the trap; `manual` for a ban by hand",
    "HITS": "hits in the window that led to the ban; 0 for one by hand",
    "OFFENCE": "1 + the earlier bans of this address within `remember`",
    "BAN_START": "start of the ban, RFC 3339",
    "BAN_UNTIL": "end of the ban, RFC 3339",
    "LOG": "path of the log, control characters escaped; for a ban, that of the last hit; for"
    " `log_pattern`, the pattern",
    "COUNT": "number",
    "SECONDS": "duration; for the clock, by how much it was set",
    "REASON": "why, in the words of the kernel, the library or the configuration; of a ban by"
    " hand, the administrator's `--reason`, if there is one",
    "STATUS": "the state in one line",
}
"""By name: the meaning of each field."""

_BAN = "%(CLIENT_IP)s until %(BAN_UNTIL)s: trap=%(TRAP)s hits=%(HITS)s offence=%(OFFENCE)s"

BAN = Event(
    "ban", "52050efd3197412eb5b1c7fdb588fc56", "info",
    "An address was banned, and the kernel has accepted the ban. When a ban expires, nothing is"
    " logged: `BAN_UNTIL` says when.",
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
    "The kernel refused a ban. The ban waits until there is room in the set, or until the cause"
    " of the refusal is gone.",
    f"ban waits until the kernel accepts it: {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
WOULD_BAN = Event(
    "would_ban", "128601b171d44f3abd65de8469a72841", "info",
    "A dry run: nothing is enforced.", f"would ban {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
WOULD_BAN_BY_HAND = WOULD_BAN.worded(
    "would ban %(CLIENT_IP)s until %(BAN_UNTIL)s by hand", *BAN_BY_HAND.also
)
WOULD_BAN_NETWORK_BY_HAND = WOULD_BAN.worded(
    "would ban %(CLIENT_IP)s (%(COUNT)s) until %(BAN_UNTIL)s by hand", *BAN_BY_HAND.also
)
PAST_BAN = Event(
    "past_ban", "41dfae03a5be423a9f78f0a1798f0896", "info",
    "A log that was read late shows an attack whose ban would have expired. It counts as an"
    " offence.",
    f"past attack recorded; its ban would have expired: {_BAN} log=%(LOG)s", ("BAN_START",),
)  # fmt: skip
MORE_BANS = Event(
    "more_bans", "ea48728c13f941c08d72557463698eb5", "info",
    "Of bans that are made at once, the first 100 are logged one by one; `COUNT` is the number of"
    " the others. `xmlrpc-blocker bans` lists all.",
    "and %(COUNT)s more",
)  # fmt: skip
RENEWAL = Event(
    "renewal", "ebf42198394c46ffb724ed84838fc82f", "info", "An active ban was extended.",
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
    "Of bans that are ended at once by hand, the first 100 are logged one by one; `COUNT` is the"
    " number of the others.",
    "and %(COUNT)s more unbanned by hand",
)  # fmt: skip
UNBAN_ALL = Event(
    "unban_all", "669c3f967e574dfb934e531415367287", "info", "All bans were ended by hand.",
    "unbanned everybody (%(COUNT)s) by hand",
)  # fmt: skip
FORGET = Event(
    "forget", "17973b9f85574d39b0c69b265c4bfc95", "info",
    "An address was erased by hand, including its ban and its offences.", "forgot %(CLIENT_IP)s",
)  # fmt: skip
BANS_EVICTED = Event(
    "bans_evicted", "7e0e0425e937419f9a0b765af2240129", "warning",
    "More bans were remembered than `max_remembered`. Expired bans were evicted, starting with"
    " addresses with the fewest offences; if such an address attacks again, that is its first"
    " offence. Active bans are never evicted. Logged at most hourly; `evicted_bans_total` counts"
    " all.",
    also=("COUNT",),
)  # fmt: skip
BANS_GIVEN_UP = Event(
    "bans_given_up", "562ffbe896e043559eeedeba2141ef31", "error",
    "The kernel refuses bans, and 100,000 wait already. Further bans end as soon as they are"
    " made; the next hits of such an address are judged again. Most likely the kernel's set is"
    " full: raise `[firewall] set_size`. Logged at most hourly; `given_up_bans_total` counts all.",
    also=("REASON",),
)  # fmt: skip
FRIEND_REFUSED = Event(
    "friend_refused", "3e02dab26a8d44b7b2e7cf991b50d209", "warning",
    "A stored ban of an address that has become a friend since was not enforced.",
    "not banned: %(CLIENT_IP)s is a friend (%(REASON)s)",
)  # fmt: skip
PROXY_SEEN = Event(
    "proxy_seen", "c158e29efe814a50a3f194aeff89117c", "warning",
    "The log shows the address of a proxy instead of the clients, so no client can be banned. The"
    " message says what to change in the web server.",
    also=("CLIENT_IP", "REASON"),
)  # fmt: skip
BAN_UNREACHED = Event(
    "ban_unreached", "192ce901c97d4a8497f24e4f6df21441", "warning",
    "Banned addresses still appear in the log. The message says what may forward their requests.",
    also=("CLIENT_IP", "COUNT"),
)  # fmt: skip

RULESET_MISSING = Event(
    "ruleset_missing", "d0a86f75d99e47669df5107ce7fb62de", "warning",
    "Another program changed or deleted our table; it is restored at once. Most often a firewall"
    " script flushes the whole ruleset: exclude `inet xmlrpc_blocker` from that.",
    "another program changed the ruleset: restoring it",
)  # fmt: skip
TABLE_TAKEN = RULESET_MISSING.worded(
    "the table was deleted while it was being loaded: loading it again"
)
RULESET_REBUILT = Event(
    "ruleset_rebuilt", "48609ead0da743e9a525c1c5c1dfb65c", "warning",
    "The table and all bans are in the kernel again.",
    "ruleset restored; unprotected for %(SECONDS)s s",
)  # fmt: skip
UNKNOWN_REMOVED = Event(
    "unknown_removed", "4d8a99ab8bb74156ab01b04deacdb0ae", "warning",
    "The kernel's set held bans that the daemon does not know; they were removed.",
    "removing %(COUNT)s unknown bans from the kernel",
)  # fmt: skip
KERNEL_REFUSED = Event(
    "kernel_refused", "0e01cdcbe4ad4e618f31dc3e7b096488", "error",
    "The kernel refuses bans. They wait and are retried, with growing pauses. Logged once for each"
    " reason.",
    "the kernel refuses bans: %(REASON)s; %(COUNT)s wait",
)  # fmt: skip
KERNEL_ACCEPTS = Event(
    "kernel_accepts", "02ac395c1ee94a45afe3280e27d88b9a", "info",
    "The kernel has accepted the bans that it had refused.", "the kernel accepts bans again",
)  # fmt: skip
STORE_REFUSED = Event(
    "store_refused", "6a475593b91f456fab8694a87f6fcb0a", "error",
    "The disk is full or read-only, or the database is damaged. Blocking continues from memory,"
    " which is lost when the daemon ends. Logged once for each reason.",
    "nothing is stored, continuing in memory: %(REASON)s",
)  # fmt: skip
STORE_HANGS = Event(
    "store_hangs", "c1e7b0f4d2a84f3e9b6a5d80f37c9e12", "error",
    "A commit hangs: the disk does not answer, or another program has locked the database. Judging"
    " and blocking continue from memory, and everything is stored when the commit ends.",
    "%(REASON)s",
)  # fmt: skip
STANDSTILL = Event(
    "standstill", "9d2c6c0e5b7f4a0c8e5f1b3a7d60e4c2", "error",
    "The daemon neither looks at the logs nor judges. It stops feeding the watchdog of the service"
    " manager, which restarts the daemon; nothing is lost by that. Please report it, with the"
    " journal.",
    "no progress for %(SECONDS)s s: waiting for the watchdog to restart the daemon",
)  # fmt: skip
CHORE_REFUSED = STORE_REFUSED.worded("%(REASON)s")
STORE_ACCEPTS = Event(
    "store_accepts", "6219722daf444a8f8ca4eafcbfd6dc8c", "info",
    "Everything that was only in memory has been stored.",
    "the store accepts changes again; nothing was lost",
)  # fmt: skip
STORE_GONE = Event(
    "store_gone", "5f0a3c8e9d6f4c0b8e1b2a7d44c6f913", "error",
    "Another program deleted or replaced the database. It is written again from the open file; a"
    " file that replaced it is kept as `state.db.replaced`. Stop the daemon before you move or"
    " restore its state.",
    "%(REASON)s",
)  # fmt: skip

FOLLOWING = Event(
    "following", "f294c77fc3f9454388f703dbd110e3da", "info",
    "The logs that are followed, the first ten of them.",
)  # fmt: skip
LOG_UNREADABLE = Event(
    "log_unreadable", "c354a700af51420aad7dfd1f2ca2e687", "warning",
    "A log can't be read, most often for lack of permission; or `inotify` fails, so the logs are"
    " polled. Logged once.",
    also=("LOG",),
)  # fmt: skip
LOG_LINES_LOST = Event(
    "log_lines_lost", "b95e3f1c2d0a4c9c8f0e6a7d51b24e83", "warning",
    "Lines that were sent to a socket or pipe were lost. The message says why; the metric"
    " `source_lost_total` counts them. Logged again after an hour without a loss.",
    also=("LOG",),
)  # fmt: skip
INPUT_ENDED = Event(
    "input_ended", "5f0c7a92e6d84b1fa3b94b7c1d2e8a60", "info",
    "Standard input has ended, which is a log (`-` in `logs`): the daemon stops.",
    "standard input has ended, so the daemon stops",
)  # fmt: skip
LOG_MENDED = Event(
    "log_mended", "73722f09707d4ffb81ffbf9c553fcae3", "info", "A problem with a log has ended.",
    "resolved: %(REASON)s", ("LOG",),
)  # fmt: skip
LOG_NOT_UNDERSTOOD = Event(
    "log_not_understood", "1c366c12117242e189bdf8e440577c22", "warning",
    "Most candidate lines of a log could not be parsed in the last hour, so attackers in it are not"
    " banned. The message says what to set. Logged at most hourly for each log.",
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
    "More logs match than can be open at once; the others are not followed. Logged once.",
    also=("COUNT",),
)  # fmt: skip
NO_LOG = Event(
    "no_log", "6c013ac967d4412ea5adf40457dfeb6b", "warning",
    "No log is followed: no pattern of `logs` matches a file that can be read. Logged once.",
)  # fmt: skip
METRICS_REFUSED = Event(
    "metrics_refused", "85931e218bed4f16a3e0bd736dca1d16", "warning",
    "Metrics are not served: another program uses the port, or the web configuration is invalid."
    " It is retried every minute.",
    also=("REASON",),
)  # fmt: skip
METRICS_SERVED = Event(
    "metrics_served", "9c2585a13be84de39dc6264d33f273b6", "info",
    "Metrics are served again.",
)  # fmt: skip
WEB_CONFIG_READ = Event(
    "web_config_read", "d583555c6d654ae88a02bba4248dd5e2", "info",
    "The changed `[metrics] web_config` is in use.",
)  # fmt: skip
WEB_CONFIG_REFUSED = Event(
    "web_config_refused", "8082f24f364b4f5ab8277516c40d3f0f", "error",
    "The changed `[metrics] web_config` is invalid; the previous one stays in use.",
    "keeping the previous web configuration: %(REASON)s",
)  # fmt: skip
ORIGINS_REFUSED = Event(
    "origins_refused", "4c087ad7de6a4f5b9140c624134a69cf", "warning",
    "A database of `[origins]` is missing or invalid, or the library to read it is missing."
    " Countries and networks are not exported; nothing else depends on them. A reload tries again.",
    "origins are not exported: %(REASON)s",
)  # fmt: skip

STARTED = Event(
    "started", "c1a9198cb4184ecf926022bac56e8a4b", "info",
    "A configuration is in use, and all stored bans are enforced: after a start or a reload.",
    "started: %(STATUS)s",
)  # fmt: skip
START_WAITS = Event(
    "start_waits", "7f2c14ccc5e04e0e9f090199002cadc1", "warning",
    "The daemon starts or reloads, and a disk or the kernel has not answered for some seconds. Bans"
    " in the kernel stay, new attackers are not seen until then. `findmnt -T` with the path of the"
    " state shows its file system.",
    "the start waits for %(REASON)s; it goes on when that answers",
)  # fmt: skip
STOPPED = Event(
    "stopped", "7db57dd839434a779d6f3aaebd8b3117", "info",
    "The daemon was stopped. All bans stay in the kernel.",
    "stopped; the kernel goes on blocking; to end that: xmlrpc-blocker unban --all",
)  # fmt: skip
RELOAD = Event(
    "reload", "984cee5fb5214d34a155827ab92f18e8", "info",
    "A new configuration is loaded; `started` follows.", "reloading",
)  # fmt: skip
ADDRESSES_CHANGED = Event(
    "addresses_changed", "bbc6080707b04c54aaed56679c2fd2ed", "info",
    "The addresses of this host changed; a reload makes the new ones friends.",
    "the addresses of this host have changed: reloading",
)  # fmt: skip
RELOAD_FAILED = Event(
    "reload_failed", "32db093eda2749bdabf3891fbda1a11a", "error",
    "The previous configuration stays in use. `xmlrpc-blocker check` says what is wrong with the"
    " new one.",
    "reload refused, the old configuration stays: %(REASON)s",
)  # fmt: skip
BEGIN_FAILED = RELOAD_FAILED.worded(
    "the new configuration can't be used, keeping the old one: %(REASON)s"
)
CONFIG_NOTE = Event(
    "config_note", "642f77c587274986afe6cea293c53876", "warning",
    "A setting is allowed, but risky.",
)  # fmt: skip
CLOCK_SET = Event(
    "clock_set", "cc3f7b2ffd0f413dbc65df32f580d7c7", "warning",
    "The clock of this host was set by more than a minute; bans keep their ends.",
    "the clock was set by %(SECONDS)s s: setting all bans again",
)  # fmt: skip
TABLE_DOWN = Event(
    "table_down", "832335263b684f868be53e4afae79d2b", "info",
    "A table was deleted: a dry run began, or `[firewall] table` changed.",
)  # fmt: skip
TABLE_UNKNOWN = Event(
    "table_unknown", "cf3291e221a74bf8aef2af5a00642dab", "warning",
    "A table that should no longer block was not deleted: it is not ours, or the kernel refused."
    " If it is ours, it still blocks.",
    "an old table was not deleted: %(REASON)s",
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
        *(FOLLOWING, LOG_UNREADABLE, LOG_LINES_LOST, LOG_NOT_UNDERSTOOD, LOG_PATTERN),
        *(LOGS_OVER_LIMIT, NO_LOG, INPUT_ENDED),
        *(LOG_DIRECTORY_SLOW, LOG_DIRECTORIES, LOG_MENDED, METRICS_REFUSED, METRICS_SERVED),
        *(WEB_CONFIG_READ, WEB_CONFIG_REFUSED, ORIGINS_REFUSED),
    ),
    "The daemon": (
        *(STARTED, START_WAITS, STOPPED, RELOAD, ADDRESSES_CHANGED, RELOAD_FAILED, CONFIG_NOTE),
        *(CLOCK_SET, TABLE_DOWN, TABLE_UNKNOWN),
    ),
}
EVENTS = {event.name: event for group in GROUPS.values() for event in group}
