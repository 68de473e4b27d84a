"""The others, set up as their users set them up, in directories and namespaces of our own.

fail2ban comes installed, from Debian's archive.  CrowdSec is only unpacked (``make bench`` does
so): its package would register with its vendor and start a service.  Everything that it runs here
is in the package: the parsers for nginx, and the one scenario for xmlrpc.php.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from support.namespaces import Namespace

ROOT = Path(__file__).resolve().parent.parent
CROWDSEC = ROOT / "build/crowdsec"
FILTER = r"^<HOST> \S+ \S+ \[[^\]]*\] \"POST /xmlrpc\.php"
DATE = r"%d/%b/%Y:%H:%M:%S %z"
PATIENCE = 30.0

_FAIL2BAN = """\
[Definition]
loglevel = NOTICE
logtarget = {directory}/fail2ban.log
syslogsocket = auto
socket = {directory}/fail2ban.sock
pidfile = {directory}/fail2ban.pid
dbfile = {directory}/fail2ban.db
dbpurgeage = 1d
"""
_JAIL = """\
[xmlrpc]
enabled = true
filter = xmlrpc
logpath = {logs}
backend = auto
maxretry = 3
findtime = 1h
bantime = 1d
ignoreself = false
usedns = no
action = nftables-multiport[name=xmlrpc, port="80,443", protocol=tcp]
"""
_ITEMS = (
    "parsers/s00-raw/crowdsecurity/syslog-logs.yaml",
    "parsers/s01-parse/crowdsecurity/nginx-logs.yaml",
    "parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml",
    "parsers/s02-enrich/crowdsecurity/http-logs.yaml",
    "scenarios/crowdsecurity/http-bf-wordpress_bf_xmlrpc.yaml",
)
_CROWDSEC = """\
common: {{daemonize: false, log_media: stdout, log_level: warning, working_dir: .}}
config_paths:
  config_dir: {home}/etc/
  data_dir: {home}/data/
  simulation_path: {home}/etc/simulation.yaml
  hub_dir: {hub}/
  index_path: {hub}/.index.json
  notification_dir: {home}/etc/notifications/
  plugin_dir: {home}/plugins/
crowdsec_service: {{parser_routines: 1}}
cscli: {{output: human}}
db_config: {{type: sqlite, db_path: {home}/crowdsec.db, log_level: warning}}
api:
  client: {{credentials_path: {home}/etc/credentials.yaml}}
  server:
    listen_uri: 127.0.0.1:8080
    profiles_path: {home}/etc/profiles.yaml
    log_level: warning
prometheus: {{enabled: false}}
"""


# fail2ban --------------------------------------------------------------------------------------


def fail2ban_usual(log: Path) -> list[str]:
    """Return the command that counts in an old log, as one usually configures it."""
    return ["fail2ban-regex", str(log), FILTER]


def fail2ban_dated(log: Path) -> list[str]:
    """The same, told how the dates look."""
    return ["fail2ban-regex", "-d", DATE, str(log), FILTER]


class Fail2ban:
    """A fail2ban server in a namespace, with one jail and the nftables action."""

    def __init__(self, home: Namespace, directory: Path, logs: Sequence[Path]) -> None:
        self.home, self.directory = home, directory
        directory.mkdir()
        (directory / "action.d").symlink_to("/etc/fail2ban/action.d")
        (directory / "filter.d").mkdir()
        (directory / "filter.d/xmlrpc.conf").write_text(
            f"[Definition]\nfailregex = {FILTER}\ndatepattern = {DATE.replace('%', '%%')}\n"
        )
        (directory / "fail2ban.conf").write_text(_FAIL2BAN.format(directory=directory))
        lines = "\n          ".join(map(str, logs))
        (directory / "jail.conf").write_text(_JAIL.format(logs=lines))

    def __enter__(self) -> Self:
        words = ["fail2ban-server", "-c", str(self.directory), "-f", "start"]
        with (self.directory / "said").open("wb") as said:
            self.process = subprocess.Popen(self.home.command(*words), stdout=said, stderr=said)
        deadline = time.monotonic() + PATIENCE
        while "xmlrpc" not in self.ask("status"):
            if time.monotonic() > deadline:
                raise RuntimeError((self.directory / "said").read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, *words: str) -> str:
        """Return what its client says."""
        line = ["fail2ban-client", "-c", str(self.directory), *words]
        done = subprocess.run(self.home.command(*line), capture_output=True, text=True, check=False)
        return done.stdout

    def hits(self) -> int:
        """Return how many hits it has seen."""
        said = self.ask("status", "xmlrpc")
        return int(said.partition("Total failed:")[2].split()[0])


# CrowdSec --------------------------------------------------------------------------------------


def has_crowdsec() -> bool:
    """Tell whether CrowdSec is unpacked."""
    return (CROWDSEC / "usr/bin/crowdsec").exists()


@contextlib.contextmanager
def crowdsec(home: Namespace, directory: Path) -> Iterator[Path]:
    """Run its local API, which its agent needs, and yield the configuration for an agent."""
    directory.mkdir()
    hub = CROWDSEC / "usr/share/crowdsec/hub"
    for item in _ITEMS:
        stage, _, name = item.partition("/crowdsecurity/")
        (directory / "etc" / stage).mkdir(parents=True, exist_ok=True)
        (directory / "etc" / stage / name).symlink_to(hub / item)
    for name in ("patterns", "simulation.yaml", "profiles.yaml"):
        (directory / "etc" / name).symlink_to(CROWDSEC / "etc/crowdsec" / name)
    for name in ("etc/notifications", "etc/postoverflows", "plugins"):
        (directory / name).mkdir()
    shutil.copytree(CROWDSEC / "usr/share/crowdsec/data", directory / "data")
    config = directory / "config.yaml"
    config.write_text(_CROWDSEC.format(home=directory, hub=hub))
    program, client = (str(CROWDSEC / "usr/bin" / name) for name in ("crowdsec", "cscli"))
    credentials = str(directory / "etc/credentials.yaml")
    add = ["machines", "add", "bench", "--password", "bench", "-f", credentials]
    home.run(client, "-c", str(config), *add, "-u", "http://127.0.0.1:8080")
    with (directory / "said").open("wb") as said:
        words = [program, "-c", str(config), "-no-cs", "-no-capi"]
        api = subprocess.Popen(home.command(*words), stdout=said, stderr=said)
    try:
        home.run("curl", "-qs", "--retry", "50", "--retry-connrefused", "--retry-delay", "1",
                 "-o", "/dev/null", "http://127.0.0.1:8080/health")  # fmt: skip
        yield config
    finally:
        api.kill()
        api.wait()


def crowdsec_replay(home: Namespace, config: Path) -> Callable[[Path], list[str]]:
    """Return what makes the command that reads an old log."""
    program = str(CROWDSEC / "usr/bin/crowdsec")
    words = ["-c", str(config), "-type", "nginx", "-no-api"]
    return lambda log: home.command(program, *words, "-dsn", f"file://{log}")
