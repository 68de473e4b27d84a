"""Addresses, times, format strings: what is read from a field, and what is refused."""

import re

import pytest

from blocker import addresses, times
from blocker.addresses import parse_address
from blocker.config.readers import FORMATS
from blocker.config.schema import TrapConfig
from blocker.errors import ConfigError
from blocker.matching import (
    candidates,
    formats,
    grammar,
    json_lines,
    matcher,
    requests,
    verdict,
)
from blocker.matching.format_strings import compile_format
from blocker.matching.formats import NAMED, line_format
from blocker.matching.line_parser import MAX_LINE
from blocker.matching.matcher import MAX_ADDRESSES, Matcher
from blocker.matching.requests import MAX_CACHED_REQUEST, canonical, split_request
from blocker.sources.stream import BLOCK
from blocker.times import SECOND, parse_time

READERS = (times, addresses, candidates, grammar, formats, json_lines, requests, verdict, matcher)
"""Whose regular expressions have to take linear time."""
LINE = b'203.0.113.7 - u s [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "x"'


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"25/Mar/2015:05:22:15 -0700", 1427286135),
        (b"2015-03-25T12:22:15Z", 1427286135),
        (b"2015-03-25T05:22:15-07:00", 1427286135),
        (b"2015-03-25T05:22:15.25-0700", 1427286135.25),
        (b"1427286135", 1427286135),
        (b"1427286135.250", 1427286135.25),
        (b"1427286135250", 1427286135.25),
        (b"1427286135250.125", 1427286135.250125),
        (b"1427286135250125", 1427286135.250125),
        (b"1427286135250125999", 1427286135.250125),
        (b"29/Feb/2016:00:00:00 +0000", 1456704000),
    ],
)
def test_times_that_servers_write(text, seconds):
    """The common log format, RFC 3339, and seconds since the epoch or parts of them."""
    assert parse_time(text) == seconds * SECOND


@pytest.mark.parametrize(
    "text",
    [
        b"", b"-", b"29/Feb/2015:00:00:00 +0000", b"00/Jan/2015:00:00:00 +0000",
        b"10/jan/2015:00:00:00 +0000", b"10/Jan/2015:00:60:00 +0000", b"99999999999999",
        b"10/Jan/1960:00:00:00 +0000",
        b"10/Jan/4253:00:00:00 +0000", b"70000000000", b"2015-03-25 05:22:15", b"1e9",
        b"\xd9\xa1" * 8,
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(text):
    """Nothing is guessed at."""
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        (b"203.0.113.7", "cb007107"),
        (b"::ffff:203.0.113.7", "cb007107"),
        (b"2001:db8::7", "20010db8000000000000000000000007"),
    ],
)
def test_addresses_that_servers_write(text, packed):
    """Packed as the kernel wants them; IPv4-mapped IPv6 is IPv4."""
    assert parse_address(text) == bytes.fromhex(packed)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a/b/../c", b"/a/c"),
        (b"/a/b/..", b"/a/"),
        (b"/..", b"/"),
        (b"/a/./", b"/a/"),
        (b"//", b"/"),
        (b"/a.php/b.php", b"/a.php"),
        (b"/a.phpx/b", b"/a.phpx/b"),
        (b"http://host", b""),
        (b"http://host?/x", b""),
        (b"*", b"*"),
        (b"/%2e%2e/x", b"/x"),
        (b"/%252e", b"/%2e"),
        (b"/%e", b"/%e"),
        (b"/\\x22\\x5C", b'/"\\'),
        (b'/\\"\\\\\\n', b'/"\\\n'),
    ],
)
def test_paths_become_what_a_server_would_look_up(target, path):
    """Escapes undone once, dots and slashes collapsed, cut behind the script."""
    assert canonical(target) == path


@pytest.mark.parametrize(
    ("request_line", "parts"),
    [
        (b"POST /x HTTP/1.1", (b"POST", b"/x")),
        (b"POST  /x  HTTP/1.1  ", (b"POST", b"/x")),
        (b"POST /a b HTTP/1.1", (b"POST", b"/a b")),
        (b"POST /x HTTP/3", (b"POST", b"/x")),
        (b"POST /x", (b"POST", b"/x")),
        (b"POST /a b", None),
        (b"POST", None),
        (b"POST ", None),
        (b"", None),
        (b"\\x16\\x03", None),
    ],
)
def test_request_lines(request_line, parts):
    """Method and target, with any spaces around them."""
    assert split_request(request_line) == parts


@pytest.mark.parametrize(
    "text",
    [
        '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
        '%h %l %u %t \\"%r\\" %>s %b',
        '%a %l %u %t "%r" %>s %O',
        '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent',
    ],
)
def test_format_strings_read_what_they_describe(text):
    """Pasted as they stand in the server's own configuration."""
    fields = compile_format(text).parse(LINE)
    assert fields.address == b"203.0.113.7"
    assert parse_time(fields.time) == 1773144000 * SECOND
    assert fields.request == b"POST /xmlrpc.php HTTP/1.1"


NGINX_COMMON = '$remote_addr - $remote_user [$time_local] "$request"'


@pytest.mark.parametrize(
    "text",
    [
        r'LogFormat "%h %l %u %t \"%r\" %>s %b" common',
        "'$remote_addr - $remote_user [$time_local] \"$request\" $status'",
        "'$remote_addr - $remote_user [$time_local] ' '\"$request\" $status';",
        "log_format main '$remote_addr - $remote_user [$time_local] ' '\"$request\" $status';",
        "log_format main escape=default '$remote_addr - $remote_user [$time_local] \"$request\"';",
    ],
)
def test_the_whole_directive_may_be_pasted(text):
    """Its words and the quotes round its parts are no part of a line."""
    fields = line_format(text).parse(LINE)
    assert (fields.address, fields.request) == (b"203.0.113.7", b"POST /xmlrpc.php HTTP/1.1")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("%v:%p ", "www.example.org:443 "),
        ("%v:%p ", "[2001:db8::1]:443 "),
        ("$server_addr:$server_port ", "192.0.2.1:443 "),
        ("$server_addr:$server_port ", "2001:db8::1:443 "),
        ("$server_port|$request_time|", "443|0.001|"),
        ("$request_id,($pid);", "0a1b,(77);"),
    ],
)
def test_a_word_of_the_server_ends_where_its_delimiter_begins(text, start):
    """Such as in vhost_combined as Debian's Apache has it, and where | or , stand between."""
    made = line_format(text + '%h %l %u %t "%r"' if "%" in text else text + NGINX_COMMON)
    fields = made.parse(start.encode() + LINE)
    assert (fields.address, fields.request) == (b"203.0.113.7", b"POST /xmlrpc.php HTTP/1.1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '$time_iso8601 $remote_addr $request_method "$request_uri" $status',
            b'2026-03-10T12:00:00+00:00 203.0.113.7 POST "/xmlrpc.php" 200',
        ),
        (
            '{"t":"$msec","a":"$remote_addr","r":"$request","ua":"$http_user_agent"}',
            b'{"t":"1773144000.000","a":"203.0.113.7","r":"POST /xmlrpc.php","ua":"x"}',
        ),
        (
            '%v %{c}a %a [%{sec}t] "%m %U"',
            b'www.example.org 192.0.2.1 203.0.113.7 [1773144000] "POST /xmlrpc.php"',
        ),
        (
            '%{%Y-%m-%dT%H:%M:%S%z}t %a "%r"',
            b'2026-03-10T12:00:00+0000 203.0.113.7 "POST /xmlrpc.php"',
        ),
    ],
)
def test_unusual_formats_read_what_they_describe(text, line):
    """Other orders, method and target apart, other clocks."""
    fields = compile_format(text).parse(line)
    assert fields.address == b"203.0.113.7"
    assert parse_time(fields.time) == 1773144000 * SECOND
    assert split_request(fields.request) == (b"POST", b"/xmlrpc.php")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('%h %{User-Agent}i %t "%r"', "could forge"),
        ('$remote_addr $http_referer [$time_local] "$request"', "could forge"),
        ('%u %h %t "%r"', "could forge"),
        ("%h %t", "no request"),
        ('%t "%r"', "no client address"),
        ('%h "%r"', "no time"),
        ("nonsense", "unknown"),
    ],
)
def test_formats_that_can_not_be_trusted_are_refused_with_advice(text, advice):
    """What a client chooses must not stand loose in front of what matters."""
    with pytest.raises(ConfigError, match=advice):
        line_format(text)


def test_what_is_remembered_has_a_ceiling_in_number_and_size():
    """An attacker can make the matcher forget, never grow."""
    matcher = Matcher([TrapConfig()])
    line = '{} - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php?{} HTTP/1.1" 200 5\n'
    for number in range(30):
        lines = (line.format("1" * 5000 + f".{number}.{n}", "q" * 5000) for n in range(200))
        matcher.scan("".join(lines).encode())
    clients = (f"{16 + (n >> 16)}.18.{n >> 8 & 255}.{n & 255}" for n in range(MAX_ADDRESSES + 10))
    matcher.scan("".join(line.format(who, n) for n, who in enumerate(clients)).encode())
    assert 0 < len(matcher._clients) <= 10
    caches = (matcher._clients, matcher._times, matcher._stretches, matcher._traps)
    for cache in caches:
        assert len(cache) <= MAX_ADDRESSES
        assert all(len(key) <= MAX_CACHED_REQUEST for key in cache)


NPM = (
    "[$time_local] $upstream_cache_status $upstream_status $status - $request_method $scheme $host"
    ' "$request_uri" [Client $remote_addr] [Length $body_bytes_sent] [Gzip $gzip_ratio]'
    ' [Sent-to $server] "$http_user_agent" "$http_referer"'
)
OWN_NAMES = (
    '{"timestamp":"$time_iso8601","host":"$server_addr","clientip":"$remote_addr",'
    '"size":$body_bytes_sent,"request":"$request","status":"$status"}'
)


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        (
            NPM,
            (
                '[10/Mar/2026:12:00:00 +0000] - 502, 200 200 - POST https example.org "/xmlrpc.php"'
                ' [Client 203.0.113.7] [Length 370] [Gzip -] [Sent-to 10.0.0.2] "-" "-"'
            ),
        ),
        (
            NPM,
            (
                '[10/Mar/2026:12:00:00 +0000] HIT - 200 - POST https [::1] "/xmlrpc.php"'
                ' [Client 203.0.113.7] [Length 370] [Gzip 2.1] [Sent-to 10.0.0.2] "-" "-"'
            ),
        ),
        (
            '$remote_addr - $remote_user [$time_iso8601] "$request" $status',
            '203.0.113.7 - a [b] [2026-03-10T12:00:00+00:00] "POST /xmlrpc.php HTTP/1.1" 200',
        ),
        (
            '$remote_addr - $remote_user [$msec] "$request" $status',
            '203.0.113.7 - - [1773144000.123] "POST /xmlrpc.php HTTP/1.1" 200',
        ),
        (
            OWN_NAMES,
            (
                '{"timestamp":"2026-03-10T12:00:00+00:00","host":"192.0.2.1","clientip":"203.0.113.7",'
                '"size":5,"request":"POST /xmlrpc.php HTTP/1.1","status":"200"}'
            ),
        ),
        (
            '{"t":"%t","ip":"%a","r":"%m %U%q","s":%>s,"ua":"%{User-Agent}i"}',
            (
                '{"t":"[10/Mar/2026:12:00:00 +0000]","ip":"203.0.113.7","r":"POST /xmlrpc.php",'
                '"s":200,"ua":"\\xff"}'
            ),
        ),
        (
            '$remote_addr:$remote_port - $remote_user [$time_local] "$request" $status',
            '203.0.113.7:5123 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200',
        ),
        (
            '$upstream_response_time $request_time $remote_addr [$time_local] "$request" $status',
            (
                "0.001, 0.002 : - 0.010 203.0.113.7 [10/Mar/2026:12:00:00 +0000]"
                ' "POST /xmlrpc.php HTTP/1.1" 200'
            ),
        ),
        (
            r"%h\t%l\t%u\t%t\t%r\t%>s",
            "203.0.113.7\t-\ta b\t[10/Mar/2026:12:00:00 +0000]\tPOST /xmlrpc.php HTTP/1.1\t200",
        ),
        (
            r"host:%h\tua:%{User-Agent}i\ttime:%t\treq:%r",
            (
                "host:203.0.113.7\tua:x\\ttime:y\ttime:[10/Mar/2026:12:00:00 +0000]"
                "\treq:POST /xmlrpc.php HTTP/1.1"
            ),
        ),
        (
            r"$remote_addr\t$http_user_agent\t$time_iso8601\t$request_method\t$request_uri",
            "203.0.113.7\t\\x09\t2026-03-10T12:00:00+00:00\tPOST\t/xmlrpc.php",
        ),
        (
            '%h %l %u %t "%m %U%q %H" %>s',
            '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php?a HTTP/1.1" 200',
        ),
        (
            '%h %l %u %t "%m %U%q" %>s',
            '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php?a b" 200',
        ),
        (
            (
                "$remote_addr - $remote_user [$time_local]"
                ' "$request_method $request_uri $server_protocol" $status'
            ),
            '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200',
        ),
        (
            '"%!400,501{User-agent}i" "%200,304{Referer}i" %h %t "%r"',
            '"-" "-" 203.0.113.7 [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1"',
        ),
        (
            '%h %u [%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}tZ] "%r"',
            '203.0.113.7 a b [2026-03-10T12:00:00.123Z] "POST /xmlrpc.php HTTP/1.1"',
        ),
        (
            '[%{%d/%b/%Y:%T}t %{%z}t] %h "%r"',
            '[10/Mar/2026:12:00:00 +0000] 203.0.113.7 "POST /xmlrpc.php HTTP/1.1"',
        ),
        ('%{msec}t %h "%r"', '1773144000123 203.0.113.7 "POST /xmlrpc.php HTTP/1.1"'),
        ('%{usec}t %h "%r"', '1773144000123456 203.0.113.7 "POST /xmlrpc.php HTTP/1.1"'),
        (
            '%{begin:sec}t.%{begin:usec_frac}t %h "%r"',
            '1773144000.123456 203.0.113.7 "POST /xmlrpc.php HTTP/1.1"',
        ),
        (
            '{"t":"%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}tZ","a":"%a","m":"%m","p":"%U%q"}',
            ('{"t":"2026-03-10T12:00:00.123Z","a":"203.0.113.7","m":"POST","p":"/xmlrpc.php?a"}'),
        ),
        (
            '{"t":%{sec}t,"a":"%a","r":"%m %U%q %H"}',
            '{"t":1773144000,"a":"203.0.113.7","r":"POST /xmlrpc.php HTTP/1.1"}',
        ),
        (
            '%h %l %u [%{%d/%b/%Y:%H:%M:%S %z}t] "%r" %>s',
            '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200',
        ),
    ],
)
def test_a_format_that_is_accepted_reads_what_the_server_writes_by_it(log_format, line):
    """Words of the server, times in brackets, ports, and JSON by the names of its own."""
    verdict = Matcher([TrapConfig()], log_format).explain(line.encode())
    assert (verdict.kind, verdict.fields.address) == ("hit", b"203.0.113.7"), verdict.reason
    matched = Matcher([TrapConfig()], log_format).scan(line.encode() + b"\n")
    assert len(matched.hits) == 1


@pytest.mark.parametrize(
    ("log_format", "said"),
    [
        ('%h [%{%H:%M:%S}t] "%r"', "this time can't be read"),
        ('%h [%{%Y}t] "%r"', "this time can't be read"),
        ('%h [%{%Y-%m-%dT%H:%M:%S}t] "%r"', "this time has no time zone (%z)"),
        ('%h [%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t] "%r"', "this time has no time zone (%z)"),
        ('{"t":"%{%FT%T}t","a":"%a","r":"%r"}', "this time has no time zone (%z)"),
        ("%h %m %U %t", "target is not in quotes"),
        (r"%h\t%U %t\t%m", "target is not in quotes"),
        ("log_format x escape=none '$remote_addr $msec \"$request\"'", "escape=none"),
        ('$remote_addr$remote_port [$time_local] "$request"', "it can match no line"),
        ('{"a":"$remote_addr","r":"$request"}', "no time in"),
        ('{"t":"$msec","x":"$http_x_forwarded_for","r":"$request"}', "no client address in"),
        (
            '$upstream_http_x $remote_addr [$time_local] "$request"',
            "$upstream_http_x is not in quotes",
        ),
        ('$http_host $remote_addr [$time_local] "$request"', "$http_host is not in quotes"),
        ('$time_iso8601|$remote_addr|$host|"$request"', "a host may hold | itself"),
        ('$host;$remote_addr;[$time_local];"$request"', "a host may hold ; itself"),
    ],
)
def test_a_format_that_can_match_no_line_or_be_forged_is_refused(log_format, said):
    """With the field and the reason, when the configuration is read."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        line_format(log_format)


# Lines that were cut ---------------------------------------------------------------------------


def cut(beginning, filler=b"a"):
    return (beginning + filler * MAX_LINE)[:MAX_LINE]


FRONT = b'192.0.2.1 - - [25/Mar/2015:05:22:15 -0700] "'


@pytest.mark.parametrize("filler", [b"a", b"a b", b"\\", b"%78", b'\\"', b"\\x22"])
@pytest.mark.parametrize("front", [b"", b"\0\0", b"example.org "])
def test_a_line_that_was_cut_in_its_query_is_a_hit(front, filler):
    """The ceiling of the reader cuts a line there; the path is known when the query has begun."""
    line = cut(front + FRONT + b"POST //xmlrpc.php?", filler)
    matcher = Matcher([TrapConfig()])
    (hit,) = matcher.scan(b"x\n" + line + b"\nx\n").hits
    assert (hit.address, hit.end) == (bytes([192, 0, 2, 1]), MAX_LINE + 3)
    assert matcher.explain(line).kind == "hit"


@pytest.mark.parametrize(
    "line",
    [
        cut(FRONT + b"POST /" + b"a/../" * (MAX_LINE // 5 - 20) + b"xmlrpc.php", b"/"),
        cut(b"192.0.2.1 - POST /xmlrpc.php? [25/Mar/2015:05:22:15 -0700] "),
        FRONT + b"POST /xmlrpc.php?a",
    ],
)
def test_a_line_that_was_cut_elsewhere_is_unparsed(line):
    """A path that may go on, a user name, or a short line that just breaks off prove nothing."""
    matched = Matcher([TrapConfig()]).scan(line + b"\n")
    assert (matched.hits, matched.unparsed) == ([], [len(line) + 1])
    assert Matcher([TrapConfig()]).explain(line).kind == "unparsed"


def test_the_reader_cuts_to_the_length_that_the_matcher_knows():
    """A block that holds a line that was cut holds nothing else."""
    assert MAX_LINE + 1 == BLOCK


# Expressions -----------------------------------------------------------------------------------


def may_lose_its_place(parsed, *, inside=False):
    """Whether a possessive group may fail in, or behind, anything but a single byte.

    Python before 3.11.5 goes on from there then, and not from where the group began (CPython's
    issue 106052).
    """
    varies = False
    for operator, what in parsed:
        name, repeats = str(operator), str(operator).endswith("REPEAT")
        may_fail = not repeats or what[0] > 0
        single = name in {"LITERAL", "NOT_LITERAL", "IN", "ANY"}
        if inside and may_fail and (varies or not single):
            return True
        varies = varies or not single
        for part in parts_of(name, what):
            if may_lose_its_place(part, inside=inside or name == "POSSESSIVE_REPEAT"):
                return True
    return False


def parts_of(name, what):
    if name.endswith("REPEAT"):
        return [what[2]]
    if name == "BRANCH":
        return what[1]
    return [what[-1]] if name in {"SUBPATTERN", "ASSERT", "ASSERT_NOT"} else []


WITH_ALL_FIELDS = [
    '$upstream_addr $host "$remote_user" $remote_addr:$remote_port [$time_local] "$request"',
    '$msec\t$host\t$server_addr:$server_port $pid|$remote_addr $request_method "$request_uri"',
    '%h %u %t "%r"',
    '"%u" %V:%p [%V] %h %t "%r"',
]


@pytest.mark.parametrize(
    "pattern",
    [each for module in READERS for each in vars(module).values() if isinstance(each, re.Pattern)]
    + [line_format(name).pattern for name in (*NAMED, *WITH_ALL_FIELDS)],
)
def test_an_expression_means_the_same_to_every_python(pattern):
    """What a possessive group has tried in vain is given back by all of them."""
    assert not may_lose_its_place(re._parser.parse(pattern.pattern, pattern.flags & re.DOTALL))


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("(?:ab)*+", False), ("(?:ab++)*+", True), ("(?:a[bc]d*+)*+", False),
        ("(?:a++b)*+", True), ("(?:ab?c)*+", True),
        ("(?:a|bc)*+", True), ("(?:ab*+c*+)*+", False), ("(?:a++b|c)?", False),
        ("(?:a(?:bc*)*+)?+", False), ("(?:a(?:b*c)*+)?+", True), ("(?:a++(?=b))*+", True),
    ],
)  # fmt: skip
def test_a_group_that_loses_its_place_is_seen(text, does):
    """A repetition, an alternative or an assertion that fails, or what fails behind one."""
    assert may_lose_its_place(re._parser.parse(text)) == does


# Each field, up to its ends ---------------------------------------------------------------------


MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@pytest.mark.parametrize(("number", "name"), list(enumerate(MONTHS, 1)))
def test_every_month_is_known_by_the_name_that_servers_write(number, name):
    """In English, in any locale."""
    text = f"19/{name}/2009:19:59:59 +0000".encode()
    assert parse_time(text) == parse_time(f"2009-{number:02}-19T19:59:59Z".encode())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"01/Jan/1970:00:00:00 +0000", 0),
        (b"29/Sep/1999:19:49:49 +0939", 938599849),
        (b"1999-09-29T19:49:49.999999+09:39", 938599849.999999),
        (b"31/Dec/2016:23:59:60 +0000", 1483228800),
        (b"10/Mar/2026:12:00:00 -0939", 1773178740),
        (b"31/Dec/3999:23:59:59 +0000", 64_060_588_799),
        (b"0", 0),
        (b"64060588799.9", 64_060_588_799.9),
        (b"1970-01-01T00:00:01.5Z", 1.5),
        (b"1970-01-01T00:00:01.1234569Z", 1.123456),
        (b"1." + b"5" * 20, 1.555555),
        (b"1999999999999.9", 1999999999.9999),
        (b"1427286135250." + b"1" * 20, 1427286135.250111),
    ],
)
def test_times_at_the_ends_of_what_is_a_time(text, seconds):
    """Leap seconds, every digit, zones on both sides, and the last second before the year 4000."""
    assert parse_time(text) == round(seconds * SECOND)


@pytest.mark.parametrize(
    "text",
    [
        b"31/Dec/2016:23:59:61 +0000", b"31/Dec/2016:24:00:00 +0000", b"01/Jan/1970:00:00:00 +0001",
        b"01/Jan/4000:00:00:00 +0000", b"64060588800", b"10/Mar/2026:12:00:00 +2400",
        b"2015-02-29T00:00:00.5Z", b"2015-13-01T00:00:00Z",
    ],
)  # fmt: skip
def test_times_beyond_the_ends_are_none(text):
    """One second, one hour or one zone too many."""
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        (b"223.255.255.255", "dfffffff"),
        (b"240.0.0.1", "f0000001"),
        (b"255.255.255.254", "fffffffe"),
        (b"0.0.0.1", "00000001"),
        (b"::1", "0" * 31 + "1"),
        (b"::cb00:7107", "0" * 24 + "cb007107"),
        (b"fe00::", "fe" + "0" * 30),
    ],
)
def test_addresses_next_to_unusable_ones_are_usable(text, packed):
    """Multicast ends at 239, only ``::ffff:`` leads to IPv4, and only ``::`` is unspecified."""
    assert parse_address(text) == bytes.fromhex(packed)


@pytest.mark.parametrize(
    "text", [b"224.0.0.0", b"239.255.255.255", b"0.0.0.0", b"255.255.255.255", b"ff02::1", b"::"]
)
def test_unusable_addresses_are_none(text):
    """Multicast, unspecified and broadcast addresses send no requests."""
    assert parse_address(text) is None


REST = ' - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "x"'


@pytest.mark.parametrize(
    "front",
    [
        "9.9.9.9, ", "198.51.100.199, ", "198.51.100.9:49, ", "::1, ", "9::, ", "9f:9F::9f:9F, ",
        "[2001:db8::9]:49, ", "[::]:9, ", "FEC0::1, ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("log_format", ["auto", "vhost_combined"])
def test_a_list_of_addresses_in_front_is_never_taken_for_a_virtual_host(front, log_format):
    """It is unknown which of them is true, so the line is unparsed."""
    assert line_format(log_format).parse((front + "203.0.113.7" + REST).encode()) is None


@pytest.mark.parametrize(
    "name",
    ["a,b", "www.example.org:80", "198.51.100.9", "[::1]:443", "9", "198.51.100.9:,", "a:,", ":,"],
)
def test_other_names_in_front_are_virtual_hosts(name):
    """A client may choose one with a comma in it."""
    for log_format in ("auto", "vhost_combined"):
        fields = line_format(log_format).parse(f"{name} 203.0.113.7{REST}".encode())
        assert fields.address == b"203.0.113.7"


@pytest.mark.parametrize("address", ["9.9.9.9", "2001:DB8::9F", "2001:db8::9f"])
@pytest.mark.parametrize("size", ["0", "99", "-"])
def test_a_line_is_read_with_any_digits(address, size):
    """Sizes and addresses of all digits, in capitals or not."""
    line = f'{address} - - [10/Mar/2026:12:00:00 +0000] "POST / HTTP/1.1" 499 {size}'.encode()
    for log_format in ("auto", "common", "combined", "json"):
        fields = line_format(log_format).parse(line)
        assert (fields.address, fields.status) == (address.encode(), b"499")


@pytest.mark.parametrize(
    ("log_format", "line", "piece", "offset"),
    [
        ("common", " - - [", "client address", 0),
        ("common", "203.0.113.7  -", "identity", 12),
        ("auto", "203.0.113.7 x", "identity", 12),
        ("auto", "203.0.113.7 - - 10/Mar", "user and [time]", 14),
        ("auto", '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST', "request", 46),
        (
            "auto", '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /" 2x0 5', "status", 54,
        ),
        (
            "auto", '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /" 200  "-"', "size", 58,
        ),
        ("vhost_combined", " 203.0.113.7", "virtual host", 0),
        ("auto", " 203.0.113.7 - - [", "client address", 0),
    ],
)  # fmt: skip
def test_a_line_that_breaks_says_at_what_and_where(log_format, line, piece, offset):
    """By the name of what was expected there, and the offset in bytes."""
    assert line_format(log_format).broken_at(line.encode()) == (piece, offset)


def test_a_line_that_is_whole_breaks_nowhere():
    """Then what follows is at fault, if anything."""
    assert line_format("common").broken_at(LINE) == ("end of line", LINE.index(b' "-"'))


def test_an_unknown_format_is_answered_with_those_that_are_known():
    """All of them, as they are written in the configuration."""
    known = f"use one of {', '.join(FORMATS)}, or a format string"
    with pytest.raises(ConfigError, match=known):
        line_format("nonsense")


@pytest.mark.parametrize(("field", "front", "status"), [("", b"", b"-"), ("%>s ", b"403 ", b"403")])
def test_method_and_target_apart_are_a_request_without_a_version(field, front, status):
    """Spaces of a decoded path stay in it, and a status that is not logged is none."""
    read = compile_format(field + '%a %t %m "%U"').parse
    fields = read(front + b'203.0.113.7 [10/Mar/2026:12:00:00 +0000] POST "/a b/xmlrpc.php"')
    assert (fields.request, fields.status) == (b"POST /a%20b/xmlrpc.php", status)
    assert split_request(fields.request) == (b"POST", b"/a%20b/xmlrpc.php")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/%2F%fF%9a", b"/\xff\x9a"),
        (b"/\\x9F\\xfF", b"/\x9f\xff"),
        (b"/\\a\\b\\f\\r\\t\\v", b"/\a\b\f\r\t\v"),
        (b"zZ+.-9://host:80/x", b"/x"),
        (b"A://host/x", b"/x"),
        (b"z:///x", b"/x"),
        (b"9a://host/x", b"9a://host/x"),
        (b"", b""),
        (b"/a/.", b"/a/"),
        (b"/a/b", b"/a/b"),
    ],
)
def test_paths_are_read_with_every_digit_and_letter(target, path):
    """Of percent signs, of the log's own escapes, and of a scheme (RFC 3986, section 3.1)."""
    assert canonical(target) == path


@pytest.mark.parametrize(
    ("request_line", "parts"),
    [
        (b"zZ9*+ /x HTTP/9.9", (b"zZ9*+", b"/x")),
        (b"POST /x HTTP/9", (b"POST", b"/x")),
        (b" /x HTTP/1.1", None),
        (b"POST/x", None),
        (b"POST /a b HTTP/x", None),
        (b"POST /a b HTTP/1.1x", None),
    ],
)
def test_request_lines_of_every_letter(request_line, parts):
    """A method is a token (RFC 9110, section 5.6.2); what ends in no version is one word."""
    assert split_request(request_line) == parts


class Anywhere:
    """A trap whose path another one's ends in."""

    path, methods = "/php", ("POST",)


class Inside:
    """A trap of the longer path."""

    path, methods = "/wp/php", ("POST",)


def test_the_trap_of_the_longest_path_gets_the_hit():
    """In whichever order they are configured."""
    line = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /wp/php HTTP/1.1" 200 370\n'
    for rules in ([Anywhere, Inside], [Inside, Anywhere]):
        (hit,) = Matcher(rules).scan(line).hits
        assert rules[hit.trap] is Inside


@pytest.mark.parametrize(
    ("request_line", "reason"),
    [
        (b"", "no HTTP request line"),
        (b"POST /x HTTP/1.1", "path is /x"),
        (
            b"GETGETGETGETGETGETGETGET /xmlrpc.php HTTP/1.1",
            "path /xmlrpc.php matches, method GETGETGETGETGETGETGE does not",
        ),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1", "path is /" + "a" * 199),
    ],
)
def test_a_request_that_is_no_hit_has_a_short_reason_and_no_trap(request_line, reason):
    """Trap -1, and at most 20 bytes of a method and 200 of a path."""
    line = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "' + request_line + b'" 400 0'
    verdict = Matcher([TrapConfig()]).explain(line)
    assert (verdict.kind, verdict.trap, verdict.reason) == ("no hit", -1, reason)
    assert Matcher([TrapConfig()]).explain(b"x").trap == -1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_trap_of_a_common_method_finds_its_lines_by_their_paths(method):
    """Nearly every line holds these methods; encoded names are found as well."""
    line = '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "{} {} HTTP/1.1" 200 370\n'
    block = "".join(line.format(method, path) for path in ("/x", "/xmlrpc.php", "/%78mlrpc.php"))
    matcher = Matcher([TrapConfig(methods=(method,))])
    assert len(matcher.scan(block.encode()).hits) == 2
    assert matcher._candidates.needles[0] == b"xmlrpc.php"
