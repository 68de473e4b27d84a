"""Log lines of bans and advice: what is logged, how often, and what stays a problem."""

import pytest

from blocker.config.schema import TrapConfig
from blocker.engine.announce import MAX_BAN_LINES, Announcer
from blocker.engine.batch import NewBan
from blocker.engine.enforcer import Enforcer
from blocker.engine.orders import Order, Outcome
from blocker.engine.targets import requested_target
from blocker.friends.friends import Friends
from blocker.judging.judge import REACH, Judge
from blocker.judging.limits import Limits
from blocker.model import Ban, Hit
from blocker.times import DAY, HOUR, SECOND

NOW = 1_773_144_000_000_000
WHO = bytes([198, 51, 100, 66])


class Desk:
    """An announcer with a real judge, of a daemon that enforces nothing, and a clock."""

    def __init__(self):
        self.now = NOW
        friends = Friends.build(lists={})
        self.judge = Judge([("xmlrpc", TrapConfig())], Limits(90 * DAY), friends.why)
        self.enforcer = Enforcer(None, friends, lambda: self.now)
        self.announcer = Announcer(self.judge, self.enforcer, lambda: self.now, 64)

    def problems(self):
        return self.announcer.conditions.texts(self.now)


@pytest.fixture
def desk(caplog):
    caplog.set_level("INFO")
    return Desk()


def new(number, until=NOW + HOUR):
    ban = Ban(bytes([198, 18, number >> 8, number & 255]), "xmlrpc", NOW, until, 3, 1)
    return NewBan(ban, "/var/log/access.log", 0.0)


def events(caplog):
    """Return the names of the events that were logged, and forget them."""
    found = [record.__dict__.get("event", record.getMessage()) for record in caplog.records]
    messages = list(caplog.messages)
    caplog.clear()
    return messages or found


def test_of_many_bans_a_hundred_get_a_line(desk, caplog):
    """And the others are one line with their number: a flood does not fill the journal."""
    desk.announcer.bans([new(n) for n in range(MAX_BAN_LINES + 50)])
    said = events(caplog)
    assert len(said) == MAX_BAN_LINES + 1
    assert "50 more" in said[-1]


def test_a_ban_of_a_dry_run_is_logged_as_one(desk, caplog):
    """One that is over says that as well."""
    desk.announcer.bans([new(1), new(2, until=NOW)])
    first, second = events(caplog)
    assert first.startswith("would ban ")
    assert second.startswith("past attack recorded")


def test_a_network_by_hand_is_one_line(desk, caplog):
    """With how many of its addresses were banned, and why."""
    order = Order(desk.judge.bans, Friends.build(lists={}), 64, NOW, HOUR)
    outcome = order.add(requested_target("198.51.100.64/30", 64))
    desk.announcer.bans_by_hand([outcome], order, "asked to")
    (said,) = events(caplog)
    assert "198.51.100.64/30" in said
    assert "4" in said


def test_an_unban_that_changed_nothing_is_not_logged(desk, caplog):
    """Others are, each in its line."""
    desk.announcer.unbans([Outcome("198.51.100.66", 1), Outcome("198.51.100.67")])
    (said,) = events(caplog)
    assert "198.51.100.66" in said


def test_a_proxy_in_the_log_is_logged_hourly_and_stays_a_problem_while_it_is_seen(desk, caplog):
    """Hits of the host itself or of an allowed address need no advice."""
    desk.announcer.proxy("allow", WHO)
    assert events(caplog) == desk.problems() == []
    for minute in range(0, 150, 10):
        desk.now = NOW + minute * 60 * SECOND
        desk.announcer.proxy("private", bytes([10, 0, 0, 5]))
        assert len(desk.problems()) == 1
    assert len(events(caplog)) == 3
    desk.now += HOUR
    assert desk.problems() == []


def test_bans_that_do_not_reach_are_logged_after_a_minute(desk, caplog):
    """Counted from the kernel's acknowledgement, where that is known."""
    hit = Hit(NOW, WHO, 0, 200, 0)
    desk.judge.judge([hit] * 3, NOW)
    desk.judge.reach_since = NOW
    desk.announcer.acknowledged([WHO])
    desk.judge.judge([hit._replace(time=NOW + REACH)], NOW + REACH)
    assert desk.announcer.unreached() == 0
    desk.judge.judge([hit._replace(time=NOW + REACH + 1)], NOW + REACH)
    assert desk.announcer.unreached() == 1
    assert desk.announcer.unreached() == 0
    (said,) = events(caplog)
    assert "198.51.100.66" in said
    assert desk.problems() == [said]


def test_an_acknowledgement_is_forgotten_when_the_clock_is_set(desk):
    """Then the start of the ban counts."""
    hit = Hit(NOW, WHO, 0, 200, 0)
    desk.judge.judge([hit] * 3, NOW)
    desk.judge.reach_since = NOW
    desk.now = NOW + DAY
    desk.announcer.acknowledged([WHO])
    desk.announcer.forget_acknowledged()
    desk.now = NOW + HOUR
    desk.judge.judge([hit._replace(time=NOW + HOUR)], NOW + HOUR)
    assert desk.announcer.unreached() == 1


def test_rows_that_were_mended_are_reported_by_table(desk, caplog):
    """And are a problem for an hour."""
    desk.announcer.mended("/state.db", {"bans": 3, "counters": 1})
    (said,) = events(caplog)
    assert said.startswith("/state.db: 3 rows of bans and 1 row of counters held values")
    assert desk.problems() == [said]
