"""The definition of every metric: name, labels, meaning, and advice.  Pure.

``exposition`` builds the metric families from this table; docs/metrics.md is generated from it:

    make docs

Rules:

* names are written without the prefix, and counters without ``_total``;
* a label has few values, and an attacker can't choose them; ``LABELS`` says what bounds each;
* a counter never decreases; one that is stored continues after a restart, and is marked.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

PREFIX = "xmlrpc_blocker_"

Kind = Literal["counter", "gauge", "histogram", "info"]
Fold = Literal["sum", "max", "min"]


class Entry(NamedTuple):
    """The definition of a metric.

    Attributes:
        name: name without prefix and ``_total``.
        kind: type in Prometheus.
        labels: names of the labels.
        text: meaning; the ``HELP`` of the exposition.
        odd: which values need attention, and what to do then.
        fold: how the values of all logs are aggregated if ``per_log`` is false.
        stored: whether it continues after a restart.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    odd: str = ""
    fold: Fold = "sum"
    stored: bool = False

    @property
    def series(self) -> str:
        """Full name, as Prometheus stores it."""
        ending = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return f"{PREFIX}{self.name}{ending}"

    @property
    def unit(self) -> str:
        """Unit of the values, or "" if the name does not say it."""
        for ending in ("timestamp_seconds", "seconds", "bytes", "packets"):
            if f"_{ending}_" in f"_{self.name}_":
                return {"timestamp_seconds": "seconds since 1970"}.get(ending, ending)
        return ""


LABELS = {
    "log": (
        (
            "path of a log; `all` where `per_log = false`; `gone` of all that are gone, if they"
            " are more than 64: it jumps, so leave it out of rates"
        ),
        "the followed files, at most 1,024, and 65",
    ),
    "reason": ("why a hit changed nothing, or why an address is a friend", "the program, `allow`"),
    "event": ("`login`, `multicall`, `pingback`, `users`, `disabled` or `other`", "6"),
    "kind": ("`rename` or `truncate`", "2"),
    "trap": ("the name of a trap; `manual` for bans by hand", "the configuration, at most 65"),
    "origin": ("`log` or `manual`", "2"),
    "offence": ("`1`, `2`, `3` or `4+`", "4"),
    "family": ("`ipv4` or `ipv6`", "2"),
    "operation": ("the nf_tables operation", "the program, 12"),
    "country": ("ISO 3166 alpha-2, `ZZ` for unknown", "the database, at most 677"),
    "db": ("`country` or `asn`", "2"),
    "client_ip": ("an IPv4 address, or an IPv6 network", "`top_offenders`, at most 100 at a time"),
    "asn": ("number of the autonomous system, empty for unknown", "as `client_ip`"),
    "as_name": ("its name in the database, cut to 64 characters", "as `client_ip`"),
    "level": ("`warning` or `error`", "2"),
    "version": ("of this program", "1"),
    "python": ("the interpreter's version", "1"),
}
"""By name of a label: its values, and what bounds their number."""

ALL = "all"
"""Value of the label ``log`` if ``per_log`` is false."""

_LOG = ("log",)
_FAMILY = ("family",)
_TRAP = ("trap",)
_OPERATION = ("operation",)

PIPELINE = (
    Entry(
        "log_lines", "counter", _LOG, "Lines read from a log.",
        "No growth on a busy site: does the server still write to this log?", stored=True,
    ),
    Entry(
        "requests", "counter", _LOG, "Lines that hold a request: all but the unparsed ones.",
        "The denominator of the share of attacks.", stored=True,
    ),
    Entry(
        "parse_failures", "counter", _LOG, "Candidate lines that could not be parsed.",
        "Grows with the hits: the format is not understood; `xmlrpc-blocker explain` says where a"
        " line breaks, and `format` names the right one.", stored=True,
    ),
    Entry(
        "oversize_lines", "counter", _LOG, "Lines beyond 1 MiB, judged by their beginning.",
        "A client sends very long requests, or the log is damaged. What follows the first MiB of"
        " a line is not read; the server's own limits on requests prevent it.", stored=True,
    ),
    Entry(
        "hits", "counter", _LOG, "Requests that matched a trap, those of friends left out.",
        "Grows while bans do not: attackers are slower than the window, or many.", stored=True,
    ),
    Entry(
        "ignored_hits", "counter", ("log", "reason"),
        "Hits outside the window: banned (stamped inside a ban), late (written later than findtime,"
        " or stamped before the latest ban), friend, stale (older than lookback when the log was"
        " first seen).",
        "`banned` growing for minutes: the ban does not reach the client, see `unreached_bans`."
        " `late` growing: requests are held open; late ones count among themselves. `friend`: see"
        " `friend_hits`. `banned` and `late` are part of `hits`, the others are not.",
        stored=True,
    ),
    Entry(
        "friend_hits", "counter", ("reason",), "Hits of addresses that are never banned.",
        "`private` or `proxy:…`: the log shows a proxy instead of the clients; let the server log"
        " the client (docs/proxies.md).", stored=True,
    ),
    Entry(
        "events", "counter", ("event",),
        "Reports of WordPress, by what they report. Exported where `events` is configured.",
        "None although `hits` grows: the plugin is not installed, or its reports do not arrive"
        " (docs/wordpress.md). `disabled`: logins where XML-RPC is off.", stored=True,
    ),
    Entry(
        "event_failures", "counter", ("event",),
        "Failures that these reports stand for: one request with many guesses is one report or"
        " two.", stored=True,
    ),
    Entry(
        "log_up", "gauge", _LOG, "1 while a log is there and can be read.",
        "0: the journal has the reason; most often permissions.", fold="min",
    ),
    Entry(
        "log_lag_bytes", "gauge", _LOG,
        "Bytes of a log that were not read yet, rotated files of it included.",
        "Grows: the daemon does not keep up, or can't read; see `log_lag_seconds`.",
    ),
    Entry(
        "log_lag_seconds", "gauge", _LOG,
        "Since when something of a log has been unread, 0 when it is read to its end.",
        "Above a minute while not `catching_up`: CPU, disk, or a kernel that does not answer.",
        fold="max",
    ),
    Entry(
        "log_last_line_timestamp_seconds", "gauge", _LOG,
        "When a line of the log was last read; until then, when the file was last written.",
        "Old on a busy site: the server writes to another file, or still to a deleted one.",
        fold="max",
    ),
    Entry(
        "log_last_hit_timestamp_seconds", "gauge", _LOG,
        "Time in the latest hit, 0 before the first.",
        "In the future: the clock of the server that writes is ahead.", fold="max",
    ),
    Entry(
        "log_rotations", "counter", ("log", "kind"),
        "Times a log became another file (rename) or was emptied (truncate).",
        "`truncate`: copytruncate, which loses lines by itself; rename instead. Of a journal: it"
        " deleted entries before they were read; let it keep more.",
    ),
    Entry(
        "source_lost", "counter", ("log", "reason"),
        "Lines of a socket or pipe that were lost: buffer (more came than could be judged), kernel"
        " (dropped by the kernel, which is known of UDP only), sender (its user is not allowed),"
        " oversize (too long to be received whole).",
        "`buffer` or `kernel` growing: the host is overloaded; let the server log to a file, which"
        " loses nothing. `sender`: another program writes to the socket, or the web server's user"
        " has to be named in `senders`.",
    ),
    Entry(
        "logs_over_limit", "gauge", (),
        "Files that the patterns match and that are not followed: too many are open.",
        "Above 0: name fewer logs; 1,024 are followed at once.",
    ),
    Entry(
        "log_directories_slow", "gauge", (),
        "Directories on the way of a pattern that do not answer, or take over a second to be"
        " listed.",
        "Above 0: logs in them are not read, or found late; `status` names them.",
    ),
    Entry(
        "log_directories_left_out", "gauge", (),
        "Directories and names that are never looked at: the patterns lead through too many.",
        "Above 0: name fewer directories in `logs`.",
    ),
    Entry(
        "log_looks_cut_short", "counter", (),
        "Looks for new logs that took a second without seeing every directory; the next went on.",
        "Rises steadily: new logs are found late; name fewer directories in `logs`.",
    ),
)  # fmt: skip

JUDGEMENT = (
    Entry(
        "bans", "counter", ("trap", "origin"), "Bans made, by trap; manual for those by hand.",
        stored=True,
    ),
    Entry(
        "offences", "counter", ("offence",),
        "Bans made, by which ban of its address it was within remember.",
        "Many of `4+`: the same addresses come back; `bantime_factor` makes each ban longer.",
        stored=True,
    ),
    Entry("repeat_offenders", "gauge", (), "Addresses with two or more remembered bans."),
    Entry("offenders", "gauge", (), "Addresses with a remembered ban."),
    Entry("remembered_bans", "gauge", (), "Remembered bans, those that stand included."),
    Entry(
        "remembered_bans_limit", "gauge", (), "Ceiling of remembered bans (max_remembered).",
        "Remembered near the limit: an attack from very many addresses; raise it if there is"
        " memory.",
    ),
    Entry(
        "evicted_bans", "counter", (), "Ended bans evicted because max_remembered was reached.",
        "Grows: addresses with the fewest offences start again as first offenders; raise"
        " `max_remembered`.",
    ),
    Entry("renewals", "counter", (), "Standing bans that were made longer.", stored=True),
    Entry("unbans", "counter", (), "Bans ended by hand.", stored=True),
    Entry(
        "bans_unstored", "counter", (),
        "Bans that stand in the kernel alone, because too many waited for the disk.",
        "Grows: the store has not been writable for very long; a restart ends these bans.",
        stored=True,
    ),
    Entry("tracked_addresses", "gauge", (), "Addresses with hits pending in their window."),
    Entry(
        "tracked_addresses_limit", "gauge", (), "Ceiling of tracked addresses (max_tracked).",
        "Tracked near the limit: an attack from very many addresses; raise it if there is memory.",
    ),
    Entry(
        "evicted_windows", "counter", (), "Windows forgotten because max_tracked was reached.",
        "Grows: addresses that have been quiet longest start again from zero; raise"
        " `max_tracked`.",
    ),
    Entry(
        "hits_ahead", "counter", (), "Hits stamped more than five minutes ahead of the clock.",
        "Grows: this clock, or that of the server that writes, is wrong.",
    ),
    Entry(
        "unreached_bans", "counter", (),
        "Times a banned address was still in the log over a minute after its ban.",
        "Grows: a proxy in front, another port, or another network namespace; the journal says"
        " what to check.", stored=True,
    ),
    Entry(
        "friends_not_banned", "counter", (), "Bans refused at the last moment: a friend.",
        "Above 0: a stored ban of an address that has become a friend since; nothing to do.",
    ),
    Entry(
        "bans_by_country", "counter", ("country",),
        "Bans made, by the country of the address; ZZ where it is not known. Only with"
        " origins.country_db.", stored=True,
    ),
    Entry(
        "origins_database_build_timestamp_seconds", "gauge", ("db",),
        "When a database of origins was built. Only with one.",
        "Months old: fetch a newer one, then `systemctl reload xmlrpc-blocker`.",
    ),
    Entry(
        "top_offender_hits", "gauge", ("client_ip", "country", "asn", "as_name"),
        "Hits of those who hit most, in the last 24 hours by whole hours, from a sketch.",
    ),
    Entry(
        "top_offender_bans", "gauge", ("client_ip",),
        "Bans of the same addresses that began in the last 24 hours.",
    ),
    Entry(
        "top_offender_dropped_packets", "gauge", ("client_ip",),
        "Packets of the same addresses that the kernel dropped, until they are quiet for a day.",
        "Grows while the hits do not: the attacker continues, and is blocked.",
    ),
)  # fmt: skip

ENFORCEMENT = (
    Entry(
        "active_bans", "gauge", _FAMILY, "Bans that are active, as the daemon remembers them.",
        "Compare `set_size_limit`: a full set refuses further bans.",
    ),
    Entry("set_size_limit", "gauge", _FAMILY, "Addresses that the kernel's set can hold."),
    Entry(
        "set_drift_elements", "gauge", _FAMILY,
        "Bans that the kernel's set lacked, or held although none was made, when last compared.",
        "Above 0 repeatedly: another program changes the set; `nft monitor` shows which. The"
        " difference itself was repaired.",
    ),
    Entry(
        "waiting_bans", "gauge", (), "Bans that the kernel refused so far; they are tried again.",
        "Above 0: the journal has the reason: a full set, or no permission to change it.",
    ),
    Entry(
        "given_up_bans", "counter", (),
        "Bans ended at once: the kernel refused them while 100,000 waited for it.",
        "Grows: as `waiting_bans`; most likely the set is full, see `set_size_limit`.",
    ),
    Entry(
        "dropped_packets", "counter", _FAMILY, "Packets of banned addresses that were dropped.",
        "The kernel's own count: it starts at zero when the table is created again. It shows"
        " whether bans work, not how strong an attack is: a blocked client sends less.",
    ),
    Entry(
        "dropped_bytes", "counter", _FAMILY, "Bytes of banned addresses that were dropped.",
    ),
    Entry(
        "nft_operations", "counter", _OPERATION, "Operations asked of the kernel's nf_tables.",
    ),
    Entry(
        "nft_failures", "counter", _OPERATION, "Operations that the kernel refused.",
        "Grows: the journal has the reason. Each is retried.",
    ),
    Entry(
        "nft_operation_duration_seconds", "histogram", _OPERATION,
        "How long operations took, waiting for their turn included.",
        "Seconds: another program holds the kernel's nftables lock, by loading large rulesets.",
    ),
    Entry(
        "ruleset_present", "gauge", (), "1 while the ruleset was there when last looked at.",
        "0 for long: it can't be restored; the journal has the reason. 0 in a dry run.",
    ),
    Entry(
        "ruleset_rebuilds", "counter", (),
        "Times the ruleset was built again after others changed it.",
        "Grows: a firewall script flushes everything; let it spare `inet xmlrpc_blocker`.",
    ),
    Entry(
        "ruleset_unprotected_seconds", "counter", (),
        "Time between changes that broke the ruleset and their repair.",
        "As `ruleset_rebuilds`.",
    ),
    Entry(
        "enforcing", "gauge", (), "1 while bans are enforced, 0 in a dry run.",
        "0 by mistake: `dry_run` in the configuration, or `run --dry-run`.",
    ),
    Entry(
        "enforcing_since_timestamp_seconds", "gauge", (),
        "Since when bans have been enforced here, restarts left aside; 0 in a dry run.",
    ),
    Entry(
        "ban_latency_seconds", "histogram", (),
        "From reading the deciding line to the kernel's acknowledgement.",
        "Above a second: see `nft_operation_duration_seconds` and `event_loop_lag_seconds`.",
    ),
)  # fmt: skip

DAEMON = (
    Entry("build", "info", ("version", "python"), "The running version."),
    Entry(
        "config_last_reload_successful", "gauge", (),
        "1 if the last reload of the configuration succeeded.",
        "0: the old configuration stays active; `xmlrpc-blocker check` says what is wrong.",
    ),
    Entry(
        "config_last_reload_success_timestamp_seconds", "gauge", (),
        "When the configuration at work was read.",
    ),
    Entry("config_maxretry", "gauge", _TRAP, "Hits that make a ban."),
    Entry("config_findtime_seconds", "gauge", _TRAP, "Length of the window."),
    Entry("config_bantime_seconds", "gauge", _TRAP, "Length of a first ban."),
    Entry(
        "store_writable", "gauge", (), "1 while the store takes changes.",
        "0: the disk is full, read-only or does not answer, or another program holds the"
        " database. Blocking continues, from memory.",
    ),
    Entry(
        "store_failures", "counter", (), "Changes and questions that the store refused.",
        "As `store_writable`.",
    ),
    Entry(
        "catching_up", "gauge", (), "1 until the backlog of the logs at the start is read.",
        "1 for long: a large backlog; `log_lag_bytes` says how much is left.",
    ),
    Entry(
        "clock_steps", "counter", (), "Times the clock was set by more than a minute.",
        "Grows: this machine's clock is not kept; bans were set again by their end.",
    ),
    Entry(
        "inotify_overflows", "counter", (), "Times the kernel's word of changed files got lost.",
        "Grows: raise fs.inotify.max_queued_events. Nothing is lost: all logs are polled.",
    ),
    Entry(
        "control_refused", "counter", (),
        "Clients of the control socket that were refused, or were silent too long.",
        "Grows: only root and one group may connect.",
    ),
    Entry(
        "control_evicted", "counter", (),
        "Clients of the control socket sent away while idle, to make room for others.",
        "Grows: a program opens connections and keeps them.",
    ),
    Entry(
        "metrics_refused", "counter", (),
        "Clients of the metrics port that were silent too long or sent no request.",
        "Grows: something other than Prometheus connects to `[metrics] listen`.",
    ),
    Entry(
        "metrics_evicted", "counter", (),
        "Idle clients of the metrics port that were closed to make room for others.",
        "Grows: a client opens connections and keeps them; 64 are open at once.",
    ),
    Entry(
        "event_loop_lag_seconds", "gauge", (),
        "Largest delay of the daemon's own loop in the last minute.",
        "Above a second: the machine has no CPU left for the daemon, or swaps.",
    ),
    Entry(
        "log_messages", "counter", ("level",), "Warnings and errors that this process logged.",
        "`journalctl -u xmlrpc-blocker -p warning` shows them.",
    ),
    Entry(
        "log_messages_dropped", "counter", (),
        "Messages dropped because neither the journal nor standard error accepted them at once.",
        "Grows: the journal is overloaded, or does not answer.",
    ),
)  # fmt: skip

GROUPS = {
    "The pipeline": PIPELINE,
    "Judgement": JUDGEMENT,
    "Enforcement": ENFORCEMENT,
    "The daemon": DAEMON,
}
CATALOGUE = {entry.name: entry for group in GROUPS.values() for entry in group}

Samples: TypeAlias = Mapping[tuple[str, ...], float]
"""Values of one metric by the values of its labels, in the catalogue's order."""

Snapshot: TypeAlias = Mapping[str, Samples]
"""By the catalogue's name.  What is not there is not known, or not to be had."""
