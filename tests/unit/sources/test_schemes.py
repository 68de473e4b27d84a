"""Names of logs, and the kind of source each is."""

import pytest

from blocker.config.parse import parse
from blocker.errors import ConfigError
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.schemes import FILE, JOURNAL, check_name, scheme_of

GOOD = ["journal:nginx.service", "journal:php@8.2.service", r"journal:a\x2db.scope",
        "journal:identifier=nginx", "journal:identifier=wordpress(blog.example)",
        "journal:identifier=" + "x" * 255]  # fmt: skip
BAD = ["journal:", "journal:nginx", "journal:*.service", "journal:.service", "journal:a b.service",
       "journal:identifier=", "journal:identifier=a\nb", "journal:identifier=" + "x" * 256,
       "journal:" + "x" * 241 + ".service"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_names_in_the_journal(name):
    """A unit with its ending, or an identifier."""
    assert scheme_of(name) == JOURNAL
    check_name(name)


@pytest.mark.parametrize("name", BAD)
def test_other_names_are_refused_with_an_example(name):
    """So that a unit is never taken for an identifier."""
    assert scheme_of(name) == JOURNAL
    with pytest.raises(ValueError, match=r"journal:nginx\.service.*journal:identifier=nginx"):
        check_name(name)


@pytest.mark.parametrize("name", ["/journal:a", "/var/log/a.log", "-", "journal", "other:a", ":a"])
def test_everything_else_is_a_file(name):
    """Whether it can be one is asked elsewhere."""
    assert scheme_of(name) == FILE


def test_the_configuration_takes_both_kinds():
    """In ``logs`` and under ``[[log]]``."""
    text = (
        'logs = ["/var/log/a.log", "journal:nginx.service"]\n'
        '[[log]]\npath = "journal:identifier=web"\nformat = "json"\n'
    )
    config = parse([("x.toml", text)])
    assert config.of_scheme(FILE) == ("/var/log/a.log",)
    assert config.of_scheme(JOURNAL) == ("journal:nginx.service", "journal:identifier=web")
    formats = LogFormats(config.format, config.own_formats)
    assert formats.of("journal:identifier=web") == "json"
    assert formats.of("journal:nginx.service") == "auto"


def test_of_two_formats_the_first_decides():
    """As with files."""
    name = "journal:identifier=web"
    assert LogFormats("auto", [(name, "json"), (name, "npm")]).of(name) == "json"


@pytest.mark.parametrize("text", ['logs = ["journal:nginx"]', '[[log]]\npath = "journal:nginx"'])
def test_a_wrong_name_is_an_error_of_the_configuration(text):
    """With an example."""
    with pytest.raises(ConfigError, match=r'write a unit with its ending, such as "journal:nginx'):
        parse([("x.toml", text)])
