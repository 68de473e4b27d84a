"""Whose word about the client counts in a JSON line, and what is said of a line without it."""

import json

import pytest

from blocker.addresses import format_subject, subject_of
from blocker.config.schema import Config
from blocker.friends.friends import Friends
from blocker.friends.shipped import shipped_lists
from blocker.matching.grammar import JSON_KEYS, Fields
from blocker.matching.json_lines import explain_json, parse_json
from blocker.matching.matcher import Matcher
from blocker.matching.parse_health import MAX_REASON, advice_for

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
    """The peer decides; a list, or what is no address, is never believed."""
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
        ("address", "remote_addr remote_ip ClientAddr client"),
        ("time", "time_iso8601 time_local msec ts StartUTC time @timestamp StartLocal"),
        ("method", "request_method method RequestMethod"),
        ("target", "request_uri uri RequestPath path"),
        ("status", "status DownstreamStatus OriginStatus"),
    ],
)
def test_each_name_that_servers_give_to_a_member_is_known(role, names):
    """Those of nginx's variables, of Caddy and of Traefik, in any mixture."""
    members = {
        "address": ("remote_addr", CLIENT), "time": ("time", "2026-03-10T12:00:00Z"),
        "method": ("method", "POST"), "target": ("uri", "/xmlrpc.php"), "status": ("status", 403),
    }  # fmt: skip
    for name in names.split():
        entry = dict((members | {role: (name, members[role][1])}).values())
        (hit,) = Matcher(RULES).scan(json.dumps(entry).encode() + b"\n").hits
        assert (format_subject(hit.address), hit.status) == (CLIENT, 403), name


# Member by member -------------------------------------------------------------------------------


def written(**members):
    """Return a line with an address, a time and a request, unless they are given."""
    needed = {"remote_addr": CLIENT, "ts": 1773144000, "request": "POST /xmlrpc.php HTTP/1.1"}
    return json.dumps(needed | members).encode()


def raw(rest, *, address='"203.0.113.7"', time="1773144000", request='"POST / HTTP/1.1"'):
    """Return a line whose values are written as they stand, with more behind them."""
    text = f'{{"remote_addr":{address},"ts":{time},"request":{request},{rest}'
    return text.encode("utf-8", "surrogateescape")


FIELDS = Fields(CLIENT.encode(), b"1773144000", b"POST / HTTP/1.1", b"-")
LENIENT = '"x":-}'
"""The end of a line that is no strict JSON."""


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.7"),
        ("::1:80", "::1:80"),
        ("[2001:db8::7]:5123", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("203.0.113.7:5123", CLIENT),
        ("203.0.113.7:", CLIENT),
        (CLIENT, CLIENT),
    ],
)
def test_an_address_is_read_without_its_port(address, read):
    """An IPv6 address has a port only behind brackets."""
    assert parse_json(written(remote_addr=address)).address == read.encode()


@pytest.mark.parametrize("line", [written(), raw(LENIENT)])
def test_no_proxy_is_believed_unless_it_is_known(line):
    """Which peers are proxies is for the caller to say; who says nothing believes none."""
    line = line.replace(b"{", b'{"client_ip":"198.51.100.9",', 1)
    assert parse_json(line).address == CLIENT.encode()
    assert parse_json(line, is_proxy=lambda _: True).address == OTHER.encode()


@pytest.mark.parametrize("peer", ["unix:", "@", "proxy.example.org", "999.0.113.7"])
def test_a_peer_without_an_address_is_no_proxy(peer):
    """What it says about a client is not believed, though every address were a proxy's."""
    line = written(remote_addr=peer, client_ip=CLIENT)
    assert parse_json(line, is_proxy=lambda _: True).address.decode() in peer


@pytest.mark.parametrize("nothing", ["", "-", None, True, [], {}])
@pytest.mark.parametrize("rest", ["}", ',"x":-}'])
def test_a_member_without_a_value_gives_way_to_the_next(nothing, rest):
    """Servers write nothing, a dash or null where they have nothing."""
    line = written(remote_addr=nothing, client=CLIENT, status=nothing, OriginStatus=403)[:-1]
    fields = parse_json(line + rest.encode())
    assert (fields.address, fields.status) == (CLIENT.encode(), b"403")


@pytest.mark.parametrize("nothing", ["", "-", "null", "true", "false", " - "])
@pytest.mark.parametrize("field", ["address", "time", "request"])
def test_a_word_that_says_that_there_is_nothing_is_no_value(field, nothing):
    """Without quotes, in a line that is no strict JSON; the line has no fields then."""
    assert parse_json(raw(LENIENT, **{field: nothing})) is None


@pytest.mark.parametrize("time", ["1773144000", "1773144000.5", "1773144000.250"])
def test_a_number_is_read_as_it_stands(time):
    """Also in a line that is no strict JSON, and an address without quotes is no number."""
    for rest in (LENIENT, '"x":1}'):
        assert float(parse_json(raw(rest, time=time)).time) == float(time)
        for number in ("200", "-1", "0.5"):
            line = raw(f'"status":{number},{rest}')
            assert parse_json(line).status == number.encode()
    assert parse_json(raw(LENIENT, address=CLIENT)) == FIELDS


def test_a_number_that_may_have_been_cut_is_none():
    """The rest of its digits may be missing."""
    line = raw("").replace(b'"ts":1773144000,', b"")[:-1]
    assert parse_json(line + b',"ts":1773144000,').time == b"1773144000"
    assert parse_json(line + b',"ts":1773144000') is None
    assert parse_json(line + b',"ts":17731') is None


@pytest.mark.parametrize(
    ("members", "request_line"),
    [
        ({"request": "POST /a b HTTP/9.9"}, "POST /a b HTTP/9.9"),
        ({"request": "POST /a b HTTP/9 "}, "POST /a b HTTP/9 "),
        ({"request": "POST  /a b "}, "POST /a%20b%20"),
        ({"request": "zZ9 /a b"}, "zZ9 /a%20b"),
        ({"request": "(x) /a b"}, "(x) /a b"),
        ({"request": "\x16\x03"}, "\x16\x03"),
        ({"request": ""}, ""),
        ({"request": "POST"}, "POST"),
        ({"request": "POST", "method": "GET", "uri": "/a"}, "GET /a"),
        ({"request": " /a", "method": "POST"}, "POST /a"),
        ({"request": "/a", "method": "POST", "uri": "/b"}, "POST /b"),
        ({"request": "/a", "method": "POST"}, "POST /a"),
        ({"request": {"method": "POST", "uri": " /a b"}}, "POST /a%20b"),
        ({"request": {"method": "POST", "uri": "/a b HTTP/2"}}, "POST /a b HTTP/2"),
    ],
)
def test_a_request_is_put_together_as_a_server_reads_it(members, request_line):
    """A line as it is; a target in one word if no version follows; a method beside its path."""
    assert parse_json(written(**members)).request == request_line.encode()


@pytest.mark.parametrize("request_text", ["/xmlrpc.php", None, 1, 0.5, -1, ["POST /"]])
def test_a_path_without_a_method_is_no_request(request_text):
    """Nor is a number or a list."""
    line = written(request=request_text)
    assert parse_json(line) is None
    assert parse_json(line[:-1] + b',"x":-}') is None


# Lines that are no strict JSON ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("escaped", "byte"),
    [
        (r"\u002F", b"/"), (r"\u00fF", "ÿ".encode()), (r"\u9aAf", "骯".encode()), (r"\x2F", b"/"),
        (r"\x7f", b"\x7f"), (r"\x80", b"\x80"), (r"\x9A", b"\x9a"), (r"\xfF", b"\xff"),
        (r"\x81", b"\x81"), (r"\a\b\f\n\r\t\v", b"\a\b\f\n\r\t\v"), (r"\/\"", b'/"'),
        (r"\\", b"\\\\"), (r"\q", b"\\\\q"), (r"\"\\\"", b'"\\\\"'),
    ],
)  # fmt: skip
def test_escapes_are_undone_as_their_servers_write_them(escaped, byte):
    """Those of JSON and of nginx and Apache; a backslash is doubled, for canonical undoes it."""
    line = raw(LENIENT, request=f'"POST /{escaped}"')
    assert parse_json(line).request == b"POST /" + byte


def test_two_halves_of_a_character_are_one():
    """As JSON writes what is beyond 16 bits (RFC 8259, section 7), also beside a control byte."""
    for line in (written(request="POST /\U0001f600", agent="x"), written(request="POST /😀")):
        assert parse_json(line).request == "POST /😀".encode()
        assert parse_json(line.replace(b'"x"', b'"\x01"')).request == "POST /😀".encode()


@pytest.mark.parametrize(
    ("behind", "is_read"),
    [(b"", True), (b" \r\t\0", True), (b"x", False), (b"{}", False), (b"]", False), (b"}", False)],
)
@pytest.mark.parametrize("end", ['"x":1}', LENIENT])
def test_behind_an_object_may_stand_blanks_alone(end, behind, is_read):
    """What else stands there says that the line was misunderstood."""
    assert parse_json(raw(end) + behind) == (FIELDS if is_read else None)


JUNK = [
    '"x":"\\"\\\\\\"\\x22"', '"x": a , "y":[{"remote_addr":"::1"},["}"]]', '"x":"""","y":1',
    '"headers":{"remote_addr":"::1","X":["}\\"","]"],"y":{}},"z":-', '"y":{"X":"\\"\\\\\\"}"}',
    '"":{"":{}}', '"x":,"y" : 1',
]  # fmt: skip


@pytest.mark.parametrize("junk", [*JUNK, '"x":0.1, 2, 3 : 4', '"x":0.1 , 22 , 3'])
@pytest.mark.parametrize("end", ["}", ',"x":-}', ",,}", " }"])
def test_a_member_that_does_not_matter_may_hold_anything(junk, end):
    """Escapes side by side, words between members, objects within objects, brackets in texts."""
    assert parse_json(raw(junk + end)) == FIELDS
    assert parse_json(b"{%s,%s" % (junk.encode(), raw(end)[1:])) == FIELDS


@pytest.mark.parametrize("junk", JUNK)
def test_a_line_cut_behind_what_matters_has_its_fields(junk):
    """Wherever behind it: in a name, in a text, behind a colon, in an escape."""
    line = raw(junk + ',"last":"x"')
    for end in range(len(raw("")), len(line) + 1):
        assert parse_json(line[:end]) == FIELDS, line[:end]


@pytest.mark.parametrize(
    "line",
    [
        raw('"x":1, y"z":2}'), b"{y" + raw("}")[1:],
        raw('"x" 1}'), raw('"x":1]'), raw("]"), raw('x"'),
        b"[]", b'["remote_addr","ts","request"]', b"1", raw("")[1:] + b"}",
        b"[" + raw("")[1:] + b"]", b"x" + raw("")[1:] + b"}",
    ],
)  # fmt: skip
def test_what_is_no_object_has_no_fields(line):
    """Nothing is guessed at, and no reason is given that speaks of an object."""
    assert parse_json(line) is None
    assert explain_json(line) == ""


@pytest.mark.parametrize("name", ["", "a", "request", "headers"])
def test_no_depth_of_objects_stops_the_matcher(name):
    """However deep they are within each other, in the object of the request or beside it."""
    for front in ('"x":-,', f'"x":-,"{name}":', '"x":-,"request":', '"request":'):
        line = ("{" + front + f'{{"{name}":' * 20_000 + "POST %").encode()
        assert Matcher(RULES).scan(line + b"\n").hits == []
        assert Matcher(RULES).explain(line).kind == "unparsed"


def test_the_names_of_a_format_are_found_in_a_line_that_is_no_strict_json():
    """And no others: they may be the client's."""
    keys = JSON_KEYS._replace(address=("who",))
    line = raw('"who":"198.51.100.9",' + LENIENT)
    assert parse_json(line, keys).address == OTHER.encode()
    assert parse_json(raw(LENIENT), keys) is None


def test_a_line_with_all_fields_has_no_reason():
    """Nor has one whose bytes are no UTF-8."""
    assert explain_json(written()) == ""
    assert explain_json(raw('"x":"\udcff"}')) == ""
    assert explain_json(raw('"x":"\udcff"}', time='""')).startswith("a JSON object without time")
