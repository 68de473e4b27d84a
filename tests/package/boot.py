"""A really booted Debian, systemd as process 1, that is thrown away afterwards.

A base tree of each suite is made once, with debootstrap, and never changed; a machine is that tree
under a temporary layer, in systemd-nspawn, on one end of a wire whose other end is a namespace for
attackers.  Works where the host's own process 1 is not systemd, too.

What is easy to get wrong: two machines must not share a control group, or they corrupt each other;
the old hierarchies are mounted read-only, so that limits would silently not hold; and a machine
with a network namespace of the host's making has no CAP_NET_ADMIN in it unless asked for.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.namespaces import Namespace, join

BASE = Path(os.environ.get("BOOT_DIR", "/var/tmp/xmlrpc-blocker-boot"))  # noqa: S108 - kept
ROOT = Path(__file__).parent.parent.parent
INCLUDED = "systemd,systemd-sysv,dbus,iproute2,nftables,procps,ca-certificates,python3,logrotate"
ENVIRONMENT = (
    *("env", "-i", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"),
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)
APT = ("apt-get", "-qq", "-y", "--no-install-recommends")
HIERARCHIES = ("systemd", "unified", "memory", "pids", "cpu", "cpuacct")
INIT = """\
#!/bin/sh
for each in memory pids cpu cpuacct; do
    mount -o remount,bind,rw /sys/fs/cgroup/$each 2>/dev/null
done
exec /lib/systemd/systemd
"""
NOT_NEEDED = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer logrotate.timer"
    " dpkg-db-backup.timer console-getty.service systemd-networkd-wait-online.service"
)

WEB4, WEB6 = "198.18.0.1", "2001:db8::1"
WORLD4, WORLD6 = "198.18.16.0/20", "2001:db8:a000::/36"
"""Where attackers are: documentation and benchmark networks, for private ones are friends."""


# Base trees ------------------------------------------------------------------------------------


def base_tree(suite: str, kind: str = "root") -> Path:
    """Return the tree of a suite, and make it if it is not there yet.

    A ``root`` boots; a ``slim`` one has what images of containers are made from.
    """
    tree = BASE / f"{kind}-{suite}"
    if (tree / ".made").exists():
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    BASE.mkdir(parents=True, exist_ok=True)
    sources, mirror = _sources(suite)
    included = [f"--include={INCLUDED}"] if kind == "root" else []
    _checked(["debootstrap", "--variant=minbase", *included, suite, tree, mirror])
    for path in (tree / "etc/apt").glob("sources.list*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tree / "etc/apt/sources.list.d").mkdir()
    for name, text in sources.items():
        (tree / "etc/apt" / name).write_text(text)
    for part in Path("/etc/apt/apt.conf.d").glob("99*"):  # how this host reaches its mirror
        shutil.copy(part, tree / "etc/apt/apt.conf.d")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", tree / "etc" / name)
    _checked(["chroot", tree, "apt-get", "update", "-qq"])
    if kind == "root":
        _checked(["chroot", tree, "systemctl", "mask", "-q", *NOT_NEEDED.split()])
        (tree / "init").write_text(INIT)
        (tree / "init").chmod(0o755)
    (tree / ".made").touch()
    return tree


def _sources(suite: str) -> tuple[dict[str, str], str]:
    """Return this host's sources, for another suite, and the mirror that its apt uses."""
    sources = {
        name: re.sub(r"\b(bookworm|trixie)\b", suite, path.read_text())
        for name in ("sources.list", "sources.list.d/debian.sources")
        if (path := Path("/etc/apt") / name).exists()
    }
    text = "\n".join(sources.values())
    found = re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", text, re.MULTILINE)
    assert found, "no mirror in /etc/apt/sources.list or sources.list.d/debian.sources"
    return sources, found[1]


def build(suite: str) -> Path:
    """Build the packages of this tree in a clean tree of the suite; return the daemon's .deb."""
    out = BASE / f"debs-{suite}"
    shutil.rmtree(out, ignore_errors=True)
    apt = " ".join(APT)
    in_build_tree(
        suite,
        f"dpkg -s build-essential >/dev/null 2>&1 || {apt} install build-essential >&2",
        "/tree/packaging/build-deb /out",
    )
    return next(out.glob("xmlrpc-blocker_*.deb"))


def in_build_tree(suite: str, *commands: str) -> str:
    """Run commands where packages of the suite are built: /tree is ours, /out what is made.

    What they install there stays for the next time.
    """
    tree = base_tree(suite)
    out, layer, work, place = (BASE / f"{name}-{suite}" for name in ("debs", "layer", "work", "at"))
    for each in (out, layer, work, place):
        each.mkdir(exist_ok=True)
    return isolated(f"""set -e
        mount -t overlay overlay -o lowerdir={tree},upperdir={layer},workdir={work} {place}
        mount -t proc proc {place}/proc
        mkdir -p {place}/tree {place}/out
        mount --bind {ROOT} {place}/tree
        mount --bind {out} {place}/out
        chroot {place} {" ".join(ENVIRONMENT)} sh -ec '{"; ".join(commands)}'
    """)


def isolated(script: str) -> str:
    """Run a script in a mount namespace, so that nothing stays mounted, however it ends."""
    return _checked(["unshare", "--mount", "--propagation=private", "sh", "-c", script])


def newer(deb: Path, version: str) -> Path:
    """Return the same package under another version: what an upgrade installs."""
    with tempfile.TemporaryDirectory() as unpacked:
        _checked(["dpkg-deb", "-R", deb, unpacked])
        control = Path(unpacked, "DEBIAN/control")
        control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
        made = deb.with_name(f"xmlrpc-blocker_{version}_all.deb")
        _checked(["dpkg-deb", "--root-owner-group", "-b", unpacked, made])
    return made


def _checked(words: list[str | Path], **options) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


# Machines --------------------------------------------------------------------------------------


class Machine:
    """A booted Debian and its attackers' namespace."""

    def __init__(self, name: str, suite: str) -> None:
        self.suite = suite
        self._tree = base_tree(suite)
        self._groups = _groups(name)
        self.web, self.world = Namespace(), Namespace()
        wires = ((f"{WEB4}/24", "198.18.0.2/24"), (f"{WEB6}/64", "2001:db8::2/64"))
        join(self.web, self.world, *wires, link="web0")
        for family, net, via in (("-4", WORLD4, "198.18.0.2"), ("-6", WORLD6, "2001:db8::2")):
            self.web.run("ip", family, "route", "add", net, "via", via)
            # Every address in there is the attacker's own.
            self.world.run("ip", family, "route", "add", "local", net, "dev", "lo")
        self.world.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind")
        self._log = (BASE / f"{name}.log").open("w+b")
        self._supervisor = self._spawn(name)
        self._leader = 0

    def _spawn(self, name: str) -> subprocess.Popen:
        for group in self._groups:
            group.mkdir(exist_ok=True)

        words = (
            *("systemd-nspawn", "-q", "-D", str(self._tree), "-M", name, "--volatile=overlay"),
            f"--network-namespace-path={self.web.path}",
            "--capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON",
            *("--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off"),
            *("--timezone=off", "--kill-signal=SIGRTMIN+3", "--console=read-only", "/init"),
        )
        # The shell puts itself into the groups, and then becomes the machine.
        groups = " ".join(f"{group}/cgroup.procs" for group in self._groups)
        script = f'for each in {groups}; do echo $$ >$each; done; exec "$@"'
        return subprocess.Popen(
            ("sh", "-c", script, "sh", *words),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def boot(self, patience: float = 60) -> None:
        """Wait until systemd says that everything is started."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self._supervisor.poll() is None:
            children = Path(f"/proc/{self._supervisor.pid}/task/{self._supervisor.pid}/children")
            if found := children.read_text().split():
                self._leader = int(found[0])
                state = self.run("systemctl", "is-system-running", check=False).strip()
                if state in {"running", "degraded"}:
                    return
            time.sleep(0.1)
        self._log.seek(0)
        raise AssertionError(f"not booted:\n{self._log.read()[-3000:].decode()}")

    def down(self) -> None:
        """Shut down, and leave nothing behind."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._supervisor.terminate()
            self._supervisor.wait(20)
        if self._supervisor.poll() is None:
            if self._leader:
                os.kill(self._leader, signal.SIGKILL)
            self._supervisor.kill()
            self._supervisor.wait(10)
        for group in self._groups:
            for path in sorted(group.glob("**/"), key=lambda p: -len(p.parts)):
                with contextlib.suppress(OSError):
                    path.rmdir()
        self.web.close()
        self.world.close()
        self._log.close()
        Path(self._log.name).unlink()

    def _enter(self, namespaces: str, words: tuple[str, ...]) -> list[str]:
        entered = [f"-{each}" for each in namespaces]
        return ["nsenter", "-t", str(self._leader), *entered, "--", *ENVIRONMENT, *words]

    def run(self, *words: str, check: bool = True, text: str | None = None) -> str:
        """Run a command inside, and return what it says."""
        return self._run("muinpCrw", words, check, text)

    def apt(self, *words: str) -> str:
        """Run apt-get inside; it reaches nothing but what was downloaded before."""
        return self.run(*APT, *words)

    def download(self, *words: str) -> str:
        """Run apt-get inside, but over the host's network."""
        return self.outside(*APT, *words)

    def outside(self, *words: str) -> str:
        """Run a command inside, but over the host's network: for what downloads."""
        return self._run("muipCrw", words, check=True)

    def _run(
        self, namespaces: str, words: tuple[str, ...], check: bool, text: str | None = None
    ) -> str:
        done = subprocess.run(
            self._enter(namespaces, words), input=text or "", capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{words}:\n{said[-4000:]}"
        return said if check else done.stdout

    def ok(self, *words: str) -> bool:
        """Tell whether a command inside succeeds."""
        done = subprocess.run(
            self._enter("muinpCrw", words), capture_output=True, check=False, timeout=600
        )
        return done.returncode == 0

    def put(self, source: Path | str, place: str) -> str:
        """Put a file, or a text, into the machine."""
        data = source.read_bytes() if isinstance(source, Path) else source.encode()
        subprocess.run(
            self._enter("muinpCrw", ("sh", "-c", f"cat >{place}")), input=data, check=True
        )
        return place


def _groups(name: str) -> list[Path]:
    """Return the control groups of a machine, one in each hierarchy of this host."""
    own = dict(line.split(":")[1:3] for line in Path("/proc/self/cgroup").read_text().splitlines())
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top / own.get("", "/").strip("/") / name]
    found = []
    for each in HIERARCHIES:
        key = {"systemd": "name=systemd", "unified": ""}.get(each, each)
        if (top / each).is_dir() and key in own:
            found.append(top / each / own[key].strip("/") / name)
    return found


@contextlib.contextmanager
def machine(suite: str):
    """A machine that is up, and gone afterwards."""
    made = Machine(f"xb-{suite}-{os.getpid()}", suite)
    try:
        made.boot()
        yield made
    finally:
        made.down()


if __name__ == "__main__":  # builds for suites, each in a clean tree of its own
    for each in sys.argv[1:]:
        shutil.copytree(build(each).parent, ROOT / "build" / each, dirs_exist_ok=True)
