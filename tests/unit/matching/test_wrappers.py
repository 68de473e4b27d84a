"""What collectors write around lines: it is removed, and records that were split are joined."""

import json
from itertools import pairwise

import pytest

from blocker.config.schema import Config
from blocker.matching.matcher import Matcher
from blocker.matching.wrappers import MAX_RECORD, docker_text, join_records, prefix_length

RULES = list(Config().traps.values())
LINE = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"'
STAMP = b"2026-03-10T12:00:00.123456789Z"


def split(*parts, stream=b"stdout", last=b"F"):
    """Return a record as a container runtime writes it, one line for each part."""
    tags = [b"P"] * (len(parts) - 1) + [last]
    return b"".join(
        b"%s %s %s %s\n" % (STAMP, stream, tag, part) for tag, part in zip(tags, parts, strict=True)
    )


def hits(block):
    """Return the end of each hit, and that no line was taken for one that can't be read."""
    matched = Matcher(RULES).scan(block)
    assert matched.unparsed == []
    assert matched.lines == block.count(b"\n")
    return [hit.end for hit in matched.hits]


@pytest.mark.parametrize(
    "prefix",
    [
        b"Mar 10 12:00:00 web1 nginx: ",
        b"Mar  1 12:00:00 nginx: ",
        b"<190>Mar 10 12:00:00 2001:db8::1 nginx[12]: ",
        b"2026-03-10T12:00:01+00:00 web1 nginx: ",
        b"2026-03-10T12:00:01.123456+0100 web1 container/web[7]: ",
        b"<34>1 2026-03-10T12:00:01.003Z web1 nginx - - - ",
        b'<34>1 - - - - - [a@1 b="]\\" "][c] \xef\xbb\xbf',
        STAMP + b" stdout F ",
        STAMP + b" stderr P:x ",
        b"web-1  | ",
        b"\x1b[36mweb_1 |\x1b[0m ",
    ],
)
def test_a_prefix_ends_where_the_line_of_the_server_begins(prefix):
    """Of a line of text and of an object."""
    assert prefix_length(prefix + LINE) == len(prefix)
    assert prefix_length(prefix + b"{}") == len(prefix)


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        b"www.example.org:443 " + LINE,
        b"Mar 10 12:00:00 web1 2001:db8::7 - -",
        b"Mar 10 12:00:00 cafe: x",
        b"203.0.113.7 | x",
        b"2001 | x",
        b"34>1 2026-03-10T12:00:01.003Z web1 nginx - - - x",
        b"2026-03-10 12:00:01 web1 nginx: x",
        STAMP + b" stdout X x",
        b"",
    ],
)
def test_what_is_no_prefix_is_left_alone(line):
    """An address, or a name that could be part of one, is never taken for a collector's word."""
    assert prefix_length(line) == 0


def test_the_text_of_dockers_object_is_decoded():
    """Its line end is Docker's or the server's; other members make it another object."""
    entry = {"log": 'a "b" é\r\n', "stream": "stderr", "time": "2026-03-10T12:00:00Z"}
    assert docker_text(json.dumps(entry).encode()) == 'a "b" é'.encode()
    assert docker_text(json.dumps(entry | {"attrs": {"tag": "x"}}).encode()) is not None
    for other in ({"status": 200}, {"log": 5}, {"log": None}):
        assert docker_text(json.dumps(entry | other).encode()) is None
    assert docker_text(b'{"log":"a"}') is None
    assert docker_text(b'{"log":"a","stream":"stdout"') is None
    assert docker_text(b'{"log":"\xff","stream":"stdout"}') is None
    assert docker_text(b"{}") is None


@pytest.mark.parametrize("cuts", [(10,), (60,), (10, 60), (1, 2, 3), (len(LINE),)])
def test_a_record_that_was_split_is_one_line(cuts):
    """Split at any place, with any text before and behind it."""
    places = (0, *cuts, len(LINE))
    parts = [LINE[a:b] for a, b in pairwise(places)]
    block = split(b"x") + split(*parts) + split(b"y")
    assert hits(block) == [len(split(b"x") + split(*parts))]


def test_each_record_is_joined_alone():
    """Two that follow one another, and one between lines of the other stream."""
    record = split(LINE[:60], LINE[60:])
    assert hits(record * 3) == [len(record) * n for n in (1, 2, 3)]
    other = split(b"POST", stream=b"stderr")
    matched = Matcher(RULES).scan(other + record + other)
    assert [hit.end for hit in matched.hits] == [len(other + record)]


def test_the_rest_of_a_record_names_no_client():
    """A client can choose where a long line is split, and what stands behind that."""
    forged = LINE.replace(b"203.0.113.7", b"198.51.100.9")
    for agent in (forged, b"{" + forged + b"}"):
        record = split(LINE[:-2], agent, b'"')
        assert hits(record) == [len(record)]


def test_a_record_without_its_end_is_judged_as_it_stands():
    """The block ends there, or the container did."""
    for block in (split(LINE, last=b"P"), split(LINE, last=b"P") + split(b"x", stream=b"stderr")):
        assert hits(block) == [len(split(LINE, last=b"P"))]


def test_a_record_is_joined_up_to_a_ceiling():
    """The rest is a record of its own: memory is bounded for any input."""
    block = split(*[b"x" * 8000] * 300)
    lines = join_records(block).block.split(b"\n")[:-1]
    assert len(lines) == 3
    assert max(map(len, lines)) < MAX_RECORD + 16_000


def test_only_a_runtime_splits_records():
    """Other blocks are scanned as they stand."""
    for block in (LINE + b"\n", split(LINE), LINE + b"\n" + split(LINE, b"x"), b""):
        assert join_records(block) is None


def test_what_stands_between_records_stays_where_it_was():
    """Another program's line, and a record that is no line of a server."""
    first, second, other = split(LINE), split(LINE[:50], LINE[50:]), split(b"POST", b"/xmlrpc.php")
    block = first + b"not a record P\n" + second + other
    matched = Matcher(RULES).scan(block)
    assert [hit.end for hit in matched.hits] == [len(first), len(block) - len(other)]
    assert matched.lines == 6
    assert matched.unparsed == [len(block)]
