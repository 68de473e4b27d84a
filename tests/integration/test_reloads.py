"""Reloads that overlap: a signal during one stops nothing."""

import asyncio
import os
import signal
import socket

import pytest
import uvloop
from support.daemons import daemon, wait_for

from blocker.service import daemon as daemon_module
from blocker.service.daemon import Daemon
from blocker.service.runtime import Runtime

EVENTS = {"started", "reload", "reload_failed"}
ANSWERS = ["started"], ["reload_failed"]
BROKEN = "[trap.xmlrpc]\nmaxretry = -1\n"


@pytest.fixture(autouse=True)
def service_manager(tmp_path, monkeypatch):
    """A socket that takes what is sent to the service manager, as long as there is room."""
    path = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield


@pytest.fixture
def service(network, tmp_path):
    """A daemon that is not started yet."""
    with daemon(network.server, tmp_path) as made:
        made.log.touch()
        made.configure()
        yield made


class OneInterruption:
    """Runs the daemon in this process, and does something while its first reload is under way.

    Args:
        service: names the configuration.
        monkeypatch: hooks into the moment.
        act: what is done at that moment; what it returns is why the state can't be stored.
        moment: the method of the runtime at whose end that is.
    """

    def __init__(self, service, monkeypatch, act, moment="all_stored"):
        self.said = []
        self._daemon, self._act = Daemon(service.config, dry_run=True), act
        self._method, self._done = getattr(Runtime, moment), False
        monkeypatch.setattr(Runtime, moment, self._hook())
        monkeypatch.setattr(daemon_module, "emit", self._emit)
        self._home = service.home

    def _emit(self, event, **_):
        if event.name in EVENTS:
            self.said.append(event.name)

    def _hook(self):
        async def method(runtime):
            answer = await self._method(runtime)
            if self._done:
                return answer
            self._done, before = True, len(self.said)
            refusal = self._act()
            await self._until(lambda: len(self.said) > before or self._daemon._stopped_by)
            return refusal or answer

        return method

    async def _until(self, met):
        async with asyncio.timeout(20):
            while not met():  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0.001)

    async def _story(self, end):
        running = asyncio.ensure_future(self._daemon.run())
        await self._until(lambda: "started" in self.said)
        hang_up()
        await self._until(lambda: running.done() or self.said[-len(end) :] == end)
        if not (ended := running.done()):
            self.said.clear()
            hang_up()
            await self._until(lambda: running.done() or self.said[-1:] in ANSWERS)
            assert not running.done(), self.said
            os.kill(os.getpid(), signal.SIGTERM)
        assert await running == signal.SIGTERM, self.said
        return ended

    def ends_with(self, *end):
        """Run until the last events are these, and it answers once more.

        Returns:
            Whether the daemon ended before.
        """
        with self._home.inside(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._story(list(end)))


def hang_up():
    """Ask this process for a reload."""
    os.kill(os.getpid(), signal.SIGHUP)


def test_a_reload_during_a_reload_replaces_it(service, monkeypatch):
    """The second is read while the first stores what was judged."""
    story = OneInterruption(service, monkeypatch, hang_up)
    assert not story.ends_with("reload", "reload", "started")


def test_a_reload_after_the_end_of_the_previous_runtime(service, monkeypatch):
    """Its store answers no more, and is not asked: the second is not refused."""
    story = OneInterruption(service, monkeypatch, hang_up, moment="end")
    assert not story.ends_with("reload", "reload", "started", "started")


def test_a_broken_configuration_during_a_reload_is_refused(service, monkeypatch):
    """The previous one stays, and so does the daemon."""

    def act():
        service.configure(BROKEN)
        hang_up()

    story = OneInterruption(service, monkeypatch, act)
    assert not story.ends_with("reload", "reload_failed")


def test_a_reload_while_another_is_refused(service, monkeypatch):
    """The state of the first can't be stored, so that both are refused."""

    def act():
        hang_up()
        return "disk full"

    story = OneInterruption(service, monkeypatch, act)
    assert not story.ends_with("reload", "reload", "reload_failed")


def test_a_stop_during_a_reload(service, monkeypatch):
    """It is not forgotten."""
    story = OneInterruption(service, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert story.ends_with("never")


def replace_config(service, settings):
    """Write the configuration so that at no moment a half of it can be read."""
    path = service.config
    service.config = path.with_suffix(".new")
    service.configure(settings)
    service.config = service.config.replace(path)


def test_hundreds_of_signals_stop_nothing(service):
    """Valid and broken configurations in turn, faster than they can be read."""
    service.start()
    for turn in range(300):
        if turn % 7 == 0:
            replace_config(service, BROKEN if turn % 2 else "")
        service.process.send_signal(signal.SIGHUP)
        os.sched_yield()
    replace_config(service, "")
    service.reload(" started: ")
    service.until(pid=service.process.pid)
    assert service.process.poll() is None
    wait_for(
        lambda: service.metrics()["xmlrpc_blocker_config_last_reload_successful"] == 1,
        "the last configuration in use",
    )
    assert service.stop() == 0
