"""The dashboards as files: generated, of Grafana's schema, and by the rules of its linter.

The rules are those that Grafana's dashboard-linter has, in words of our own, and a few more.
"""

import json
import re
import subprocess
import sys

import pytest
import yaml
from jsonschema import Draft7Validator
from monitoring.dashboards import FILES, GRAFANA, load, marks, panels, queries, worded

SCHEMA = json.loads((GRAFANA / "schema/grafana.schema.json").read_text())
OPTIONS = {
    "bargauge": "BarGaugeOptions",
    "stat": "StatOptions",
    "table": "TableOptions",
    "text": "TextOptions",
    "timeseries": "TimeSeriesOptions",
}
CUSTOM = {"table": "TableFieldConfig", "timeseries": "TimeSeriesFieldConfig"}
SELECTOR = re.compile(r"(?<![\w$\"'])([a-z_]\w*)\{([^}]*)\}")
COUNTED = re.compile(r"(\w+)\((\w+_total)\{")
WINDOW = re.compile(r"(\w+)\((\w+)\{[^}]*\}\[([^]]+)\]")
GROUPING = re.compile(r"\b(?:by|on) \([^)]*\)")
NAME = re.compile(r"\b[a-z_]\w*(?!\w)(?!\s*\()")
WORDS = {"and", "offset"}
VALUES = {
    "__rate_interval": "1m", "__range": "1h", "job": "a|b", "instance": "c|d",
}  # fmt: skip

each_dashboard = pytest.mark.parametrize(
    "dashboard", [load(path) for path in FILES], ids=[path.stem for path in FILES]
)


def _faults(schema, tree):
    found = Draft7Validator(SCHEMA[schema]).iter_errors(tree)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def _titles(dashboard, wrong):
    return [panel["title"] for panel in panels(dashboard) if wrong(panel)]


# Where it comes from ---------------------------------------------------------------------------


def test_the_dashboards_are_what_their_source_makes(tmp_path):
    """A change of the source, or of the file, changes both."""
    words = [sys.executable, str(GRAFANA / "source/generate.py"), str(tmp_path)]
    subprocess.run(words, check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in FILES}


def test_the_schema_is_of_the_version_that_is_pinned():
    """What the file was made from stands beside it."""
    package = json.loads((GRAFANA / "schema/package.json").read_text())["devDependencies"]
    locked = json.loads((GRAFANA / "schema/package-lock.json").read_text())["packages"]
    for name, version in package.items():
        assert locked[f"node_modules/{name}"]["version"] == version


# What it looks like ----------------------------------------------------------------------------


@each_dashboard
def test_it_is_of_the_schema_of_grafana(dashboard):
    """Nothing is missing, of a wrong type, or misspelt, in what all dashboards have."""
    assert not _faults("Dashboard", dashboard)


@each_dashboard
def test_its_panels_are_of_the_schema_of_their_kind(dashboard):
    """Neither is it in the options that each kind of panel has of its own."""
    for panel in panels(dashboard):
        kind = panel["type"]
        assert not _faults(OPTIONS[kind], panel["options"]), panel["title"]
        if kind in CUSTOM:
            custom = panel["fieldConfig"]["defaults"]["custom"]
            assert not _faults(CUSTOM[kind], custom), panel["title"]


@each_dashboard
def test_it_can_be_provisioned(dashboard):
    """It has an address of its own, asks for nothing at import, and belongs to its file."""
    assert dashboard["uid"] in {path.stem for path in FILES}
    assert not {"__inputs", "__requires", "id"} & set(dashboard)
    assert 39 <= dashboard["schemaVersion"] <= 42
    assert dashboard["editable"] is False


@each_dashboard
def test_its_panels_neither_overlap_nor_share_a_number(dashboard):
    """Each cell of the grid has one panel at most, and none stands out on the right."""
    everything = dashboard["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken = set()
    for panel in everything:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert x + w <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@each_dashboard
def test_every_panel_says_what_it_is_and_what_to_do(dashboard):
    """A title, and a description in sentences."""
    assert all(panel["title"] for panel in panels(dashboard))
    assert not _titles(dashboard, lambda panel: not panel["description"].endswith((".", "?")))


@each_dashboard
def test_every_panel_has_a_unit(dashboard):
    """Or words instead of its numbers."""

    def bare(panel):
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        return defaults.get("unit") in {None, "", "none"} and not (
            defaults.get("mappings") or panel["options"].get("textMode") == "name"
        )

    assert not _titles(dashboard, lambda panel: panel["type"] != "text" and bare(panel))


# What it asks ----------------------------------------------------------------------------------


@each_dashboard
def test_it_asks_the_chosen_data_source(dashboard):
    """Every panel, query, variable and mark does."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    variables = dashboard["templating"]["list"]
    asking = [
        *(panel for panel in panels(dashboard) if panel["type"] != "text"),
        *(target for panel in panels(dashboard) for target in panel.get("targets", [])),
        *(variable for variable in variables if variable["type"] == "query"),
        *dashboard["annotations"]["list"],
    ]
    assert all(each["datasource"] == chosen for each in asking)


@each_dashboard
def test_its_variables_are_the_usual_ones(dashboard):
    """Data source, job and instance, of which any number or all can be chosen."""
    source, *others = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"], source["label"]) == (
        "datasource", "datasource", "prometheus", "Data source",
    )  # fmt: skip
    assert [(each["name"], each["label"]) for each in others] == [
        ("job", "Job"),
        ("instance", "Instance"),
    ]
    for each in others:
        assert each["type"] == "query"
        assert each["multi"]
        assert each["includeAll"]
        assert each["allValue"] == ".+"
        assert each["refresh"] == 2


@each_dashboard
def test_every_panel_asks_something(dashboard):
    """No panel without a query, no query without words, and each with a letter of its own."""
    for panel in panels(dashboard):
        if panel["type"] != "text":
            letters = [target["refId"] for target in panel["targets"]]
            assert letters, panel["title"]
            assert len(set(letters)) == len(letters), panel["title"]
            assert all(target["expr"] for target in panel["targets"]), panel["title"]


@each_dashboard
def test_every_series_is_of_the_chosen_job_and_instance(dashboard):
    """Two matchers stand in every selector; no metric stands without a selector."""
    for where, expression, *_ in [*queries(dashboard), *marks(dashboard)]:
        rest = GROUPING.sub("", re.sub(r"\[[^]]*\]", "", SELECTOR.sub("", expression)))
        assert set(NAME.findall(rest)) <= WORDS, where
        for _, matchers in SELECTOR.findall(expression):
            assert 'job=~"$job"' in matchers, where
            assert 'instance=~"$instance"' in matchers, where


@each_dashboard
def test_counters_are_shown_as_what_they_grew_by(dashboard):
    """A bare counter says how long a daemon has been running."""
    for where, expression, *_ in queries(dashboard):
        functions = [function for function, _ in COUNTED.findall(expression)]
        assert set(functions) <= {"rate", "irate", "increase"}, where
        assert len(functions) == expression.count("_total{"), where


@each_dashboard
def test_rates_are_taken_over_a_window_that_fits(dashboard):
    """$__rate_interval holds enough samples at any zoom; only an increase may name its window."""
    for where, expression, *_ in queries(dashboard):
        for function, _, window in WINDOW.findall(expression):
            if function in {"rate", "irate"}:
                assert window == "$__rate_interval", where


@each_dashboard
def test_every_query_is_promql(dashboard, tmp_path):
    """Prometheus's own parser takes it, with the variables replaced."""
    asked = [*queries(dashboard), *marks(dashboard)]
    rules = [
        {"record": f"dashboard:query:{n}", "expr": worded(each.expression, VALUES)}
        for n, each in enumerate(asked)
    ]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# What is beside it -----------------------------------------------------------------------------


def test_the_provisioning_leads_to_the_dashboards():
    """Grafana reads them from a directory, and finds the data source that they may choose."""
    provisioning = GRAFANA / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/xmlrpc-blocker.yaml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["path"].startswith("/")
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus"


def test_links_between_the_dashboards_arrive():
    """Every address of a dashboard in a link is one of ours."""
    uids = {path.stem for path in FILES}
    for path in FILES:
        for uid in re.findall(r'"/d/([^?"]+)', path.read_text()):
            assert uid in uids, path.name
