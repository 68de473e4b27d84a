"""The rules are clean, tested in both directions, explained, and alive against a real daemon."""

import re
import shlex
import subprocess

import pytest
import yaml
from monitoring.scene import RULES

from blocker.cli.main import build_parser

ROOT = RULES.parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
TESTS = sorted(RULES.parent.glob("*.test.yaml"))
UNIT_TESTS = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
RULES_READ = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES_READ if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES_READ if "record" in rule}
SELECTOR = re.compile(
    r"\b(?:(?:instance:)?xmlrpc_blocker_[a-z0-9_:]+|up(?=\{)|process_[a-z_]+)(?:\{[^}]*\})?"
)
SELECTORS = {each for rule in RULES_READ for each in SELECTOR.findall(rule["expr"])}
P = "xmlrpc_blocker_"
HEADINGS = [
    "## What it means", "## What is at stake", "## How to look", "## How to mend",
    "## When to ignore it",
]  # fmt: skip


def promtool(*words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


# What is written -------------------------------------------------------------------------------


def test_promtool_has_nothing_to_say():
    """Rules and scrape configuration pass every check that Prometheus's own tool has."""
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert code == 0, said
    code, said = promtool("check", "config", "--lint=all", str(RULES.parent / "scrape.yaml"))
    assert code == 0, said


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_unit_tests_hold(path):
    """Each alert fires and is quiet when its unit tests say, with the words that they say."""
    code, said = promtool("test", "rules", str(path))
    assert code == 0, said


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tested_in_both_directions(name):
    """For each alert there is a unit test in which it fires and one in which it is quiet."""
    cases = [each for test in UNIT_TESTS for each in test.get("alert_rule_test", [])]
    fires = {bool(each["exp_alerts"]) for each in cases if each["alertname"] == name}
    assert fires == {True, False}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_the_matter(name):
    """Severity, a summary that is a sentence, a description that names who has it."""
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"[A-Z][^{}]+\.", notes["summary"])
    assert re.search(r"\{\{ \$labels\.(instance|job) \}\}", notes["description"])


def test_all_runbooks_have_one_beginning():
    """The links differ in the page only, so that one replacement leads them elsewhere."""
    beginnings = set()
    for name, rule in ALERTS.items():
        beginning, page = rule["annotations"]["runbook_url"].rsplit("/", 1)
        assert page == f"{name}.md"
        beginnings.add(beginning)
    assert len(beginnings) == 1


def test_every_alert_has_its_runbook_and_no_other_is_there():
    """docs/runbooks holds a page for each alert."""
    assert {path.stem for path in RUNBOOKS.glob("Xmlrpc*.md")} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_answers_the_same_questions(name):
    """Title, severity, and the five sections, in order."""
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n\n*{ALERTS[name]['labels']['severity']}*: ")
    assert re.findall(r"^## .*", text, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_names_real_commands(name):
    """Each command of ours that a runbook asks for exists, with the options that it is given."""
    text = (RUNBOOKS / f"{name}.md").read_text()
    for words in re.findall(r"^[#$] (?:.*\| )?xmlrpc-blocker ([^|\n]+)", text, re.MULTILINE):
        build_parser().parse_args(shlex.split(words))


# What is alive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        f"sum(increase({P}hits_total[1m])) > 60",
        f"sum(increase({P}requests_total[1m])) > sum(increase({P}hits_total[1m]))",
        f"sum(increase({P}parse_failures_total[1m])) > 0",
        f'{P}active_bans{{family="ipv4"}} > 1',
        f'{P}active_bans{{family="ipv6"}} > 1',
        f'increase({P}dropped_packets_total{{family="ipv4"}}[1m]) > 0',
        f'increase({P}dropped_packets_total{{family="ipv6"}}[1m]) > 0',
        f"{P}repeat_offenders > 3",
        f"count({P}log_up == 1) == 2",
        f"sum({P}log_lag_bytes) == 0",
    ],
)
def test_prometheus_sees_the_attack(watched, expression):
    """Hits among requests, bans of both families, drops, and offenders that came back."""
    assert watched.prometheus.query(expression)


@pytest.mark.parametrize("selector", sorted(SELECTORS))
def test_all_that_a_rule_asks_for_is_there(watched, selector):
    """Every metric, with the labels that a rule selects, has series under a real attack."""
    assert watched.prometheus.query(selector)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_is_recorded_has_a_value(watched, name):
    """A recording rule has an answer for the daemon, with the labels of its target alone."""
    (sample,) = watched.prometheus.until(name)
    assert set(sample.labels) == {"__name__", "job", "instance"}
    assert sample.value >= 0


PROMQL = [
    (name, query.strip())
    for name in ALERTS
    for query in re.findall(
        r"```promql\n(.*?)```", (RUNBOOKS / f"{name}.md").read_text(), re.DOTALL
    )
]


@pytest.mark.parametrize(("name", "query"), PROMQL)
def test_what_a_runbook_asks_prometheus_is_answered(watched, name, query):
    """The queries of the runbooks are right, and answer unless they ask for what is wrong."""
    asked = re.sub(r" (==|>) [0-9]+$", "", query)
    assert watched.prometheus.query(query) or asked != query
    assert watched.prometheus.query(asked)


def test_every_rule_is_evaluated_without_error(watched):
    """Prometheus itself finds each rule healthy."""
    found = watched.prometheus.rules()
    assert len(found) == len(RULES_READ)
    assert {
        rule["name"]: rule.get("lastError", "") for rule in found if rule["health"] != "ok"
    } == {}


def test_an_attack_alone_is_no_alarm(watched):
    """A daemon that stops an attack as it should raises no alert at night."""
    assert watched.prometheus.alerts(state="firing") == []
