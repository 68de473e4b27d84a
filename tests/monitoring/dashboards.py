"""The dashboards as files, and what they would ask: for tests and for what draws them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
GRAFANA = ROOT / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
EVERYTHING = ".+"
"""What "All" means, in a variable."""


class Query(NamedTuple):
    """One query of a dashboard.

    Attributes:
        where: it stands.
        expression: what is asked, with variables.
        instant: whether it is asked for the end of the range only.
        days: how many it looks back, day by day, for any range of the dashboard; 0 if it does not.
    """

    where: str
    expression: str
    instant: bool
    days: int = 0


def load(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    return json.loads(path.read_text())


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every panel that is not a row, those of folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", [])


def queries(dashboard: dict[str, Any]) -> Iterator[Query]:
    """Yield every query of every panel."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            where = f"{panel['title']} {target['refId']}"
            days = int(panel.get("timeFrom", "0d").removesuffix("d"))
            yield Query(where, target["expr"], target["instant"], days)


def marks(dashboard: dict[str, Any]) -> Iterator[Query]:
    """Yield every query of an annotation."""
    for each in dashboard["annotations"]["list"]:
        yield Query(each["name"], each["expr"], instant=True)


def worded(expression: str, values: Mapping[str, str]) -> str:
    """Return a query with its variables replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expression)


def variables(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the name, series and label of every variable that is asked for."""
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"]["query"])
            series = worded(found[1], {"job": EVERYTHING, "instance": EVERYTHING})
            yield each["name"], series, found[2]
