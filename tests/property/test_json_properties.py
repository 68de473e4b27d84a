"""Lines of JSON, against the same fields picked out of what ``json.loads`` says."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from blocker.lines import parse_json

ADDRESS = ("client_ip", "remote_addr", "remote_ip", "ClientHost", "ClientAddr", "client")
TIME = ("time_iso8601", "time_local", "msec", "ts", "StartUTC", "time", "@timestamp")
STATUS = ("status", "DownstreamStatus", "OriginStatus")
OTHER = ("request", "request_method", "method", "request_uri", "uri", "path", "agent")

texts = st.sampled_from(["", "203.0.113.7", "POST", "/xmlrpc.php", "GET / HTTP/1.1", "é", "\x00"])
plain = st.one_of(texts, st.integers(-1, 500), st.floats(0, 1e10), st.booleans(), st.none())
keys = st.sampled_from((*ADDRESS, *TIME, *STATUS, *OTHER))
entries = st.dictionaries(keys, st.one_of(plain, st.dictionaries(keys, plain), st.lists(plain)))
behind = st.sampled_from([b"", b"", b"", b" ", b"\r", b"\t\r", b"x", b"{}", b"\x00", b"\xa0"])


def said(entry, names):
    """Return the first of several that is a text or a number, as text."""
    for value in map(entry.get, names):
        if type(value) in {int, float} or (type(value) is str and value):
            return str(value)
    return None


def naive(line):
    """Return address, time, request and status, or None."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    inner = entry.get("request")
    merged = {**entry, **inner} if type(inner) is dict else entry
    method = said(merged, ("request_method", "method", "RequestMethod"))
    target = said(merged, ("request_uri", "uri", "RequestPath", "path"))
    request = f"{method} {target}" if method and target else inner
    address, time = said(merged, ADDRESS), said(entry, TIME)
    if None in (address, time) or type(request) is not str:
        return None
    return tuple(text.encode() for text in (address, time, request, said(entry, STATUS) or "-"))


@settings(max_examples=1000, deadline=None)
@given(entries, behind, st.booleans())
@example({"client": "203.0.113.7", "ts": 0, "request": "GET /"}, b"\r", False)  # noqa: FBT003
def test_json_lines_are_read_as_json_has_them(entry, rest, ascii_only):
    """Whatever stands in an object and behind it: fields and refusals are the same."""
    line = json.dumps(entry, ensure_ascii=ascii_only).encode() + rest
    assert parse_json(line) == naive(line)
