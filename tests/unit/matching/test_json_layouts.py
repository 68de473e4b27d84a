"""JSON lines of a known layout: read without being decoded, or not at all."""

import json

import pytest

from blocker.config.schema import Config
from blocker.matching.grammar import JSON_KEYS
from blocker.matching.json_layouts import MAX_LAYOUTS, MAX_LEARNED, MAX_MEMBERS, JsonLayouts
from blocker.matching.matcher import Matcher

NGINX = {
    "time_iso8601": "2026-03-10T12:00:00+00:00",
    "remote_addr": "203.0.113.7",
    "request": "POST /xmlrpc.php HTTP/1.1",
    "status": 200,
    "request_time": "0.123",
    "bytes": 403,
    "agent": "a",
}
READ = (b"203.0.113.7", b"2026-03-10T12:00:00+00:00", b"POST /xmlrpc.php HTTP/1.1", b"200")
MATCHER = Matcher(list(Config().traps.values()))


def written(entry, **changes):
    return json.dumps(entry | changes, separators=(",", ":"), ensure_ascii=False).encode()


def read(line, *learned, layouts=None):
    layouts = layouts or JsonLayouts(JSON_KEYS)
    for each in learned or [written(NGINX)]:
        layouts.learn(each)
    return layouts.fields(line + b"\n", 0, len(line))


def test_a_line_is_read_once_one_like_it_was_decoded():
    """Other values of the same kinds make no other layout."""
    assert JsonLayouts(JSON_KEYS).fields(written(NGINX), 0, len(written(NGINX))) is None
    assert read(written(NGINX)) == READ
    line = written(NGINX, remote_addr="2001:db8::7", agent="é \xff", request_time="-", bytes=0)
    assert read(line) == (b"2001:db8::7", *READ[1:])
    assert read(written(NGINX), json.dumps(NGINX).encode()) is None
    assert read(json.dumps(NGINX).encode() + b"\r", json.dumps(NGINX).encode()) == READ


def test_a_time_may_be_a_number_and_the_status_missing():
    """As Apache and nginx write them; a time in brackets loses these."""
    entry = {"msec": 1773144000.123, "remote_addr": "203.0.113.7", "request": "GET / HTTP/2"}
    assert read(written(entry), written(entry)) == (
        b"203.0.113.7", b"1773144000.123", b"GET / HTTP/2", b"-",
    )  # fmt: skip
    clf = {"time": "[10/Mar/2026:12:00:00 +0000]", "remote_addr": "::1", "request": "GET / HTTP/2"}
    assert read(written(clf), written(clf))[1] == b"10/Mar/2026:12:00:00 +0000"


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": 'a"b'},
        {"agent": "a\\b"},
        {"agent": None, "bytes": None, "status": None},
        {"status": "-"},
        {"status": 20},
        {"request": "POST /xmlrpc.php"},
        {"request": "POST  /xmlrpc.php HTTP/1.1"},
        {"request": "POST /xmlrpc.php HTTP/1.1 "},
        {"request": "/xmlrpc.php"},
        {"request": ""},
        {"remote_addr": "203.0.113.7:1234"},
        {"remote_addr": "[::1]:80"},
        {"remote_addr": "-"},
        {"remote_addr": ""},
        {"time_iso8601": "-"},
        {"agent": {"a": 1}},
        {"agent": [1]},
        {"more": 1},
    ],
)
def test_what_is_not_plain_is_left_to_the_decoder(changes):
    """Escapes, other kinds of values, further members, and all that needs a second look."""
    assert read(written(NGINX, **changes)) is None


def test_a_proxy_that_names_another_client_is_left_to_the_decoder():
    """Its word depends on who it is."""
    caddy = NGINX | {"client_ip": "203.0.113.7"}
    for same in ("203.0.113.7", "", "-"):
        assert read(written(caddy, client_ip=same), written(caddy)) == READ
    assert read(written(caddy, client_ip="198.51.100.9"), written(caddy)) is None


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"",
        b"text",
        written(NGINX)[:-1],
        written(NGINX) + b"}",
        written(NGINX).replace(b'"agent"', b'"status"'),
        written(NGINX).replace(b'"agent"', b'"remote_addr"'),
        written(NGINX, agent={"a": "b"}),
        written({"request": {"remote_ip": "203.0.113.7"}, "ts": 1, "status": 200}),
        written({f"m{n}": 1 for n in range(MAX_MEMBERS)} | NGINX),
        written({name: value for name, value in NGINX.items() if name != "remote_addr"}),
        written(NGINX, remote_addr=5),
        written(NGINX, status=None),
    ],
)
def test_a_line_without_a_layout_teaches_none(line):
    """One that is cut, nested, or has a name twice."""
    layouts = JsonLayouts(JSON_KEYS)
    layouts.learn(line)
    assert layouts._layouts == []


def test_layouts_and_looks_have_a_ceiling():
    """A log may hold objects without end that are all different."""
    layouts = JsonLayouts(JSON_KEYS)
    for number in range(2 * MAX_LAYOUTS):
        layouts.learn(written(NGINX | {f"m{number}": 1}))
        layouts.learn(written(NGINX | {f"m{number}": 1}))
    assert len(layouts._layouts) == MAX_LAYOUTS
    layouts = JsonLayouts(JSON_KEYS)
    for _ in range(MAX_LEARNED):
        layouts.learn(b"{}")
    layouts.learn(written(NGINX))
    assert layouts._layouts == []


def test_a_matcher_finds_the_same_hits_either_way():
    """The first line is decoded, the second read by its layout, the third is another one."""
    block = b"".join(
        line + b"\n"
        for line in (
            written(NGINX), written(NGINX), written(NGINX, agent='"'), written(NGINX, request="x"),
        )
    )  # fmt: skip
    matched = MATCHER.scan(block)
    assert [hit[:4] for hit in matched.hits] == [matched.hits[0][:4]] * 3
    assert matched.unparsed == []


def test_lines_of_text_use_up_no_looks():
    """Logs of one format share a matcher, and other servers write text that is parsed in full."""
    text = '[10/Mar/2026:12:00:00 +0000] 404 - POST http a "/xmlrpc.php" [Client 203.0.113.7] x\n'
    matcher = Matcher(list(Config().traps.values()))
    matcher.scan(text.encode() * (MAX_LEARNED + 1))
    matcher.scan(written(NGINX) + b"\n")
    assert len(matcher._layouts._layouts) == 1
