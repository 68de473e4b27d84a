"""Tests of the package.  Those in a booted Debian take minutes: `make boot-test` asks for them."""

import pytest
from package import boot

FIGURES = []


def pytest_addoption(parser):
    parser.addoption("--suite", help="boot this suite of Debian and test the package in it")
    parser.addoption("--release", action="store_true", help="lintian, piuparts, autopkgtest too")


def pytest_ignore_collect(collection_path, config):
    """Ignore what boots, unless a suite was named."""
    name = collection_path.name
    if name.startswith(("test_booted", "test_recipes")) and not config.getoption("--suite", None):
        return True
    if name.startswith("test_release") and not config.getoption("--release", None):
        return True
    return None


@pytest.fixture(scope="session")
def suite(request):
    return request.config.getoption("--suite")


@pytest.fixture(scope="session")
def deb(suite):
    """The package, built in a clean tree of the suite."""
    return boot.build(suite)


@pytest.fixture(scope="session")
def monitoring(deb):
    """The package for the host of Prometheus and Grafana, of the same build."""
    return next(deb.parent.glob("xmlrpc-blocker-monitoring_*.deb"))


@pytest.fixture
def figures():
    """What was measured, to be printed at the end."""
    return FIGURES


def pytest_terminal_summary(terminalreporter):
    for line in FIGURES:
        terminalreporter.write_line(line)
