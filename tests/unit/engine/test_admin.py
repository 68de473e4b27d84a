"""Orders of an administrator: what they change in memory and store, and what they answer."""

import pytest
from support.backlog import Backlog, hits, now
from support.loops import on_uvloop

from blocker.engine.admin import Admin
from blocker.engine.targets import requested_target
from blocker.errors import FriendError, UnchangedError
from blocker.times import DAY, HOUR, SECOND

WHO, OTHER = bytes([198, 51, 100, 66]), bytes([198, 51, 100, 67])


def with_admin(directory, scenario):
    """Run a scenario with an administration, and its engine that enforces nothing."""

    async def run():
        backlog = await Backlog(directory).begin()
        try:
            return await scenario(Admin(backlog.engine.parts), backlog)
        finally:
            await backlog.close()

    return on_uvloop(run())


def targets(*texts):
    return [requested_target(text, 64) for text in texts]


def test_a_ban_by_hand_is_stored_when_it_is_answered(tmp_path):
    """With its reason, for at least as long as was asked for."""

    async def scenario(admin, backlog):
        outcomes = await admin.ban_targets(targets("198.51.100.66"), HOUR, "asked to")
        (row,) = backlog.engine.store.standing(now())
        return outcomes, row, dict(backlog.engine.ledger.counters)

    (outcome,), row, counters = with_admin(tmp_path, scenario)
    assert (outcome.changed, outcome.error) == (1, None)
    assert (row.ban.subject, row.ban.trap, row.reason) == (WHO, "manual", "asked to")
    assert row.ban.until >= now() + HOUR - 10 * SECOND
    assert counters["", "bans:manual"] == 1


def test_what_is_refused_of_an_order_does_not_hold_up_the_rest(tmp_path):
    """A friend is refused, and so is a ban that is no longer than the standing one."""

    async def scenario(admin, backlog):
        await admin.ban(WHO, DAY)
        named = targets("127.0.0.1", "198.51.100.66", "198.51.100.67")
        outcomes = await admin.ban_targets(named, HOUR)
        return outcomes, set(backlog.engine.judge.bans.subjects())

    outcomes, banned = with_admin(tmp_path, scenario)
    assert [type(each.error) for each in outcomes] == [FriendError, UnchangedError, type(None)]
    assert banned == {WHO, OTHER}


def test_a_longer_ban_replaces_the_standing_one(tmp_path):
    """It is one ban still, which is counted once."""

    async def scenario(admin, backlog):
        await admin.ban(WHO, HOUR)
        await admin.ban(WHO, DAY)
        engine = backlog.engine
        return engine.store.standing(now()), engine.bans.active.count(now()), engine.ledger.counters

    (row,), active, counters = with_admin(tmp_path, scenario)
    assert row.ban.until > now() + DAY - HOUR
    assert active == (1, 0)
    assert counters["", "renewals"] == 1


def test_a_network_is_banned_and_unbanned_address_by_address(tmp_path):
    """In one transaction each."""

    async def scenario(admin, backlog):
        network = targets("198.51.100.64/30")
        (banned,) = await admin.ban_targets(network, HOUR)
        stored = {row.ban.subject[3] for row in backlog.engine.store.standing(now())}
        (unbanned,) = await admin.unban_targets(network)
        return banned.changed, stored, unbanned.changed, backlog.engine.store.standing(now())

    assert with_admin(tmp_path, scenario) == (4, {64, 65, 66, 67}, 4, [])


def test_an_unban_of_who_is_not_banned_changes_nothing(tmp_path):
    """It says so, and counts nothing."""

    async def scenario(admin, backlog):
        with pytest.raises(UnchangedError, match=r"198\.51\.100\.66 is not banned"):
            await admin.unban(WHO)
        return backlog.engine.ledger.counters["", "unbans"]

    assert with_admin(tmp_path, scenario) == 0


def test_unbanning_all_ends_every_ban_and_returns_their_number(tmp_path):
    """In memory and in the store."""

    async def scenario(admin, backlog):
        await admin.ban(WHO, HOUR)
        await admin.ban(OTHER, HOUR)
        count = await admin.unban_all()
        engine = backlog.engine
        return count, engine.bans.active.count(now()), engine.store.standing(now())

    assert with_admin(tmp_path, scenario) == (2, (0, 0), [])


def test_forgetting_erases_bans_and_pending_hits(tmp_path):
    """The next ban is a first offence again, and takes all of its hits."""

    async def scenario(admin, backlog):
        await backlog.batch(hits("198.51.100.66", 3) + hits("198.51.100.67", 2))
        await admin.forget(WHO)
        await admin.forget(OTHER)
        await backlog.batch(hits("198.51.100.67", 1))
        engine = backlog.engine
        assert engine.judge.bans.count(OTHER) == 0
        assert engine.judge.bans.offence(WHO, now()) == 1
        with pytest.raises(UnchangedError, match="nothing is known"):
            await admin.forget(bytes([192, 0, 2, 1]))
        return [row.ban.subject for row in engine.store.standing(now())]

    assert with_admin(tmp_path, scenario) == []


def test_standing_bans_are_listed_in_pages(tmp_path):
    """Each behind the row of the last one before."""

    async def scenario(admin, _backlog):
        await admin.ban(WHO, HOUR)
        await admin.ban(OTHER, HOUR)
        first, second = await admin.standing()
        return [row.ban.subject for row in await admin.standing(first.id)], second.ban.subject

    listed, second = with_admin(tmp_path, scenario)
    assert listed == [second]
