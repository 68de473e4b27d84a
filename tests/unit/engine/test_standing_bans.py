"""Standing bans: memory and counts change together."""

import asyncio

import pytest

from blocker.config.schema import TrapConfig
from blocker.engine.standing_bans import StandingBans
from blocker.friends.friends import Friends
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.model import Hit
from blocker.times import DAY, HOUR, SECOND

NOW = 1_773_144_000_000_000
WHO, SIX = bytes([198, 51, 100, 66]), bytes.fromhex("20010db800010002") + bytes(8)


class Bans(StandingBans):
    """With a clock that is set, and the judge at hand."""

    def __init__(self):
        friends = Friends.build(lists={}, allow=("192.0.2.7",))
        self.judge = Judge([("xmlrpc", TrapConfig())], Limits(90 * DAY), friends.why)
        self.now = NOW
        super().__init__(self.judge, friends, lambda: self.now, 64)

    def standing(self):
        """Return how many bans stand, by family, and how many come back."""
        return (*self.active.count(self.now), self.repeat_offenders)


@pytest.fixture
def bans():
    return Bans()


def test_bans_of_the_judge_are_counted(bans):
    """A second ban of a subject makes a repeat offender of it, once."""
    for at in (0, 2 * DAY, 4 * DAY):
        bans.now = NOW + at
        made = bans.judge.judge([Hit(bans.now, WHO, 0, 200, 0)] * 3).bans
        bans.count(made)
    assert bans.standing() == (1, 0, 1)
    assert bans.stands(WHO)
    bans.now += 2 * DAY
    assert bans.standing() == (0, 0, 1)
    assert not bans.stands(WHO)


def test_a_ban_that_was_not_judged_takes_the_place_of_a_standing_one(bans):
    """The subject counts once."""
    bans.add(WHO, NOW, NOW + HOUR)
    bans.add(WHO, NOW, NOW + DAY)
    bans.add(SIX, NOW, NOW + HOUR)
    assert bans.standing() == (1, 1, 1)
    bans.now += 2 * HOUR
    assert bans.standing() == (1, 0, 1)


def test_a_ban_that_is_made_longer_counts_until_its_new_end(bans):
    """And one that was ended counts no longer."""
    bans.add(WHO, NOW, NOW + HOUR)
    bans.extend(WHO, NOW + DAY)
    bans.now += 2 * HOUR
    assert bans.standing() == (1, 0, 0)
    bans.end(WHO, bans.now)
    assert bans.standing() == (0, 0, 0)
    assert not bans.stands(WHO)


def test_a_subject_that_is_forgotten_leaves_no_count_behind(bans):
    """Neither among the standing bans nor among those that come back."""
    bans.add(WHO, NOW, NOW + HOUR)
    bans.add(WHO, NOW, NOW + DAY)
    assert bans.forget(WHO)
    assert bans.standing() == (0, 0, 0)
    assert not bans.forget(WHO)


def test_friends_may_not_be_banned(bans):
    """An allowed address, for one; a network that holds one may."""
    assert not bans.may_be_banned(bytes([192, 0, 2, 7]))
    assert bans.may_be_banned(WHO)


def test_a_recount_finds_what_was_counted(bans, monkeypatch):
    """A ban that begins ahead of the clock is set back to it, as long as it was."""
    monkeypatch.setattr("blocker.engine.standing_bans.EXPIRE_SLICE", 1)
    bans.add(WHO, NOW, NOW + HOUR)
    bans.add(SIX, NOW + DAY, NOW + DAY + HOUR)
    asyncio.run(bans.recount(NOW))
    assert bans.standing() == (1, 1, 0)
    assert bans.judge.bans.active(SIX, NOW) == (NOW, NOW + HOUR)


def test_the_pages_for_the_kernel_hold_each_standing_ban_once(bans, monkeypatch):
    """With its end, and none that is over."""
    monkeypatch.setattr("blocker.engine.standing_bans.RESTORE_CHUNK", 2)
    subjects = [bytes([198, 18, 0, number]) for number in range(5)]
    for number, who in enumerate(subjects):
        bans.add(who, NOW, NOW + number * SECOND)

    async def read():
        return [page async for page in bans.pages()]

    pages = asyncio.run(read())
    assert max(map(len, pages)) <= 2
    dues = [due for page in pages for due in page]
    assert dues == [(who, NOW + n * SECOND) for n, who in enumerate(subjects) if n]
