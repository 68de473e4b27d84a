"""Parts of queries.  Every selector restricts a series to the chosen job and instance.

Nothing here knows a panel.  Only ``of`` and ``ours`` write selectors, so none can lack the
variables of the dashboard.
"""

PREFIX = "xmlrpc_blocker_"
CHOSEN = 'job=~"$job", instance=~"$instance"'
WINDOW = "$__rate_interval"
"""A range that is long enough for a rate at every zoom level."""

OF_LOGS = {
    *("log_lines_total", "requests_total", "hits_total", "ignored_hits_total"),
    *("parse_failures_total", "oversize_lines_total"),
}
FOLLOWED = 'log!="gone"'
"""For counters of logs: `gone` jumps when another log is added to it."""


def of(name: str, *matchers: str) -> str:
    """Select a series of the chosen instances, under any name."""
    return f"{name}{{{', '.join((CHOSEN, *matchers))}}}"


def ours(name: str, *matchers: str) -> str:
    """Select a series of the daemon's own."""
    return of(PREFIX + name, *matchers)


def counted(counter: str) -> str:
    """Select a counter whose growth means that something happened."""
    return ours(counter, FOLLOWED) if counter in OF_LOGS else ours(counter)


def total(what: str, *by: str) -> str:
    """Sum up, by these labels."""
    return f"sum by ({', '.join(by)}) ({what})" if by else f"sum({what})"


def rate(counter: str, *by: str) -> str:
    """Count per second, by these labels."""
    return total(f"rate({counted(counter)}[{WINDOW}])", *by)


def increase(counter: str, window: str, *by: str) -> str:
    """Count within a window, by these labels."""
    return total(f"increase({counted(counter)}[{window}])", *by)


def daily(counter: str, *by: str) -> str:
    """Count within the day that begins then; today's is the count so far."""
    return total(f"increase({counted(counter)}[1d] offset -1d)", *by)


def quantile(share: float, histogram: str, *by: str) -> str:
    """Estimate a quantile of a histogram, by these labels."""
    buckets = rate(f"{histogram}_bucket", *by, "le")
    return f"histogram_quantile({share}, {buckets})"


def ratio(part: str, whole: str) -> str:
    """Divide, where there is something to divide by."""
    return f"{part} / ({whole} > 0)"
