"""The other ways to install: the commands of docs/install.md are run as they stand there.

For the container there is no engine here: its image is made and its service runs in namespaces,
with the network, capabilities and mounts that the documentation gives them.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from package import boot
from package.attack import fresh, post, posts, until_banned
from support.daemons import (
    ATTACKER4,
    ATTACKER6,
    NEIGHBOUR4,
    NEIGHBOUR6,
    OTHER_PORT,
    Client,
    street,
    wait_for,
    web_server,
)
from support.namespaces import join, namespace

PAGE = (boot.ROOT / "docs/install.md").read_text()
PLAY = boot.ROOT / "packaging/ansible/xmlrpc-blocker.yml"


def blocks(section, language):
    """Return the texts of the blocks of a language in a section."""
    text = re.search(rf"^## {section}\n.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[0]
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [each.replace("\\\n", "") for each in found]


def commands(block):
    """Return what root has to type, line by line."""
    return [line[2:] for line in block.splitlines() if line.startswith("# ")]


@pytest.fixture(scope="module")
def machine(suite, tmp_path_factory):
    """A machine with nginx, and this checkout."""
    with boot.machine(suite) as made:
        made.download("update")
        made.download("install", "--download-only", "nginx-light")
        made.apt("install", "nginx-light")
        made.put('APT::Get::Assume-Yes "true";\n', "/etc/apt/apt.conf.d/99yes")
        checkout = tmp_path_factory.mktemp("checkout") / "tar"
        parts = ("blocker", "packaging", "README.md", "pyproject.toml")
        subprocess.run(["tar", "-C", boot.ROOT, "-cf", checkout, *parts], check=True)
        made.put(checkout, "/root/checkout.tar")
        made.run("tar", "-C", "/root", "-xf", "/root/checkout.tar")
        made.put(Path("/etc/ssl/certs/ca-certificates.crt"), "/root/authorities")
        yield made


def stops(machine, version):
    """Tell whether an attacker is answered three times, and others still are."""
    return posts(machine, fresh(version), 5) == 3 and post(machine, fresh(version))


def test_pipx(machine):
    """What the page says makes a service of this checkout that bans; removed, it leaves nothing."""
    made, removed = map(commands, blocks("pipx", "console"))
    for command in made:
        machine.outside("env", "PIP_CERT=/root/authorities", "sh", "-ec", f"cd /root; {command}")
    assert machine.run("systemctl", "is-active", "xmlrpc-blocker").strip() == "active"
    assert machine.run("which", "xmlrpc-blocker").strip() == "/usr/local/bin/xmlrpc-blocker"
    assert stops(machine, 4)
    assert stops(machine, 6)
    for command in removed:
        machine.run("sh", "-ec", command)
    assert not machine.ok("nft", "list", "table", "inet", "xmlrpc_blocker")
    assert not machine.ok("getent", "passwd", "xmlrpc-blocker")
    assert not machine.ok("which", "xmlrpc-blocker")


def test_ansible(machine, deb):
    """The play installs a service that bans; played again, it changes nothing."""
    machine.put(PLAY, "/root/play.yml")
    machine.put(deb, f"/root/{deb.name}")
    machine.put("web ansible_connection=local\n", "/root/inventory")
    machine.download("install", "ansible-core", "python3-apt")
    play = (
        "env",
        "ANSIBLE_NOCOLOR=1",
        "ansible-playbook",
        "-i",
        "/root/inventory",
        "/root/play.yml",
    )
    assert re.search(r"changed=[1-9]\d* .*failed=0", machine.outside(*play))
    assert stops(machine, 4)
    assert stops(machine, 6)
    assert re.search(r"changed=0 .*failed=0", machine.outside(*play))


# A container -----------------------------------------------------------------------------------

SITE4, SITE6 = ("172.18.0.1", "172.18.0.2"), ("fd00:18::1", "fd00:18::2")
PUBLISHED = f"""
table inet engine {{
    chain published {{
        type nat hook prerouting priority dstnat;
        meta nfproto ipv4 tcp dport 80 dnat ip to {SITE4[1]}:{OTHER_PORT}
        meta nfproto ipv6 tcp dport 80 dnat ip6 to [{SITE6[1]}]:{OTHER_PORT}
    }}
}}
"""


@pytest.fixture
def network():
    """A host, clients, and behind the host a site of its own network, whose port is published."""
    with street() as made, namespace() as site:
        pairs = ((f"{SITE4[0]}/24", f"{SITE4[1]}/24"), (f"{SITE6[0]}/64", f"{SITE6[1]}/64"))
        join(made.server, site, *pairs, link="bridge0")
        site.run("ip", "route", "add", "default", "via", SITE4[0])
        site.run("ip", "-6", "route", "add", "default", "via", SITE6[0])
        for each in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            made.server.run("sh", "-c", f"echo 1 >/proc/sys/net/{each}")
        made.server.nft(PUBLISHED)
        yield made, site


@pytest.fixture(scope="module")
def image(suite, deb, tmp_path_factory):
    """What the Dockerfile makes of the slim tree, as a layer over that; and its command."""
    (text,) = blocks("In a container", "dockerfile")
    said = dict(line.split(" ", 1) for line in text.splitlines())
    assert said["FROM"].startswith("debian:")
    assert said["COPY"] == f"{deb.name} /tmp/"
    layer = boot.BASE / f"image-{suite}"
    script = f"""set -e
        rm -rf {layer}; mkdir -p {layer}/upper {layer}/work {layer}/at; cd {layer}
        mount -t overlay overlay -o lowerdir={slim(suite)},upperdir=upper,workdir=work at
        cp {deb} at/tmp
        {shlex.join(("exec", "chroot", "at", *boot.ENVIRONMENT, "sh", "-ec", said["RUN"]))}
    """
    boot.isolated(script)
    return layer / "upper", json.loads(said["CMD"])


def slim(suite):
    return boot.base_tree(suite, "slim")


class Kernel:
    """The kernel of a host, asked with the ``nft`` of the suite: older ones crash on its sets."""

    def __init__(self, suite, home):
        self.enter = home.command("chroot", str(boot.base_tree(suite)), *boot.ENVIRONMENT)

    def ok(self, *words):
        """Tell whether a command succeeds."""
        return (
            subprocess.run([*self.enter, *words], capture_output=True, check=False).returncode == 0
        )


class Container:
    """The service of the compose file, with what that allows it."""

    def __init__(self, suite, image, home, directory):
        layer, self.command = image
        (text,) = blocks("In a container", "yaml")
        self.service = yaml.safe_load(text)["services"]["xmlrpc-blocker"]
        assert self.service["network_mode"] == "host"
        at, top = directory / "at", directory / "top"
        script = f"""set -e
            mkdir -p {at} {top}/upper {top}/work
            mount -t overlay overlay \\
                -o lowerdir={layer}:{slim(suite)},upperdir={top}/upper,workdir={top}/work {at}
            mount -t proc proc {at}/proc
            {"".join(self._mounts(at, directory))}
            mount -o remount,ro {at}
            exec chroot {at} "$@"
        """
        assert self.service["read_only"] is True
        self.enter = ("unshare", "--mount", "--propagation=private", "--pid", "--ipc", "--uts")
        self.words = home.command(*self.enter, "--fork", "sh", "-c", script, "sh", *self._limits())

    def _mounts(self, at, directory):
        for place in self.service["tmpfs"]:
            yield f"mkdir -p {at}{place}; mount -t tmpfs tmpfs {at}{place}\n"
        for volume in self.service["volumes"]:
            source, place, *how = volume.split(":")
            yield f"mkdir -p {at}{place} {directory / source}\n"
            yield f"mount --bind {directory / source} {at}{place}\n"
            if how == ["ro"]:
                yield f"mount -o remount,bind,ro {at}{place}\n"

    def _limits(self):
        assert self.service["cap_drop"] == ["ALL"]
        kept = ",".join(f"+{name.lower()}" for name in self.service["cap_add"])
        yield from (*boot.ENVIRONMENT, "setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all")

    def run(self, *words):
        """Run a command in a container of its own, as ``docker compose run --rm`` does."""
        return subprocess.run([*self.words, *words], capture_output=True, text=True, check=True)

    @contextlib.contextmanager
    def up(self):
        """The service itself; yields what a command inside begins with."""
        process = subprocess.Popen([*self.words, *self.command])
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            wait_for(lambda: children.read_text().split(), "the first process")
            (first,) = map(int, children.read_text().split())
            yield ("nsenter", "-t", str(first), "-m", "-p", "-n", "-r", *boot.ENVIRONMENT)
            os.kill(first, signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def test_a_container_beside_a_container(suite, image, network, tmp_path):
    """It bans for a site behind a published port; its end unblocks no address, ``unban`` does."""
    host, site = network
    container = Container(suite, image, host.server, tmp_path)
    kernel = Kernel(suite, host.server)
    logs = tmp_path / "logs"
    logs.mkdir()
    with web_server("nginx", site, logs):
        with container.up() as inside:
            ask = [*inside, "xmlrpc-blocker", "status"]
            wait_for(lambda: subprocess.run(ask, check=False).returncode == 0, "an answer")
            for source, neighbour in ((ATTACKER4, NEIGHBOUR4), (ATTACKER6, NEIGHBOUR6)):
                attacker = Client(host.attacker, source)
                assert [attacker.post() for _ in range(3)] == [True] * 3
                until_banned(kernel, source)
                assert attacker.is_shut_out()
                assert Client(host.neighbour, neighbour).post()
            (first,) = re.findall(r"^CapBnd:\s+(\w+)$", _status(inside), re.MULTILINE)
            assert int(first, 16) == 1 << 12 | 1 << 2  # NET_ADMIN, DAC_READ_SEARCH
        assert attacker.is_shut_out()
        container.run("xmlrpc-blocker", "unban", "--all")
        assert attacker.post()


def _status(inside):
    words = [*inside, "cat", "/proc/1/status"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
