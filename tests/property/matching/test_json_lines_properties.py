"""Lines of JSON, against the same fields picked out of what ``json.loads`` says."""

import json

from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples

from blocker.matching.json_lines import parse_json

PEER = ("remote_addr", "remote_ip", "ClientAddr", "client")
CLIENT = ("client_ip", "ClientHost")
TIME = ("time_iso8601", "time_local", "msec", "ts", "StartUTC", "time", "@timestamp")
STATUS = ("status", "DownstreamStatus", "OriginStatus")
OTHER = ("request", "request_method", "method", "request_uri", "uri", "path", "agent")

texts = st.sampled_from(
    [
        "",
        "-",
        "203.0.113.7",
        "198.51.100.9",
        "a\\b",
        "POST",
        "/xmlrpc.php",
        "GET / HTTP/1.1",
        "é",
        "\x00",
    ]
)
plain = st.one_of(texts, st.integers(-1, 500), st.floats(0, 1e10), st.booleans(), st.none())
keys = st.sampled_from((*PEER, *CLIENT, *TIME, *STATUS, *OTHER))
entries = st.dictionaries(keys, st.one_of(plain, st.dictionaries(keys, plain), st.lists(plain)))
behind = st.sampled_from([b"", b"", b"", b" ", b"\r", b"\t\r", b"x", b"{}", b"\x00 ", b"\xa0"])


def said(entry, names):
    """Return the first of several that is a text or a number, as text; - is none."""
    for value in map(entry.get, names):
        if type(value) in {int, float} or (type(value) is str and value not in {"", "-"}):
            return str(value)
    return None


def naive_request(merged, inner):
    """Return a request line, or one that is put together, or None."""
    method = said(merged, ("request_method", "method", "RequestMethod"))
    target = said(merged, ("request_uri", "uri", "RequestPath", "path"))
    if type(inner) is str and " " in inner:
        return inner
    if method is None:
        return inner if type(inner) is str and not inner.startswith("/") else None
    target = target or (inner if type(inner) is str else None)
    return f"{method} {target}" if target else None


def naive(line):
    """Return address, time, request and status, or None."""
    try:
        entry = json.loads(line.rstrip(b"\0 \t\r"))
    except ValueError:
        return None
    inner = entry.get("request")
    merged = {**entry, **inner} if type(inner) is dict else entry
    request = naive_request(merged, inner)
    address, time = said(merged, PEER) or said(merged, CLIENT), said(entry, TIME)
    if None in (address, time, request):
        return None
    request = request.replace("\\", "\\\\")
    return tuple(text.encode() for text in (address, time, request, said(entry, STATUS) or "-"))


@examples(1000)
@given(entries, behind, st.booleans())
@example({"client": "203.0.113.7", "ts": 0, "request": "GET /"}, b"\r", False)  # noqa: FBT003
@example({"client": "203.0.113.7", "ts": 0, "request": "/xmlrpc.php"}, b"", False)  # noqa: FBT003
def test_json_lines_are_read_as_json_has_them(entry, rest, ascii_only):
    """With anything in an object and behind it: fields and refusals are the same."""
    line = json.dumps(entry, ensure_ascii=ascii_only).encode() + rest
    assert parse_json(line) == naive(line)


@examples(500)
@given(entries, st.sampled_from([b"-", b"", b'"\\x80"', b'"\xff"', b"0.1, 0.2", b"nope", b"08"]))
def test_a_member_that_does_not_matter_breaks_no_line(entry, junk):
    """With a member behind all others that is no JSON, the fields are what they were."""
    line = json.dumps(entry).encode()
    broken = line[:-1] + b"," * bool(entry) + b' "junk":' + junk + b"}"
    assert parse_json(broken) == parse_json(line)


@examples(300)
@given(entries, st.integers(0, 400))
def test_a_line_cut_anywhere_has_the_same_fields_or_none(entry, end):
    """No address, time or method is ever half of one, and only a query is cut."""
    line = json.dumps(entry).encode()
    found = parse_json(line[:end])
    if found is None:
        return
    values = {str(value) for value in flat(entry)}
    assert found.address.decode() in values
    assert found.time.decode() in values
    request = found.request.decode().replace("\\\\", "\\")
    assert request in values | {f"{method} {target}" for method in values for target in values}


def flat(value):
    """Yield everything that an object holds."""
    if isinstance(value, dict):
        for each in value.values():
            yield from flat(each)
    else:
        yield value
