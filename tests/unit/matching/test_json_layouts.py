"""JSON lines of a known layout: read without being decoded, or not at all."""

import json

import pytest

from blocker.config.schema import Config
from blocker.matching.grammar import JSON_KEYS
from blocker.matching.json_layouts import (
    MAX_LAYOUTS,
    MAX_LEARNED,
    MAX_LENGTH,
    MAX_MEMBERS,
    MAX_NESTED,
    JsonLayouts,
)
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
DEEP: object = "a"
for _ in range(MAX_NESTED + 1):
    DEEP = [DEEP]
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
        {"agent": '"'},
        {"agent": 'a\\b"c" \\d'},
        {"agent": "\x7f\u2028\x01"},
        {"bytes": None, "request_time": True},
        {"bytes": 1.5e-7},
        {"request_time": "POST"},
    ],
)
def test_escapes_in_what_is_not_needed_do_no_harm(changes):
    """So a client can't slow the reading down with a quote in each request."""
    assert read(written(NGINX, **changes)) == READ


@pytest.mark.parametrize(
    ("written_so", "request_line"),
    [
        (r"POST \/xmlrpc.php?a\u0026b HTTP/1.1", b"POST /xmlrpc.php?a&b HTTP/1.1"),
        (r"POST /xmlrpc\u002ephp HTTP/2.0", b"POST /xmlrpc.php HTTP/2.0"),
        ("POST /xmlrpc.php", b"POST /xmlrpc.php"),
    ],
)
def test_escapes_in_a_request_are_decoded_if_they_are_plain(written_so, request_line):
    """Go's encoder writes an ampersand so, PHP's a slash."""
    line = written(NGINX, request="R").replace(b'"R"', b'"%s"' % written_so.encode())
    assert read(line) == (*READ[:2], request_line, READ[3])


CADDY = {
    "level": "info",
    "ts": 1773144000.1234567,
    "request": {
        "remote_ip": "203.0.113.7",
        "client_ip": "203.0.113.7",
        "method": "POST",
        "uri": "/xmlrpc.php",
        "headers": {"User-Agent": ["a"], "Accept": ["*/*", "a/b"]},
        "tls": {"resumed": False, "version": 772},
    },
    "status": 200,
    "resp_headers": {"Server": ["Caddy"]},
}


def test_members_are_read_within_the_object_of_the_request():
    """As Caddy writes them; the headers of each client are others."""
    line = written(CADDY, request=CADDY["request"] | {"headers": {"X": ["{", 'a"]'], "Y": []}})
    assert read(line, written(CADDY)) == (
        b"203.0.113.7", b"1773144000.1234567", b"POST /xmlrpc.php", b"200",
    )  # fmt: skip


TRAEFIK = {
    "ClientAddr": "203.0.113.7:4711",
    "ClientHost": "203.0.113.7",
    "DownstreamStatus": 200,
    "RequestMethod": "POST",
    "RequestPath": "/xmlrpc.php",
    "StartUTC": "2026-03-10T12:00:00Z",
}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("203.0.113.7:80", b"203.0.113.7"),
        ("203.0.113.7", b"203.0.113.7"),
        ("[2001:db8::7]:80", b"2001:db8::7"),
        ("2001:db8::7", b"2001:db8::7"),
        ("203.0.113.7]", None),
        ("203.0.113.7:", None),
        ("[203.0.113.7:80", None),
    ],
)
def test_an_address_may_have_a_port(peer, address):
    """As Traefik and older Caddy write it."""
    changed = written(TRAEFIK, ClientAddr=peer, ClientHost=(address or b"").decode())
    found = read(changed, written(TRAEFIK))
    assert (found and found[0]) == address


def test_members_are_read_by_their_paths():
    """Those that the configuration names."""
    log_format = '{"client":{"ip":"$remote_addr"},"ts":"$time_iso8601","http":{"req":"$request"}}'
    layouts = JsonLayouts(Matcher([], log_format)._format.keys)
    line = (
        b'{"ts":"2026-03-10T12:00:00Z","client":{"ip":"%s","as":[1]},"http":{"req":"GET / HTTP/2"}}'
    )
    layouts.learn(line % b"::1")
    line %= b"203.0.113.7"
    assert layouts.fields(line, 0, len(line)) == (
        b"203.0.113.7", b"2026-03-10T12:00:00Z", b"GET / HTTP/2", b"-",
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "a\\"},
        {"agent": 'a\\"'},
        {"agent": "a" * MAX_LENGTH},
        {"agent": None, "bytes": None, "status": None},
        {"status": "-"},
        {"status": 20},
        {"request": "POST  /xmlrpc.php HTTP/1.1"},
        {"request": "POST /xmlrpc.php HTTP/1.1 "},
        {"request": 'POST /xmlrpc.php?"'},
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
        written(NGINX, agent=DEEP),
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
    assert layouts._known == []


def test_layouts_and_looks_have_a_ceiling():
    """A log may hold objects without end that are all different."""
    layouts = JsonLayouts(JSON_KEYS)
    for number in range(2 * MAX_LAYOUTS):
        layouts.learn(written(NGINX | {f"m{number}": 1}))
        layouts.learn(written(NGINX | {f"m{number}": 1}))
    assert len(layouts._known) == MAX_LAYOUTS
    layouts = JsonLayouts(JSON_KEYS)
    for _ in range(MAX_LEARNED):
        layouts.learn(b"{}")
    layouts.learn(written(NGINX))
    assert layouts._known == []


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
    assert len(matcher._layouts._known) == 1
