"""Every query of the dashboards, run by a real Prometheus that watches daemons under attack."""

import time

import pytest
from monitoring.answers import Series, answers
from monitoring.dashboards import FILES, load, marks, queries, variables
from monitoring.play import ENFORCED, perform, stage
from monitoring.scene import DAY
from support.namespaces import WHY_NOT, permitted

SECONDS = 12.0

each_dashboard = pytest.mark.parametrize(
    "dashboard", [load(path) for path in FILES], ids=[path.stem for path in FILES]
)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A play that is over, and when it was."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with stage(tmp_path_factory.mktemp("play")) as play:
        perform(play, SECONDS)
        play.prometheus.until_scraped(len(play.hosts))
        yield play, time.time()


@each_dashboard
def test_every_query_is_answered(played, dashboard):
    """No error, no warning, and at least one number for each; the marks too."""
    play, now = played
    asked = [*queries(dashboard), *marks(dashboard)]
    message = {each.where: answers(play.prometheus, each, SECONDS, now) for each in asked}
    assert [where for where, series in message.items() if not any(series)] == []


@each_dashboard
def test_every_variable_has_values(played, dashboard):
    """Job and instance can be chosen."""
    play, _ = played
    for name, series, label in variables(dashboard):
        assert play.prometheus.ask(f"label/{label}/values", **{"match[]": series}), name


@pytest.fixture
def message(played):
    """What a panel of the host's dashboard is answered with, by its title and a letter."""
    play, now = played
    (dashboard,) = [load(path) for path in FILES if path.stem == "xmlrpc-blocker"]
    asked = {query.where: query for query in queries(dashboard)}

    def tell(where) -> Series:
        (series,) = answers(play.prometheus, asked[where], SECONDS, now)
        return series

    return tell


def test_the_chart_of_months_falls_when_enforcing_begins(played, message):
    """Backfilled days and today's are one row of bars: high before, low since, none missing."""
    _, now = played
    today = now // DAY * DAY
    bars = message("Share of requests that are attacks, by day A")
    days = {round((today - at) / DAY): value for at, value in bars}
    assert set(days) == set(range(181))
    before = [value for back, value in days.items() if back > ENFORCED]
    since = [value for back, value in days.items() if 0 < back < ENFORCED]
    assert min(before) > max(since)
    for letter, bars in (("A", before), ("B", since)):
        ((_, share),) = message(f"Before and since {letter}")
        assert min(bars) < share < max(bars)
