"""What ``check`` finds out about logs, for the user of the service or for the user that runs it."""

import os

import pytest

from blocker.config.schema import Config
from blocker.service import check
from blocker.sources.files import access
from blocker.sources.files.naming import MISNAMED

GOOD = '198.51.100.7 - - [10/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"\n'
UNKNOWN = 'POST /xmlrpc.php from "198.51.100.7" at noon\n'
NOBODY = access.Account("nobody", 65534, 65534, [65534])
UNIT = "[Service]\nProtectHome=yes\n"


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Look at patterns below a directory, as another user if this is root."""
    for each in [*reversed(tmp_path.parents), tmp_path]:
        if each.stat().st_uid == os.getuid():
            each.chmod(each.stat().st_mode | 0o755)
    account = NOBODY if os.geteuid() == 0 else None
    monkeypatch.setattr(access, "service_account", lambda: account)

    def looked(*names):
        config = Config(logs=tuple(f"{tmp_path}/{name}" for name in names))
        return check.look(config, check.make_matchers(config), tmp_path)

    return looked


def make(path, text=GOOD, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_a_pattern_matches_is_shown(tmp_path, look):
    """How many, the first few and the newest; rotated files belong to their log."""
    logs = [make(tmp_path / f"{n}/access.log") for n in range(5)]
    make(tmp_path / "0/access.log.1")
    os.utime(logs[2], (2_000_000_000, 2_000_000_000))
    found = look("*/access.log*")
    (row,) = found.patterns
    assert (row["matches"], row["readable"]) == (5, 5)
    assert row["first"] == [str(log) for log in logs[:3]]
    assert row["newest"] == str(logs[2])
    assert [log["path"] for log in found.logs] == [str(log) for log in logs]
    assert found.notes == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")
def test_what_the_service_can_not_read_is_reported_to_root(tmp_path, look):
    """With owner and mode, and a line to paste for all logs of the pattern."""
    for site in ("a.example", "b.example", "c.example"):
        make(tmp_path / f"vhosts/{site}/logs/access_ssl_log", mode=0o640)
    found = look("vhosts/*/logs/access_ssl_log")
    (row,) = found.patterns
    assert (row["matches"], row["readable"]) == (3, 0)
    assert {(log["owner"], log["mode"]) for log in found.logs} == {("root:root", "0640")}
    (note,) = found.notes
    assert "a.example/logs/access_ssl_log and 2 more can't be read: Permission denied" in note
    assert "access_ssl_log (root:root, 0640)" in note
    assert f"setfacl -R -m u:nobody:rX,d:u:nobody:rX {tmp_path}/vhosts/*/logs`, and again" in note
    assert found.user == "nobody"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")
def test_a_directory_that_the_service_can_not_list_is_reported_to_root(tmp_path, look):
    """Though root sees what is in it."""
    make(tmp_path / "closed/access.log")
    (tmp_path / "closed").chmod(0o710)
    found = look("closed/*.log")
    assert found.patterns[0]["not_listed"] == [f"{tmp_path}/closed"]
    assert found.patterns[0]["matches"] == 1
    (note,) = found.notes
    assert f"{tmp_path}/closed can't be listed: Permission denied" in note
    assert f"setfacl -R -m u:nobody:rX,d:u:nobody:rX {tmp_path}/closed`" in note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (UNKNOWN * 100, "20 of its last 20 lines can't be parsed"),
        (GOOD * 100 + UNKNOWN * 15, "15 of its last 20 lines"),
        ((GOOD * 19 + UNKNOWN) * 10, "10 of the last 10 candidate lines"),
        ("who knows\n" * 3, "3 of its last 3 lines"),
        ("x" * 70_000 + "\n" + UNKNOWN, "1 of its last 1 lines"),
    ],
)
def test_a_log_that_is_not_understood_is_reported(tmp_path, look, text, words):
    """By its last lines, with the reason of the first of them, and what to set."""
    log = make(tmp_path / "access.log", text)
    found = look("access.log")
    (note,) = found.notes
    assert note.startswith(f"{log} is not understood: {words}")
    assert found.logs[0]["reason"] in note
    assert found.logs[0]["reason"]
    assert note.count("set `format`") == 1


@pytest.mark.parametrize("text", ["", GOOD, GOOD * 1000, "no newline", GOOD * 20 + UNKNOWN * 2])
def test_a_log_that_is_understood_is_no_note(tmp_path, look, text):
    """Nor is one that is empty, or that holds a hostile line or two."""
    make(tmp_path / "access.log", text)
    assert look("access.log").notes == []


def test_what_matches_nothing_is_reported(tmp_path, look):
    """And why it never will."""
    make(tmp_path / "access.log")
    found = look("access.log", "{a,b}.log", "logs/", "none.log", "none*.log")
    words = ["braces", "slash", "does not exist", "matches no file"]
    assert all(word in note for word, note in zip(words, found.notes, strict=True))
    assert all("correct it, or take it out of `logs`" in note for note in found.notes[2:])
    assert f"since there is no {tmp_path}/nginx:" in look("nginx/a/access.log").notes[1]
    assert f"since there is no {tmp_path}/nginx:" in look("nginx/*/access.log").notes[1]
    assert look("none*.log").notes[0].startswith("no log exists yet for ")


def test_more_logs_than_can_be_open_are_reported(tmp_path, look, monkeypatch):
    """With what is followed then."""
    monkeypatch.setattr(check, "MAX_LOGS", 2)
    for n in range(3):
        make(tmp_path / f"{n}.log")
    assert "3 logs match, and no more than 2 can be open" in look("*.log").notes[0]


@pytest.mark.parametrize(
    ("drops", "found"),
    [
        ({}, "yes"),
        ({"etc": "[Service]\nProtectHome=read-only\n"}, "read-only"),
        ({"etc": "[Service]\nUser=x\n", "usr/lib": "[Service]\nProtectHome = no\n"}, "no"),
    ],
)
def test_what_the_unit_hides_is_read_from_its_files(tmp_path, drops, found):
    """Drop-ins come after the unit."""
    make(tmp_path / "usr/lib/systemd/system/xmlrpc-blocker.service", UNIT)
    for n, (place, text) in enumerate(drops.items()):
        make(tmp_path / f"{place}/systemd/system/xmlrpc-blocker.service.d/{n}.conf", text)
    assert check.protect_home(tmp_path) == found
    assert check.protect_home(tmp_path / "nowhere") == ""


def test_no_byte_of_a_log_reaches_a_terminal(tmp_path, look):
    """Neither of its name nor of its lines."""
    make(tmp_path / "a\x1b[2J\n.log", "\x1b]0;x\x07 POST /xmlrpc.php \u202e\n" * 30)
    found = look("*.log", "a\x1b[2J\n.log", "b\x1b.log")
    assert found.notes
    assert all(note.isprintable() for note in found.notes)


def test_a_name_that_is_not_utf8_is_said_and_is_no_log(tmp_path, look):
    """It is not followed, so that it is not counted among the logs."""
    for name in (b"site-\xff.log", b"site-\xfe.log"):
        make(tmp_path / os.fsdecode(name))
    found = look("site-*.log")
    (note,) = found.notes
    assert note.endswith(r"site-\udcfe.log and 1 more can't be followed: " + MISNAMED)
    assert found.logs == []
    make(tmp_path / "site-good.log")
    found = look("site-*.log")
    assert [log["path"] for log in found.logs] == [f"{tmp_path}/site-good.log"]
    assert found.patterns[0]["matches"] == 1
    assert len(found.notes) == 1
