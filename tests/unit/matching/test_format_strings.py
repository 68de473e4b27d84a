"""Format strings of Apache and nginx: which fields a line has by them, and which are refused."""

import re
import shutil
import subprocess

import pytest

from blocker.config.schema import TrapConfig
from blocker.errors import ConfigError
from blocker.matching.format_strings import compile_format
from blocker.matching.grammar import Fields
from blocker.matching.matched import Matched
from blocker.matching.matcher import Matcher
from blocker.matching.server_variables import (
    NGINX_HOSTS,
    NGINX_MAYBE_EMPTY,
    NGINX_UPSTREAM,
    NGINX_WORDS,
)
from blocker.times import SECOND, parse_time

STAMP = "10/Mar/2026:12:00:00 +0000"
NOON = 1773144000 * SECOND
NGINX = '$remote_addr - $remote_user [$time_local] "$request" $status'
APACHE = '%h %l %u %t "%r" %>s'
LINE = f'203.0.113.7 - - [{STAMP}] "POST /xmlrpc.php HTTP/1.1" 403'
FIELDS = Fields(b"203.0.113.7", STAMP.encode(), b"POST /xmlrpc.php HTTP/1.1", b"-")
"""What follows the last field that matters is not read, and so is no status here."""


def read(log_format, line):
    return compile_format(log_format).parse(line.encode())


def refused(log_format):
    with pytest.raises(ConfigError) as caught:
        compile_format(log_format)
    return str(caught.value)


# What the server alone writes -------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NGINX_WORDS - {"msec"}))
def test_a_variable_that_nginx_alone_sets_needs_no_quotes(name):
    """In front of what matters, between spaces, in brackets, or with another delimiter."""
    assert read(f"${name} {NGINX}", f"x.1:2 {LINE}") == FIELDS
    assert read(f"[${{{name}}}] {NGINX}", f"[x] {LINE}") == FIELDS
    assert read(f"${name}|{NGINX}", f"a-b|{LINE}") == FIELDS
    assert read(f"${name} {NGINX}", f"x y {LINE}") is None
    assert read(f"${name} {NGINX}", f'"x" {LINE}') is None


@pytest.mark.parametrize("name", sorted(NGINX_UPSTREAM))
def test_a_variable_of_upstreams_has_a_value_for_each(name):
    """With a comma between those that were tried, a colon between groups of them."""
    log_format = f"${name} {NGINX}"
    for value in ("-", "0.1", "0.1, 0.2", "0.1, 0.2 : -, 3"):
        assert read(log_format, f"{value} {LINE}") == FIELDS
    for value in ("", "0.1, ", "0.1 : ", "0.1 :", "0.1 0.2", "0.1,, 2", '0.1, "2"', "0.1, 2]"):
        assert read(log_format, f"{value} {LINE}") is None


@pytest.mark.parametrize("name", sorted(NGINX_MAYBE_EMPTY))
def test_a_variable_that_may_be_empty_needs_no_quotes(name):
    """In front of what matters, between spaces, in brackets, or with another delimiter."""
    for value in ("", "on"):
        assert read(f"${name} {NGINX}", f"{value} {LINE}") == FIELDS
        assert read(f"[${name}] {NGINX}", f"[{value}] {LINE}") == FIELDS
        assert read(f"${name}|{NGINX}", f"{value}|{LINE}") == FIELDS
    assert read(f"${name} {NGINX}", f"x y {LINE}") is None


@pytest.mark.parametrize("name", sorted(NGINX_HOSTS))
def test_a_host_that_nginx_checked_needs_no_quotes(name):
    """It holds no space; nginx refuses others."""
    assert read(f"${name} {NGINX}", f"a,b[c] {LINE}") == FIELDS
    assert read(f"${name} {NGINX}", f"a b {LINE}") is None


def test_debians_nginx_knows_the_variables_that_are_listed(tmp_path):
    """A name that is misspelt would not be found; the server would refuse it."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    optional = re.compile(
        "geoip_|otel_|brotli_|zstd_|quic|http3|.*request_port|ssl_client_sigalg|ssl_sigalg|upstream_(queue_time|cache_age)"
    )
    names = NGINX_WORDS | NGINX_MAYBE_EMPTY | NGINX_HOSTS | NGINX_UPSTREAM
    used = " ".join(f"${{{name}}}" for name in sorted(names) if not optional.match(name))
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"error_log stderr; pid {tmp_path}/pid; events {{}}\n"
        f"http {{ access_log off; log_format all '{used}';"
        f" server {{ listen unix:{tmp_path}/s; }} }}"
    )
    words = [nginx, "-t", "-q", "-c", config]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "unknown" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("letter", "AbBDHIkLlOpPSTvVX")
def test_a_field_that_apache_alone_sets_needs_no_quotes(letter):
    """In front of what matters; with an argument or without, and only for some answers."""
    for field in (letter, f"!499,501{{x}}{letter}", f"{{x}}>599{letter}", f"<{letter}"):
        assert read(f"%{field} {APACHE}", f"x.1 {LINE}") == FIELDS
        assert read(f"%{field} {APACHE}", f"x y {LINE}") is None


@pytest.mark.parametrize(
    "field",
    ["$http_x", "$arg_a", "$upstream_http_x", "$uri", "$args", "$document_uri", "$arg_9"],
)
def test_a_variable_that_a_client_chooses_needs_quotes(field):
    """It could forge what follows it otherwise; behind what matters it may stand as it is."""
    message = refused(f"{field} {NGINX}")
    assert message.startswith(f"format: {field} is not in quotes, so a client could forge what")
    assert read(f'"{field}" {NGINX}', f'"a \\"b\\" c" {LINE}') == FIELDS
    assert read(f"{field}\t{NGINX}", f'a "b" c\t{LINE}') == FIELDS
    assert read(f"{field}\t{NGINX}", f"\t{LINE}") == FIELDS
    assert read(f"{NGINX} {field}", f"{LINE} a b") == FIELDS


@pytest.mark.parametrize("letter", ["q", "i", "e", "C", "n", "o", "R", "f", "^ti", "^to", "z", "Z"])
def test_a_field_that_a_client_may_choose_needs_quotes(letter):
    """Headers, cookies, notes and all else of Apache's that is not known."""
    message = refused(f"%{{x}}{letter} {APACHE}")
    assert message.startswith(f"format: %{letter} is not in quotes")
    assert refused(f"%{{}}{letter} {APACHE}") == message
    assert read(f'"%{{x}}{letter}" {APACHE}', f'"a \\"b" {LINE}') == FIELDS


@pytest.mark.parametrize(
    "field", ["%{SSL_PROTOCOL}x", "%{SSL_CIPHER}x", "%{version}c", "%{c}h", "%{c}a", "%^FB"]
)
def test_an_argument_decides_whether_apache_alone_sets_a_field(field):
    """Of TLS the protocol and the cipher; names in a certificate are the client's."""
    assert read(f"{field} {APACHE}", f"TLSv1.3 {LINE}") == FIELDS
    assert "%{SSL_CLIENT_S_DN}x is not in quotes" in refused(f"%{{SSL_CLIENT_S_DN}}x {APACHE}")
    assert "%{SSL_TLS_SNI}x is not in quotes" in refused(f"%{{SSL_TLS_SNI}}x {APACHE}")


@pytest.mark.parametrize("field", ["%{c}a", "%{c}h"])
def test_the_peer_is_the_client_where_no_other_address_is_logged(field):
    """Beside another address, which mod_remoteip may have set, it is not."""
    assert read(f'{field} %l %u %t "%r" %>s', LINE) == FIELDS
    both = read(f'%h {field} %u %t "%r" %>s', LINE.replace("- -", "9.9.9.9 -"))
    assert both.address == FIELDS.address


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        ("$remote_addr;$time_local;$request;$status", "203.0.113.7;{};{};200"),
        ("$time_local | $remote_addr | $request | $status", "{} | 203.0.113.7 | {} | 200"),
        ("$remote_addr $time_local $request", "203.0.113.7 {} {}"),
        ("%h %t %r %>s", "203.0.113.7 [{}] {} 200"),
    ],
)
def test_a_request_behind_all_that_matters_needs_no_quotes(log_format, line):
    """A client could forge only what is not read."""
    for request in ("POST /xmlrpc.php HTTP/1.1", "POST /a%20b;c|d?x=HTTP/1.1;200 HTTP/2.0"):
        fields = read(log_format, line.format(STAMP, request))
        assert (fields.address, fields.request) == (b"203.0.113.7", request.encode())
    twice = "POST /a HTTP/1.1 203.0.113.9 POST /xmlrpc.php HTTP/1.1"
    assert read(log_format, line.format(STAMP, twice)).request == b"POST /a HTTP/1.1"


@pytest.mark.parametrize("value", ["blog.example", "", "a b [c] 9.9.9.9", r"\x22POST /y", r"a\" b"])
def test_a_field_ends_before_the_quote_of_the_next(value):
    """The server escapes those that a client sends."""
    log_format = '$remote_addr [$time_local] $http_host "$request" $status'
    line = f'203.0.113.7 [{STAMP}] {value} "POST /xmlrpc.php HTTP/1.1" 403'
    assert read(log_format, line) == FIELDS
    assert read(log_format, line.replace(f'{value} "', f'{value}"')) is None or not value
    assert read(f'%{{Host}}i |"%U" {APACHE}', f'{value} |"/z" {LINE}') == FIELDS
    assert "user is not in quotes" in refused('%h %t %u "%r"')


@pytest.mark.parametrize("host", ["$host", "$http_host", "${server_name}:$server_port"])
def test_a_request_with_scheme_and_host_is_one_in_absolute_form(host):
    """In the quotes around all of it."""
    log_format = (
        f'$remote_addr - $remote_user [$time_local] "$request_method $scheme://{host}$request_uri'
        ' $server_protocol" $status'
    )
    line = LINE.replace("/xmlrpc", "https://blog.example/xmlrpc")
    assert read(log_format, line).request == b"POST https://blog.example/xmlrpc.php HTTP/1.1"
    assert list(Matcher([TrapConfig()], log_format).scan(line.encode() + b" -\n").hits)


def test_a_word_may_stand_beside_what_can_not_be_part_of_it():
    """A bracket ends it; a dollar without a name is none of nginx's variables."""
    line = f'[{STAMP}] 9.9.9.9 "POST /"'
    assert read('%D%t %h "%r"', f"12{line}").address == b"9.9.9.9"
    assert read('%D%t %h "%r"', line) is None
    assert read(f"$ {NGINX}", f"$ {LINE}") == FIELDS
    assert read(f"$pid|-{NGINX}", f"a-b|-{LINE}") == FIELDS
    assert read("%h %t %r", f"9.9.9.9 [{STAMP}] ").request == b"", "and nothing behind the last"


@pytest.mark.parametrize(
    ("log_format", "line", "broken"),
    [
        ("$host $upstream_addr $pid ", "h", ("delimiter", 1)),
        ("$host $upstream_addr $pid ", 'h "', ("$upstream_addr", 2)),
        ("$host $upstream_addr $pid ", 'h u "', ("$pid", 4)),
        ("$host $upstream_addr $pid ", "h u p x", ("client address", 6)),
        ("%V %{c}a %D %% ", 'h "', ("peer address", 2)),
        ("%V %{c}a %D %% ", 'h p "', ("%D", 4)),
        ("%V %{c}a %D %% ", "h p d x", ("delimiter", 6)),
        ("", f'9.9.9.9 [{STAMP}] "', ("delimiter", 38)),
        ("", f'9.9.9.9 [{STAMP}"', ("delimiter", 35)),
        ("", "9.9.9.9 [1", ("time", 9)),
    ],
)
def test_a_line_that_breaks_names_the_field_of_the_format(log_format, line, broken):
    """As it is written there, or that it is what stands between fields."""
    rest = (
        '%h [%{%d/%b/%Y:%T %z}t] "%r"'
        if "%" in log_format
        else NGINX.replace("- $remote_user ", "")
    )
    assert compile_format(log_format + rest).broken_at(line.encode()) == broken


# Fields that matter -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["%h", "%a", "%{c}a %h", "%>h", "%<a", "%200,399h"],
)  # fmt: skip
def test_each_way_to_write_the_client_is_known(text):
    """The address of the peer beside it is another one."""
    line = f"198.51.100.9 {LINE}" if "{c}" in text else LINE
    assert read(f'{text} %l %u %t "%r" %s', line) == FIELDS


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("[$time_local]", f"[{STAMP}]"),
        ("$time_iso8601", "2026-03-10T12:00:00+00:00"),
        ("$time_iso8601", "2026-03-10T12:00:00-00:00"),
        ("$msec", "1773144000.000"),
    ],
)
def test_each_time_of_nginx_is_known(text, stamp):
    """In front, and behind the address."""
    for log_format, line in (
        (f'{text} $remote_addr "$request"', f'{stamp} 203.0.113.7 "POST / HTTP/2.0"'),
        (f'$remote_addr {text} "$request"', f'203.0.113.7 {stamp} "POST / HTTP/2.0"'),
    ):
        fields = read(log_format, line)
        assert (fields.address, parse_time(fields.time)) == (b"203.0.113.7", NOON)
        assert fields.request == b"POST / HTTP/2.0"


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("%{%d/%b/%Y:%T %z}t", STAMP), ("%{%d/%b/%Y:%T}t %{%z}t", STAMP),
        ("%{%FT%T%z}t", "2026-03-10T12:00:00+0000"),
        ("%{begin:%FT%T}t+00:00", "2026-03-10T12:00:00+00:00"),
        ("%{%d/%b/%Y:%T}t.%{usec_frac}t %{%z}t", "10/Mar/2026:12:00:00.000000 +0000"),
        ("%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t", "10/Mar/2026 12:00:00.000 +0000"),
        ("%{%F %T %z}t", "2026-03-10 12:00:00 +0000"),
        ("%{%F %T}t,%{msec_frac}t %{%z}t", "2026-03-10 12:00:00,000 +0000"),
        ("%{end:%FT%T}tZ", "2026-03-10T12:00:00Z"),
        ("%{%FT%T}t.%{msec_frac}tZ", "2026-03-10T12:00:00.000Z"),
        ("%{%FT%T}t,%{begin:usec_frac}t%{%z}t", "2026-03-10T12:00:00,000000+0000"),
        ("%{%FT%T}t.%{end:msec_frac}t-0000", "2026-03-10T12:00:00.000-0000"),
        ("%{sec}t", "1773144000"), ("%{%s}t", "1773144000"), ("%{begin:sec}t", "1773144000"),
        ("%{msec}t", "1773144000000"), ("%{end:usec}t", "1773144000000000"),
        ("%{sec}t.%{msec_frac}t", "1773144000.000"), ("%{sec}t.%{usec_frac}t", "1773144000.000000"),
    ],
)  # fmt: skip
def test_each_time_of_apache_is_known(text, stamp):
    """Also where it is put together from several fields."""
    for log_format, line in (
        (f'{text} %h "%r"', f'{stamp} 203.0.113.7 "POST / HTTP/2.0"'),
        (f'%h %u [{text}] "%r"', f'203.0.113.7 a b [{stamp}] "POST / HTTP/2.0"'),
        (
            f'{{"a":"%h","t":"{text}","r":"%r"}}',
            f'{{"a":"203.0.113.7","t":"{stamp}","r":"POST / HTTP/2.0"}}',
        ),
    ):
        fields = read(log_format, line)
        assert (fields.address, parse_time(fields.time)) == (b"203.0.113.7", NOON)
        assert fields.request == b"POST / HTTP/2.0"


@pytest.mark.parametrize("digits", ["0" * 20, "9" * 20, "5" * 20])
def test_times_are_read_with_every_digit(digits):
    """Of any width that the field has."""
    a, b = digits[:2], digits[:4]
    for log_format, stamp in (
        ("[$time_local]", f"[{a}/Mar/{b}:{a}:{a}:{a} +{b}]"),
        ("$time_iso8601", f"{b}-{a}-{a}T{a}:{a}:{a}Z"),
        ("$time_iso8601", f"{b}-{a}-{a}T{a}:{a}:{a}+{a}:{a}"),
        ("$time_iso8601", f"{b}-{a}-{a}T{a}:{a}:{a}.{digits[:9]}+{a}:{a}"),
        ("$msec", digits[:10] + "." + digits[:1]),
        ("$msec", digits[:1]),
        ("$msec", digits[:11]),
        ("$msec", digits[:10] + "." + digits[:9]),
        ("$msec", digits[:13]),
        ("$msec", digits[:16]),
    ):
        fields = read(f'{log_format} $remote_addr "$request"', f'{stamp} 9.9.9.9 "POST /"')
        assert fields.time == stamp.strip("[]").encode()
    for stamp in (digits[:12], digits[:14], digits[:10] + "." + digits[:10]):
        assert read('$msec $remote_addr "$request"', f'{stamp} 9.9.9.9 "POST /"') is None


LONGEST = "FFFF:ffff:ffff:ffff:ffff:ffff:255.255.255.255"


@pytest.mark.parametrize("address", ["9.9.9.9", "9F::f9", "2001:db8::a", "::", LONGEST])
def test_an_address_is_read_with_every_digit(address):
    """With a port behind it or without."""
    line = f'{address} [{STAMP}] "POST /"'
    log_format = '$remote_addr [$time_local] "$request"'
    assert read(log_format, line).address == address.encode()
    assert read(log_format, line.removeprefix(address)) is None
    for front in (f"{address}:99", f"[{address}]:99", f"[{address}]:0"):
        line = f'{front} [{STAMP}] "POST /"'
        fields = read('$remote_addr:$remote_port [$time_local] "$request"', line)
        assert fields.address == address.encode()


@pytest.mark.parametrize(
    "text", ["%m %U", "%m %U%q", "%<m %U", "%>m %U%q", "%m %U%q %H", "%m %U %H", "%>m %U %H"]
)
def test_method_and_target_of_apache_are_a_request(text):
    """With a version or without, and with the query or without."""
    line = f'203.0.113.7 [{STAMP}] "POST /xmlrpc.php?a HTTP/1.1"'
    fields = read(f'%h %t "{text}"', line)
    assert fields.request.startswith(b"POST /xmlrpc.php?a")
    assert fields.address == b"203.0.113.7"


@pytest.mark.parametrize(
    "text",
    [
        "$request_method $request_uri $server_protocol",
        "${request_method} ${request_uri} ${server_protocol}",
    ],
)
def test_method_and_target_of_nginx_are_a_request(text):
    """With a version behind them they are one field, as a request is."""
    line = f'203.0.113.7 [{STAMP}] "POST /a b HTTP/1.1"'
    assert read(f'$remote_addr [$time_local] "{text}"', line).request == b"POST /a b HTTP/1.1"


@pytest.mark.parametrize("method", ["POST", "zZ9", "*", "a-b"])
def test_a_method_that_stands_alone_is_one_word(method):
    """A token (RFC 9110, section 5.6.2)."""
    log_format = '$remote_addr [$time_local] $request_method "$request_uri"'
    line = f'9.9.9.9 [{STAMP}] {method} "/"'
    assert read(log_format, line).request == f"{method} /".encode()
    assert read(log_format, line.replace(method, "a(b")) is None
    assert read(log_format, line.replace(method, "")) is None


@pytest.mark.parametrize(("status", "read_as"), [("099", b"099"), ("999", b"999"), ("-", b"-")])
def test_a_status_in_front_of_the_rest_is_read(status, read_as):
    """Three digits, or a dash where nothing was answered."""
    line = f'{status} 9.9.9.9 [{STAMP}] "POST /"'
    assert read('$status $remote_addr [$time_local] "$request"', line).status == read_as
    assert read('%>s %h %t "%r"', line).status == read_as
    for wrong in ("1000", "20", "x", ""):
        assert read('%s %h %t "%r"', f'{wrong} 9.9.9.9 [{STAMP}] "POST /"') is None
    assert compile_format('%s %h %t "%r"').broken_at(b"x") == ("status", 0)


def test_of_a_field_that_is_logged_twice_the_first_counts():
    """As %h and %a are the same, and $request and its parts are."""
    log_format = '$remote_addr $remote_addr [$time_local] [$time_local] "$request" "$request"'
    other = "11/Mar/2026:12:00:00 +0000"
    line = f'9.9.9.9 8.8.8.8 [{STAMP}] [{other}] "POST /a" "POST /b"'
    assert read(log_format, line) == Fields(b"9.9.9.9", STAMP.encode(), b"POST /a", b"-")


def test_a_user_may_write_what_looks_like_a_time():
    """The time is the bracket right before the first quote that ends nothing."""
    for log_format in (NGINX, APACHE):
        line = LINE.replace("- - ", f'- a [{STAMP[:-1]}9] \\" b ')
        assert read(log_format, line) == FIELDS
        assert read(log_format, LINE.replace("- - ", '- "" ')) == FIELDS
    quoted = '"$remote_user" $remote_addr [$time_local] "$request" $status'
    line = LINE.replace("- - ", "")
    for user in ('""', '"-"', '""""', '"a \\" b"'):
        assert read(quoted, f"{user} {line}") == FIELDS
    assert read(quoted.replace("remote_user", "http_x"), f'"""" {line}') is None, "no user"


# Hosts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "written"),
    [
        ("$host ", ["a.b ", "[::1] ", " ", "a,b "]),
        ('"$host" ', ['"a b" ', '"" ', '"\\"" ']),
        ("$host:$server_port ", ["a.b:80 ", "[::1]:443 ", ":80 ", "[]:80 "]),
        ("[$host] ", ["[a] ", "[] ", "[[::1]] ", "[a]b] "]),
        ("$host\t", ["a\t", "\t", "[::1]\t"]),
        ("$server_addr:$server_port ", ["192.0.2.1:80 ", "2001:DB8::9f:443 ", f"[{LONGEST}]:443 "]),
        ("$proxy_protocol_server_addr:$pid ", ["192.0.2.1:80 ", "::1:443 "]),
        ("$server_addr:443 ", ["192.0.2.1:443 ", f"{LONGEST}:443 ", "[::1]:443 "]),
        ("$proxy_protocol_server_addr:443 ", ["9F:f9::9:443 "]),
    ],
)
def test_a_host_ends_where_its_delimiter_begins(front, written):
    """Brackets of IPv6 included, and it may be empty."""
    for host in written:
        assert read(front + NGINX, host + LINE) == FIELDS, host
    if '"' not in front:
        assert read(front + NGINX, 'a"b' + written[0] + LINE) is None


@pytest.mark.parametrize(
    ("front", "written"),
    [
        ("%V ", "a.b "),
        ("%V:%p ", "[::1]:80 "),
        ("[%V] ", "[a] "),
        ("%A:%p ", "::1:80 "),
        ("%V ", "[::1] "),
        ("%A:80 ", "::1:80 "),
        ("%% ", "% "),
        ("%{c}a ", "9.9.9.9 "),
    ],
)
def test_a_host_of_apache_ends_where_its_delimiter_begins(front, written):
    """Its own address is written without brackets, too."""
    assert read(front + APACHE, written + LINE) == FIELDS
    assert read(front + APACHE, written[1:] + LINE) != FIELDS or front.startswith(
        ("%V", "%A", "%{")
    )


@pytest.mark.parametrize("mark", ["|", ";", ",", "-", "(", "·", "﹥", "𝅘"])
def test_a_host_before_what_it_may_hold_is_refused(mark):
    """A client chooses it; the delimiter is shown as it stands in the format."""
    assert refused(f"$host{mark}{NGINX}").startswith(f"format: a host may hold {mark} itself, so")


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_format", "said"),
    [
        ('$time_local "$request"', "no client address in"),
        ('$remote_addr "$request"', "no time in"),
        ('%h %t "%{x}r"', "no request in"),
        ("$remote_addr [$time_local]", "no request in"),
        ("$remote_addr [$time_local] $request_method", "no request in"),
        ('$remote_addr [$time_local] "$request_uri"', "no request in"),
        ('{"t":"$msec","r":"$request"}', "no client address in"),
        ('{"a":"$remote_addr","r":"$request"}', "no time in"),
        ('{"a":"$remote_addr","t":"$msec"}', "no request in"),
        ('{"a":"$remote_addr","t":"$msec","m":"$request_method"}', "no request in"),
        ('{"a":"$remote_addr","t":"$msec","p":"$request_uri"}', "no request in"),
    ],
)
def test_a_format_without_what_matters_is_refused(log_format, said):
    """The field and the format are named, and what the server has to log."""
    whole = refused(log_format)
    assert whole.startswith(f"format: {said} {log_format!r}; it can't be judged without: let the ")


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("%{%FT%T}t", "has no time zone (%z)"), ("%{%d/%b/%Y:%T}t", "has no time zone (%z)"),
        ("%{}t", "can't be read"), ("%{%FT%T}t+09:59", "can't be read"),
        ("%{%FT%T}t-0959", "can't be read"), ("%{%T}t", "can't be read"),
        ("%{msec_frac}t", "can't be read"), ("%{x}t", "can't be read"),
        ("%{%Y}t.%{msec_frac}t", "can't be read"),
    ],
)  # fmt: skip
def test_a_time_that_can_not_be_read_is_refused_with_the_cure(argument, why):
    """As it stands in the format, and what to write instead."""
    assert refused(f'%h {argument} "%r"') == (
        f"format: {argument}: this time {why}; use %t, %{{sec}}t or %{{%Y-%m-%dT%H:%M:%S%z}}t"
    )


def test_a_format_that_can_match_no_line_is_refused_with_a_sample():
    """Where it breaks, in a line as the server would write it."""
    message = refused('$remote_addr$remote_port [$time_local] "$request"')
    assert "can match no line" in message
    assert re.search(r"of the sample '192\.0\.2\.11 \[10/Mar", message), message
    message = refused('%h%p [%{sec}t] "%r" %% %{x}i')
    assert "'192.0.2.11 [1773144000] \"POST /xmlrpc.php HTTP/1.1\" % 1'" in message


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        (f'{NGINX} "$http_user_agent"', f'9.9.9.9 - - [{STAMP}] "" 400 "POST /xmlrpc.php"'),
        (f'{APACHE} "%{{User-Agent}}i"', f'9.9.9.9 - - [{STAMP}] "" 400 "POST /xmlrpc.php"'),
        (f'"$http_user_agent" {NGINX}', f'"POST /xmlrpc.php" 9.9.9.9 - - [{STAMP}] "" 400'),
    ],
)
def test_an_empty_request_is_none_and_stops_nothing(log_format, line):
    """As nginx logs it where what came was none; a client may choose what stands beside it."""
    matcher = Matcher([TrapConfig()], log_format)
    assert matcher.scan(line.encode() + b"\n") == Matched(1, [], [])
    assert matcher.time_of(line.encode()) == NOON
    assert matcher.explain(line.encode())[:2] == ("no hit", "no HTTP request line")


# Directives -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"log_format main '{NGINX}';",
        f"  log_format  main  '{NGINX}' ; ".replace("' ;", "';"),
        f"log_format main escape=default\n    '{NGINX[:20]}'\n  '{NGINX[20:]}';\n",
        f"log_format main escape=json '{NGINX}'",
        f"'{NGINX}'",
        f"'{NGINX[:20]}' '{NGINX[20:]}';",
        f'LogFormat "{APACHE}" combined'.replace('"%r"', '\\"%r\\"'),
        f'logformat\t"{APACHE}"'.replace('"%r"', '\\"%r\\"'),
        f' LogFormat "{APACHE}"  x_y \n'.replace('"%r"', '\\"%r\\"'),
        APACHE.replace('"', '\\"'),
        NGINX.replace('"', '\\"'),
    ],
)
def test_a_directive_is_its_format(text):
    """With name and escaping, in parts and on several lines."""
    assert read(text, LINE) == FIELDS


@pytest.mark.parametrize("space", [" ", "  ", "\n\t"])
def test_a_format_without_escaping_is_refused(space):
    """With any blanks between the words of its directive."""
    message = refused(f"log_format{space}x{space}escape=none '{NGINX}';")
    assert "with escape=none a client could forge fields" in message


def test_the_escapes_of_the_configuration_are_undone():
    """A quote, an apostrophe, a backslash and a tab; no other."""
    log_format = r"$remote_addr\t[$time_local]\t\"$request\"\t\'\\"
    assert read(log_format, f'9.9.9.9\t[{STAMP}]\t"POST /"\t\'\\') == (
        Fields(b"9.9.9.9", STAMP.encode(), b"POST /", b"-")
    )
    assert read(r"\'\\ $remote_addr [$time_local] \"$request\"", f'\'\\ 9.9.9.9 [{STAMP}] "POST /"')


# JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_format", "line", "fields"),
    [
        (
            '{"a" : "$remote_addr", "t":$msec, "r":"$request", "s":$status}',
            '{"a":"203.0.113.7","t":1773144000.5,"r":"POST /a HTTP/1.1","s":403}',
            Fields(b"203.0.113.7", b"1773144000.5", b"POST /a HTTP/1.1", b"403"),
        ),
        (
            ('{"a":"${remote_addr}:$remote_port","t":"[$time_local]","m":"$request_method",'
            '"p":"$request_uri"}'),
            f'{{"a":"203.0.113.7:5","t":"[{STAMP}]","m":"POST","p":"/a"}}',
            Fields(b"203.0.113.7", STAMP.encode(), b"POST /a", b"-"),
        ),
        (
            '{"a":"%a","t":"%t","r":"%m %U%q","s":"%>s","x":"%{X}i","y":"%{x}C"}',
            f'{{"a":"203.0.113.7","t":"[{STAMP}]","r":"POST /a","s":"403","x":"198.51.100.9"}}',
            Fields(b"203.0.113.7", STAMP.encode(), b"POST /a", b"403"),
        ),
        (
            '{"a":"%{c}a","t":%{sec}t,"m":"%m","p":"%U","x":"%%","n":{"y":"%D"}}',
            '{"a":"203.0.113.7","t":1773144000,"m":"POST","p":"/a","n":{"y":1}}',
            Fields(b"203.0.113.7", b"1773144000", b"POST /a", b"-"),
        ),
        (
            ('{"x":"$http_x","a":"$remote_addr","b":"$remote_addr","t":"$time_iso8601",'
            '"r":"$request_method $request_uri"}'),
            '{"x":"::1","b":"203.0.113.7","t":"2026-03-10T12:00:00Z","r":"POST /a"}',
            Fields(b"203.0.113.7", b"2026-03-10T12:00:00Z", b"POST /a", b"-"),
        ),
    ],
)  # fmt: skip
def test_a_format_in_json_is_read_by_its_own_names(log_format, line, fields):
    """In quotes or not; of two members with the same field the first that is there."""
    assert compile_format(" " + log_format).parse(line.encode()) == fields


def test_members_within_other_objects_are_read_by_their_path():
    """At any depth, beside members of the same name elsewhere, in a line that is cut too."""
    log_format = (
        '{"x":{"a":"$pid"},"c":{"ip":{"a":"$remote_addr"}},"t":"$msec","q":{"r":"$request"}}'
    )
    line = (
        '{"x":{"a":"9.9.9.9"},"c":{"ip":{"a":"203.0.113.7"}},"t":"1773144000.0","q":{"r":"POST /x?'
    )
    whole = f'{line}a HTTP/1.1"}}}}'
    assert read(log_format, whole).address == b"203.0.113.7"
    assert read(log_format, whole).request == b"POST /x?a HTTP/1.1"
    assert read(log_format, line).request == b"POST /x?"
    assert read(log_format, whole.replace("/x", r"/\x41")).address == b"203.0.113.7"
    twice = whole.replace('"t":', '"c":{"ip":{"a":"9.9.9.9"}},"t":')
    assert read(log_format, twice) is read(log_format, twice.replace("/x", r"/\x41")) is None
    assert refused('{"a":' * 10 + '"$remote_addr"' + "}" * 10).endswith("within each other")
