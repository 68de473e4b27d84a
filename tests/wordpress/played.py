"""Runs the plugin in plain PHP, with stand-ins for WordPress, and collects what it writes."""

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "packaging/wordpress/xmlrpc-blocker.php"
STAND_IN = Path(__file__).parent / "stand_in.php"
CLIENT = "198.18.0.7"
SECRETS = {"NONCE_KEY": "key of the site", "NONCE_SALT": "salt of the site"}
"""Constants of wp-config.php."""
USERS = {"admin": "right"}
"""Users of the site, and their passwords."""


@dataclass(frozen=True)
class Played:
    """What a request left behind."""

    sent: list[str]
    """Datagrams that came by the socket."""
    calls: list[list[object]]
    """Recorded calls of syslog's functions, and of what the plugin must not call."""
    out: str
    err: str

    @property
    def logged(self) -> list[str]:
        """The messages given to syslog()."""
        return [str(call[2]) for call in self.calls if call[0] == "syslog"]


@dataclass(frozen=True)
class Site:
    """A site and a request to it; each field has the value of an ordinary one."""

    constants: dict[str, object] = field(default_factory=lambda: dict(SECRETS))
    server: dict[str, object] = field(default_factory=lambda: {"REMOTE_ADDR": CLIENT})
    get: dict[str, object] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=lambda: dict(USERS))
    mails: dict[str, str] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)
    admin: bool = False
    logged_in: bool = False
    syslog: bool = True


@contextmanager
def datagrams() -> Iterator[socket.socket]:
    """A Unix socket for datagrams below a short path."""
    place = tempfile.mkdtemp()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(f"{place}/events.sock")
            listener.settimeout(0)
            yield listener
    finally:
        shutil.rmtree(place)


def received(listener: socket.socket) -> list[str]:
    """Return what waits in a socket."""
    found = []
    while True:
        try:
            found.append(listener.recv(65536).decode("ascii"))
        except BlockingIOError:
            return found


def request(scenario: str, site: Site | None = None, *, to_socket: bool = True) -> Played:
    """Run a scenario in PHP beside the plugin; by default its lines come by a socket."""
    site = site or Site()
    with datagrams() as listener, tempfile.NamedTemporaryFile() as record:
        constants = {"ABSPATH": "/", **site.constants}
        if to_socket:
            constants.setdefault("XMLRPC_BLOCKER_SOCKET", listener.getsockname())
        settings = {
            **vars(site), "constants": constants, "scenario": scenario, "record": record.name,
        }  # fmt: skip
        words = [
            *("php", "-n", "-d", "error_reporting=-1", "-d", "display_errors=1"),
            *("-d", "disable_functions=openlog,syslog,closelog,hrtime", "-d", "log_errors=0"),
            *(str(STAND_IN), str(PLUGIN), json.dumps(settings)),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        calls = [json.loads(line) for line in Path(record.name).read_text().splitlines()]
        return Played(received(listener), calls, done.stdout, done.stderr)


def lines(scenario: str, site: Site | None = None) -> list[str]:
    """Return the lines of a request that went well: no output, and nothing beside the socket."""
    played = request(scenario, site)
    assert (played.out, played.err, played.calls) == ("", "", [])
    return played.sent
