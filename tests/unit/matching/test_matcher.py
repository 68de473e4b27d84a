"""The matcher: which lines are hits, by both ways in, and what is settled in passing."""

import pytest

from blocker.addresses import parse_address
from blocker.config.schema import TrapConfig
from blocker.matching.line_parser import MAX_LINE
from blocker.matching.matched import Matched
from blocker.matching.matcher import Matcher, _remember
from blocker.matching.requests import canonical, split_request
from blocker.model import Ban, Hit
from blocker.times import SECOND, parse_time

CLIENT, OTHER = b"203.0.113.7", b"198.51.100.9"
NOON = 1773144000 * SECOND
USUAL = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"'
BROKEN = b"203.0.113.7 and nothing that is known, POST /xmlrpc.php"
NAMED = ("auto", "common", "combined")


def block_of(*lines):
    return b"".join(line + b"\n" for line in lines)


def is_candidate(line):
    """Say as simply as can be whether a line may hold a POST of xmlrpc.php."""
    may_be_json = line[:1] in {b"{", b"\0", b" ", b"\t", b"\xef", b"\xbb", b"\xbf"}
    named = b"xmlrpc.php" in line or b"%" in line or (may_be_json and b"\\u" in line)
    return b"POST" in line and named


def read_in_full(block, log_format="auto"):
    """Return what a full parse of each line says: the oracle."""
    matcher, hits, unparsed, end = Matcher([TrapConfig()], log_format), [], [], 0
    lines = block.split(b"\n")[:-1]
    for line in lines:
        end += len(line) + 1
        kind, _, fields, trap = matcher.explain(line)
        if kind == "hit":
            status = int(fields.status) if fields.status.isdigit() else 0
            hits.append(
                Hit(parse_time(fields.time), parse_address(fields.address), trap, status, end)
            )
        elif kind == "unparsed" and is_candidate(line):
            unparsed.append(end)
    return Matched(len(lines), unparsed, hits)


def nearly_usual():
    """Yield the usual line with one byte left out, replaced or put in, wherever that can be."""
    for at in range(len(USUAL) + 1):
        before, rest = USUAL[:at], USUAL[at:]
        yield before + rest[1:]
        for byte in (b" ", b'"', b"\\", b"-", b"0", b"9", b"]", b"%", b"/", b"x", b"\0", b"\xff"):
            yield before + byte + rest[1:]
            yield before + byte + rest


# Two ways to the same verdict ------------------------------------------------------------------


@pytest.mark.parametrize("log_format", [*NAMED, "vhost_combined", "json"])
def test_a_line_that_is_nearly_usual_is_read_as_a_full_parse_reads_it(log_format):
    """One byte more, less or other: hits, their fields, and what is unparsed are the same."""
    block = block_of(*(line for near in nearly_usual() for line in (near, USUAL)))
    matcher = Matcher([TrapConfig()], log_format)
    expected = read_in_full(block, log_format)
    assert matcher.scan(block) == expected
    assert matcher.scan(block) == expected, "what was remembered changed the verdict"


def test_the_client_of_a_format_is_the_one_that_the_format_names():
    """Even where a line has the usual shape, and another address stands in front of it."""
    log_format = '$server_addr - - [$time_local] "$request" $status $body_bytes_sent $remote_addr'
    block = block_of(USUAL[: USUAL.index(b' "-"')] + b" " + OTHER) * 3
    hits = Matcher([TrapConfig()], log_format).scan(block).hits
    assert {hit.address for hit in hits} == {parse_address(OTHER)}


def test_a_hit_has_a_status_only_where_one_was_logged():
    """A format without it, or what is none, is 0; nginx writes 000 where nothing was answered."""
    unknown = b'{"remote_addr":"203.0.113.7","ts":1773144000,"request":"POST /xmlrpc.php","status":'
    lines = [USUAL, USUAL.replace(b" 200 ", b" 000 "), USUAL.replace(b" 200 ", b" 999 ")]
    lines += [unknown + b"1000}", unknown + b"403}"]
    for _ in range(2):
        matched = Matcher([TrapConfig()]).scan(block_of(*lines))
        assert [hit.status for hit in matched.hits] == [200, 0, 999, 0, 403]
    (hit,) = (
        Matcher([TrapConfig()], '%h %t "%r"')
        .scan(b'203.0.113.7 [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1"\n')
        .hits
    )
    assert hit.status == 0


# Candidates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", [("POST",), ("POST", "PUT")])
def test_a_line_that_can_hold_no_hit_is_not_even_parsed(methods):
    """So it is not counted as unparsed, however broken it is."""
    lines = [
        b"POST /", b"xmlrpc.php", b"%", rb"POST \u0041", rb"x{ POST \u0041", b"", b"GET /xmlrpc",
        b"{POST", b" POST",
    ]  # fmt: skip
    matched = Matcher([TrapConfig(methods=methods)]).scan(block_of(*lines))
    assert matched == Matched(len(lines), [], [])


@pytest.mark.parametrize("methods", [("POST",), ("POST", "PUT"), ("GET", "POST")])
@pytest.mark.parametrize(
    "line", [b"POST xmlrpc.php", b"xmlrpc.php POST", b"%POST", rb"{POST \u0041", rb" POST \u0041"]
)
@pytest.mark.parametrize("front", [b"", b"\n", b"x\n", b"\n\n"])
def test_a_candidate_that_does_not_parse_is_counted_where_it_ends(methods, line, front):
    """Wherever in it the method and the name stand, and wherever in the block it stands."""
    matched = Matcher([TrapConfig(methods=methods)]).scan(front + line + b"\n")
    end = len(front + line) + 1
    assert matched == Matched(front.count(b"\n") + 1, [end], [])


@pytest.mark.parametrize("methods", [("POST",), ("POST", "PUT"), ("GET", "POST")])
@pytest.mark.parametrize("front", [b"", b"\n", b"x\n", USUAL + b"\n"])
@pytest.mark.parametrize("behind", [b"", b"\n", b"POST %\n", USUAL + b"\n"])
def test_a_hit_is_found_wherever_it_stands_in_a_block(methods, front, behind):
    """The first line, the last one, and those beside empty and broken ones."""
    block = front + USUAL.replace(CLIENT, OTHER) + b"\n" + behind
    matcher = Matcher([TrapConfig(methods=methods)])
    for _ in range(2):
        assert matcher.scan(block) == read_in_full(block)


@pytest.mark.parametrize("methods", [("POST",), ("POST", "PUT"), ("GET", "POST")])
@pytest.mark.parametrize("front", [b"", b"\0\0", b"\xef\xbb\xbf", b"\t "])
def test_a_name_that_json_escapes_is_found(methods, front):
    """Also behind a hole that a truncation left, or a byte order mark."""
    line = rb'{"remote_addr":"203.0.113.7","ts":1773144000,"request":"POST /\u0078mlrpc.php"}'
    (hit,) = Matcher([TrapConfig(methods=methods)]).scan(block_of(front + line)).hits
    assert hit[:3] == (NOON, parse_address(CLIENT), 0)


@pytest.mark.parametrize("methods", [("POST",), ("POST", "PUT"), ("GET", "POST")])
@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/ü.php", rb"/\xC3\xBC.php"), ("/ü.php", "/ü.php".encode()), ("/ü.php", b"/%C3%BC.php"),
        ('/"', rb"/\""), ('/"', rb"/\x22"), ("/\\", rb"/\\"), ("/a\tb", rb"/a\tb"),
    ],
)  # fmt: skip
def test_a_name_that_servers_escape_is_found(methods, path, logged):
    """A path is configured as the server decodes it, and logged as the server escapes it."""
    matcher = Matcher([TrapConfig(path=path, methods=methods)])
    (hit,) = matcher.scan(block_of(USUAL.replace(b"/xmlrpc.php", logged))).hits
    assert hit[:3] == (NOON, parse_address(CLIENT), 0)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_each_of_several_traps_finds_its_hits(number):
    """With three names at most they are looked for; with more, each line of the method is read."""
    rules = [TrapConfig(path=f"/trap{n}.php") for n in range(number)]
    lines = [USUAL.replace(b"xmlrpc", b"trap%d" % n) for n in range(number)]
    matched = Matcher(rules).scan(block_of(*lines, b"POST is all that is here"))
    assert [hit.trap for hit in matched.hits] == list(range(number))
    assert bool(matched.unparsed) == (number > 3)


def test_a_short_line_that_breaks_off_is_unparsed_wherever_it_stands():
    """Its own length says whether it was cut, and not its place in the block."""
    broken = USUAL[: USUAL.index(b" HTTP")] + b"?a"
    block = b"x" * (MAX_LINE - 20) + b"\n" + broken + b"\n"
    assert Matcher([TrapConfig()]).scan(block) == Matched(2, [len(block)], [])


def test_a_line_that_was_cut_behind_its_request_is_a_hit():
    """Nothing of what is missing matters, whether a query has begun or not."""
    line = (USUAL[:-1] + b"a" * MAX_LINE)[:MAX_LINE]
    assert Matcher([TrapConfig()]).scan(line + b"\n").hits == [
        Hit(NOON, parse_address(CLIENT), 0, 200, MAX_LINE + 1)
    ]
    assert Matcher([TrapConfig()]).explain(line).kind == "hit"


def test_a_tab_in_front_may_be_the_end_of_an_empty_field():
    """Where it answers 400 to the host that it got, nginx logs none."""
    log_format = '$host\t$remote_addr\t[$time_local]\t"$request"'
    line = b'\t203.0.113.7\t[10/Mar/2026:12:00:00 +0000]\t"POST /xmlrpc.php HTTP/1.1"'
    matcher = Matcher([TrapConfig()], log_format)
    assert matcher.scan(line + b"\n").hits[0][:3] == (NOON, parse_address(CLIENT), 0)
    assert matcher.explain(line).kind == "hit"


def test_of_a_target_with_spaces_that_was_cut_the_version_is_not_taken_for_one():
    """Old nginx lets spaces into a target: this file is called ``xmlrpc.php HTTP/1.1``."""
    line = (USUAL[: USUAL.index(b'" 200')] + b"?" + b"a" * MAX_LINE)[:MAX_LINE]
    assert Matcher([TrapConfig()]).scan(line + b"\n") == Matched(1, [], [])
    assert Matcher([TrapConfig()]).explain(line).kind == "no hit"


# Settled in passing ----------------------------------------------------------------------------

OTHER_TRAP = TrapConfig(path="/other.php")


def at(clock, client=CLIENT, *, request=b"POST /xmlrpc.php HTTP/1.1", size=b"370"):
    """Return a line of that time of the day."""
    line = USUAL.replace(b"12:00:00", clock.encode()).replace(CLIENT, client)
    return line.replace(b"POST /xmlrpc.php HTTP/1.1", request).replace(b"370", size)


def instant(clock):
    return parse_time(b"10/Mar/2026:%s +0000" % clock.encode())


def banned(since, until, log_format="auto"):
    """Return a matcher that knows of a ban of CLIENT, and has seen its usual requests."""
    matcher = Matcher([TrapConfig(), OTHER_TRAP], log_format)
    matcher.scan(block_of(at("11:00:00"), at("11:00:00", OTHER)))
    add_ban(matcher, CLIENT, since, until)
    return matcher


def add_ban(matcher, client, since, until):
    ban = Ban(parse_address(client), "xmlrpc", instant(since), instant(until), 3, 1)
    matcher.skip_banned([ban], lambda _: client.decode())


def handed_out(matcher, *lines):
    """Return the time and client of what is handed out."""
    hits = matcher.scan(block_of(*lines)).hits
    return [(hit.time, hit.address) for hit in hits]


def settled(matcher):
    return {client.address: (client.hits, client.last) for client in matcher.skipped}


@pytest.mark.parametrize("log_format", NAMED)
def test_hits_inside_a_ban_are_counted_and_no_longer_handed_out(log_format):
    """From its start on, up to its last whole minute; who has none is not concerned."""
    matcher = banned("12:00:00", "12:05:30", log_format)
    inside = ["12:00:00", "12:00:00", "12:00:30", "12:04:59"]
    assert [handed_out(matcher, at(clock)) for clock in inside] == [[]] * 4
    assert settled(matcher) == {parse_address(CLIENT): (4, instant("12:04:59"))}
    statuses = [at("12:04:59").replace(b" 200 ", b" %03d " % status) for status in (0, 499, 999)]
    assert len(handed_out(matcher, *statuses)) == 0
    behind = ["12:05:00", "12:05:29", "12:05:30", "12:06:00"]
    assert handed_out(matcher, *map(at, behind)) == [
        (instant(clock), parse_address(CLIENT)) for clock in behind
    ]
    assert settled(matcher) == {parse_address(CLIENT): (7, instant("12:04:59"))}


def test_who_is_not_banned_is_not_settled():
    """In the same breath, with the same request at the same time."""
    matcher = banned("12:00:00", "13:00:00")
    found = handed_out(matcher, at("12:01:00"), at("12:01:00", OTHER), at("12:01:00"))
    assert found == [(instant("12:01:00"), parse_address(OTHER))]
    assert settled(matcher) == {parse_address(CLIENT): (2, instant("12:01:00"))}


@pytest.mark.parametrize("request_line", [b"POST / HTTP/1.1", b"POST /%61 HTTP/1.1"])
def test_what_is_no_hit_is_not_settled(request_line):
    """A request that is remembered as none stays none, and other lines go on being settled."""
    matcher = banned("12:00:00", "13:00:00")
    lines = [at("12:01:00", request=request_line), at("12:01:00")] * 3
    assert handed_out(matcher, *lines) == []
    assert settled(matcher) == {parse_address(CLIENT): (3, instant("12:01:00"))}


def test_hits_of_every_trap_are_settled():
    """A ban is of an address, no matter what it requested."""
    matcher = banned("12:00:00", "13:00:00")
    other = b"POST /other.php HTTP/1.1"
    assert len(handed_out(matcher, at("12:01:00", request=other))) == 1, "seen for the first time"
    assert handed_out(matcher, at("12:01:00", request=other), at("12:01:00")) == []
    assert settled(matcher) == {parse_address(CLIENT): (2, instant("12:01:00"))}


def test_a_late_hit_is_handed_out():
    """It may be older than the ban; which one judges it is not for the matcher to say."""
    matcher = banned("12:00:00", "13:00:00")
    late = at("11:59:59")
    assert handed_out(matcher, late) == [(instant("11:59:59"), parse_address(CLIENT))]
    assert handed_out(matcher, at("12:10:00"), at("12:09:59")) == [
        (instant("12:09:59"), parse_address(CLIENT))
    ]
    assert settled(matcher) == {parse_address(CLIENT): (1, instant("12:10:00"))}


def test_an_unusual_late_hit_does_not_set_the_time_back():
    """What is late after the latest hit is handed out, no matter what came in between."""
    matcher = banned("12:00:00", "13:00:00")
    lines = [at("12:10:00"), at("12:05:00", size=b"-"), at("12:07:00")]
    assert [time for time, _ in handed_out(matcher, *lines)] == [
        instant("12:05:00"), instant("12:07:00"),
    ]  # fmt: skip


def test_an_older_ban_does_not_set_the_time_back():
    """What is late stays late."""
    matcher = banned("12:00:00", "13:00:00")
    add_ban(matcher, OTHER, "11:00:00", "13:00:00")
    assert len(handed_out(matcher, at("11:30:00"))) == 1


def test_an_unusual_line_is_handed_out_and_ends_no_ban():
    """Apache writes - for an empty answer; the usual lines behind it are settled as before."""
    matcher = banned("12:00:00", "13:00:00")
    found = handed_out(matcher, at("12:01:00"), at("12:02:00", size=b"-"), at("12:02:00"))
    assert found == [(instant("12:02:00"), parse_address(CLIENT))]
    assert settled(matcher) == {parse_address(CLIENT): (2, instant("12:02:00"))}


@pytest.mark.parametrize("size", [b"-", b"370"])
@pytest.mark.parametrize("clock", ["12:02:00", "13:00:00", "13:00:01"])
@pytest.mark.parametrize("client", [CLIENT, b"::ffff:203.0.113.7", OTHER])
def test_after_a_later_hit_an_earlier_one_is_late(size, clock, client):
    """However the later one was written and by whom: it may have led to another ban."""
    matcher = banned("12:00:00", "13:00:00")
    late = at("12:01:00")
    first, second = late, at(clock, client, size=size)
    found = handed_out(matcher, first, second, late, late)
    assert found[-2:] == [(instant("12:01:00"), parse_address(CLIENT))] * 2
    assert settled(matcher)[parse_address(CLIENT)][0] in {1, 2}


def test_a_line_that_holds_its_beginning_twice_is_one_hit():
    """No server writes it, but without escapes clients can write it."""
    matcher = banned("12:00:00", "13:00:00")
    twice = at("12:01:00") + at("12:01:00")[len(CLIENT) :]
    assert handed_out(matcher, at("12:01:00"), twice) == []
    assert settled(matcher) == {parse_address(CLIENT): (2, instant("12:01:00"))}
    other = twice.replace(CLIENT, OTHER)
    assert len(handed_out(matcher, other, other)) == 2


def test_a_settled_line_with_the_method_in_another_field_is_one_hit():
    """A client chooses his user agent, and the search finds the method there, too."""
    matcher = banned("12:00:00", "13:00:00")
    line = at("12:01:00").replace(b'"-" "-"', b'"POST /xmlrpc.php HTTP/1.1" "POST %"')
    assert handed_out(matcher, line, line) == []
    assert settled(matcher) == {parse_address(CLIENT): (2, instant("12:01:00"))}


def test_a_request_that_is_no_hit_is_parsed_only_in_a_candidate():
    """Its request may be remembered from a line whose user agent made it one."""
    nothing = at("12:00:00", request=b"POST / HTTP/1.1")
    lines = nothing.replace(b'"-"', b'"xmlrpc.php"'), nothing, nothing.replace(b"370", b"37x")
    assert Matcher([TrapConfig()]).scan(block_of(*lines) * 2) == Matched(6, [], [])


def test_what_stands_behind_the_known_fields_is_no_request():
    """Even if the server writes there what looks like one, where a usual line has its own."""
    whole = at("12:00:00", request=b"POST /a.p HTTP/1.1", size=b"1234567890")
    further = whole[: whole.index(b' "-"')] + b" " + at("12:00:00")[len(CLIENT) :]
    assert (
        Matcher([TrapConfig()]).scan(block_of(USUAL, USUAL, further)).hits
        == read_in_full(block_of(USUAL, USUAL)).hits
    )


def test_a_ban_of_an_address_that_the_log_does_not_know_changes_nothing():
    """Networks of IPv6 are never settled: no log writes them."""
    matcher = banned("12:00:00", "13:00:00")
    before = settled(matcher)
    add_ban(matcher, b"2001:db8::", "12:00:00", "13:00:00")
    add_ban(matcher, CLIENT, "12:00:00", "14:00:00")
    assert settled(matcher) == before
    assert handed_out(matcher, at("13:59:59")) == []


# Paths and requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "parts"),
    [
        (b"POST HTTP/1.1", (b"POST", b"HTTP/1.1")),
        (b"POST  HTTP/1.1 ", (b"POST", b"HTTP/1.1")),
        (b"POST   ", None),
        (b"POST /x  HTTP/1.1 HTTP/1.1", (b"POST", b"/x  HTTP/1.1")),
    ],
)
def test_a_version_stands_behind_a_target(request_line, parts):
    """Alone it is the target, and only the last one is the version."""
    assert split_request(request_line) == parts


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"Z9Zz://host/x", b"/x"),
        (b"http://host", b""),
        (b"http://host/", b"/"),
        (b"/.", b"/"),
        (b"/a/../..", b"/"),
    ],
)
def test_a_path_begins_behind_the_host(target, path):
    """A host alone has no path, and the root has one slash, however it is reached."""
    assert canonical(target) == path


def test_a_cache_never_holds_more_than_its_ceiling():
    """It is emptied first, and holds what was remembered last."""
    cache = {}
    for number in range(20):
        assert _remember(cache, number, -number, 3) == -number
        assert cache[number] == -number
        assert len(cache) <= 3


# Reasons ---------------------------------------------------------------------------------------

ONE_ADDRESS = "let the server log one address, that of the client that connected"
NGINX_COMMON = '$remote_addr - $remote_user [$time_local] "$request"'
NO_ZONE = "only neighbours have an address with a zone: let the server log it without"
OWN_FORMAT = "set `format` to the LogFormat or log_format of the server that writes this log"
LONGEST = "2001:1db8:1111:1111:1111:1111:255.255.255.255"


def reason(line, log_format="auto"):
    verdict = Matcher([TrapConfig()], log_format).explain(line)
    return verdict.kind, verdict.reason


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x" * 50, f"no client address at byte 0: {'x' * 40!r}; {OWN_FORMAT}"),
        ("\0\t x", f"no client address at byte 3: 'x'; {OWN_FORMAT}"),
        ('203.0.113.7 "', f"no identity at byte 12: '\"'; {OWN_FORMAT}"),
        ("203.0.113.7 - -", f"no user and [time] at byte 14: '-'; {OWN_FORMAT}"),
        ("{x", f"no client address at byte 0: '{{x'; {OWN_FORMAT}"),
    ],
)
def test_a_line_that_does_not_parse_says_where_and_what_to_do(line, said):
    """The place in the line as it stands, up to 40 bytes from there, and what helps."""
    assert reason(line.encode(), "common") == ("unparsed", said)


@pytest.mark.parametrize(
    ("log_format", "front"),
    [
        ("common", ""), ("auto", ""), (NGINX_COMMON, ""), ("auto", "www.example.org "),
        ("vhost_combined", "www.example.org "),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("client", "cure"),
    [
        ("9.9.9.9, 198.51.100.1", ONE_ADDRESS),
        ("198.51.100.1, 9.9.9.9", ONE_ADDRESS),
        ("::1, 198.51.100.1", ONE_ADDRESS),
        ("F::f, unknown", ONE_ADDRESS),
        (f"{LONGEST}, 9.9.9.9", ONE_ADDRESS),
        ("fe80::9%eth0", NO_ZONE),
        ("FE80::F%0", NO_ZONE),
        ("a.b, 9.9.9.9", OWN_FORMAT),
        ("9.9.9, 9.9.9.9", OWN_FORMAT),
        ("unknown", OWN_FORMAT),
    ],
)
def test_what_helps_against_more_than_an_address_is_reported(log_format, front, client, cure):
    """Wherever the format breaks: at the address, behind it, or at a host in front of it."""
    kind, message = reason(f"{front}{client} - - no time".encode(), log_format)
    assert kind == "unparsed"
    assert message.endswith(f"; {cure}")


def test_a_blank_before_the_comma_makes_it_a_list_all_the_same():
    """Some servers write one."""
    assert reason(b"9.9.9.9 , 198.51.100.1", NGINX_COMMON)[1].endswith(f"; {ONE_ADDRESS}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (USUAL.replace(CLIENT, b"9.9"), f"not a client address: '9.9'; {ONE_ADDRESS}"),
        (USUAL.replace(CLIENT, b"1" * 99), f"not a client address: '{'1' * 80}'; {ONE_ADDRESS}"),
        (USUAL.replace(b"Mar", b"Mrz"), "not a time: '10/Mrz/2026:12:00:00 +0000'; this time c"),
    ],
)
def test_what_is_no_address_or_time_is_shown(line, said):
    """At most 80 bytes of it, printable."""
    kind, message = reason(line)
    assert (kind, message[: len(said)]) == ("unparsed", said)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/%1b[2J", r"/\x1b[2J"), (b"/%ff", r"/\xff"), (b"/%c3%bc", "/ü"),
        (b"/%5c'%1b", "/\\'\\x1b"), (b"/%e2%80%aeab%0a", r"/\u202eab\n"),
    ],
)  # fmt: skip
def test_a_path_is_shown_without_what_a_terminal_would_obey(target, shown):
    """Once its percent signs are undone it may hold anything."""
    assert reason(USUAL.replace(b"/xmlrpc.php", target)) == ("no hit", f"path is {shown}")


def test_the_time_of_a_line_is_known_for_any_request():
    """Hits or not, text or JSON, and None for what does not parse."""
    time_of = Matcher([TrapConfig()]).time_of
    assert time_of(USUAL.replace(b"POST", b"GET")) == NOON
    assert time_of(b"\0\0" + USUAL) == NOON
    assert time_of(b'{"remote_addr":"203.0.113.7","ts":1773144000,"request":"GET /"}') == NOON
    assert time_of(USUAL.replace(b"Mar", b"Mrz")) is None
    assert time_of(b"") is None
