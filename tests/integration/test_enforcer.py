"""What the kernel refuses once is not forgotten: bans come in, and unbanned addresses get in."""

import asyncio
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop
from support.daemons import line, write
from support.namespaces import opened

from blocker.config.schema import Config
from blocker.engine.enforcer import Due, Enforcer, Expected
from blocker.engine.engine import Engine
from blocker.engine.parts import assemble
from blocker.engine.restore import restore
from blocker.engine.upkeep import Upkeep
from blocker.errors import FirewallError
from blocker.firewall.facts import Capabilities, Element
from blocker.firewall.ruleset import Layout
from blocker.friends.friends import Friends
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.matching.matchers import Matchers
from blocker.model import Ban
from blocker.service.runtime import wall_clock
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.files.tailer import FileTailer
from blocker.store.records import Batch, NewRow
from blocker.store.store import Store
from blocker.times import SECOND

OLD_KERNEL = Capabilities(refresh=False, destroy=False, count=False)
STRANGERS = [Element((0xC6120000 + n).to_bytes(4, "big"), 600_000) for n in range(4)]
BANNED = [(0xCB007100 + n).to_bytes(4, "big") for n in range(3)]


@asynccontextmanager
async def enforcing(**layout):
    """A real firewall that can't count, as on old kernels, and who keeps it in step."""
    async with opened(Layout(**layout)) as firewall:
        firewall.capabilities = OLD_KERNEL
        yield firewall, Enforcer(firewall, Friends.build(lists={}), wall_clock)


@contextmanager
def refused(firewall, call, asked=None):
    """Let the kernel refuse one kind of call: it is too busy to come to it."""

    async def refuse(*_arguments):
        if asked is not None:
            asked.append(call)
        raise FirewallError("no turn within 60 s")

    setattr(firewall, call, refuse)
    try:
        yield
    finally:
        delattr(firewall, call)


async def book(*subjects):
    """Yield who should be blocked, page by page."""
    for subject in subjects:
        yield [Due(subject, wall_clock() + 3600 * SECOND)]


def test_a_restore_that_was_refused_is_gone_on_with(netns):
    """Bans that found no room at the start are in the kernel as soon as there is some."""

    async def scenario():
        async with enforcing(ban_size=4) as (firewall, enforcer):
            await firewall.ban(STRANGERS)
            await enforcer.enforce(book(*BANNED))
            assert enforcer.last_error
            await firewall.unban([each.subject for each in STRANGERS])
            await enforcer.reconcile(Expected(book(*BANNED), (len(BANNED), 0)))
            assert not enforcer.last_error
            return await firewall.left(BANNED)

    assert set(asyncio.run(scenario())) == set(BANNED)


def test_a_change_by_others_is_looked_at_though_the_first_look_is_refused(netns):
    """What they took away is put back at the second."""

    async def scenario():
        async with enforcing() as (firewall, enforcer):
            await enforcer.enforce(book(*BANNED))
            await firewall.unban(BANNED)
            enforcer.changed_by_others()
            with refused(firewall, "present"), pytest.raises(FirewallError):
                await enforcer.reconcile(Expected(book(*BANNED), (len(BANNED), 0)))
            await enforcer.reconcile(Expected(book(*BANNED), (len(BANNED), 0)))
            return await firewall.left(BANNED)

    assert set(asyncio.run(scenario())) == set(BANNED)


def test_an_unban_that_failed_is_made_good_later(netns):
    """A refused unban is reported, and made good by the next look."""

    async def scenario():
        async with enforcing() as (firewall, enforcer):
            await enforcer.enforce(book(*BANNED))
            with refused(firewall, "unban"), pytest.raises(FirewallError):
                await enforcer.unban(BANNED[:1])
            assert enforcer.last_error
            await enforcer.reconcile(Expected(book(*BANNED[1:]), (len(BANNED) - 1, 0)))
            return await firewall.left(BANNED)

    assert set(asyncio.run(scenario())) == set(BANNED[1:])


def test_an_address_that_was_banned_again_meanwhile_stays_banned(netns):
    """A refused unban that is made good later does not admit an address that was banned again."""

    async def scenario():
        async with enforcing() as (firewall, enforcer):
            await enforcer.enforce(book(*BANNED))
            with refused(firewall, "unban"), pytest.raises(FirewallError):
                await enforcer.unban(BANNED)
            assert await enforcer.apply([Due(BANNED[0], wall_clock() + 3600 * SECOND)])
            await enforcer.reconcile(Expected(book(BANNED[0]), (1, 0)))
            return await firewall.left(BANNED)

    assert set(asyncio.run(scenario())) == {BANNED[0]}


def test_a_ban_of_a_new_friend_ends_at_the_start(netns, tmp_path):
    """Not only when the logs are read and strangers are looked for, which may take long."""
    friends, config = Friends.build(allow=("203.0.113.0/31",), lists={}), Config()
    store = Store(tmp_path / "state.db")
    for subject in BANNED:
        ban = Ban(subject, "xmlrpc", wall_clock(), wall_clock() + 3600 * SECOND, 3, 1)
        store.commit(Batch([], {}, [NewRow(ban, applied=True)], {}, wall_clock()))

    async def scenario():
        async with enforcing() as (firewall, enforcer):
            await enforcer.enforce(book(*BANNED))
            enforcer.friends = friends
            judge = Judge(list(config.traps.items()), Limits(config.remember), friends.why)
            parts = assemble(judge=judge, enforcer=enforcer, store=store, clock=wall_clock)
            engine = Engine(Matchers(list(config.traps.values()), LogFormats(config.format)), parts)
            await restore(engine.parts, list(config.traps), config.remember)
            await Upkeep(engine).enforce_all()
            left = await firewall.left(BANNED)
            await engine.close()
            return left

    assert set(uvloop.run(scenario())) == {BANNED[2]}


def test_when_too_many_wait_further_bans_end_at_once_and_are_judged_afresh(
    netns, tmp_path, monkeypatch
):
    """The book, its counts and the store agree; those that wait already go on waiting."""
    monkeypatch.setattr("blocker.engine.enforcer.MAX_WAITING", 3)
    log, config, friends = tmp_path / "access.log", Config(), Friends.build(lists={})
    log.touch()

    async def scenario():
        async with enforcing(ban_size=2) as (_, enforcer):
            judge = Judge(list(config.traps.items()), Limits(config.remember), friends.why)
            store = Store(tmp_path / "state.db")
            parts = assemble(judge=judge, enforcer=enforcer, store=store, clock=wall_clock)
            engine = Engine(Matchers(list(config.traps.values()), LogFormats(config.format)), parts)
            await restore(engine.parts, list(config.traps), config.remember)
            tailer = FileTailer([str(log)], start_of=start)
            for number in (*range(12), 11):
                write(log, *[line(f"198.18.0.{number}")] * 3)
                await tailer.scan()
                while await engine.process_batch(tailer):
                    pass
            stored = {row.ban.subject[3] for row in store.standing(wall_clock())}
            counted = engine.bans.active.count(wall_clock() + SECOND)
            waiting = {subject[3] for subject in enforcer.waiting}
            message = engine.announcer.conditions.texts(wall_clock())
            await engine.close()
            tailer.close()
            return waiting, stored, counted, enforcer.given_up, message

    waiting, stored, counted, given_up, message = uvloop.run(scenario())
    assert (waiting, stored, counted, given_up) == ({2, 3, 4}, {0, 1, 2, 3, 4}, (5, 0), 8)
    assert "3 bans wait" in message[0]


async def start(_log):
    return 0


def test_unknown_elements_that_can_not_be_removed_are_removed_later(netns):
    """The refusal ends nothing but the attempt."""

    async def scenario():
        async with enforcing() as (firewall, enforcer):
            await firewall.ban(STRANGERS)
            with refused(firewall, "unban"):
                await enforcer.remove_unknown(lambda _subject: False)
            await enforcer.reconcile(Expected(book(), (0, 0)))
            return await firewall.dump()

    assert asyncio.run(scenario()) == []


def test_after_a_refusal_the_kernel_is_asked_again_and_again(netns, tmp_path, monkeypatch, caplog):
    """With growing pauses; a change of the ruleset ends each of them."""
    caplog.set_level("INFO")
    monkeypatch.setattr("blocker.engine.upkeep.FIRST_PAUSE", 0.01)
    config, friends = Config(), Friends.build(lists={})

    async def scenario():
        async with enforcing() as (firewall, enforcer):
            judge = Judge(list(config.traps.items()), Limits(config.remember), friends.why)
            store = Store(tmp_path / "state.db")
            parts = assemble(judge=judge, enforcer=enforcer, store=store, clock=wall_clock)
            engine = Engine(Matchers(list(config.traps.values()), LogFormats(config.format)), parts)
            engine.bans.add(BANNED[0], wall_clock(), wall_clock() + 3600 * SECOND)
            keeping = asyncio.create_task(Upkeep(engine).keep_in_step(3600.0))
            asked = []
            with refused(firewall, "present", asked):
                enforcer.changed_by_others()
                while len(asked) < 4:  # noqa: ASYNC110 - no event says when
                    await asyncio.sleep(0.01)
                assert "no turn" in enforcer.last_error
            enforcer.changed_by_others()
            while enforcer.last_error:  # noqa: ASYNC110 - no event says when
                await asyncio.sleep(0.01)
            keeping.cancel()
            left = await firewall.left(BANNED)
            await engine.close()
            store.close()
            return left

    assert set(uvloop.run(asyncio.wait_for(scenario(), 20))) == {BANNED[0]}
    assert len([each for each in caplog.messages if "no turn" in each]) == 1
