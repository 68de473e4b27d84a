"""Positions of panels, and what every dashboard has: variables, links, annotations, rows.

The grid is 24 wide.  A line is filled from the left, and its panels have the same height.
"""

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from panels import SOURCE, board
from words import PREFIX

WIDTH = 24
SCHEMA = 41
FOREIGN = {"auto", "auto_count", "auto_min", "footer"}
"""Of interval variables, and of tables before Grafana 12."""
TAG = "xmlrpc-blocker"
Placed = tuple[int, Builder[dashboard.Panel]]
"""A width, and what has it."""


class Board:
    """A dashboard that grows line by line, downwards.

    Args:
        uid: its address in Grafana; never changes.
        title: its name.
        description: what it answers.
        since: the range that it opens with.
    """

    def __init__(self, uid: str, title: str, description: str, since: str) -> None:
        self.uid = uid
        self._panels: list[dashboard.Panel | dashboard.RowPanel] = []
        self._y = 0
        self._board = (
            board.Dashboard(title)
            .uid(uid)
            .description(description)
            .tags([TAG])
            .time(since, "now")
            .refresh("1m")
            .timezone("browser")
            .readonly()
            .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        )

    def row(self, title: str) -> None:
        """Begin a row of the dashboard."""
        place = dashboard.GridPos(x=0, y=self._y, w=WIDTH, h=1)
        self._panels.append(dashboard.RowPanel(title=title, id_val=self._id(), grid_pos=place))
        self._y += 1

    def line(self, height: int, *placed: Placed) -> None:
        """Put panels side by side; together they are as wide as the grid."""
        x = 0
        for width, builder in placed:
            panel = builder.build()
            panel.id_val = self._id()
            panel.grid_pos = dashboard.GridPos(x=x, y=self._y, w=width, h=height)
            self._panels.append(panel)
            x += width
        if x != WIDTH:
            raise ValueError(f"the line at {self._y} is {x} wide; it must be {WIDTH}")
        self._y += height

    def _id(self) -> int:
        return len(self._panels) + 1

    def variables(self, instance: str) -> None:
        """Add the variables: data source, job, and its instances."""
        source = board.DatasourceVariable("datasource").label("Data source").type("prometheus")
        self._board.variables([source, _variable("job"), _variable("instance", instance)])

    def links(self, *links: board.DashboardLink) -> None:
        """Set the links above."""
        self._board.links(list(links))

    def marks(self, *marks: board.AnnotationQuery) -> None:
        """Set the annotations of every chart."""
        self._board.annotations(list(marks))

    def render(self) -> str:
        """Return it as Grafana reads it."""
        whole = self._board.build()
        whole.panels = self._panels
        whole.schema_version = SCHEMA
        plain = json.loads(json.dumps(whole, cls=JSONEncoder))
        return json.dumps(_tidy(plain), indent=2, ensure_ascii=False) + "\n"


def _tidy(tree: Any) -> Any:
    """Drop what Grafana's schema lacks, and what hides links and annotations in a menu."""
    if isinstance(tree, dict):
        return {
            key: _tidy(value)
            for key, value in tree.items()
            if key not in FOREIGN and value != "inControlsMenu"
        }
    return [_tidy(each) for each in tree] if isinstance(tree, list) else tree


def _variable(label: str, matcher: str = "") -> board.QueryVariable:
    selector = f"{PREFIX}build_info{{{matcher}}}" if matcher else f"{PREFIX}build_info"
    asked = f"label_values({selector}, {label})"
    return (
        board.QueryVariable(label)
        .label(label.capitalize())
        .datasource(SOURCE)
        .query({"query": asked, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )


def mark(title: str, moment: str, color: str, *, shown: bool = True) -> board.AnnotationQuery:
    """Annotate the times in a series, seconds since 1970, for each instance."""
    asked = f"max by (instance) ({moment}) * 1000 > 0"
    return (
        board.AnnotationQuery()
        .name(title)
        .datasource(SOURCE)
        .enable(shown)
        .icon_color(color)
        .expr(asked)
        .title_format(title)
        .text_format("{{instance}}")
        .step("60s")
        .use_value_for_time(True)
    )


def other(title: str, uid: str, tooltip: str) -> board.DashboardLink:
    """Link to another dashboard of ours, with the same range and data source."""
    return (
        board.DashboardLink(title)
        .type(dashboard.DashboardLinkType.LINK)
        .url(f"/d/{uid}?${{datasource:queryparam}}")
        .icon("dashboard")
        .tooltip(tooltip)
        .keep_time(True)
    )


def filled(width: int, panels: Sequence[Builder[dashboard.Panel]]) -> list[Placed]:
    """Give each panel of a line the same width."""
    return [(width, panel) for panel in panels]
