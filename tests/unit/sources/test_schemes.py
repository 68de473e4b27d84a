"""Names of logs, and the kind of source each is."""

import pytest

from blocker.config.parse import parse
from blocker.errors import ConfigError
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.schemes import (
    FIFO,
    FILE,
    JOURNAL,
    STDIN,
    UDP,
    UNIX,
    check_name,
    endpoint_of,
    path_of,
    scheme_of,
)

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


@pytest.mark.parametrize(
    "name",
    ["unix:/run/xmlrpc-blocker/access.sock", "unix:/a", "unix:/" + "x" * 106,
     "unix:/with a blank"],
)  # fmt: skip
def test_names_of_unix_sockets(name):
    """A whole path in normal form, as long as a socket's may be."""
    assert scheme_of(name) == UNIX
    check_name(name)
    assert path_of(name) == name.removeprefix("unix:")


def test_names_of_pipes():
    """A FIFO has no ceiling for its path; standard input has no other name."""
    for name in ("fifo:/run/xmlrpc-blocker/access.fifo", "fifo:/" + "x" * 200):
        assert scheme_of(name) == FIFO
        check_name(name)
        assert path_of(name) == name.removeprefix("fifo:")
    assert scheme_of("-") == STDIN
    check_name("-")


@pytest.mark.parametrize("name", ["fifo:", "fifo:a", "fifo:/", "fifo:/a/", "fifo:/a\nb"])
def test_what_is_no_path_of_a_fifo_is_refused_with_an_example(name):
    """As with sockets."""
    with pytest.raises(ValueError, match=r"fifo:/run/xmlrpc-blocker/access\.fifo"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["unix:", "unix:a", "unix:/", "unix:/a/", "unix://a", "unix:/a/../b", "unix:/a\nb",
             "unix:/\x7f"]
)  # fmt: skip
def test_what_is_no_path_of_a_socket_is_refused_with_an_example(name):
    """So that a path has one name only."""
    with pytest.raises(ValueError, match=r"unix:/run/xmlrpc-blocker/access\.sock"):
        check_name(name)


def test_a_path_too_long_for_a_socket_is_refused():
    """See unix(7); bytes count, not characters."""
    for rest in ("/" + "x" * 107, "/" + "ä" * 54):
        with pytest.raises(ValueError, match="at most 107 bytes"):
            check_name(f"unix:{rest}")


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [("udp:127.0.0.1:5140", ("127.0.0.1", 5140)), ("udp:127.9.9.9:1", ("127.9.9.9", 1)),
     ("udp:[::1]:65535", ("::1", 65535))],
)  # fmt: skip
def test_names_of_udp_sockets(name, endpoint):
    """An address of this host that others do not reach, and a port."""
    assert scheme_of(name) == UDP
    check_name(name)
    assert endpoint_of(name) == endpoint


@pytest.mark.parametrize(
    "name", ["udp:", "udp:5140", "udp:127.0.0.1", "udp:127.0.0.1:0", "udp:127.0.0.1:65536",
             "udp:127.0.0.1:05140", "udp:localhost:5140", "udp:::1:5140", "udp:[127.0.0.1]:x",
             "udp:127.0.0.256:514", "udp:[1::2::3]:514", "udp:127.0.0.1:5140/"]
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_with_an_example(name):
    """Names of hosts as well: they are not looked up."""
    with pytest.raises(ValueError, match=r"udp:127\.0\.0\.1:5140"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["udp:0.0.0.0:5140", "udp:192.0.2.1:5140", "udp:[::]:5140", "udp:10.0.0.1:514",
             "udp:[2001:db8::1]:5140", "udp:[::ffff:192.0.2.1]:5140"]
)  # fmt: skip
def test_udp_is_refused_where_other_hosts_reach_it(name):
    """They could have any address banned."""
    with pytest.raises(ValueError, match=r"expected a loopback address.*forged"):
        check_name(name)


@pytest.mark.parametrize("name", ["/journal:a", "/var/log/a.log", "--", "journals", "x:a", ":a"])
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


def test_senders_are_those_of_a_unix_socket():
    """Names and numbers; the usual ones are the default."""
    text = '[[log]]\npath = "unix:/run/a.sock"\nsenders = ["www-data", "33", "0"]\n'
    config = parse([("x.toml", text)])
    assert config.log[0].senders == ("www-data", "33", "0")


@pytest.mark.parametrize(
    "name", ["/var/log/a.log", "udp:127.0.0.1:5140", "journal:a.service", "fifo:/a", "-"]
)
def test_other_logs_have_no_senders(name):
    """It is not known of them who sent a line."""
    text = f'[[log]]\npath = "{name}"\nsenders = ["www-data"]\n'
    with pytest.raises(ConfigError, match="only a Unix socket knows who sends"):
        parse([("x.toml", text)])


@pytest.mark.parametrize("name", ["", "a b", "-1", "01", "a:b", "\\n"])
def test_a_sender_is_a_user(name):
    """A name or number."""
    text = f'[[log]]\npath = "unix:/run/a.sock"\nsenders = ["{name}"]\n'
    with pytest.raises(ConfigError, match=r"senders"):
        parse([("x.toml", text)])


@pytest.mark.parametrize("where", ['logs = ["{}"]', '[[log]]\npath = "{}"'])
@pytest.mark.parametrize("kind", ["unix", "fifo"])
def test_a_socket_has_a_path_of_its_own(where, kind):
    """The control socket would be in its way."""
    text = 'control = "/run/a.sock"\n' + where.format(f"{kind}:/run/a.sock")
    with pytest.raises(ConfigError, match="control has this file; choose another"):
        parse([("x.toml", text)])
