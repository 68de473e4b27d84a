"""The fleet on one screen: which host needs attention, and which one is attacked."""

from host import ENFORCING, FLEET_UID, UID, ruleset, yes_or_no
from layout import Board, filled, mark, other
from panels import (
    ABOVE_ZERO,
    BAD,
    COUNT,
    GOOD,
    WARN,
    Chart,
    Columns,
    Figure,
    at_the_end,
    columns,
    lines,
    number,
    over_time,
    rows,
    setting,
)
from words import increase, of, ours, rate, ratio, total

DETAILS = (
    f"/d/{UID}?${{datasource:queryparam}}&${{job:queryparam}}&${{__url_time_range}}"
    '&var-instance=${__data.fields["Host"]}'
)


def build() -> Board:
    """Put the dashboard together."""
    made = Board(
        FLEET_UID,
        "xmlrpc-blocker: fleet",
        "All hosts with xmlrpc-blocker on one screen.",
        "now-24h",
    )
    made.variables('job=~"$job"')
    made.links(other("One host in detail", UID, "Everything about the chosen hosts"))
    made.marks(mark("Enforcement began", ours(ENFORCING), GOOD))
    made.line(3, *filled(3, [_down(), _dry(), _bare(), _unreadable()]),
              *filled(3, [_behind(), _standing(), _hits(), _share()]))  # fmt: skip
    made.line(10, (24, _hosts()))
    made.line(9, *filled(8, [_share_by_host(), _bans_by_host(), _drops_by_host()]))
    return made


def _down() -> Figure:
    return number(
        "Daemons down",
        "Daemons that Prometheus does not reach. Existing bans continue there; no new address is "
        "banned. systemctl status xmlrpc-blocker on that host.",
        "short",
        at_the_end(f"sum(1 - {of('up')})"),
        steps=ABOVE_ZERO,
    )


def _dry() -> Figure:
    return number(
        "In a dry run",
        "Daemons that judge and block no address. Set dry_run = false where that was forgotten.",
        "short",
        at_the_end(f"sum(1 - {ours('enforcing')})"),
        steps=((None, GOOD), (1, WARN)),
    )


def _bare() -> Figure:
    return number(
        "Without ruleset",
        "Hosts whose nftables table is missing or incomplete: no address is blocked there. Some "
        "program flushes the ruleset.",
        "short",
        at_the_end(f"sum((1 - {ours('ruleset_present')}) * {ours('enforcing')})"),
        steps=ABOVE_ZERO,
    )


def _unreadable() -> Figure:
    return number(
        "Unreadable logs",
        "Logs on all hosts that should be followed but can't be read; the host's own dashboard "
        "names them.",
        "short",
        at_the_end(f"sum(1 - {ours('log_up')})"),
        steps=ABOVE_ZERO,
    )


def _behind() -> Figure:
    return number(
        "Furthest behind",
        "For how long the log that is furthest behind has had unread lines.",
        "s",
        at_the_end(f"max({ours('log_lag_seconds')})"),
        steps=((None, GOOD), (60, WARN), (300, BAD)),
    )


def _standing() -> Figure:
    return number(
        "Bans that stand",
        "Bans on all hosts; one address that attacks three hosts is three bans.",
        COUNT,
        at_the_end(total(ours("active_bans"))),
    )


def _hits() -> Figure:
    return number(
        "Hits, last hour",
        "Requests that matched a trap, on all hosts.",
        COUNT,
        at_the_end(increase("hits_total", "1h")),
    ).decimals(0)


def _share() -> Figure:
    return number(
        "Attacks, last 24 h",
        "The share of all requests that matched a trap. Above some hundredths while enforcing: "
        "the table below shows where.",
        "percentunit",
        at_the_end(ratio(increase("hits_total", "1d"), increase("requests_total", "1d"))),
        steps=((None, GOOD), (0.03, WARN), (0.05, BAD)),
    )


def _hosts() -> Columns:
    by = "instance"
    panel = columns(
        "Hosts",
        "One row for each host. Click on one for its own dashboard. Red needs your attention.",
        rows(f"max by (instance) ({of('up')})"),
        rows(f"min by (instance) ({ours('enforcing')})"),
        rows(ruleset(by)),
        rows(f"max by (instance) ({ours('log_lag_seconds')})"),
        rows(increase("requests_total", "1d", by)),
        rows(increase("hits_total", "1d", by)),
        rows(ratio(increase("hits_total", "1d", by), increase("requests_total", "1d", by))),
        rows(total(ours("active_bans"), by)),
        rows(increase("bans_total", "1d", by)),
        rows(f"max by (instance, version) ({ours('build_info')})"),
        names={
            "instance": "Host",
            "Value #A": "Up",
            "Value #B": "Enforcing",
            "Value #C": "Ruleset",
            "Value #D": "Behind",
            "Value #E": "Requests, 24 h",
            "Value #F": "Hits, 24 h",
            "Value #G": "Share, 24 h",
            "Value #H": "Bans that stand",
            "Value #I": "Bans, 24 h",
            "version": "Version",
        },
        hidden=("Value #J",),
        first="Hits, 24 h",
    )
    return _dressed(panel)


def _dressed(panel: Columns) -> Columns:
    for column, bad in (("Up", BAD), ("Enforcing", WARN), ("Ruleset", BAD)):
        panel.override_by_name(column, yes_or_no(bad))
    link = {"title": "${__value.text} in detail", "url": DETAILS}
    return (
        panel.unit(COUNT)
        .decimals(0)
        .override_by_name("Host", [setting("links", [link]), setting("custom.width", 200)])
        .override_by_name("Behind", [setting("unit", "s")])
        .override_by_name("Share, 24 h", [setting("unit", "percentunit"), setting("decimals", 1)])
    )


def _share_by_host() -> Chart:
    by = "instance"
    return lines(
        "Share of requests that are attacks",
        "By host, over time. A host that stays above the others has attackers that bans do not "
        "stop.",
        "percentunit",
        over_time(ratio(rate("hits_total", by), rate("requests_total", by)), "{{instance}}"),
    )


def _bans_by_host() -> Chart:
    return lines(
        "Bans per hour",
        "New bans by host. All hosts at once: one botnet.",
        "suffix:/h",
        over_time(f"{rate('bans_total', 'instance')} * 3600", "{{instance}}"),
    )


def _drops_by_host() -> Chart:
    return lines(
        "Dropped packets",
        "By host. A relative indicator only: most bots stop when they get no answer.",
        "suffix: packets/s",
        over_time(rate("dropped_packets_total", "instance"), "{{instance}}"),
    )
