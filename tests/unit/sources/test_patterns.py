"""What patterns of logs match, what hinders them, and which command would help."""

import os
import shutil
import subprocess

import pytest

from blocker.config.schema import Config
from blocker.sources.files import access, patterns
from blocker.sources.files.access import Obstacle, advice, obstacles, quoted, remedy
from blocker.sources.files.patterns import match, place, why_never, words

NOBODY = access.Account("nobody", 65534, 65534, [65534])
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")


ACL = pytest.mark.skipif(shutil.which("setfacl") is None, reason="needs the package acl")


def paste(command):
    """Run a line as an administrator would."""
    subprocess.run(["sh", "-c", command], check=True)


@pytest.fixture
def logs(tmp_path):
    """Two sites with a log each, which everybody may read."""
    for each in [*reversed(tmp_path.parents), tmp_path]:
        if each.stat().st_uid == os.getuid():
            each.chmod(each.stat().st_mode | 0o755)
    for name in ("a.example", "b.example"):
        directory = tmp_path / "vhosts" / name / "logs"
        directory.mkdir(parents=True)
        (directory / "access.log").touch()
    return tmp_path / "vhosts"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("/var/log/{nginx,apache2}/access.log", "braces"),
        ("/var/log/nginx/", "slash"),
        (" /var/log/nginx/access.log", "spaces"),
        ("/var/log/nginx/access.log\n", "spaces"),
        ("/~root/access.log", "~"),
        ("/home/$USER/access.log", "variables"),
        ("/home/${USER}/access.log", "variables"),
        ("/var/log/access-%Y-%m-%d.log", "dates"),
        ("/var/log/@(nginx|apache2)/access.log", "extended"),
        ("/var/log/\\*.log", "backslash"),
        ("/var/log/../log/x", "/../"),
    ],
)
def test_what_can_never_match_is_reported(pattern, why):
    """What a shell would expand, and glob does not."""
    assert why in why_never(pattern)
    assert f"can never match: {why_never(pattern)}" in words(match(pattern))


@pytest.mark.parametrize(
    "pattern",
    [*Config().logs, "/var/www/vhosts/*/logs/access_ssl_log", "/srv/**/[ab]*.log", "/a/x{1}.log",
     "/var/log/100%/a.log", "/var/log/a~", "/var/log/a$"],
)  # fmt: skip
def test_what_may_match_is_not_accused(pattern):
    """Ordinary patterns, and odd characters that name what they are."""
    assert why_never(pattern) == ""


def test_odd_characters_are_fine_where_such_a_file_is(tmp_path):
    """What matches, matches."""
    (tmp_path / "{a,b}.log").touch()
    found = match(f"{tmp_path}/{{a,b}}.log")
    assert (found.doubt, words(found)) == ("", "")


def test_directories_are_no_logs(tmp_path):
    """A pattern that matches nothing else is reported."""
    (tmp_path / "nginx").mkdir()
    assert "directories only" in words(match(f"{tmp_path}/ng*"))
    assert "matches no file" in words(match(f"{tmp_path}/x*"))
    assert "does not exist" in words(match(f"{tmp_path}/x"))


@ACL
@ROOT
@pytest.mark.parametrize(
    ("closed", "pattern"),
    [
        ("vhosts", "vhosts/*/logs/*.log"),
        ("vhosts/a.example", "vhosts/*/logs/*.log"),
        ("vhosts/a.example/logs", "vhosts/*/logs/*.log"),
        ("vhosts/a.example/logs", "vhosts/*/logs/access.log"),
        ("vhosts/a.example/logs", "vhosts/**/*.log"),
        ("vhosts/a.example", "vhosts/a.example/logs/access.log"),
    ],
)
def test_a_directory_that_can_not_be_listed_is_found(logs, closed, pattern):
    """On the way, at the end, and before a fixed name; with the command that helps."""
    directory = logs.parent / closed
    directory.chmod(0o700)
    whole = f"{logs.parent}/{pattern}"
    with access.acting_as(NOBODY):
        found = match(whole)
    assert found.closed
    (path, error), *_ = found.closed
    assert error == "Permission denied"
    hinders = obstacles(path, NOBODY, listing=True)
    assert str(directory) in {each.path for each in hinders}
    paste(remedy(hinders, "nobody", place(whole)))
    with access.acting_as(NOBODY):
        assert match(whole).closed == []


@ACL
@ROOT
@pytest.mark.parametrize("closed", ["access.log", "", "..", "../.."])
def test_the_command_lets_the_user_read(logs, closed):
    """For any closed part of the path, and for the log that comes after the next rotation."""
    path = logs / "a.example/logs/access.log"
    part = (path.parent / closed).resolve()
    part.chmod(0o640 if part.is_file() else 0o700)
    found = obstacles(str(path), NOBODY)
    assert [each.path for each in found] == [str(part)]
    assert found[0].owner == "root:root"
    path.chmod(0o640)
    whole = [*obstacles(str(path), NOBODY)]
    paste(remedy(whole, "nobody", str(path.parent)))
    assert obstacles(str(path), NOBODY) == []
    path.rename(path.with_suffix(".1"))
    path.touch(mode=0o640)
    assert obstacles(str(path), NOBODY) == []


@ACL
@ROOT
def test_groups_and_acls_count(logs):
    """The kernel is asked, which takes everything into account."""
    path = logs / "a.example/logs/access.log"
    path.chmod(0o640)
    os.chown(path, 0, 4)
    assert obstacles(str(path), NOBODY)
    assert obstacles(str(path), NOBODY._replace(groups=[65534, 4])) == []
    subprocess.run(["setfacl", "-m", "u:nobody:r", path], check=True)
    assert obstacles(str(path), NOBODY) == []


@ROOT
def test_looking_as_another_user_leaves_nothing_behind():
    """Identity and groups are as before, even after an error."""

    def identity():
        return os.getresuid(), os.getresgid(), os.getgroups()

    def fail():
        with access.acting_as(NOBODY):
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (65534, 65534, [65534])
            raise ZeroDivisionError

    before = identity()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert identity() == before


def test_a_log_in_a_broad_directory_is_opened_alone():
    """No user has to read everything in /var/log for the sake of one file."""
    file = Obstacle("/var/log/my log", "read", "root:root", 0o600)
    assert remedy([file], "x") == "setfacl -m u:x:r /var/log/my\\ log"
    deeper = file._replace(path="/var/log/caddy/access.log")
    assert remedy([deeper], "x") == "setfacl -R -m u:x:rX,d:u:x:rX /var/log/caddy"


def test_names_are_quoted_for_a_shell():
    """A pasted line does what it says, for any name of a directory."""
    for name in ("/a b/c", "/a'b", "/$(reboot)", "/`x`", "/a\nb", "/a\x1b'\\", "/é", "/*", "/~x;#"):
        done = subprocess.run(
            ["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True
        )
        assert os.fsdecode(done.stdout) == name
    assert quoted("/srv/*/a b", pattern=True) == "/srv/*/a\\ b"


def test_what_systemd_hides_is_reported():
    """A /home of mode 0000 is ProtectHome, which no ACL opens."""
    hidden = Obstacle("/home", "list", "root:root", 0)
    assert "ProtectHome=read-only" in advice([hidden], "x")
    assert "setfacl" in advice([hidden._replace(mode=0o700)], "x")
    assert "AppArmor" in advice([], "x")


def test_the_package_of_setfacl_is_named_where_it_is_missing(tmp_path, monkeypatch):
    """And only there."""
    file = Obstacle("/srv/a/access.log", "read", "root:root", 0o600)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install acl" in advice([file], "x")
    (tmp_path / "setfacl").touch(mode=0o755)
    assert "apt install acl" not in advice([file], "x")


@ROOT
@pytest.mark.parametrize("pattern", ["**/access.log", "*/*/access.log", "a.example/*/access.log"])
def test_what_can_not_be_listed_may_be_searched(logs, pattern):
    """A directory of mode 0711 hides nothing whose name is known, and is named all the same."""
    closed = logs / "a.example/logs"
    closed.chmod(0o711)
    with access.acting_as(NOBODY):
        found = match(f"{logs}/{pattern}")
    assert f"{closed}/access.log" in found.files
    assert [path for path, _ in found.closed] == ([str(closed)] if "**" in pattern else [])


def test_a_walk_has_an_end(tmp_path, monkeypatch):
    """However many directories there are."""
    monkeypatch.setattr(patterns, "MAX_ASKED", 3)
    for n in range(9):
        (tmp_path / str(n)).mkdir()
    assert match(f"{tmp_path}/*/*.log").closed == []
