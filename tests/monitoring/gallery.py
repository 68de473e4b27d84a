"""Plays an attack, runs every query of the dashboards, and draws them: ``make dashboards``.

    python -m monitoring.gallery PAGE PICTURES SECONDS

The pictures are drawn with Grafana's UI library, not by Grafana.  It fails where a query is not
answered, or a panel is not drawn.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from monitoring.answers import SCRAPED, answers
from monitoring.chromium import Page, chromium
from monitoring.dashboards import EVERYTHING, FILES, load, marks, queries
from monitoring.play import Play, perform, stage
from monitoring.scene import PORT

CELL = 38
"""A line of the grid, in pixels; the page has the same."""
WIDTH = 1440
OVERTURE = 6
"""So many seconds of the play are of what was before it, and are not shown."""
HOST = "web1.*"
"""Whom the dashboard of a host shows."""
TOGETHER = 2
"""So many of its rows are one picture, the first."""


def main(page: Path, pictures: Path, seconds: float) -> int:
    """Play, ask, draw; return how much is wrong."""
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="play-") as name, stage(Path(name)) as play:
        print(f"playing an attack for {seconds:.0f} s", flush=True)
        perform(play, seconds)
        play.prometheus.until_scraped(len(play.hosts))
        now, shown = time.time(), seconds - OVERTURE
        wrong = ask(play, shown, now)
        with chromium(play.network.server, Path(name) / "chromium") as drawing:
            for path in FILES:
                drawing.open(page / "page.html", WIDTH, height(load(path)))
                wrong += draw(drawing, path, pictures, shown, now)
    print("every query answered, every panel drawn" if not wrong else f"{wrong} wrong")
    return wrong


def ask(play: Play, seconds: float, now: float) -> int:
    """Run every query; return how many are answered with nothing."""
    wrong = 0
    for path in FILES:
        dashboard = load(path)
        asked = [*queries(dashboard), *marks(dashboard)]
        message = {query.where: answers(play.prometheus, query, seconds, now) for query in asked}
        empty = [where for where, series in message.items() if not any(series)]
        points = sum(len(each) for series in message.values() for each in series)
        print(f"{path.stem}: {len(asked)} queries, {points} points, {len(empty)} empty")
        for where in empty:
            print(f"  nothing: {where}")
        wrong += len(empty)
    return wrong


def draw(drawing: Page, path: Path, pictures: Path, seconds: float, now: float) -> int:
    """Draw a dashboard into pictures; return how many panels are not as they should be."""
    dashboard = load(path)
    scene = {
        "prometheus": f"http://127.0.0.1:{PORT}",
        "now": now, "range": seconds, "scrape": SCRAPED,
        "instance": HOST if rows(dashboard) else EVERYTHING,
    }  # fmt: skip
    fates = drawing.evaluate(f"draw({json.dumps(dashboard)}, {json.dumps(scene)})")
    wrong = [fate for fate in fates if fate["state"] != "ok"]
    print(f"{path.stem}: {len(fates)} panels drawn, {len(fates) - len(wrong)} ok")
    for fate in wrong:
        print(f"  {fate['title']}: {fate['state']} {fate['words']}")
    for name, top, bottom in parts(dashboard):
        (pictures / f"{name}.png").write_bytes(drawing.picture(0, top, WIDTH, bottom - top))
    return len(wrong)


def rows(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a dashboard."""
    return [panel for panel in dashboard["panels"] if panel["type"] == "row"]


def height(dashboard: dict[str, Any]) -> int:
    """Return how high it is: tables draw only what is within the window."""
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    return CELL * max(place["y"] + place["h"] for place in places)


def parts(dashboard: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return the name, top and bottom of each picture: some rows, or all if there are none."""
    tops = [row["gridPos"]["y"] * CELL for row in rows(dashboard)]
    names = [row["title"].split()[0].lower() for row in rows(dashboard)]
    if not names:
        return [("fleet", 0, height(dashboard))]
    edges = [0, *tops[TOGETHER:], height(dashboard)]
    called = ["dashboard", *(f"dashboard-{name}" for name in names[TOGETHER:])]
    return list(zip(called, edges, edges[1:], strict=False))


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])) else 0)
