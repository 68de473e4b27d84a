"""What a real Prometheus answers to the queries of a dashboard."""

import math

from monitoring.dashboards import EVERYTHING, Query, worded
from monitoring.scene import DAY, Prometheus

SCRAPED = 1.0
"""How often the Prometheus of a scene asks."""


Series = list[tuple[float, float]]
"""Times, and the numbers then."""


def answers(watcher: Prometheus, query: Query, seconds: float, now: float) -> list[Series]:
    """Ask a query about the last seconds, as a dashboard does; return the numbers of each series.

    An error or a warning of Prometheus is a failure.
    """
    values = {
        "__rate_interval": f"{4 * SCRAPED:.0f}s", "__range": f"{seconds:.0f}s",
        "job": EVERYTHING, "instance": EVERYTHING,
    }  # fmt: skip
    expression = worded(query.expression, values)
    if query.instant:
        found = [[(now, each.value)] for each in watcher.query(expression, time=now)]
    else:
        step = DAY if query.days else SCRAPED
        end = now // step * step
        start = end - (query.days * DAY if query.days else seconds)
        series = watcher.query_range(expression, start, end, step)
        found = [[(at, float(value)) for at, value in each["values"]] for each in series]
    return [[(at, value) for at, value in each if math.isfinite(value)] for each in found]
