"""What is read by a layout is what decoding gives."""

import json

from hypothesis import given
from hypothesis import strategies as st

from blocker.matching.grammar import JSON_KEYS
from blocker.matching.json_layouts import JsonLayouts
from blocker.matching.json_lines import parse_json
from blocker.times import parse_time

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
