r"""Every byte in every field that a client chooses, through real nginx and real Apache.

Each request is logged in all formats at once, and in a control log that holds only what the server
alone writes: the status, and a flag for "method POST, and the file is xmlrpc.php", as the server
itself decided it.  The control log cannot be broken, so it says which lines of the other logs must
be hits.  One worker answers one request after the other: line N of all logs is the same request.

What no log carries as it was sent: nginx and Apache end a request line and a header at a newline
and refuse a NUL byte, so neither stands raw in a log; Apache refuses control bytes in a header,
in a Host and, unless ``HttpProtocolOptions`` is ``Unsafe``, in a target.  Both write quotes,
backslashes and control bytes escaped, except for ``escape=none`` of nginx, which is not supported.
A decoded path (``%U`` of Apache) does not show whether its ``?`` or ``#`` was sent as ``%3F`` or
``%23``: requests with these in the path are not compared in formats that log it.  Nor does it show,
where the protocol stands behind it, whether a space at its end was sent (``%20``).
"""

import base64
import contextlib
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import daemons
from support.daemons import wait_for, web_server
from support.namespaces import WHY_NOT, Namespace, namespace, permitted

from blocker.addresses import parse_address
from blocker.config.schema import Config
from blocker.matching.matcher import Matcher

CLIENT, FORGED = "127.9.8.7", b"203.0.113.9"
MARKER = b"the-last-request"
STAMP = b"10/Mar/2026:12:00:00 +0000"
AS_TEXT = FORGED + b" - - [" + STAMP + b'] "POST /xmlrpc.php HTTP/1.1" 200 1 "-" "-"'
AS_JSON = (
    b'","remote_addr":"' + FORGED + b'","remote_ip":"' + FORGED + b'",'
    b'"request":"POST /xmlrpc.php HTTP/1.1","method":"POST","uri":"/xmlrpc.php'
)

NGINX_TEXT = {
    "common": '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent',
    "combined": '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"',
    "vhost_combined": '$host:$server_port $remote_addr - $remote_user [$time_local] "$request" '
    '$status $body_bytes_sent "$http_referer" "$http_user_agent"',
    "forwarded": '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent" "$http_x_forwarded_for"',
}
NGINX_JSON = {
    "request": '{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr",'
    '"remote_user":"$remote_user","host":"$host","request":"$request","status":$status,'
    '"referer":"$http_referer","agent":"$http_user_agent","forwarded":"$http_x_forwarded_for"}',
    "members": '{"agent":"$http_user_agent","http_host":"$http_host","user":"$remote_user",'
    '"forwarded":"$http_x_forwarded_for","referer":"$http_referer","msec":$msec,'
    '"remote_addr":"$remote_addr","request_method":"$request_method",'
    '"request_uri":"$request_uri","args":"$args","status":"$status"}',
}
NGINX_OWN = {
    "own-iso": '$remote_addr [$time_iso8601] "$http_host" "$request" $status "$http_user_agent"',
    "own-behind": '$time_iso8601 "$http_user_agent" "$remote_user" "$http_referer" '
    '"$http_x_forwarded_for" $host $remote_addr "$request_method" "$request_uri"',
    "own-host": '$host:$server_port $remote_addr - $remote_user [$time_local] "$request" $status',
    "own-brackets": '[$host] $remote_addr [$time_local] "$request" $status',
    "own-tabs": r"$http_user_agent\t$remote_addr\t$remote_user\t$http_x_forwarded_for"
    r"\t$time_iso8601\t$request_method\t$request_uri\t$http_referer",
    "own-parts": "$remote_addr - $remote_user [$time_local] "
    '"$request_method $request_uri $server_protocol" $status',
    "own-end": "$remote_addr $time_iso8601 $request",
    "own-msec": '$msec $remote_addr "$remote_user" $request_method "$request_uri" $status',
}
APACHE_TEXT = {
    "common": '%h %l %u %t "%r" %>s %b',
    "combined": '%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "forwarded": '%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i" "%{X-Forwarded-For}i"',
}
APACHE_JSON = {
    "json-request": '{"time":"%t","remote_ip":"%a","user":"%u","host":"%V","request":"%r",'
    '"status":"%>s","agent":"%{User-Agent}i","referer":"%{Referer}i"}',
    "json-members": '{"agent":"%{User-Agent}i","http_host":"%{Host}i","user":"%u",'
    '"forwarded":"%{X-Forwarded-For}i","time":"%{%Y-%m-%dT%H:%M:%S%z}t","remote_addr":"%a",'
    '"method":"%m","uri":"%U","query":"%q","status":%>s,"referer":"%{Referer}i"}',
    "json-parts": '{"time":"%{%Y-%m-%dT%H:%M:%S%z}t","remote_ip":"%h","request":"%m %U%q",'
    '"status":"%>s","agent":"%{User-Agent}i","referer":"%{Referer}i"}',
    "json-path": '{"time":"%{%Y-%m-%dT%H:%M:%S%z}t","client":"%a","method":"%m",'
    '"request":"%U","query":"%q","status":"%>s","user":"%u","agent":"%{User-Agent}i"}',
}
APACHE_OWN = {
    "own-quoted": '%{User-Agent}i" "%u" %{sec}t %a "%r" %>s',
    "own-tabs": r"%{User-Agent}i\t%h\t%u\t%{X-Forwarded-For}i\t%t\t%r\t%{Referer}i",
    "own-parts": '%h %l %u [%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t%{%z}t] "%m %U%q %H" "%!200{Host}i"',
    "own-end": "%{msec}t %a %m %U%q",
    "own-iso": '%a [%{%Y-%m-%dT%H:%M:%S%z}t] "%V" "%{Referer}i" %m "%U" %>s',
}
APACHE_OWN["own-quoted"] = '"' + APACHE_OWN["own-quoted"]

NGINX = """\
daemon off;
user www-data;
worker_processes 1;
pid {{directory}}/nginx.pid;
error_log {{directory}}/nginx.error;
events {{{{ worker_connections 64; }}}}
http {{{{
    map "$request_method $uri" $attack {{{{
        default no;
        "~^POST /(?s:.*/)?xmlrpc\\.php(?:/|\\z)" yes;
    }}}}
    log_format control '$status $attack $http_x_number';
    access_log {{directory}}/control.log control;
    {logs}
    large_client_header_buffers 4 64k;
    keepalive_requests 100000;
    client_body_temp_path {{directory}}/body;
    proxy_temp_path {{directory}}/proxy;
    fastcgi_temp_path {{directory}}/fastcgi;
    uwsgi_temp_path {{directory}}/uwsgi;
    scgi_temp_path {{directory}}/scgi;
    server {{{{ listen 80; location / {{{{ return 200 "answer"; }}}} }}}}
}}}}
"""
APACHE = """\
ServerName server.example.org
UseCanonicalName Off
PidFile {{directory}}/apache.pid
ErrorLog {{directory}}/apache.error
LogLevel crit
Mutex file:{{directory}} default
Listen 80
User www-data
Group www-data
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule auth_basic_module /usr/lib/apache2/modules/mod_auth_basic.so
LoadModule authn_anon_module /usr/lib/apache2/modules/mod_authn_anon.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
StartServers 1
ServerLimit 1
MaxRequestWorkers 1
MaxKeepAliveRequests 0
LimitRequestLine 65534
LimitRequestFieldSize 65534
HttpProtocolOptions {options}
DocumentRoot {{directory}}/www
AliasMatch "(?s)^/.*/xmlrpc\\.php$" {{directory}}/www/xmlrpc.php
<Location "/">
    AuthType Basic
    AuthName x
    AuthBasicProvider anon
    Anonymous *
    Anonymous_NoUserID On
    Anonymous_MustGiveEmail Off
</Location>
<LocationMatch "/xmlrpc">
    <If "-n %{{{{HTTP:Authorization}}}}">
        Require valid-user
    </If>
</LocationMatch>
LogFormat "%>s %m %{{{{X-Number}}}}i %f" control
CustomLog {{directory}}/control.log control
{logs}
"""


def say(*words: object) -> None:
    """Print figures, which pytest shows with -rP or when the test fails."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


class Format(NamedTuple):
    """One log: its text as the server has it, and ``format`` of the configuration."""

    text: str
    configured: str = "auto"
    escape: str = ""


def formats_of(server: str) -> dict[str, Format]:
    """Return the formats to log in, by a name for each."""
    if server != "nginx":
        made = {name: Format(text) for name, text in {**APACHE_TEXT, **APACHE_JSON}.items()}
        return made | {name: Format(text, text) for name, text in APACHE_OWN.items()}
    made = {name: Format(text) for name, text in NGINX_TEXT.items()}
    made |= {f"json-{n}": Format(text, "auto", "escape=json ") for n, text in NGINX_JSON.items()}
    made |= {f"raw-{n}": Format(text) for n, text in NGINX_JSON.items()}
    return made | {name: Format(text, text) for name, text in NGINX_OWN.items()}


def configuration(server: str) -> str:
    """Return a configuration that logs in all formats, still to be given its directory."""
    lines = []
    for name, (text, _, escape) in formats_of(server).items():
        literal = text.replace("{", "{{").replace("}", "}}")
        path = f"{{directory}}/{name}.log"
        if server == "nginx":
            lines += [
                f"log_format the_{name} {escape}'{literal}';",
                f"access_log {path} the_{name};",
            ]
        else:
            literal = literal.replace('"', '\\"')
            lines += [f'LogFormat "{literal}" {name}', f"CustomLog {path} {name}"]
    options = "Unsafe" if server == "apache-unsafe" else "Strict"
    return (NGINX if server == "nginx" else APACHE).format(logs="\n".join(lines), options=options)


# What is sent ----------------------------------------------------------------------------------

SEQUENCES = [
    *(bytes([value]) for value in range(256)),
    *(b"%%%02X" % value for value in range(256)),
    b"\xef\xbb\xbf", b"\xc0\xaf", b"\xc0\x80", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x92", b"\xc3\xa9", b"\xf0\x9f\x92\xa9",
    b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xc2\xa0", b"\xff\xfe", b"\xfe\xff",
    b"\\u0000", b"\\ud800", b"\\x22", b"\\", b"\\\\", b'\\"', b'"', b'""', b'","', b"{", b"}", b"]",
    b"a, b", b"[::1]", b"-", b"%", b"%%", b"%u0022",
]  # fmt: skip
UNDECIDED = {b"%3F", b"%23"}
LENGTHS = [255, 256, 1023, 1024, 1025, 4096, 8000, 16000, 32768, 60000]


class Request(NamedTuple):
    """A target and headers; the field in which something odd stands, for the report."""

    field: str
    odd: bytes
    target: bytes = b"/xmlrpc.php"
    header: bytes = b""
    host: bytes = b"h"
    method: bytes = b"POST"

    def raw(self, number: int) -> bytes:
        """Return what is sent."""
        return (
            b"%s %s HTTP/1.1\r\nX-Number: %d\r\nHost: %s\r\n%sContent-Length: 0\r\n\r\n"
        ) % (
            self.method, self.target, number, self.host, self.header and self.header + b"\r\n",
        )  # fmt: skip


def basic(user: bytes) -> bytes:
    """Return a header for a user with any name."""
    return b"Authorization: Basic " + base64.b64encode(user + b":pw")


HEADERS = {"agent": b"User-Agent: ", "referer": b"Referer: ", "forwarded": b"X-Forwarded-For: "}


def requests() -> Iterator[Request]:
    """Yield everything, always in the same order."""
    for odd in SEQUENCES:
        yield Request("query", odd, target=b"/xmlrpc.php?x" + odd + b"y")
        yield Request("directory", odd, target=b"/a" + odd + b"b/xmlrpc.php")
        yield Request("path-before", odd, target=b"/" + odd + b"xmlrpc.php")
        yield Request("path-inside", odd, target=b"/xmlrpc" + odd + b".php")
        yield Request("path-behind", odd, target=b"/xmlrpc.php" + odd)
        yield Request("path-info", odd, target=b"/xmlrpc.php/" + odd + b"x")
        for name, header in HEADERS.items():
            yield Request(name, odd, header=header + b"x" + odd + b"y")
            yield Request(f"{name}-alone", odd, header=header + odd)
        yield Request("host", odd, host=b"a" + odd + b"b")
        yield Request("host-alone", odd, host=odd)
        yield Request("user", odd, header=basic(b"x" + odd + b"y"))
        yield Request("user-alone", odd, header=basic(odd))
    for length in LENGTHS:
        for byte in (b"a", b'"', b"\\", b"\xff"):
            long = byte * length
            yield Request("query", b"%d times %s" % (length, byte), target=b"/xmlrpc.php?" + long)
            for name, header in HEADERS.items():
                yield Request(name, b"%d times %s" % (length, byte), header=header + long)
            yield Request("user", b"%d times %s" % (length, byte), header=basic(long[:40000]))
    yield from forgeries()


def forgeries() -> Iterator[Request]:
    """Yield harmless requests with a field that would be a hit if it ended early."""
    for value in range(256):
        for forged in (bytes([value]) + AS_TEXT, bytes([value]) + AS_JSON):
            for name, header in HEADERS.items():
                head = header + b"x" + forged
                yield Request(f"forged-{name}", forged, b"/", head, method=b"GET")
                yield Request(f"{name}-forged", forged, header=head)
            yield Request("forged-user", forged, b"/", basic(b"x" + forged), method=b"GET")
            yield Request("user-forged", forged, header=basic(forged))


class Wire:
    """Sends one request after the other, and connects again where the server hung up."""

    def __init__(self, home: Namespace) -> None:
        self._home = home
        self._socket: socket.socket | None = None

    def _connected(self) -> socket.socket:
        with self._home.inside():
            made = socket.create_connection(("127.0.0.1", 80), 10, (CLIENT, 0))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def close(self) -> None:
        """Hang up: what is logged with the end of a connection is logged now."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, raw: bytes) -> bool:
        """Send a request, and return whether it was answered."""
        self._socket = self._socket or self._connected()
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(raw)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while (more := self._socket.recv(65536)) and not _is_whole(answer := answer + more):
                pass
        if not _is_whole(answer) or re.search(rb"(?i)\nconnection: close", answer):
            self.close()
        return answer.startswith(b"HTTP/1.1 ")


def _is_whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: ([0-9]+)", head)
    return bool(blank and length) and len(body) >= int(length[1] if length else 0)


# What was made of it ---------------------------------------------------------------------------


def is_attack(server: str, control: bytes) -> bool:
    """Whether the server served xmlrpc.php to a POST, by its own words."""
    words = control.split(b" ", 3)
    if server == "nginx":
        return words[1] == b"yes"
    return words[1] == b"POST" and words[3].endswith(b"/www/xmlrpc.php")


def hits_of(configured: str, log: bytes) -> dict[int, bytes]:
    """Return the address of each hit, by the number of its line."""
    numbers = {end: number for number, end in enumerate(_ends(log))}
    matched = Matcher(list(Config().traps.values()), configured).scan(log)
    return {numbers[hit[4]]: hit[1] for hit in matched.hits}


def _ends(log: bytes) -> Iterator[int]:
    at = 0
    while at := log.find(b"\n", at) + 1:
        yield at


def swept(server: str, sent: list[Request], directory: Path) -> dict[str, bytes]:
    """Send everything and return the logs, the control log among them."""
    directory.chmod(0o755)  # Apache maps files as its own user
    (directory / "www").mkdir()
    (directory / "www" / "xmlrpc.php").write_text("answer")
    paths = {name: directory / f"{name}.log" for name in ("control", *formats_of(server))}
    with namespace() as home, web_server(server.partition("-")[0], home, directory):
        wire = Wire(home)
        answered = sum(wire.ask(request.raw(n)) for n, request in enumerate(sent))
        wire.close()
        assert wire.ask(Request("", b"", b"/" + MARKER, method=b"GET").raw(len(sent)))
        wire.close()
        last = b" %d" % len(sent)
        wait_for(lambda: last in paths["control"].read_bytes(), "the last line of control")
        for name in formats_of(server):
            wait_for(lambda p=paths[name]: MARKER in p.read_bytes(), f"the last line of {name}")
    say(f"{server}: {len(sent)} sent, {answered} answered")
    return {name: path.read_bytes() for name, path in paths.items()}


class Sweep(NamedTuple):
    """A log that was written, and how it is to be read."""

    name: str
    configured: str
    log: bytes


def request_of(control: bytes, sent: list[Request]) -> Request:
    """Return the request of a line; one of its own kind if the server did not read its number."""
    number = control.split(b" ")[2]
    return sent[int(number)] if number.isdigit() else Request("no number", b"")


def is_refused(control: bytes, sent: list[Request]) -> bool:
    """Whether a POST was refused before any file was looked for: it may count as a hit."""
    no_file = control.startswith(b"400 ") or control.endswith(b" -")
    no_file |= request_of(control, sent).odd in UNDECIDED
    return no_file and request_of(control, sent).method == b"POST"


def judged(
    sweep: Sweep, attacks: set[int], control: list[bytes], sent: list[Request]
) -> Iterator[str]:
    """Yield what is wrong with the hits of a log: what was missed, and what was made up."""
    lines = sweep.log.split(b"\n")[:-1]
    if len(lines) != len(control):
        yield f"{sweep.name}: {len(lines)} lines, {len(control)} in the control log"
        return
    if "%U" in formats_of("apache").get(sweep.name, Format("")).text:
        attacks = {n for n in attacks if request_of(control[n], sent).odd not in UNDECIDED}
    hits, client = hits_of(sweep.configured, sweep.log), parse_address(CLIENT.encode())
    if "%U%q %H" in sweep.configured:
        spaced = Request("path-behind", b"%20")
        hits = {n: who for n, who in hits.items() if request_of(control[n], sent)[:2] != spaced[:2]}
    strangers = {n for n, address in hits.items() if address != client}
    kinds = {
        "missed": attacks - hits.keys(),
        "made up": {n for n in hits.keys() - attacks if not is_refused(control[n], sent)},
        "with another address": strangers,
    }
    say(f"  {sweep.name}: {len(hits)} hits,", {kind: len(which) for kind, which in kinds.items()})
    for kind, which in kinds.items():
        by_field: dict[str, list[str]] = {}
        for n in sorted(which):
            request = request_of(control[n], sent)
            shown = f"{request.odd[:40]!r} {control[n]!r} {lines[n][:300]!r}"
            by_field.setdefault(request.field, []).append(shown)
        for field, shown in by_field.items():
            examples = "\n    ".join(shown[:3])
            yield f"{sweep.name}: {kind}: {len(shown)} by {field}, such as\n    {examples}"


@pytest.mark.parametrize("server", ["nginx", "apache", "apache-unsafe"])
def test_every_attack_that_is_logged_is_a_hit(server, monkeypatch):
    """With any bytes from a client in any field, every format shows the attack."""
    if not permitted():
        pytest.skip(WHY_NOT)
    program = server.partition("-")[0]
    # A session of its own: to stop, a prefork Apache ends its whole process group.
    words = ["setsid", *daemons.SERVERS[program][1]]
    monkeypatch.setitem(daemons.SERVERS, program, (configuration(server), words))
    sent = list(requests())
    with tempfile.TemporaryDirectory(prefix="byte-sweep-") as directory:
        logs = swept(server, sent, Path(directory))
    control = logs.pop("control").splitlines()
    attacks = {n for n, line in enumerate(control) if is_attack(server, line)}
    say(f"  {len(control)} logged, {len(attacks)} attacks by the server's own word")
    wrong = [
        problem
        for name, each in formats_of(server).items()
        for problem in judged(Sweep(name, each.configured, logs[name]), attacks, control, sent)
    ]
    assert not wrong, "\n".join(wrong)
    assert len(attacks) > 5000
