"""Tests of the plugin for WordPress; `make wordpress-test` asks for those in a real one."""


def pytest_addoption(parser):
    parser.addoption("--wordpress", help="where Debian's package wordpress is unpacked")


def pytest_ignore_collect(collection_path, config):
    """Ignore what installs WordPress, unless its place was named."""
    real = collection_path.name == "test_real_wordpress.py"
    return True if real and not config.getoption("--wordpress", None) else None
