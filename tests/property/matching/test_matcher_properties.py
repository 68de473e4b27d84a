"""The matcher against lines that were built from known parts, and against any bytes at all."""

import re

from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples

from blocker.addresses import format_subject, subject_of
from blocker.config.schema import Config, TrapConfig
from blocker.matching.matcher import Matcher
from blocker.matching.requests import canonical

RULES = list(Config().traps.values())
STAMP = b"10/Mar/2026:12:00:00 +0000"
HIT = b'203.0.113.7 - - [%s] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"' % STAMP

raw = st.binary(max_size=60)
clients = st.sampled_from([b"203.0.113.7", b"198.51.100.9", b"2001:db8:1:2::7"])
targets = st.one_of(
    st.sampled_from([b"/xmlrpc.php", b"//xmlrpc.php", b"/%78mlrpc.php", b"/xmlrpc.php/x", b"/"]),
    raw,
)


def nginx(text):
    """Escape as nginx does: quotes, backslashes, control bytes and bytes above 126."""
    return re.sub(rb'["\\\x00-\x1f\x7f-\xff]', lambda found: b"\\x%02X" % found[0][0], text)


def apache(text):
    """Escape as Apache does."""
    text = re.sub(rb'["\\]', lambda found: b"\\" + found[0], text)
    return re.sub(rb"[\x00-\x1f\x7f-\xff]", lambda found: b"\\x%02x" % found[0][0], text)


escapes = st.sampled_from([nginx, apache])
around = st.builds(lambda before, after: before + HIT + after, raw, raw)
twice = st.builds(lambda between: HIT + between + HIT, raw)


@examples(500)
@given(clients, raw, targets, raw, raw, escapes, st.sampled_from([b"", b"www.example.org:80 "]))
@example(b"203.0.113.7", b"", b"/xmlrpc.php", b"", b"", nginx, b"")
def test_no_field_forges_another(client, user, target, referer, agent, escape, vhost):
    """With anything from the client in each field, address and time are those of the server."""
    line = b'%s%s - %s [%s] "POST %s HTTP/1.1" 200 5 "%s" "%s"' % (
        vhost, client, escape(user) or b"-", STAMP, escape(target), escape(referer), escape(agent),
    )  # fmt: skip
    verdict = Matcher(RULES).explain(line)
    assert verdict.fields.address == client
    assert verdict.fields.time == STAMP
    matched = Matcher(RULES).scan(line + b"\n")
    assert len(matched.hits) == (verdict.kind == "hit")
    assert all(format_subject(subject_of(hit.address)) for hit in matched.hits)


@examples(500)
@given(st.lists(st.one_of(raw, st.just(HIT), around, twice)))
@example([HIT, HIT + b" " + HIT, HIT[:-1] + b'POST"', HIT])
def test_scan_and_explain_agree_on_any_lines(lines):
    """The fast way over a block and the slow way over each line find the same hits."""
    lines = [line.replace(b"\n", b" ") for line in lines]
    matcher, careful = Matcher(RULES), Matcher(RULES)
    block = b"".join(line + b"\n" for line in lines)
    matched = matcher.scan(block)
    verdicts = [careful.explain(line) for line in lines]
    assert len(matched.hits) == sum(verdict.kind == "hit" for verdict in verdicts)
    assert matched.lines == len(lines)
    again = matcher.scan(block)
    assert again.hits == matched.hits, "what was remembered changed the verdict"
    for hit in matched.hits:
        assert block[hit.end - 1 : hit.end] == b"\n"


@examples(300)
@given(st.lists(st.sampled_from([HIT, HIT.replace(b"POST", b"PUT"), HIT.replace(b"POST", b"GET")])))
def test_traps_of_other_methods_find_the_same_lines(lines):
    """Several methods, and methods as common as GET, change the search and not the verdict."""
    block = b"".join(line + b"\n" for line in lines)
    for methods in (("POST",), ("POST", "PUT"), ("GET",), ("GET", "POST")):
        expected = sum(any(b'"%s ' % m.encode() in line for m in methods) for line in lines)
        assert len(Matcher([TrapConfig(methods=methods)]).scan(block).hits) == expected


@examples(500)
@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b"x.php", b"b"]), max_size=8))
def test_a_canonical_path_stays_as_it_is(segments):
    """Canonical is canonical: a second time changes nothing."""
    once = canonical(b"/" + b"/".join(segments))
    assert canonical(once) == once


@examples(300)
@given(st.binary(max_size=400), st.sampled_from(["auto", "common", "combined", "vhost_combined"]))
def test_no_bytes_raise_anything(junk, log_format):
    """Any bytes at all are read without an exception, and counted as lines."""
    matcher = Matcher(RULES, log_format)
    block = junk + b"\n"
    assert matcher.scan(block).lines == block.count(b"\n")
    for line in block.split(b"\n"):
        matcher.explain(line)


OWN_FORMATS = [
    '$remote_addr - $remote_user [$time_local] "$request" $status "$http_user_agent"',
    '"$http_user_agent" $status $host $remote_addr [$time_iso8601] "$request"',
    "$msec\t$host\t$http_x\t$remote_addr:$remote_port\t$request_method\t$request_uri",
    '$upstream_addr $remote_addr $msec $request_method "$request_uri" "$http_user_agent"',
    '{"a":"$remote_addr","t":"$time_iso8601","r":"$request","s":$status,"u":"$http_user_agent"}',
    '{"a":"$remote_addr","t":$msec,"m":"$request_method","p":"$request_uri","s":"$status"}',
]
USUAL = {
    "remote_addr": "9.9.9.9", "remote_user": "-", "time_local": STAMP.decode(), "status": "200",
    "time_iso8601": "2026-03-10T12:00:00Z", "msec": "1773144000.5", "request_method": "POST",
    "request": "POST /xmlrpc.php HTTP/1.1", "request_uri": "/xmlrpc.php", "remote_port": "5123",
    "http_user_agent": "POST /xmlrpc.php", "http_x": "", "host": "www.example.org",
    "upstream_addr": "-",
}  # fmt: skip
"""What stands in each field of a format, as a rule."""
odd = st.sampled_from(["", "-", "::1", "1", "POST", "/", " ", ",", '"', "\\", "\t", "{", "[", "é%"])


@examples(1000)
@given(
    st.sampled_from(OWN_FORMATS),
    st.dictionaries(st.sampled_from(sorted(USUAL)), odd),
    st.booleans(),
)
@example(OWN_FORMATS[0], {"request": ""}, True)  # noqa: FBT003
def test_no_field_of_a_format_of_ones_own_raises_anything(log_format, others, is_whole):
    """With anything in each field, also nothing, and wherever the line ends."""
    fields = USUAL | others
    line = re.sub(r"\$([a-z_0-9]+)", lambda found: fields[found[1]], log_format).encode()
    line = line if is_whole else line[: len(line) * 2 // 3] + b" POST /xmlrpc.php"
    matcher = Matcher(RULES, log_format)
    matched, verdict = matcher.scan(line + b"\n"), matcher.explain(line)
    is_candidate = b"POST" in line and (b"xmlrpc.php" in line or b"%" in line)
    assert len(matched.hits) == (is_candidate and verdict.kind == "hit")
    assert len(matched.unparsed) == (is_candidate and verdict.kind == "unparsed")
    assert matcher.time_of(line) is None or verdict.fields is not None
