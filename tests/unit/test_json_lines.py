"""Whose word about the client counts in a JSON line, and what is said of a line without it."""

import json

import pytest

from blocker.config import Config
from blocker.configfile import shipped_lists
from blocker.friends import Friends
from blocker.health import MAX_REASON, advice_for
from blocker.json_lines import explain_json
from blocker.match import Matcher
from blocker.model import format_subject, subject_of

RULES = list(Config().traps.values())
FRIENDS = Friends.build(lists=shipped_lists())
CDN = "173.245.48.9"
"""Cloudflare's."""
CLIENT, OTHER = "203.0.113.7", "198.51.100.9"


def traefik(peer, client):
    """Return a line as Traefik writes it."""
    entry = {
        "ClientAddr": f"{peer}:5123", "ClientHost": client, "RequestMethod": "POST",
        "RequestPath": "/xmlrpc.php", "StartUTC": "2026-03-10T12:00:00Z",
    }  # fmt: skip
    return json.dumps(entry).encode()


def caddy(peer, client):
    """Return a line as Caddy writes it."""
    request = {"remote_ip": peer, "client_ip": client, "method": "POST", "uri": "/xmlrpc.php"}
    return json.dumps({"ts": 1773144000.5, "request": request, "status": 200}).encode()


def clients(line, is_proxy=FRIENDS.is_proxy):
    matched = Matcher(RULES, is_proxy=is_proxy).scan(line + b"\n")
    return [format_subject(subject_of(hit.address)) for hit in matched.hits]


@pytest.mark.parametrize("written", [traefik, caddy])
@pytest.mark.parametrize(
    ("peer", "client", "judged"),
    [
        (CLIENT, OTHER, CLIENT),
        (CLIENT, CDN, CLIENT),
        (CDN, CLIENT, CLIENT),
        (CDN, f"{OTHER}, {CLIENT}", CDN),
        (CDN, "unknown", CDN),
        (CDN, "", CDN),
        (CDN, CDN, CDN),
        ("10.0.0.5", CLIENT, "10.0.0.5"),
        ("172.17.0.1", CLIENT, "172.17.0.1"),
        ("127.0.0.1", CLIENT, "127.0.0.1"),
    ],
)
def test_a_forwarded_client_is_believed_of_known_proxies_alone(written, peer, client, judged):
    """Who connected decides; a list, or what is no address, is believed of nobody."""
    assert clients(written(peer, client)) == [judged]
    assert clients(written(peer, client), lambda _: False) == [peer]


def test_proxies_that_may_be_banned_are_not_believed():
    """With ban_proxies they are peers as others are."""
    friends = Friends.build(lists=shipped_lists(), ban_proxies=True)
    assert clients(caddy(CDN, CLIENT), friends.is_proxy) == [CDN]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "without client address: expected one of remote_addr, remote_ip, "),
        ({"remote_addr": CLIENT}, "without time: expected one of time_iso8601, "),
        ({"client_ip": CLIENT, "ts": 1}, "without request: expected one of request, "),
        ({"remote_addr": "-", "ts": 1}, "without client address"),
    ],
)
def test_the_missing_member_is_named(entry, said):
    """With the names that are looked for, and what to do."""
    line = json.dumps(entry).encode()
    reason = Matcher(RULES).explain(line).reason
    assert said in reason == explain_json(line)
    assert reason.startswith("a JSON object without")
    assert "; rename it in the server's log format, or set `format` to that" in reason
    assert len(reason) <= MAX_REASON


def test_the_missing_member_of_a_format_of_its_own_is_named():
    """With the name that the format has, and without the advice to set one."""
    matcher = Matcher(RULES, '{"when":"$msec","who":"$remote_addr","what":"$request"}')
    reason = matcher.explain(b'{"when":"1","what":"POST /xmlrpc.php HTTP/1.1"}').reason
    assert "without client address: expected one of who; " in reason
    assert "correct `format`" in reason


def test_a_member_that_stands_there_twice_is_named():
    """It is no missing address, and no other format helps."""
    line = b'{"remote_addr":"203.0.113.7","ts":1,"request":"POST / HTTP/1.1","remote_addr":"::1"}'
    reason = Matcher(RULES).explain(line).reason
    assert reason.startswith("a JSON object with remote_addr twice and two values")
    assert "format" not in reason


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        (
            b'Mar 10 12:00:00 web1 nginx: 203.0.113.7 - - [x] "POST /xmlrpc.php HTTP/1.1"',
            "`format`",
        ),
        (
            b'203.0.113.7, 198.51.100.9 - - [x] "POST /xmlrpc.php HTTP/1.1" 200 1',
            "let the server log one address",
        ),
        (
            b'www.example.org 203.0.113.7, 198.51.100.9 - - [x] "POST /xmlrpc.php HTTP/1.1" 200 1',
            "let the server log one address",
        ),
        (
            b'fe80::1%eth0 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1',
            "with a zone",
        ),
        (
            b'{"remote_addr":"203.0.113.7","ts":"2026/03/10 12:00:00","request":"POST / HTTP/1.1"}',
            "time_format rfc3339 (Caddy)",
        ),
        (
            b'999.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1',
            "let the server log one address",
        ),
        (
            b'203.0.113.7 - - [10/Mrz/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1',
            "this time can't be read",
        ),
    ],
)
def test_a_line_that_is_not_understood_says_what_to_set(line, cure):
    """The reason ends in a cure, and holds nothing that a terminal would obey."""
    reason = Matcher(RULES).explain(line).reason
    assert cure in reason
    assert ("`format`" in reason) == (cure == "`format`")
    assert reason.isprintable()
    assert len(reason) <= MAX_REASON
    assert advice_for(reason, "x.log").startswith("`xmlrpc-blocker explain x.log`")


def test_a_path_whose_method_is_not_known_is_not_passed_over_in_silence():
    """It may be a POST: the line is counted as not understood, and its reason names the fields."""
    entry = {"remote_addr": CLIENT, "time_iso8601": "2026-03-10T12:00:00Z", "verb": "POST"}
    line = json.dumps({**entry, "request": "/xmlrpc.php"}).encode()
    assert Matcher(RULES).scan(line + b"\n").unparsed == [len(line) + 1]
    assert "request_method" in Matcher(RULES).explain(line).reason


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("address", ["remote_addr", "remote_ip", "ClientAddr", "client"]),
        ("time", ["time_iso8601", "time_local", "msec", "ts", "StartUTC", "time", "@timestamp"]),
        ("method", ["request_method", "method", "RequestMethod"]),
        ("target", ["request_uri", "uri", "RequestPath", "path"]),
        ("status", ["status", "DownstreamStatus", "OriginStatus"]),
    ],
)
def test_each_name_that_servers_give_to_a_member_is_known(role, names):
    """Those of nginx's variables, of Caddy and of Traefik, in any mixture."""
    members = {
        "address": ("remote_addr", CLIENT), "time": ("time", "2026-03-10T12:00:00Z"),
        "method": ("method", "POST"), "target": ("uri", "/xmlrpc.php"), "status": ("status", 403),
    }  # fmt: skip
    for name in names:
        entry = dict((members | {role: (name, members[role][1])}).values())
        (hit,) = Matcher(RULES).scan(json.dumps(entry).encode() + b"\n").hits
        assert (format_subject(hit.address), hit.status) == (CLIENT, 403), name
