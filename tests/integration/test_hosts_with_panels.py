"""The command logs on a host with panels: what it prints and writes is what check wants."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = """
root=$1; shift
mount -t tmpfs none "$root"
for each in /*; do
    name=${each#/}
    if [ -L "$each" ]; then
        cp -P "$each" "$root"
    elif [ -d "$each" ] && [ ! -e "$HOST/$name" ]; then
        mkdir "$root/$name" && mount --rbind "$each" "$root/$name"
    fi
done
for each in "$HOST"/*; do
    mkdir "$root/${each##*/}" && mount --rbind "$each" "$root/${each##*/}"
done
exec chroot "$root" sh -c 'cd "$1"; shift; exec "$@"' - "$PWD" "$@"
"""
"""Runs a command below a root of its own, in which a tree stands in place of the host's."""
COMBINED = '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1 "-" ""\n'
NPM = (
    "[10/Mar/2026:12:00:00 +0000] - 200 200 - POST https www.example.org"
    ' "/xmlrpc.php" [Client 203.0.113.7] [Length 381] [Gzip -] [Sent-to 192.0.2.10] "-" "-"\n'
)
CACHED = (
    "203.0.113.7 0.120 BYPASS [10/Mar/2026:12:00:00 +0000] www.example.org"
    ' "POST /xmlrpc.php HTTP/2.0" 200 370 "-" "Mozilla/5.0" "HTTP/2.0"\n'
)
PLESK = "/var/www/vhosts/system/*/logs/proxy_access*log"
ISPCONFIG = "/var/log/ispconfig/httpd/*/access.log"
PROXY_MANAGER = "/data/logs/proxy-host-*_access.log"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a root of its own")


class Host:
    """A host with a tree of its own, in which commands run."""

    def __init__(self, tmp_path):
        self.tree = tmp_path / "host"
        self.written = self.tree / "etc/xmlrpc-blocker/conf.d/logs.toml"
        self._root = tmp_path / "root"
        for each in (self.tree / "var", self.tree / "etc", self._root):
            each.mkdir(parents=True)
        account = "xmlrpc-blocker:x:990:990::/nonexistent:/usr/sbin/nologin"
        (self.tree / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{account}\n")
        (self.tree / "etc/group").write_text("root:x:0:\nxmlrpc-blocker:x:990:\n")

    def add(self, name, text=COMBINED, mode=0o644):
        """Write a log of ten lines."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text * 10)
        path.chmod(mode)
        return path

    def run(self, *words):
        """Run the command there, or a line of a shell if there is only one word with blanks."""
        program = (sys.executable, "-m", "blocker", *words)
        if len(words) == 1 and " " in words[0]:
            program = ("sh", "-c", words[0])
        unshared = ("unshare", "--mount", "--propagation=private", "sh", "-ec", ROOTS, "-")
        return subprocess.run(
            [*unshared, str(self._root), *program],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "HOST": str(self.tree)},
        )  # fmt: skip

    def paste(self, text):
        """Put what was printed into a file of the configuration."""
        path = self.tree / "etc/xmlrpc-blocker/conf.d/50-site.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def host(tmp_path):
    """A host with Plesk, ISPConfig and Nginx Proxy Manager, whose logs only root can read."""
    made = Host(tmp_path)
    for site in ("a.example", "b.example"):
        logs = f"var/www/vhosts/system/{site}/logs"
        made.add(f"{logs}/proxy_access_ssl_log")
        made.add(f"{logs}/access_ssl_log")
        made.add(f"{logs}/error_log", "[error] it broke\n")
        made.add(f"var/log/ispconfig/httpd/{site}/20261128-access.log")
        link = made.tree / f"var/log/ispconfig/httpd/{site}/access.log"
        link.symlink_to("20261128-access.log")
    made.add("data/logs/proxy-host-1_access.log", NPM, mode=0o640)
    return made


def clean(host, logs):
    """Assert that check has nothing to note, and finds and can read so many logs."""
    done = host.run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"ok: 1 trap, {logs} logs"


def test_what_is_printed_is_what_the_check_wants(host):
    """Pasted as it is, with the commands that give access."""
    done = host.run("logs")
    assert done.returncode == 0
    for pattern in (PLESK, ISPCONFIG, PROXY_MANAGER):
        assert f'    "{pattern}",  # ' in done.stdout
    assert "Nginx Proxy Manager: 1 log, npm, 0 readable by xmlrpc-blocker" in done.stdout
    assert f"it has the requests of {PLESK} again" in done.stderr
    host.paste(done.stdout)
    assert "can't be read: Permission denied" in host.run("check").stderr
    fix = done.stderr.splitlines()[-1]
    assert fix.startswith("setfacl ")
    assert host.run(fix).returncode == 0
    clean(host, 5)
    assert host.run("logs").stdout == done.stdout.replace(", 0 readable by xmlrpc-blocker", "")


def test_tables_are_printed_where_a_format_is_to_be_set(host):
    """They make the check clean, too."""
    host.add("var/log/nginx/c.example.access.log", CACHED)
    done = host.run("logs")
    assert done.stdout.count("[[log]]") == 4
    host.paste(done.stdout)
    assert host.run(done.stderr.splitlines()[-1]).returncode == 0
    clean(host, 6)


def test_as_json_each_place_is_an_object(host):
    """With what is printed otherwise."""
    found = json.loads(host.run("logs", "-o", "json").stdout)
    assert found["version"] == 1
    assert found["user"] == "xmlrpc-blocker"
    used = {row["pattern"]: row for row in found["logs"] if row["proposed"]}
    assert set(used) == {PLESK, ISPCONFIG, PROXY_MANAGER}
    assert found["fixes"] == [used[PROXY_MANAGER]["fix"]]
    assert tomllib.loads(found["config"])["logs"] == list(used)
    head, *rows = host.run("logs", "-o", "csv").stdout.splitlines()
    assert head == "server,pattern,matches,readable,format,lines,unparsed,reason,fix"
    assert len(rows) == len(found["logs"])


def test_the_proposal_is_written_where_the_daemon_reads_it(host):
    """Again and again, and beside what other files say."""
    host.paste('logs = ["/srv/*.log"]\nformat = "combined"\n')
    assert host.run("logs", "--write").stderr.splitlines()[-1] == (
        "written: /etc/xmlrpc-blocker/conf.d/logs.toml; to use it: systemctl reload xmlrpc-blocker"
    )
    first = host.written.read_bytes()
    assert host.written.stat().st_mode & 0o777 == 0o644
    names = {each.name for each in host.written.parent.iterdir()}
    assert names == {"logs.toml", "50-site.toml"}
    assert host.run("logs", "--write").returncode == 0
    assert host.written.read_bytes() == first
    checked = json.loads(host.run("check", "-o", "json").stdout)
    assert [row["pattern"] for row in checked["patterns"]] == [
        "/srv/*.log", PLESK, ISPCONFIG, PROXY_MANAGER,
    ]  # fmt: skip
    assert not any(log["reason"] for log in checked["logs"])


def test_a_file_of_another_origin_is_never_replaced(host):
    """The proposal is printed nevertheless."""
    host.written.parent.mkdir(parents=True)
    host.written.write_text("# mine\n")
    done = host.run("logs", "--write")
    assert done.returncode == 1
    assert "was not written by this command" in done.stderr
    assert PLESK in done.stdout
    assert host.written.read_text() == "# mine\n"


def test_a_host_without_logs_is_reported(tmp_path):
    """Nothing is printed, and nothing written."""
    host = Host(tmp_path)
    done = host.run("logs", "--write")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no access log is in a known place" in done.stderr
    assert not host.written.exists()


def test_what_makes_no_sense_is_refused(host):
    """A file that would not be read, and a configuration that is broken."""
    done = host.run("--config", "/dev/null", "logs", "--write")
    assert done.returncode == 2
    assert "not read with --config" in done.stderr
    host.paste("nonsense = 1\n")
    assert host.run("logs").returncode == 78
