"""The dashboard: from "is it working?" down to its internals; a function for each row, in order."""

from layout import Board, filled, mark, other
from panels import (
    ABOVE_ZERO,
    BAD,
    COUNT,
    GOOD,
    PLAIN,
    WARN,
    Bars,
    Chart,
    Columns,
    Figure,
    at_the_end,
    bars,
    by_day,
    coloured,
    columns,
    common,
    dashboard,
    lines,
    name,
    note,
    number,
    over_time,
    rows,
    setting,
    stacked,
)
from words import daily, increase, of, ours, quantile, rate, ratio, total

UID = "xmlrpc-blocker"
FLEET_UID = "xmlrpc-blocker-fleet"
ENFORCING = "enforcing_since_timestamp_seconds"
RELOAD = "config_last_reload_success_timestamp_seconds"
HITS, BANS = "orange", "red"
FAMILIES = {"ipv4": "blue", "ipv6": "purple"}
OFFENCES = {"1": "blue", "2": "yellow", "3": "orange", "4+": "red"}
RDAP = 'https://rdap.org/ip/${__data.fields["Client"]}'
MORE = """\
**Everything says *No data*?** Prometheus does not scrape the daemon. It needs a job such as

```yaml
- job_name: xmlrpc-blocker
  static_configs: [{targets: ["localhost:9947"]}]
```

**Who was banned, when and why** is too much for a metric. The journal of the host has it, \
`journalctl -u xmlrpc-blocker EVENT=ban CLIENT_IP=203.0.113.7`, and so has \
`xmlrpc-blocker bans`.

**Months of bars** need a Prometheus that keeps the data: `--storage.tsdb.retention.time=1y`. \
The time before the installation comes from old logs: `xmlrpc-blocker backfill`.
"""


def build() -> Board:
    """Put the dashboard together."""
    made = Board(
        UID,
        "xmlrpc-blocker",
        "Attacks on WordPress's xmlrpc.php, and what xmlrpc-blocker does about them.",
        "now-6h",
    )
    made.variables('job=~"$job"')
    made.links(other("Fleet overview", FLEET_UID, "All hosts on one screen"))
    made.marks(
        mark("Enforcement began", ours(ENFORCING), GOOD),
        mark("Configuration read", ours(RELOAD), "blue", shown=False),
        mark("Started", of("process_start_time_seconds"), "purple", shown=False),
    )
    for row in (working, traffic, now, who, where, internals):
        row(made)
    return made


# Is it working? --------------------------------------------------------------------------------


def working(made: Board) -> None:
    """Figures that are green, or need attention."""
    made.row("Is it working?")
    made.line(3, *filled(4, [_up(), _enforcing(), _ruleset(), _unreadable(), _behind(), _line()]))
    made.line(3, *filled(4, [_config(), _store(), _waiting(), _refused(), _trouble(), _version()]))


def _up() -> Figure:
    return number(
        "Daemon",
        "Whether Prometheus reaches the metrics of every chosen daemon. If not: systemctl status "
        "xmlrpc-blocker, and journalctl -u xmlrpc-blocker. Existing bans keep blocking while a "
        "daemon is down; no new address is banned.",
        "none",
        at_the_end(f"min({of('up')})"),
        steps=((None, BAD), (1, GOOD)),
        words={0: ("DOWN", BAD), 1: ("up", GOOD)},
    )


def _enforcing() -> Figure:
    return number(
        "Enforcing",
        "In a dry run bans are judged and shown, but no address is blocked. Set dry_run = false "
        "to enforce.",
        "none",
        at_the_end(f"min({ours('enforcing')})"),
        steps=((None, WARN), (1, GOOD)),
        words={0: ("DRY RUN", WARN), 1: ("enforcing", GOOD)},
    )


def ruleset(*by: str) -> str:
    """Ask for the table: 0 where it is missing, 1 where it is there, 2 in a dry run, without it."""
    there = f"{ours('ruleset_present')} + 2 * (1 - {ours('enforcing')})"
    return f"min by ({', '.join(by)}) ({there})" if by else f"min({there})"


def _ruleset() -> Figure:
    return number(
        "Ruleset",
        "Whether the daemon's nftables table is complete. If it is missing, another program "
        "flushed the ruleset, the daemon could not restore it, and no address is blocked. Look "
        "for a script that runs nft flush ruleset.",
        "none",
        at_the_end(ruleset()),
        steps=((None, BAD), (1, GOOD)),
        words={0: ("MISSING", BAD), 1: ("present", GOOD), 2: ("none", WARN)},
    )


def _unreadable() -> Figure:
    return number(
        "Unreadable logs",
        "Logs that should be followed but can't be read: attacks in them are not seen. Check "
        "that they exist and that the daemon's user may read them; xmlrpc-blocker status names "
        "them.",
        "short",
        at_the_end(f"sum(1 - {ours('log_up')})"),
        steps=ABOVE_ZERO,
    )


def _behind() -> Figure:
    return number(
        "Furthest behind",
        "For how long the log that is furthest behind has had unread lines. Seconds are normal; "
        "minutes mean a flood or a disk that is too slow. The row Where, below, shows which log.",
        "s",
        at_the_end(f"max({ours('log_lag_seconds')})"),
        steps=((None, GOOD), (60, WARN), (300, BAD)),
    )


def _line() -> Figure:
    return number(
        "Last line read",
        "Time since a line was read from any log. If it is long while the site has visitors, the "
        "server writes to another file: compare logs in the configuration with the server's "
        "access_log.",
        "s",
        at_the_end(f"time() - max({ours('log_last_line_timestamp_seconds')} > 0)"),
        steps=((None, GOOD), (900, WARN), (3600, BAD)),
    )


def _config() -> Figure:
    return number(
        "Configuration",
        "Whether the configuration was valid when it was last read. An invalid one is refused, "
        "and the previous one stays active: xmlrpc-blocker check says what is wrong.",
        "none",
        at_the_end(f"min({ours('config_last_reload_successful')})"),
        steps=((None, BAD), (1, GOOD)),
        words={0: ("REFUSED", BAD), 1: ("good", GOOD)},
    )


def _store() -> Figure:
    return number(
        "State",
        "Whether positions, windows and bans can be written. If not, a restart would judge lines "
        "again: check the space and the permissions of /var/lib/xmlrpc-blocker.",
        "none",
        at_the_end(f"min({ours('store_writable')})"),
        steps=((None, BAD), (1, GOOD)),
        words={0: ("READ-ONLY", BAD), 1: ("writable", GOOD)},
    )


def _waiting() -> Figure:
    return number(
        "Bans that wait",
        "Bans that the kernel has refused so far; the daemon retries them. If the number stays "
        "above zero, the set is full (see Now) or another program holds the nftables lock: see "
        "the journal.",
        "short",
        at_the_end(total(ours("waiting_bans"))),
        steps=ABOVE_ZERO,
    )


def _refused() -> Figure:
    return number(
        "Refused by nftables, 1 h",
        "Operations that the kernel refused within the last hour. The journal says which and why.",
        COUNT,
        at_the_end(increase("nft_failures_total", "1h")),
        steps=((None, GOOD), (0.5, WARN)),
    ).decimals(0)


def _trouble() -> Figure:
    return number(
        "Warnings, 1 h",
        "Warnings and errors that the daemon logged within the last hour. journalctl -u "
        "xmlrpc-blocker -p warning shows them.",
        COUNT,
        at_the_end(increase("log_messages_total", "1h")),
        steps=((None, GOOD), (0.5, WARN)),
    ).decimals(0)


def _version() -> Figure:
    return name(
        "Version",
        "The running versions. More than one means that an upgrade is not finished.",
        at_the_end(f"count by (version) ({ours('build_info')})", "{{version}}"),
    )


# The share of traffic that is attack -----------------------------------------------------------


def traffic(made: Board) -> None:
    """Half a year of days, and the moment from which attackers were blocked."""
    made.row("The share of traffic that is attack")
    made.line(10, (19, _share_by_day()), (5, _shares()))
    made.line(8, (12, _hits_by_day()), (12, _bans_by_day()))


def _share_by_day() -> Chart:
    return by_day(
        "Share of requests that are attacks, by day",
        "Of all requests in the followed logs, the share that matched a trap. The line marks "
        "when enforcement began; what is left after it are the first hits of each attacker, and "
        "attackers that are too slow or too many to be banned. If it rises again: many addresses "
        "with few hits each (lower maxretry, or turn XML-RPC off), or a proxy in front that bans "
        "do not reach. Needs a Prometheus that keeps months of data.",
        "percentunit",
        over_time(ratio(daily("hits_total"), daily("requests_total")), "attacks"),
    ).override_by_name("attacks", [coloured(HITS)])


def _mean_share(when: str) -> str:
    """Divide what was counted in the quarters of days that were before, or since, enforcement."""
    since = f"scalar(min({ours(ENFORCING)} @ end() > 0))"

    def counted(counter: str) -> str:
        quarter = increase(counter, "6h")
        return f"sum_over_time(({quarter} and on() (vector(time()) {when} {since}))[180d:6h])"

    return ratio(counted("hits_total"), counted("requests_total"))


def _shares() -> Figure:
    return number(
        "Before and since",
        "The share of requests that are attacks: before enforcement began and since then, over "
        "at most half a year in steps of six hours; and of the last day. The first is empty "
        "unless Prometheus has data of that time, scraped or written by xmlrpc-blocker backfill.",
        "percentunit",
        at_the_end(_mean_share("<="), "before"),
        at_the_end(_mean_share(">"), "since"),
        at_the_end(
            ratio(increase("hits_total", "1d"), increase("requests_total", "1d")), "last 24 h"
        ),
        steps=((None, GOOD), (0.03, WARN), (0.05, BAD)),
    ).text_mode(common.BigValueTextMode.VALUE_AND_NAME)


def _hits_by_day() -> Chart:
    return by_day(
        "Hits by day",
        "Requests that matched a trap, from all senders. Blocked bots can't write to the log, so "
        "the number falls when enforcement begins.",
        "short",
        over_time(daily("hits_total"), "hits"),
    ).override_by_name("hits", [coloured(HITS)])


def _bans_by_day() -> Chart:
    panel = stacked(
        by_day(
            "Bans by day, by offence",
            "The n-th ban of an address is its n-th offence. Many first offences are new bots; "
            "many fourth ones are bots that wait for the end of their ban: raise bantime_factor.",
            "short",
            over_time(daily("offences_total", "offence"), "{{offence}}"),
        )
    )
    for offence, color in OFFENCES.items():
        panel.override_by_name(offence, [coloured(color)])
    return panel.fill_opacity(80).line_width(0)


# Now -------------------------------------------------------------------------------------------


def now(made: Board) -> None:
    """What happens at this moment."""
    made.row("Now")
    made.line(8, (8, _hits()), (8, _bans()), (8, _drops()))
    made.line(8, (8, _latency()), (8, _active()), (4, _fill()), (4, _ignored()))


def _hits() -> Chart:
    return lines(
        "Requests and hits",
        "All requests in the followed logs, and those that matched a trap. Hits without bans: "
        "see Hits that do not count, to the lower right.",
        "reqps",
        over_time(rate("requests_total"), "requests"),
        over_time(rate("hits_total"), "hits"),
        colors={"requests": "blue", "hits": HITS},
    )


def _bans() -> Chart:
    return stacked(
        lines(
            "Bans per minute",
            "Bans made from the logs, by trap, and by hand. A surge is an attack from many "
            "addresses; the next row shows which.",
            "suffix:/min",
            over_time(f"{rate('bans_total', 'trap')} * 60", "{{trap}}"),
            colors={"xmlrpc": BANS, "manual": "blue"},
        )
    )


def _drops() -> Chart:
    return lines(
        "Dropped packets",
        "Packets of banned addresses that the kernel dropped. A relative indicator only: most "
        "bots stop when they get no answer, so few drops do not mean few bans. No drops for days "
        "while bans are active: is there a proxy in front?",
        "suffix: packets/s",
        over_time(rate("dropped_packets_total", "family"), "{{family}}"),
        colors=FAMILIES,
    )


def _latency() -> Chart:
    return lines(
        "From the log line to the kernel",
        "The time of a ban, for half of them (p50) and for nearly all, from reading the deciding "
        "line to the kernel's acknowledgement. Milliseconds are normal. If it grows: is the "
        "machine short of CPU, or does another program change large sets in nftables?",
        "s",
        over_time(quantile(0.5, "ban_latency_seconds"), "p50"),
        over_time(quantile(0.95, "ban_latency_seconds"), "p95"),
        over_time(quantile(0.99, "ban_latency_seconds"), "p99"),
        colors={"p50": GOOD, "p95": WARN, "p99": BAD},
    )


def _active() -> Chart:
    panel = stacked(
        lines(
            "Bans that stand",
            "Addresses that are blocked now. IPv6 is banned by network (/64), which counts as one.",
            COUNT,
            over_time(total(ours("active_bans"), "family"), "{{family}}"),
            colors=FAMILIES,
        )
    )
    return panel.decimals(0)


def _fill() -> Bars:
    return bars(
        "Fullest set",
        "How much of the kernel's set is used; a full set refuses further bans. Above 80 %: "
        "raise [firewall] set_size, or make bans shorter.",
        "percentunit",
        at_the_end(
            f"max by (family) ({ours('active_bans')} / {ours('set_size_limit')})", "{{family}}"
        ),
        steps=((None, GOOD), (0.8, WARN), (0.9, BAD)),
    ).max(1)


def _ignored() -> Bars:
    return bars(
        "Hits that do not count",
        "Hits within the range that count towards no ban. banned: a ban does not reach the "
        "client, usually because of a proxy in front. late: too old for the window, or stamped "
        "before the latest ban. friend: of an address that is never banned; many of them mean "
        "that the log shows a proxy. stale: older than lookback when the log was first seen.",
        COUNT,
        at_the_end(increase("ignored_hits_total", "$__range", "reason"), "{{reason}}"),
    ).decimals(0)


# Who -------------------------------------------------------------------------------------------


def who(made: Board) -> None:
    """Which addresses attack, and how often they were banned."""
    made.row("Who")
    made.line(10, (14, _offenders()), (5, _countries()), (5, _offences()))
    made.line(7, (19, _again()), (5, _known()))


def _offenders() -> Columns:
    who_is = "client_ip, country, asn, as_name"
    return (
        columns(
            "Top offenders, last 24 hours",
            "The addresses with the most hits, how often each was banned, and how many of its "
            "packets were dropped since. Click on one to see who operates it. Do you recognise "
            "one? Add it to allow, and run xmlrpc-blocker unban. Country and operator need a "
            "database ([origins]).",
            rows(f"sum by ({who_is}) ({ours('top_offender_hits')})"),
            rows(f"sum by (client_ip) ({ours('top_offender_bans')})"),
            rows(f"sum by (client_ip) ({ours('top_offender_dropped_packets')})"),
            names={
                "client_ip": "Client",
                "country": "Country",
                "asn": "AS",
                "as_name": "Operator",
                "Value #A": "Hits",
                "Value #B": "Bans",
                "Value #C": "Dropped",
            },
            first="Hits",
        )
        .override_by_name("Client", [setting("links", [_rdap()]), setting("custom.width", 190)])
        .override_by_name("Country", [setting("custom.width", 80)])
        .override_by_name("AS", [setting("unit", "string"), setting("custom.width", 75)])
        .override_by_name("Hits", [setting("custom.width", 75)])
        .override_by_name("Bans", [setting("custom.width", 70)])
        .override_by_name("Dropped", [setting("custom.width", 90)])
    )


def _rdap() -> dict[str, object]:
    return {"title": "Who is responsible for ${__value.text}?", "url": RDAP, "targetBlank": True}


def _countries() -> Bars:
    return bars(
        "Bans by country",
        "The country of the banned addresses or of their operators, as the configured database "
        "has it; ZZ is unknown. Empty without a database ([origins]).",
        COUNT,
        at_the_end(
            f"topk(12, {increase('bans_by_country_total', '$__range', 'country')} > 0)",
            "{{country}}",
        ),
        steps=((None, BANS),),
    ).decimals(0)


def _offences() -> Bars:
    return bars(
        "Bans by offence",
        "Bans within the range by which ban of its address each was. Many fourth offences: raise "
        "bantime_factor, so that repeat offenders stay banned for longer.",
        COUNT,
        at_the_end(increase("offences_total", "$__range", "offence"), "{{offence}}"),
        steps=((None, HITS),),
    ).decimals(0)


def _again() -> Chart:
    return stacked(
        lines(
            "Bans per hour, by offence",
            "The same over time. Waves of repeat offences at intervals of bantime are bots that "
            "wait for the end of their ban.",
            "suffix:/h",
            over_time(f"{rate('offences_total', 'offence')} * 3600", "{{offence}}"),
            colors=OFFENCES,
        )
    )


def _known() -> Figure:
    return (
        number(
            "Offenders",
            "Addresses with a remembered ban (remember, 90 days), those of them that were banned "
            "again, and their share. If the share is large, longer bans help: bantime_factor.",
            COUNT,
            at_the_end(total(ours("offenders")), "remembered"),
            at_the_end(total(ours("repeat_offenders")), "came back"),
            at_the_end(ratio(total(ours("repeat_offenders")), total(ours("offenders"))), "share"),
        )
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .override_by_name("share", [setting("unit", "percentunit")])
    )


# Where -----------------------------------------------------------------------------------------


def where(made: Board) -> None:
    """Which site, which log."""
    made.row("Where")
    made.line(8, (24, _logs()))
    made.line(8, (12, _hits_by_log()), (12, _share_by_log()))


def _logs() -> Columns:
    by = ("instance", "log")
    return (
        columns(
            "Logs",
            "Each log within the range. If more than a few in a hundred lines are unparsed, the "
            "format is not understood: see format in the configuration and xmlrpc-blocker "
            "explain. Look at once at a log that is not read or falls behind.",
            rows(increase("requests_total", "$__range", *by)),
            rows(increase("hits_total", "$__range", *by)),
            rows(
                ratio(
                    increase("hits_total", "$__range", *by),
                    increase("requests_total", "$__range", *by),
                )
            ),
            rows(increase("parse_failures_total", "$__range", *by)),
            rows(f"max by (instance, log) ({ours('log_up')})"),
            rows(f"max by (instance, log) ({ours('log_lag_bytes')})"),
            rows(
                f"time() - max by (instance, log) ({ours('log_last_line_timestamp_seconds')} > 0)"
            ),
            names={
                "instance": "Instance",
                "log": "Log",
                "Value #A": "Requests",
                "Value #B": "Hits",
                "Value #C": "Share",
                "Value #D": "Unparsed",
                "Value #E": "Read",
                "Value #F": "Behind",
                "Value #G": "Last line ago",
            },
            first="Hits",
        )
        .unit(COUNT)
        .decimals(0)
        .override_by_name("Share", [setting("unit", "percentunit"), setting("decimals", 1)])
        .override_by_name("Instance", [setting("custom.width", 170)])
        .override_by_name("Log", [setting("custom.width", 340)])
        .override_by_name("Behind", [setting("unit", "bytes")])
        .override_by_name("Last line ago", [setting("unit", "s")])
        .override_by_name("Read", yes_or_no(BAD))
    )


def yes_or_no(bad: str) -> list[dashboard.DynamicConfigValue]:
    """Words for a column of ones and zeros, in their colours; two is neither."""
    words = {
        "0": {"text": "NO", "color": bad},
        "1": {"text": "yes", "color": GOOD},
        "2": {"text": "none", "color": PLAIN},
    }
    mapped = setting("mappings", [{"type": "value", "options": words}])
    return [mapped, setting("custom.cellOptions", {"type": "color-text"})]


def _hits_by_log() -> Chart:
    return lines(
        "Hits by log",
        "Which site is attacked. If a site does not need XML-RPC, turn it off in its web server.",
        "reqps",
        over_time(rate("hits_total", "log"), "{{log}}"),
    )


def _share_by_log() -> Chart:
    return lines(
        "Share of attacks, by log",
        "The share of each log's requests that matched a trap.",
        "percentunit",
        over_time(ratio(rate("hits_total", "log"), rate("requests_total", "log")), "{{log}}"),
    )


# Internals -------------------------------------------------------------------------------------


def internals(made: Board) -> None:
    """What the daemon itself does."""
    made.row("Internals")
    made.line(8, (8, _operations()), (8, _operation_time()), (8, _loop()))
    made.line(8, (8, _memory()), (8, _cpu()), (8, _unparsed()))
    made.line(8, (8, _tracked()), (8, _repairs()), (8, _messages()))
    made.line(7, (24, note("More", "Where to ask further.", MORE)))


def _operations() -> Chart:
    return lines(
        "Operations on nftables",
        "Operations on nftables, by kind, and those that the kernel refused. The journal has the "
        "reasons.",
        "ops",
        over_time(f"{rate('nft_operations_total', 'operation')} > 0", "{{operation}}"),
        over_time(rate("nft_failures_total"), "refused"),
        colors={"refused": "dark-red"},
        figures=(),
    )


def _operation_time() -> Chart:
    return lines(
        "Time of an operation, p99",
        "How long nftables takes to answer. Much more than milliseconds: other programs hold its "
        "lock with large changes.",
        "s",
        over_time(
            f"{quantile(0.99, 'nft_operation_duration_seconds', 'operation')} > 0", "{{operation}}"
        ),
        figures=(),
    )


def _loop() -> Chart:
    return lines(
        "Largest delay of the loop",
        "The longest time within a minute in which the daemon's event loop did not react. "
        "Seconds: the machine is short of CPU, or its disk is slow.",
        "s",
        over_time(f"max by (instance) ({ours('event_loop_lag_seconds')})", "{{instance}}"),
    )


def _memory() -> Chart:
    return lines(
        "Memory",
        "The daemon's resident memory. It grows with the tracked addresses, up to max_tracked.",
        "bytes",
        over_time(f"max by (instance) ({of('process_resident_memory_bytes')})", "{{instance}}"),
    )


def _cpu() -> Chart:
    return lines(
        "CPU",
        "The share of one core that the daemon uses.",
        "percentunit",
        over_time(
            f"sum by (instance) (rate({of('process_cpu_seconds_total')}[$__rate_interval]))",
            "{{instance}}",
        ),
    )


def _unparsed() -> Chart:
    return lines(
        "Lines that are no requests",
        "Candidate lines that are not understood, and lines beyond 1 MiB, which are judged by "
        "their beginning. Attackers send both; if there are many, a log has another format than "
        "the configured one.",
        "suffix: lines/s",
        over_time(rate("parse_failures_total"), "not understood"),
        over_time(rate("oversize_lines_total"), "too long"),
        colors={"not understood": WARN, "too long": "purple"},
    )


def _tracked() -> Chart:
    return lines(
        "Addresses watched",
        "Addresses with pending hits, not enough for a ban so far, and those that were evicted "
        "because there were more than max_tracked. If any are: raise it.",
        "short",
        over_time(total(ours("tracked_addresses")), "watched"),
        over_time(increase("evicted_windows_total", "$__rate_interval"), "forgotten"),
        colors={"watched": "blue", "forgotten": BAD},
    )


def _repairs() -> Chart:
    return lines(
        "Repairs, and bans that miss",
        "How often other programs changed the daemon's table so that it was restored, elements "
        "that were missing or unknown at the last comparison, and bans that do not reach the "
        "client. Repeated repairs: which program flushes nftables?",
        "short",
        over_time(increase("ruleset_rebuilds_total", "$__rate_interval"), "repairs"),
        over_time(total(ours("set_drift_elements")), "differences"),
        over_time(increase("unreached_bans_total", "$__rate_interval"), "unreached bans"),
        colors={"repairs": WARN, "differences": "blue", "unreached bans": BAD},
    )


def _messages() -> Chart:
    return lines(
        "Messages of the daemon",
        "Warnings and errors per minute; journalctl -u xmlrpc-blocker -p warning shows them.",
        "suffix:/min",
        over_time(f"{rate('log_messages_total', 'level')} * 60", "{{level}}"),
        colors={"warning": WARN, "error": BAD},
    )
