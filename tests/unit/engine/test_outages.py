"""Outages of the ruleset: their total, and their log lines."""

from blocker.engine.outages import Outages
from blocker.times import SECOND

NOW = 1_773_144_000_000_000


def names(caplog):
    """Return the messages that were logged since the last call."""
    found = list(caplog.messages)
    caplog.clear()
    return found


def test_an_outage_lasts_from_its_notice_to_its_repair(caplog):
    """A second notice of the same outage changes nothing, and logs nothing."""
    caplog.set_level("INFO")
    outages = Outages()
    outages.begin(NOW)
    assert len(names(caplog)) == 1
    outages.begin(NOW + SECOND)
    assert (outages.since, outages.total, names(caplog)) == (NOW, 0, [])
    outages.end(NOW + 1_500_000)
    (message,) = names(caplog)
    assert "1.500 s" in message
    assert (outages.since, outages.total) == (0, 1_500_000)


def test_a_ruleset_that_was_there_all_the_time_has_no_outage(caplog):
    """Neither counted nor logged."""
    outages = Outages()
    outages.end(NOW)
    assert (outages.total, names(caplog)) == (0, [])


def test_outages_add_up(caplog):
    """One that ends before it began, by a clock that was set back, counts nothing."""
    outages = Outages()
    for begin, end in ((NOW, NOW + 7), (NOW + 100, NOW + 50), (NOW + 200, NOW + 210)):
        outages.begin(begin)
        outages.end(end)
    assert outages.total == 17
