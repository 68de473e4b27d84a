"""Which lines of a block are looked at: those that may hold a hit, and few others."""

import pytest

from blocker.config.schema import TrapConfig
from blocker.matching.candidates import Candidates, count_lines

POST = TrapConfig(path="/xmlrpc.php", methods=("POST",))
ANY = TrapConfig(path="/wp-login.php", methods=("GET", "POST"))


def found(block, *rules):
    return [block[start:end] for start, end in Candidates(rules or (POST,)).lines(block)]


@pytest.mark.parametrize(
    "line",
    [
        b'"POST /xmlrpc.php HTTP/1.1"',
        b'"POST /xmlrpc%2Ephp HTTP/1.1"',
        b'"POST /%78mlrpc.php HTTP/1.1"',
        b'{"method":"POST","uri":"/xmlrpc.php"}',
        b'{"method":"POST","uri":"/\\u0078mlrpc.php"}',
        b' \0{"method":"POST","uri":"/\\u0078mlrpc.php"}',
    ],
)
def test_a_line_that_may_hold_a_hit_is_found(line):
    """Plain, escaped in the URI, or escaped in JSON; in the middle of others and at the end."""
    block = b'"GET / HTTP/1.1"\n' + line + b'\n"GET /a HTTP/1.1"\n' + line + b"\n"
    assert found(block) == [line, line]


@pytest.mark.parametrize(
    "line",
    [
        b'"GET /xmlrpc.php HTTP/1.1"',
        b'"POST /other.php HTTP/1.1"',
        b'"POST /\\u0078 HTTP/1.1"',
        b"",
    ],
)
def test_a_line_that_can_hold_no_hit_is_passed_over(line):
    """Another method, another name, or an escape that only JSON has."""
    assert found(line + b"\n") == []


def test_a_trap_for_get_is_searched_by_name():
    """Nearly every line has a GET."""
    block = b'"GET / HTTP/1.1"\n"GET /wp-login.php HTTP/1.1"\n"GET /wp%2Dlogin.php HTTP/1.1"\n'
    assert found(block, POST, ANY) == block.splitlines()[1:]


def test_a_line_is_found_once_and_in_order():
    """However many needles it holds."""
    rules = (TrapConfig(path="/b", methods=("PUT",)), TrapConfig(path="/a", methods=("POST",)))
    lines = [b'"PUT /b POST /a"', b'"POST /a PUT /b"', b'"POST /a POST /a"']
    assert found(b"\n".join(lines) + b"\n", *rules) == lines


def test_lines_are_counted_by_their_ends():
    """A line without its end is none yet."""
    assert [count_lines(each) for each in (b"", b"a", b"a\n", b"\n\na")] == [0, 0, 1, 2]
