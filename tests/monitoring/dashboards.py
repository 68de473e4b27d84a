"""The dashboards as files, and what they would ask: for the tests, whatever draws or runs them."""

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
    """One query of a dashboard, and where it stands."""

    where: str
    expression: str
    instant: bool


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
            yield Query(where, target["expr"], target.get("instant", False))


def marks(dashboard: dict[str, Any]) -> Iterator[Query]:
    """Yield every query of an annotation."""
    for each in dashboard["annotations"]["list"]:
        yield Query(each["name"], each["expr"], instant=True)


def worded(expression: str, values: Mapping[str, str]) -> str:
    """Replace the variables in a query, as Grafana does."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expression)
