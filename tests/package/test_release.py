"""What Debian's own tools say of the package: asked for before a release, with --release."""

import subprocess

import pytest
from package import boot, emulated


def message(figures, name, text, word=""):
    """Keep the last line that has a word."""
    lines = [line.strip() for line in text.splitlines() if word in line and line.strip()]
    figures.append(f"{name}: {lines[-1] if lines else 'nothing to say'}")


def test_lintian_finds_no_error_and_no_warning(suite, deb, figures):
    """No override hides anything either."""
    assert deb.exists()
    assert not list((boot.ROOT / "packaging/debian").glob("*lintian-overrides"))
    apt = " ".join(boot.APT)
    said = boot.in_build_tree(
        suite,
        f"dpkg -s lintian >/dev/null 2>&1 || {apt} install lintian >&2",
        "lintian --allow-root --fail-on error,warning /out/*.changes",
    )
    message(figures, "lintian", said)


def test_piuparts_finds_nothing_left(suite, deb, monitoring, figures):
    """Installed, removed and purged in a chroot, it leaves no file and no process."""
    done = subprocess.run(
        [
            *("piuparts", f"--existing-chroot={boot.base_tree(suite)}", "-d", suite),
            *("--no-upgrade-test", "--warn-on-debsums-errors", "--no-eatmydata"),
            *("-I", "/etc/resolv.conf", "-I", "/etc/hosts", str(deb), str(monitoring)),
        ],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"},
    )  # fmt: skip
    message(figures, "piuparts", done.stdout, "PASS")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def machine(suite, deb, monitoring):
    with boot.machine(suite) as made:
        made.download("update")
        names = [path.name for path in deb.parent.iterdir()]
        for name in names:
            made.put(deb.parent / name, f"/root/{name}")
        debs = (f"/root/{deb.name}", f"/root/{monitoring.name}")
        wanted = ("autopkgtest", "dpkg-dev", "curl", "nginx-light", "prometheus", *debs)
        made.download("install", "--download-only", *wanted)
        made.apt("install", *wanted)
        yield made


def test_autopkgtest_passes_in_a_booted_machine(machine, deb, monitoring, figures):
    """The tests that come with the source package, run as Debian's own infrastructure does."""
    source = f"/root/{deb.name.removesuffix('_all.deb')}.dsc"
    said = machine.run(
        *("autopkgtest", "--ignore-restrictions=isolation-container", f"/root/{deb.name}"),
        *(f"/root/{monitoring.name}", source, "--", "null"),
    )
    message(figures, "autopkgtest", said, "PASS")
    assert said.count("PASS") >= 2


ON_ITS_OWN_KERNEL = """
say() { echo "$1: $($2 2>&1 | head -n 1)"; }
until systemctl is-active -q xmlrpc-blocker; do sleep 1; i=$((i + 1)); [ $i -lt 90 ] || break; done
say kernel "uname -r"
say service "systemctl is-active xmlrpc-blocker"
pid=$(systemctl show -p MainPID --value xmlrpc-blocker)
say profile "cat /proc/$pid/attr/current"
say memory "cat /sys/fs/cgroup/system.slice/xmlrpc-blocker.service/memory.max"
log=/var/log/nginx/access.log
for i in 1 2 3; do
    now=$(date '+%d/%b/%Y:%H:%M:%S %z')
    for address in 198.18.5.5 2001:db8:5::7; do
        echo "$address - - [$now] \\"POST /xmlrpc.php HTTP/1.1\\" 200 5 \\"-\\" \\"-\\"" >>$log
    done
done
sleep 5
has() { nft list set inet xmlrpc_blocker $1 | grep -Eq $2 && echo yes || echo no; }
say banned4 "has ban4 198.18.5.5"
say banned6 "has ban6 2001:db8:5::"
say longer "xmlrpc-blocker ban 198.18.5.5 --for 3d"
say lengthened "has ban4 expires.(3d|2d23h)"
nft flush ruleset
sleep 5
say repaired "has ban4 198.18.5.5"
systemctl reload xmlrpc-blocker
sleep 10
say reloaded "systemctl is-active xmlrpc-blocker"
systemctl restart xmlrpc-blocker
say restarted "systemctl is-active xmlrpc-blocker"
systemctl stop xmlrpc-blocker
say kept "has ban4 198.18.5.5"
echo "failed: $(systemctl --failed --plain --no-legend | wc -l)"
echo "denied: $(journalctl -k --no-pager | grep -c 'DENIED.*xmlrpc-blocker')"
journalctl -k --no-pager | grep 'DENIED.*xmlrpc-blocker'
journalctl -u xmlrpc-blocker --no-pager | tail -n 20
"""


def test_it_works_on_the_suites_own_kernel_confined_by_apparmor(suite, deb, figures):
    """Bans, refreshes, repairs, reloads; the profile is enforced, and denies nothing it needs."""
    said = emulated.run(suite, deb, ON_ITS_OWN_KERNEL)
    message = dict(line.split(": ", 1) for line in said.splitlines() if line.count(": ") == 1)
    figures.append(
        f"kernel {message.get('kernel')}: {message.get('profile')}, denied {message['denied']}"
    )
    assert message["profile"] == "xmlrpc-blocker (enforce)", said
    assert message["memory"] == str(1024**3), said
    for name in ("service", "reloaded", "restarted"):
        assert message[name] == "active", said
    for name in ("banned4", "banned6", "lengthened", "repaired", "kept"):
        assert message[name] == "yes", said
    assert (message["failed"], message["denied"]) == ("0", "0"), said
