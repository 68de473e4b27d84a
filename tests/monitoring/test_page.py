"""Following docs/monitoring.md leads from Debian's programs to a mail: every command is run.

Debian's own configuration files are copied below a directory of the test's, and the commands' paths
lead there.  In the place of what needs a booted system stand the processes of the test: ``apt`` is
taken to have been run, ``systemctl`` starts, stops and signals what it names, with the options that
the page advises.  In the place of waiting, intervals are shortened: those of scraping, evaluating
and mailing, and the durations of the rules.
"""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from monitoring.quicker import quicker
from monitoring.scene import PAUSE, RULES, Prometheus
from support.daemons import PATIENCE, daemon, wait_for
from support.namespaces import WHY_NOT, namespace, permitted

ROOT = RULES.parents[2]
PAGE = ROOT / "docs/monitoring.md"
STEP = re.compile(r"^[#$] (.*)\n((?:(?![#$] ).*\n)*)", re.MULTILINE)
ELSEWHERE = re.compile(r"(?<![\w.])/(etc|usr/share)/")
INTERVALS = re.compile(r"(scrape_interval|evaluation_interval|group_wait|group_interval): +\w+")
RULES_THERE = "etc/prometheus/rules/xmlrpc-blocker.rules.yaml"


def steps():
    """Yield each command of the page, with the output that is shown below it."""
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        yield from STEP.findall(block)


def shown(text):
    """Return an expression for output: words in order, an ellipsis for anything."""
    words = [re.escape(word).replace("…", ".*") for word in text.split()]
    return re.compile(r"\s+".join(words).replace(r"\s+.*", r"\s*.*"), re.DOTALL)


class Post:
    """A mail server that keeps what it is given."""

    def __init__(self, home):
        self.mails = []
        self._ear = home.listen(socket.SOCK_STREAM, 25, socket.AF_INET)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self):
        self._ear.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._ear.close()

    def _serve(self):
        self._ear.settimeout(None)
        while True:
            try:
                client, _ = self._ear.accept()
            except OSError:
                return
            with client, client.makefile("rw", newline="\r\n", encoding="utf-8") as talk:
                self._converse(talk)

    def _converse(self, talk):
        def say(words):
            talk.write(f"{words}\n")
            talk.flush()

        say("220 post")
        for line in talk:
            match line[:4].upper().strip():
                case "DATA":
                    say("354 go on")
                    self.mails.append("".join(iter(talk.readline, ".\r\n")))
                    say("250 kept")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 well")

    def has(self, *words):
        """Whether some mail has all these words."""
        return any(all(word in mail for word in words) for mail in self.mails)


class Host:
    """A host with Debian's Prometheus and Alertmanager, whose files are below a directory."""

    def __init__(self, home, root, service, stack):
        self.home, self.root, self.service, self.stack = home, root, service, stack
        shutil.copytree("/etc/prometheus", root / "etc/prometheus")
        self._shorten("prometheus.yml")
        self.watcher = self._start("prometheus", "prometheus.yml", "storage.tsdb.path")
        wait_for(lambda: self._answers("9090"), "Prometheus", pause=PAUSE)

    def do(self, command):
        """Do what a command says; return what it prints."""
        if command.startswith("apt install "):
            return ""  # or the programs would not be found
        if command.startswith("systemctl "):
            self._service(*command.split()[1:])
            return ""
        where = ELSEWHERE.sub(rf"{self.root}/\1/", command)
        done = subprocess.run(
            self.home.command("sh", "-c", where), capture_output=True, text=True, check=False,
            cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _service(self, verb, name):
        match verb, name:
            case "reload", "prometheus":
                rules = self.root / RULES_THERE
                if "for: 7d" in rules.read_text():
                    rules.write_text(quicker(rules.read_text()))
                self.watcher.send_signal(signal.SIGHUP)
            case "restart", "prometheus-alertmanager":
                self._shorten("alertmanager.yml")
                options = ("--cluster.listen-address=",)  # there is no private address
                self._start("prometheus-alertmanager", "alertmanager.yml", "storage.path", *options)
                wait_for(lambda: self._answers("9093"), "Alertmanager", pause=PAUSE)
            case "stop", "xmlrpc-blocker":
                self.service.stop()
            case "start", "xmlrpc-blocker":
                self.service.start()
            case _:
                assert (verb, name) == ("restart", "grafana-server")

    def _shorten(self, name):
        path = self.root / "etc/prometheus" / name
        path.write_text(
            INTERVALS.sub(r"\1: 1s", path.read_text()).replace("timeout: 5s", "timeout: 1s")
        )

    def _start(self, program, config, storage, *options):
        data = self.root / program
        words = [
            program, f"--config.file={self.root}/etc/prometheus/{config}", f"--{storage}={data}",
            "--log.level=warn", *options,
        ]  # fmt: skip
        process = subprocess.Popen(self.home.command(*words))
        self.stack.callback(process.wait, PATIENCE)
        self.stack.callback(process.kill)
        return process

    def _answers(self, port):
        words = self.home.command("curl", "-fsS", f"http://localhost:{port}/-/ready")
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def host(tmp_path):
    """A host before the first command, with the daemon running."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(namespace())
        service = stack.enter_context(daemon(home, tmp_path))
        service.log.touch()
        service.start()
        yield Host(home, tmp_path / "root", service, stack)


MAILS = {
    "amtool --alertmanager.url=http://localhost:9093 alert query alertname=XmlrpcBlockerTest": (
        "XmlrpcBlockerTest", "FIRING",
    ),
    "amtool --alertmanager.url=http://localhost:9093 alert query alertname=XmlrpcBlockerDown": (
        "XmlrpcBlockerDown", "FIRING",
    ),
    "systemctl start xmlrpc-blocker": ("XmlrpcBlockerDown", "RESOLVED"),
}  # fmt: skip
"""Behind which command which mail is there."""


def test_the_page_leads_to_a_mail(host):
    """Each command succeeds and prints what is shown, and the mails that are promised arrive."""
    post = Post(host.home)
    host.stack.callback(post.close)
    sent = []
    for command, output in steps():
        said = host.do(command)
        if output.strip():
            expected = shown(output)
            wait_for(
                lambda c=command, e=expected: e.search(host.do(c)),
                f"{command}: {output}; it said {said}", patience=60, pause=PAUSE,
            )  # fmt: skip
        if command in MAILS:
            words = MAILS[command]
            wait_for(lambda w=words: post.has(*w), f"a mail: {words}", pause=PAUSE)
            sent.append(command)
    assert sent == list(MAILS)
    assert Prometheus(host.home).query('up{job="xmlrpc-blocker"} == 1')


def test_every_file_of_the_page_lands_where_it_says(host):
    """The files that the page copies are where its table says."""
    for command, _ in steps():
        if command.startswith("install "):
            host.do(command)
    for path in (
        RULES_THERE,
        "usr/share/doc/xmlrpc-blocker-monitoring/runbooks/XmlrpcBlockerDown.md",
        "usr/share/xmlrpc-blocker-monitoring/dashboards/xmlrpc-blocker.json",
        "etc/grafana/provisioning/dashboards/xmlrpc-blocker.yaml",
    ):
        assert (host.root / path).is_file()


def test_the_table_of_alerts_is_whole():
    """Every alert is in the page's table with its severity, in the order of the rules."""
    rows = re.findall(
        r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \| .+ \|$", PAGE.read_text(), re.MULTILINE
    )
    rules = re.findall(r"alert: (\w+).*?severity: (\w+)", RULES.read_text(), re.DOTALL)
    assert rows == rules
    assert all(Path(ROOT, "docs/runbooks", f"{name}.md").is_file() for name, _ in rows)
