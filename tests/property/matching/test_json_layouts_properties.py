"""What is read by a layout is what decoding gives."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blocker.addresses import parse_address
from blocker.config.schema import Config
from blocker.matching.candidates import Candidates
from blocker.matching.grammar import JSON_KEYS
from blocker.matching.json_layouts import JsonLayouts
from blocker.matching.json_lines import parse_json
from blocker.matching.matcher import Matcher
from blocker.times import parse_time

RULES = list(Config().traps.values())
THOROUGH = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=8)
VALUES = {
    "remote_addr": st.sampled_from(
        ["203.0.113.7", "203.0.113.7:80", "::1", "[::1]:80", "2001:db8::7", "1:2", "-", "", "x"]
    ),
    "remote_ip": st.sampled_from(["198.51.100.9", "", "-"]),
    "client_ip": st.sampled_from(["203.0.113.7", "198.51.100.9", "", "-"]),
    "time_iso8601": st.sampled_from(["2026-03-10T12:00:00+00:00", "[2026]", "-", "", "x"]),
    "msec": st.floats(0, 2e9) | st.integers(0, 2**40) | st.just(1773144000.5),
    "request": st.sampled_from(
        ["POST /xmlrpc.php HTTP/1.1", "GET / HTTP/2.0", "POST /a b HTTP/1.1", "/x", "x", ""]
    )
    | TEXT,
    "method": st.sampled_from(["POST", "-"]),
    "uri": st.sampled_from(["/xmlrpc.php", "-", "/a b", "/"]),
    "status": st.sampled_from([200, 0, 99, "200", "-", "", "000", None, 2.5]),
    "DownstreamStatus": st.sampled_from([404, "500"]),
    "agent": TEXT | st.none() | st.booleans() | st.integers() | st.just({"status": 5}),
}


@st.composite
def layout_and_lines(draw):
    """Return lines with the same members in the same order."""
    names = draw(st.lists(st.sampled_from(list(VALUES)), min_size=3, unique=True))
    space = draw(st.sampled_from([",", ", "]))
    return [
        json.dumps(
            {name: draw(VALUES[name]) for name in names},
            separators=(space, ":"),
            ensure_ascii=draw(st.booleans()),
        ).encode()
        for _ in range(4)
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layout_and_lines())
def test_a_layout_gives_what_the_decoder_gives(lines):
    """Or nothing, so that the decoder is asked; times are compared as times."""
    layouts = JsonLayouts(JSON_KEYS)
    for line in lines:
        found = layouts.fields(line, 0, len(line))
        decoded = parse_json(line)
        if found is not None:
            assert decoded is not None
            address, time, *others = found
            assert (address, *others) == (decoded.address, decoded.request, decoded.status)
            assert parse_time(time) == parse_time(decoded.time)
        elif decoded is not None:
            layouts.learn(line)


# Hostile lines, written by hand ----------------------------------------------------------------

NGINX = (
    b'{"time_iso8601":%(time)s,"remote_addr":%(address)s,"request":%(request)s,'
    b'"status":%(status)s,"agent":%(odd)s,"more":%(nested)s}'
)
APACHE = (
    b'{"agent":%(odd)s,"more":%(nested)s,"ts":%(number)s, "remote_ip": %(address)s,'
    b' "client_ip": %(address)s,"method":"POST","uri":%(target)s,"status":%(status)s}'
)
CADDY = (
    b'{"level":"info","ts":%(number)s,"request":{"remote_ip":%(address)s,"client_ip":%(address)s,'
    b'"method":"POST","host":%(odd)s,"uri":%(target)s,"headers":%(nested)s},"size":5,'
    b'"status":%(status)s,"resp_headers":%(nested)s}'
)
TRAEFIK = (
    b'{"ClientAddr":%(peer)s,"ClientHost":%(address)s,"RequestMethod":"POST","RequestPath":'
    b'%(target)s,"DownstreamStatus":%(status)s,"StartUTC":%(time)s,"x":%(odd)s}'
)
PATHS = (
    b'{"t":%(time)s,"client":{"ip":%(address)s,"ua":%(odd)s},"http":{"req":%(request)s,'
    b'"a":{"s":%(status)s},"h":%(nested)s}}'
)
OTHER_PATHS = (
    b'{"http":{"a":{"n":%(nested)s,"s":%(status)s},"req":%(request)s},"o":%(odd)s,'
    b'"client":{"ip":%(address)s}, "t":%(number)s }'
)
OWN = (
    '{"client":{"ip":"$remote_addr"},"t":"$time_iso8601","http":{"req":"$request",'
    '"a":{"s":"$status"}}}'
)
OBJECTS = {"auto": (NGINX, APACHE, CADDY, TRAEFIK), OWN: (PATHS, OTHER_PATHS)}
ODD = [
    b'""', b'"a"', rb'"\""', rb'"a\"b"', rb'"\\"', rb'"a\\"', rb'"\\\""', rb'"\\\\"', rb'"\\\\\""',
    rb'"\u0022"', rb'"\x22"', b'"\\', b'"\xff\xc3"', b'"\x01\t"', b'"\xe2\x80\xa8"', b"null", b"-",
    b"", b"1e5", b"007", b"[1", b"}", b'{"a":1}', b'"a","remote_addr":"192.0.2.66"',
    b'"a","status":500', b'"a","agent":"b"', b'"a","a":1,"a":1', b'"a","request":{}',
    b'"a","t":"x"', b'"a","client":{"ip":"192.0.2.66"}', b'"a","client.ip":"192.0.2.66"',
    rb'"a\","remote_addr":"192.0.2.66"', rb'"a\\","remote_addr":"192.0.2.66","b":"\"',
    rb'"a","remote_\u0061ddr":"192.0.2.66"', rb'"a","\u0072equest":"GET / HTTP/1.1"',
    b'"remote_addr\\":\\"192.0.2.66"', b'"}', b'"a"}', b'"a"},{"b":"', b'"POST /xmlrpc.php"',
]  # fmt: skip
NESTED = [
    b"{}", b"[]", b'{"A":["b","c"],"D":["e"]}', b'{"a":{"b":{"c":1}}}',
    b'{"a":{"b":{"c":{"d":1}}}}',
    b'[[["a"]]]', b'[[[["a"]]]]', b'{"remote_ip":"192.0.2.66","status":5,"ts":1}', b'{"a":1,"a":2}',
    rb'{"a":"}\""}', rb'{"a":"\\"}', rb'{"a\"":"{"}', b'{"a":-}', b"{", b'{"a":"]"', b'["a"}', b"5",
    b'{"request":{"remote_ip":"192.0.2.66"}}', b'{"ip":"192.0.2.66"}', b'"plain"',
]  # fmt: skip
HOLES = {
    "time": [
        b'"2026-03-10T12:00:00+00:00"', b'"[10/Mar/2026:12:00:00 +0000]"', b'"2026["', b'"[2026"',
        b'"-"', b'"1773144000"', rb'"2026-03-10T12:00:0\u0030Z"', b"1773144000", b"null",
    ],
    "number": [
        b"1773144000", b"1773144000.5", b"1773144000.1234569", b"1773144000.9999999999999",
        b"1773144000123", b"0", b"1e9", b"17731440000000.5", b"01", b'"1773144000.1234569"', b"-1",
    ],
    "address": [
        b'"203.0.113.7"', b'"203.0.113.7"', b'"2001:db8::7"', b'"203.0.113.8"', b'"-"', b'""',
        b'"[2001:db8::7]:80"', b'"1:2"', b'"203.0.113.7:80"', rb'"203.0.113.\u0037"', b"null", b"5",
        b'"203.0.113.7, 192.0.2.66"',
    ],
    "peer": [
        b'"203.0.113.7:80"', b'"[2001:db8::7]:80"', b'"203.0.113.7"', b'"2001:db8::7"', b'"[::1"',
        b'"203.0.113.7]"', b'"203.0.113.7:"', b'"[203.0.113.7:80"', b'"[203.0.113.7]80"',
        b'"1:2:3"',
        b'"2001:db8::7:80"',
    ],
    "request": [
        b'"POST /xmlrpc.php HTTP/1.1"', b'"POST /xmlrpc.php HTTP/1.1"', b'"POST /xmlrpc.php"',
        rb'"POST /xmlrpc.php?a=\u0026b HTTP/1.1"', rb'"POST \/xmlrpc.php HTTP/2.0"',
        rb'"POST /xmlrpc\u002ephp HTTP/1.1"', rb'"POST /xmlrpc.php\\ HTTP/1.1"',
        rb'"POST /x\u0020y/xmlrpc.php HTTP/1.1"', rb'"POST /xmlrpc.php\ud83d\ude00 HTTP/1.1"',
        rb'"POST /xmlrpc.php?\x22 HTTP/1.1"', b'"POST /a b/xmlrpc.php"', b'"/xmlrpc.php"', b'"-"',
        b'"POST - HTTP/1.1"', b'"POST/xmlrpc.php HTTP/1.1"', b'"POST /\xff/xmlrpc.php HTTP/1.1"',
        b'{"uri":"/xmlrpc.php","method":"POST"}', b'"GET /xmlrpc.php HTTP/1.1"', b"null",
        rb'"POST /xmlrpc.php?\" HTTP/1.1"', rb'"POST /xmlrpc.php?\u0022 HTTP/1.1"',
    ],
    "target": [
        b'"/xmlrpc.php"', b'"/xmlrpc.php?a"', rb'"/xmlrpc.php?a\u0026b"', b'"/a b/xmlrpc.php"',
        b'"/xmlrpc.php HTTP/1.1"', b'"-"', b'"/"', b'""', rb'"/xmlrpc.php?\""', b"null",
        rb'"\/xmlrpc\u002ephp"', rb'"/a\u0020/xmlrpc.php"', rb'"/xmlrpc.php\\"',
    ],
    "status": [b"200", b'"200"', b'"-"', b"0", b"null", b'"000"', b"2.5", b"20", b"0200"],
    "odd": ODD,
    "nested": NESTED,
}  # fmt: skip


@st.composite
def hostile_block(draw):
    """Return a format, and lines of it, most of which differ from a usual one in one place."""
    log_format = draw(st.sampled_from(list(OBJECTS)))
    shapes = draw(st.lists(st.sampled_from(OBJECTS[log_format]), min_size=1, max_size=2))
    lines = []
    for _ in range(draw(st.integers(2, 6))):
        values = {name: draw(st.sampled_from(usual[:2])) for name, usual in HOLES.items()}
        for hole in draw(st.lists(st.sampled_from(list(HOLES)), max_size=2)):
            values[hole] = draw(st.sampled_from(HOLES[hole]))
        filled = {name.encode(): value for name, value in values.items()}
        line = draw(st.sampled_from(shapes)) % filled
        end = draw(st.sampled_from([len(line)] * 12 + [draw(st.integers(0, len(line)))]))
        behind = draw(st.sampled_from([b""] * 8 + [b"\r", b" ", b"\0", b"x", b"}", b"{}"]))
        lines.append(line[:end] + behind)
    return log_format, lines


def judged(matcher, lines):
    """Return what each candidate line is, decoded by itself."""
    block = b"".join(line + b"\n" for line in lines)
    for start, end in Candidates(RULES).lines(block):
        verdict = matcher.explain(block[start:end])
        if verdict.kind == "hit":
            fields = verdict.fields
            status = int(fields.status) if fields.status.isdigit() else 0
            packed, time = parse_address(fields.address), parse_time(fields.time)
            yield time, packed, verdict.trap, status if len(fields.status) == 3 else 0, end + 1
        elif verdict.kind == "unparsed":
            yield end + 1


@THOROUGH
@given(hostile_block())
@example(("auto", []))
def test_hostile_json_is_read_by_its_layout_as_it_is_decoded(block):
    """Names twice, escapes in names, members within strings, cut lines: hits and refusals."""
    log_format, lines = block
    expected = list(judged(Matcher(RULES, log_format), lines))
    matcher = Matcher(RULES, log_format)
    data = b"".join(line + b"\n" for line in lines)
    for _ in range(2):  # the second time, all layouts and values are known
        matched = matcher.scan(data)
        found = sorted(
            [*map(tuple, matched.hits), *((end,) for end in matched.unparsed)],
            key=lambda one: one[-1],
        )
        assert found == [one if isinstance(one, tuple) else (one,) for one in expected]


@pytest.mark.parametrize(
    ("log_format", "shape"), [(name, each) for name, shapes in OBJECTS.items() for each in shapes]
)
def test_the_usual_line_of_each_shape_is_read_by_a_layout(log_format, shape):
    """Otherwise the property would compare the decoder with itself."""
    usual = shape % {name.encode(): values[0] for name, values in HOLES.items()}
    layouts = JsonLayouts(Matcher(RULES, log_format)._format.keys)
    layouts.learn(usual)
    assert layouts.find(usual, 0, len(usual)) is not None
