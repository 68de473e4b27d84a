"""What Debian's own tools say of the package: asked for before a release, with --release."""

import subprocess

import pytest
from package import boot


def told(figures, name, text):
    figures.append(f"{name}: {text.strip().splitlines()[-1] if text.strip() else 'nothing'}")


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
    told(figures, "lintian", said)


def test_piuparts_finds_nothing_left(suite, deb, figures):
    """Installed, removed and purged in a chroot, it leaves no file and no process."""
    done = subprocess.run(
        [
            *("piuparts", f"--existing-chroot={boot.base_tree(suite)}", "-d", suite),
            *("--no-upgrade-test", "--warn-on-debsums-errors", "--no-eatmydata"),
            *("-I", "/etc/resolv.conf", "-I", "/etc/hosts", str(deb)),
        ],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"},
    )  # fmt: skip
    told(figures, "piuparts", done.stdout)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def machine(suite, deb):
    with boot.machine(suite) as made:
        made.download("update")
        names = [path.name for path in deb.parent.iterdir()]
        for name in names:
            made.put(deb.parent / name, f"/root/{name}")
        wanted = ("autopkgtest", "dpkg-dev", "curl", "nginx-light", f"/root/{deb.name}")
        made.download("install", "--download-only", *wanted)
        made.apt("install", *wanted)
        yield made


def test_autopkgtest_passes_in_a_booted_machine(machine, deb, figures):
    """The test that comes with the source package, run as Debian's own infrastructure does."""
    source = f"/root/{deb.name.removesuffix('_all.deb')}.dsc"
    said = machine.run(
        *("autopkgtest", "--ignore-restrictions=isolation-container", f"/root/{deb.name}"),
        *(source, "--", "null"),
    )
    told(figures, "autopkgtest", said)
    assert "PASS" in said
