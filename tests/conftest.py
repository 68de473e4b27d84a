"""Shared fixtures: throw-away network namespaces, and the reason when there can be none.

With ``CI`` set in the environment a skipped test makes the run fail: what was not tried is not
known to work.
"""

import os

import pytest
from support.examples import register_profiles
from support.namespaces import WHY_NOT, namespace, permitted

import blocker.telemetry.exposition  # noqa: F401 - sets up the client library before a test imports that
from blocker.sources.files import patient_read, tailer

register_profiles()


@pytest.fixture(scope="session", autouse=True)
def patient_disks():
    """A busy machine sets no directory aside; a test of a disk that hangs sets this itself."""
    patient_read.PATIENCE = tailer.PATIENCE = 60.0


@pytest.fixture
def netns():
    """A network namespace of its own, which the test and every thread it starts are in."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with namespace() as made, made.inside():
        yield made


class NoSkips:
    """Notes each test, or file of tests, that was skipped, and fails the run for it."""

    def __init__(self):
        self.skipped = []

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session, exitstatus):
        if not self.skipped:
            return
        if exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        terminal = session.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            names = "\n  ".join(self.skipped)
            terminal.write(f"\nCI runs every test, but these were skipped:\n  {names}\n", red=True)


def pytest_configure(config):
    if os.environ.get("CI"):
        config.pluginmanager.register(NoSkips())
