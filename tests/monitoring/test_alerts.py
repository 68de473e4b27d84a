"""Every alert fires against its fault made real, for that daemon alone, and goes quiet when mended.

The rules are those that are shipped, with one change to a copy of them: durations are shortened as
``quicker`` says, because no test can take a week.
The expressions, the faults, the daemons and Prometheus are the real ones.
"""

import contextlib
import time

import pytest
import yaml
from monitoring.quicker import quicker
from monitoring.scene import PAUSE, RULES, prometheus
from monitoring.stories import FAULTS, row
from support.namespaces import WHY_NOT, namespace, permitted

COMMON = "XmlrpcBlocker"
WAIT = 60.0
FIRED = 'max_over_time(ALERTS{alertstate="firing",instance!=""}[10m])'
ASIDE = {
    "flooded": {"LogSilent"},
    "seized_table": {"Unprotected"},
    "full_set": {"OffendersSurge"},
    "too_many_remembered": {"OffendersSurge"},
}
"""What may fire as well: silence follows a flood, a gap is reported when it ends, and an hour that
takes 20 s makes a surge of any bans which a busy machine comes to after that time."""
MENDED = {
    "Down", "ReloadFailed", "StoreNotWritable", "RulesetMissing", "KernelRefusing",
    "SetNearlyFull", "DryRunForgotten", "LogUnreadable", "NoLog", "LogStalled",
}  # fmt: skip


@pytest.fixture(scope="module")
def home():
    """A namespace for daemons and Prometheus."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with namespace() as made:
        yield made


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """A quicker copy of the rules."""
    path = tmp_path_factory.mktemp("rules") / "quicker.rules.yaml"
    path.write_text(quicker(RULES.read_text()))
    return path


def fired(watcher, houses):
    """Return which alerts have ever fired, by the name of the daemon."""
    names = {house.instance: name for name, house in houses.items()}
    found = {name: set() for name in houses}
    for each in watcher.query(FIRED):
        alert = each.labels["alertname"].removeprefix(COMMON)
        found[names[each.labels["instance"]]].add(alert)
    return found


@pytest.fixture(scope="module")
def bad_day(home, rules, tmp_path_factory):
    """All faults made, then mended: what fired, and what did not go quiet."""
    directory = tmp_path_factory.mktemp("row")
    with (
        row(home, directory) as houses,
        prometheus(
            home, directory, [rules], [house.instance for house in houses.values()]
        ) as watcher,
    ):
        watcher.until_scraped(len(houses))
        with contextlib.ExitStack() as faults:
            for each in FAULTS:
                story = contextlib.contextmanager(each.story)
                faults.enter_context(story(houses[each.name], watcher))
            until = time.monotonic() + WAIT
            while (seen := fired(watcher, houses)) and time.monotonic() < until:
                if all(each.alerts <= seen[each.name] for each in FAULTS):
                    break
                time.sleep(PAUSE)
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            left = {each["labels"]["alertname"].removeprefix(COMMON) for each in watcher.alerts()}
            if not left & MENDED:
                break
            time.sleep(PAUSE)
        yield seen, left


CASES = [(alert, each.name) for each in FAULTS for alert in sorted(each.alerts)]


@pytest.mark.parametrize(("alert", "name"), CASES)
def test_the_alert_fires(bad_day, alert, name):
    """The fault made real makes the alert fire for the daemon that has it."""
    seen, _ = bad_day
    assert alert in seen[name]


@pytest.mark.parametrize("each", FAULTS, ids=lambda each: each.name)
def test_no_other_alert_fires(bad_day, each):
    """A fault makes its own alerts fire, and no others."""
    seen, _ = bad_day
    assert seen[each.name] <= each.alerts | ASIDE.get(each.name, set())


@pytest.mark.parametrize("alert", sorted(MENDED))
def test_the_alert_goes_quiet(bad_day, alert):
    """Once the fault is mended, the alert is over."""
    _, left = bad_day
    assert alert not in left


def test_a_prometheus_that_watches_no_daemon_says_so(netns, rules, tmp_path):
    """Without a target of that job the alert about that fires, and it alone."""
    with prometheus(netns, tmp_path, [rules], []) as watcher:
        watcher.until_firing(f"{COMMON}Absent")
        assert {each["labels"]["alertname"] for each in watcher.alerts()} == {f"{COMMON}Absent"}


def test_every_alert_has_its_fault():
    """No alert is left that was never seen to fire."""
    names = {
        rule["alert"].removeprefix(COMMON)
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert names == {alert for alert, _ in CASES} | {"Absent"}
