"""A real daemon in a namespace, real web servers beside it, and clients that knock.

Everything is a process that the test started, and ends with it.  Nothing sleeps for luck: what
takes time is asked for again and again until a deadline, and what must not arrive is followed by
something that must.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from support.namespaces import Namespace, join, namespace

from blocker.cli.client import ask

PATIENCE = 20.0
SERVER4, SERVER6 = "198.51.100.1", "2001:db8:1::1"
ATTACKER4 = "198.51.100.66"
ATTACKER6, ACCOMPLICE6 = "2001:db8:bad:1::66", "2001:db8:bad:1:ffff::1"
"""Two hosts of one network."""
BYSTANDER6 = "2001:db8:bad:2::1"
"""A host of the network next to that."""
NEIGHBOUR4, NEIGHBOUR6 = "203.0.113.7", "2001:db8:2::7"
OTHER_PORT = 2222
SPAN = re.compile(r"([0-9]+)(ms|[smhd])")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_T = TypeVar("_T")


def wait_for(
    condition: Callable[[], _T], what: str, *, patience: float = PATIENCE, pause: float = 0.002
) -> _T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(pause)
    return answer


# Who lives where -------------------------------------------------------------------------------


class Street(NamedTuple):
    """A server, an attacker with many addresses, and a neighbour, each on a link of its own."""

    server: Namespace
    attacker: Namespace
    neighbour: Namespace

    def move_in(self, *addresses: str) -> None:
        """Give the attacker further addresses."""
        for address in addresses:
            length, words = ("128", ("nodad",)) if ":" in address else ("24", ())
            self.attacker.run("ip", "addr", "add", f"{address}/{length}", "dev", "far0", *words)


@contextlib.contextmanager
def street() -> Iterator[Street]:
    """Build a street, and take it away."""
    with namespace() as server, namespace() as attacker, namespace() as neighbour:
        join(server, attacker, (f"{SERVER4}/24", f"{ATTACKER4}/24"),
             (f"{SERVER6}/64", "2001:db8:1::66/64"))  # fmt: skip
        join(server, neighbour, ("203.0.113.1/24", f"{NEIGHBOUR4}/24"),
             ("2001:db8:2::1/64", f"{NEIGHBOUR6}/64"), link="near1")  # fmt: skip
        server.run("ip", "route", "add", "2001:db8:bad::/48", "dev", "near0")
        neighbour.run("ip", "route", "add", "default", "via", "203.0.113.1")
        neighbour.run("ip", "route", "add", "default", "via", "2001:db8:2::1")
        made = Street(server, attacker, neighbour)
        made.move_in(ATTACKER6, ACCOMPLICE6, BYSTANDER6)
        yield made


def is_served(server: Namespace, client: Namespace, source: str) -> bool:
    """Whether a client reaches port 80: a letter to it, then one to a port that is never blocked.

    A link delivers in order, so when the second is there the first is there or was dropped.
    """
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    host = SERVER6 if ":" in source else SERVER4
    datagram = socket.SOCK_DGRAM
    with (
        server.listen(datagram, 80, family) as web,
        server.listen(datagram, OTHER_PORT, family) as other,
        client.speak(datagram, source) as pen,
    ):
        pen.sendto(b"perhaps", (host, 80))
        pen.sendto(b"surely", (host, OTHER_PORT))
        assert other.recv(100) == b"surely"
        web.settimeout(0)
        try:
            return web.recv(100) == b"perhaps"
        except BlockingIOError:
            return False


# What stands in a log --------------------------------------------------------------------------


def line(address: str, *, ago: float = 0, request: str = "POST /xmlrpc.php HTTP/1.1") -> str:
    """Return a line of a log, stamped so many seconds ago."""
    stamp = datetime.fromtimestamp(time.time() - ago, UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
    return f'{address} - - [{stamp}] "{request}" 200 370 "-" "-"\n'


def write(path: Path, *lines: str) -> None:
    """Append lines, as a web server does: with one write."""
    with path.open("a") as log:
        log.write("".join(lines))


# The daemon ------------------------------------------------------------------------------------


class Daemon:
    """The real daemon in a namespace, with everything it owns in a directory.

    Args:
        home: where it lives.
        directory: for its configuration, state, socket, log and messages.
        logs: what it follows, if not ``access.log`` there.
    """

    def __init__(self, home: Namespace, directory: Path, logs: Sequence[Path] = ()) -> None:
        self.home, self.directory = home, directory
        self.log = directory / "access.log"
        self.logs = [str(each) for each in logs or [self.log]]
        self.config = directory / "config.toml"
        self.state = directory / "state.db"
        self.socket = directory / "control.sock"
        self.messages = directory / "messages"
        self.messages.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, settings: str = "") -> None:
        """Write a configuration: where everything is, and these settings."""
        self.config.write_text(
            f"logs = {json.dumps(self.logs)}\n"
            f'state = "{self.state}"\ncontrol = "{self.socket}"\n{settings}\n'
        )

    # Life ----------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """Return the command line of the real command, inside."""
        whole = [sys.executable, "-m", "blocker", "--config", str(self.config), *words]
        return self.home.command(*whole)

    def launch(
        self, *, before: Sequence[str] = (), python: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start it and don't wait."""
        words = [sys.executable, *python, "-m", "blocker", "--config", str(self.config), "run"]
        inherited = {k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"}
        with self.messages.open("ab") as messages:
            self.process = subprocess.Popen(
                self.home.command(*before, *words),
                stdin=subprocess.DEVNULL, stdout=messages, stderr=messages,
                env={**inherited, **environment},
            )  # fmt: skip
        return self.process

    def start(self, **how: Any) -> None:
        """Start it and wait until everybody due is blocked."""
        count = self.said().count(" started: ")
        process = self.launch(**how)
        wait_for(
            lambda: process.poll() is not None or self.said().count(" started: ") > count,
            "the start of the daemon",
        )
        assert process.poll() is None, self.said()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and return what it ended with."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def reload(self, answer: str) -> None:
        """Have it read its configuration again, and wait for what it says to that."""
        count = self.said().count(answer)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.said().count(answer) > count, f"{answer!r} after a reload")

    def said(self) -> str:
        """Return everything that it said on stderr."""
        return self.messages.read_text()

    # Questions -----------------------------------------------------------------------------

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the real command beside it."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False)

    def status(self) -> dict[str, Any]:
        """Return its status, straight from the socket."""
        return ask(str(self.socket), {"command": "status"})

    def bans(self) -> dict[str, dict[str, Any]]:
        """Return the bans that stand, by address, as the command line prints them."""
        done = self.run("bans", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {row["address"]: row for row in json.loads(done.stdout)["bans"]}

    def until(self, **figures: int) -> None:
        """Wait until its status shows these figures."""
        try:
            wait_for(lambda: figures.items() <= self.status().items(), f"{figures} in the status")
        except AssertionError as error:
            found = {name: self.status().get(name) for name in figures}
            raise AssertionError(f"{error}, but {found}") from None

    def metrics(self) -> dict[str, float]:
        """Return what Prometheus would see, by series."""
        text = self.home.run("curl", "-qsS", "--fail", "http://127.0.0.1:9947/metrics")
        pairs = (each.rsplit(" ", 1) for each in text.splitlines() if not each.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def left(self, address: str) -> float | None:
        """Return the seconds that the kernel goes on blocking an address; None if it does not."""
        which, key = "ban4", address
        if ":" in address:
            which, key = (
                "ban6",
                str(IPv6Network((address.removesuffix("/64"), 64), strict=False)[0]),
            )
        words = ("nft", "get", "element", "inet", "xmlrpc_blocker", which, f"{{ {key} }}")
        done = subprocess.run(
            self.home.command(*words), capture_output=True, text=True, check=False
        )
        if done.returncode:
            return None
        expires = re.search(r"expires ([0-9a-z]+)", done.stdout)
        assert expires, done.stdout
        return sum(int(n) * SECONDS[unit] for n, unit in SPAN.findall(expires[1]))

    def until_blocked(self, *addresses: str) -> None:
        """Wait until the kernel blocks these."""
        for address in addresses:
            wait_for(partial(self.left, address), f"{address} in the kernel's set")


@contextlib.contextmanager
def daemon(
    home: Namespace, directory: Path, settings: str = "", logs: Sequence[Path] = ()
) -> Iterator[Daemon]:
    """A daemon that was not started yet, and that is gone in the end."""
    made = Daemon(home, directory, logs)
    made.configure(settings)
    try:
        yield made
    finally:
        _end(made.process)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        process.kill()
        process.wait(PATIENCE)


# Web servers -----------------------------------------------------------------------------------

NGINX = """\
daemon off;
user www-data;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error;
events {{ worker_connections 64; }}
http {{
    log_format vhost_combined '$host:$server_port $remote_addr - $remote_user [$time_local] '
        '"$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"';
    access_log {directory}/access.log {log_format};
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 80;
        listen [::]:80;
        listen {other};
        listen [::]:{other};
        location / {{ return 200 "answer"; }}
    }}
}}
"""
# What any request is answered with is the body of an "error" 200: no file is looked for.
APACHE = """\
ServerName server.example.org
PidFile {directory}/apache.pid
ErrorLog {directory}/apache.error
Mutex file:{directory} default
Listen 80
Listen {other}
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" \\
    vhost_combined
CustomLog {directory}/access.log {log_format}
ErrorDocument 200 "answer"
RewriteEngine On
RewriteRule ^ - [R=200,L]
"""
SERVERS = {
    "nginx": (NGINX, ["nginx", "-p", "{directory}", "-c", "{config}"]),
    "apache": (APACHE, ["apache2", "-f", "{config}", "-DFOREGROUND"]),
}


@contextlib.contextmanager
def web_server(
    name: str, home: Namespace, directory: Path, log_format: str = "combined"
) -> Iterator[Path]:
    """Run nginx or Apache and yield the log that it writes."""
    text, words = SERVERS[name]
    config, said = directory / f"{name}.conf", directory / f"{name}.said"
    config.write_text(text.format(directory=directory, log_format=log_format, other=OTHER_PORT))
    words = [word.format(directory=directory, config=config) for word in words]
    with said.open("wb") as messages:
        process = subprocess.Popen(home.command(*words), stdout=messages, stderr=messages)
    try:
        listening = directory / f"{name}.pid"
        wait_for(lambda: process.poll() is not None or _is_written(listening), f"{name} to listen")
        assert process.poll() is None, said.read_text()
        yield directory / "access.log"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _is_written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


class Client:
    """Sends requests from an address of a namespace.

    Args:
        home: where it lives.
        source: its address.
    """

    TIMED_OUT = 28

    def __init__(self, home: Namespace, source: str) -> None:
        self.home, self.source = home, source
        self.host = f"[{SERVER6}]" if ":" in source else SERVER4

    def _curl(self, target: str, *words: str, port: int, patience: float) -> tuple[int, str]:
        url = f"http://{self.host}:{port}{target}"
        every = ("-qs", "--noproxy", "*", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}")
        line = ["curl", *every, "-m", str(patience), "--interface", self.source, *words, url]
        done = subprocess.run(self.home.command(*line), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def post(self, target: str = "/xmlrpc.php", port: int = 80) -> bool:
        """Whether a POST is answered."""
        return self._curl(target, "-d", "<methodCall/>", port=port, patience=PATIENCE) == (0, "200")

    def get(self, target: str = "/xmlrpc.php", port: int = 80) -> bool:
        """Whether a GET is answered."""
        return self._curl(target, port=port, patience=PATIENCE) == (0, "200")

    def is_shut_out(self) -> bool:
        """Whether a POST gets no answer at all."""
        code, _ = self._curl("/xmlrpc.php", "-d", "<methodCall/>", port=80, patience=0.5)
        return code == self.TIMED_OUT
