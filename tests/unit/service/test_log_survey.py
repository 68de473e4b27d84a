"""Which logs of a host are found, how they are written, and what is proposed for them."""

import json
import os
import tomllib

import pytest
from attrs import evolve

from blocker.config.parse import parse
from blocker.config.schema import Config, LogConfig
from blocker.service import check
from blocker.service.log_places import RT_CACHE
from blocker.service.log_survey import (
    HEAD,
    MAX_ALONE,
    as_blocks,
    as_list_or_blocks,
    fixes,
    survey,
    unused,
)
from blocker.sources.files import access

COMBINED = (
    '203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 1 "-" "-"\n'
)
NPM = (
    "[10/Mar/2026:12:00:00 +0000] - 200 200 - POST https www.example.org"
    ' "/xmlrpc.php" [Client 203.0.113.7] [Length 381] [Gzip -] [Sent-to 192.0.2.10] "-" "-"\n'
)
CACHED = (
    "203.0.113.7 0.120 BYPASS [10/Mar/2026:12:00:00 +0000] www.example.org"
    ' "POST /xmlrpc.php HTTP/2.0" 200 370 "-" "Mozilla/5.0" "HTTP/2.0"\n'
)
OWN = "203.0.113.7 [10/Mar/2026:12:00:00 +0000] POST /xmlrpc.php\n"
OWN_FORMAT = '%h %t %m "%U"'
DOCKER = json.dumps({"log": COMBINED, "stream": "stdout", "time": "2026-03-10T12:00:00Z"}) + "\n"
CHATTER = '{"log":"ready\\n","stream":"stdout","time":"2026-03-10T12:00:00Z"}\n'
NOBODY = access.Account("nobody", 65534, 65534, [65534])
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look as another user")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root that the user may not search; root acts as this user."""
    for each in [*reversed(tmp_path.parents), tmp_path]:
        if each.stat().st_uid == os.getuid():
            each.chmod(each.stat().st_mode | 0o755)
    account = NOBODY if os.geteuid() == 0 else None
    monkeypatch.setattr(access, "service_account", lambda: account)
    return tmp_path


def make(root, name, text=COMBINED, mode=0o644):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def patterns_of(found, root):
    """Return what is proposed, as paths below the root."""
    return [path.removeprefix(str(root)) for row in found.rows for path in row["proposed"]]


def parsed(text):
    """Return the configuration that was printed, as the program reads it."""
    return parse([("printed", text)])


def test_nothing_is_found_where_there_is_nothing(root):
    """And nothing is said of it."""
    found = survey(Config(), root)
    assert (found.rows, found.notes) == ([], [])


def test_each_place_has_a_row(root):
    """With its logs, how they are written, and whether they can be read."""
    for site in "ab":
        make(root, f"var/log/ispconfig/httpd/{site}.example/access.log")
    make(root, "var/log/ispconfig/httpd/a.example/access.log.1")
    make(root, "data/logs/proxy-host-1_access.log", NPM * 30)
    isp, npm = survey(Config(), root).rows
    assert (isp["server"], npm["server"]) == ("ISPConfig", "Nginx Proxy Manager")
    assert isp["pattern"] == f"{root}/var/log/ispconfig/httpd/*/access.log"
    assert isp["first"] == [f"{root}/var/log/ispconfig/httpd/{s}.example/access.log" for s in "ab"]
    assert [(row["matches"], row["readable"]) for row in (isp, npm)] == [(2, 2), (1, 1)]
    assert [(row["format"], row["set_format"]) for row in (isp, npm)] == [
        ("combined", "auto"), ("npm", "auto"),
    ]  # fmt: skip
    assert [(row["lines"], row["unparsed"]) for row in (isp, npm)] == [(2, 0), (20, 0)]


def test_one_list_says_it_all_if_formats_are_recognised(root):
    """What the configuration names beside that stays in it; a default that is not there goes."""
    make(root, "var/log/ispconfig/httpd/a.example/access.log")
    make(root, "data/logs/proxy-host-1_access.log", NPM)
    config = Config(logs=("/srv/a.log", "journal:nginx.service", *Config().logs))
    found = survey(config, root)
    text = as_list_or_blocks(found, config)
    assert text.startswith(f"{HEAD}logs = [\n")
    assert parsed(text).logs == (
        "/srv/a.log", "journal:nginx.service",
        f"{root}/var/log/ispconfig/httpd/*/access.log",
        f"{root}/data/logs/proxy-host-*_access.log",
    )  # fmt: skip
    assert '_access.log",  # Nginx Proxy Manager: 1 log, npm\n' in text


def test_a_format_that_must_be_set_makes_tables(root):
    """One for each place; what was recognised needs no format."""
    make(root, "var/log/nginx/a.example.access.log", CACHED)
    make(root, "data/logs/proxy-host-1_access.log", NPM)
    found = survey(Config(), root)
    text = as_list_or_blocks(found, Config())
    assert text == as_blocks(found)
    assert parsed(text).log == (
        LogConfig(path=f"{root}/var/log/nginx/*.access.log", format=RT_CACHE),
        LogConfig(path=f"{root}/data/logs/proxy-host-*_access.log"),
    )
    assert "# WordOps, EasyEngine: 1 log, own format\n[[log]]\n" in text


def test_logs_that_are_named_like_those_of_a_panel_keep_their_format(root):
    """The format of a place is set only where it is understood and no other is."""
    make(root, "var/log/nginx/a.example.access.log")
    (row,) = survey(Config(), root).rows
    assert (row["set_format"], row["format"]) == ("auto", "combined")


@pytest.mark.parametrize("text", [OWN, "who knows\n"])
def test_the_configured_format_is_tried_first(root, text):
    """It is kept if it is right, and also if nothing else is."""
    log = make(root, "var/log/nginx/access.log", text)
    config = Config(log=(LogConfig(path=str(log), format="%h %t %m %U"),))
    found = survey(config, root)
    (row,) = found.rows
    assert row["set_format"] == "%h %t %m %U"
    assert bool(row["unparsed"]) == bool(found.notes) == (text != OWN)
    assert parsed(as_list_or_blocks(found, config)).log[0].format == "%h %t %m %U"


def test_a_configured_format_that_is_wrong_is_replaced(root):
    """By the one that is recognised."""
    log = make(root, "var/log/nginx/access.log")
    config = Config(log=(LogConfig(path=str(log), format="npm"),), format="lighttpd")
    found = survey(config, root)
    assert found.rows[0]["set_format"] == "auto"
    assert tomllib.loads(as_list_or_blocks(found, config))["log"] == [
        {"path": f"{root}/var/log/nginx/*access*.log"}
    ]


def test_logs_that_are_not_understood_are_reported(root):
    """With the share, and the reason of the first."""
    make(root, "var/log/nginx/access.log", OWN * 15 + COMBINED * 5)
    found = survey(Config(), root)
    (row,) = found.rows
    assert (row["lines"], row["unparsed"]) == (20, 15)
    (note,) = found.notes
    assert "is not understood: 15 of its last 20 lines can't be parsed; the first: " in note
    assert note.endswith(row["reason"])
    assert row["reason"]
    assert row["format"] == "combined"


def test_of_two_logs_of_each_request_one_is_proposed(root):
    """Plesk's nginx logs all; links to its logs are no further ones."""
    logs = "var/www/vhosts/system/a.example/logs"
    for name in ("proxy_access_ssl_log", "access_ssl_log"):
        log = make(root, f"{logs}/{name}")
        link = root / f"var/www/vhosts/a.example/logs/{name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(log)
    found = survey(Config(), root)
    assert patterns_of(found, root) == ["/var/www/vhosts/system/*/logs/proxy_access*log"]
    assert [row["matches"] for row in found.rows] == [1, 1]
    (left_out,) = unused(found.rows)
    assert left_out.endswith("logs/proxy_access*log again")
    assert len(tomllib.loads(as_list_or_blocks(found, Config()))["logs"]) == 1


def test_of_many_programs_only_access_logs_are_proposed(root):
    """By pattern if all are, one by one if some are, and not at all if none is."""
    place = "var/lib/docker/containers"
    make(root, f"{place}/b/b-json.log", DOCKER)
    pattern = "/var/lib/docker/containers/*/*-json.log"
    found = survey(Config(), root)
    assert patterns_of(found, root) == [pattern]
    assert found.rows[0]["format"] == "combined, wrapped"
    make(root, f"{place}/a/a-json.log", DOCKER)
    make(root, f"{place}/c/c-json.log", CHATTER)
    make(root, f"{place}/d/d-json.log", "")
    found = survey(Config(), root)
    assert patterns_of(found, root) == [f"/{place}/{name}/{name}-json.log" for name in "ab"]
    assert "1 of its files are no access logs" in found.rows[0]["note"]
    for name in "ab":
        make(root, f"{place}/{name}/{name}-json.log", CHATTER)
    found = survey(Config(), root)
    assert patterns_of(found, root) == []
    assert "none of its files is an access log" in unused(found.rows)[0]
    assert as_list_or_blocks(found, Config()) == HEAD
    assert found.notes == []


def test_logs_are_not_named_one_by_one_without_end(root):
    """There is a ceiling."""
    for number in range(MAX_ALONE + 3):
        make(root, f"var/log/containers/pod{number:02}.log", DOCKER)
    make(root, "var/log/containers/other.log", "ready\n")
    assert len(survey(Config(), root).rows[0]["proposed"]) == MAX_ALONE


def test_what_is_no_regular_file_is_no_log(root):
    """A log that is thrown away is a link to a device; a name may hold anything."""
    place = root / "var/log/nginx"
    place.mkdir(parents=True)
    (place / "access.log").symlink_to("/dev/null")
    (place / "access-none.log").symlink_to("/nowhere")
    os.mkfifo(place / "access-pipe.log")
    (place / "access-\x1b[2J.log").touch()
    (place / os.fsdecode(b"access-\xff.log")).touch()
    assert survey(Config(), root).rows == []


def test_an_empty_log_is_proposed(root):
    """It is still to be written."""
    make(root, "var/log/caddy/access.log", "")
    found = survey(Config(), root)
    assert patterns_of(found, root) == ["/var/log/caddy/*.log"]
    assert "# Caddy: 1 log, empty" in as_blocks(found)


@ROOT
def test_what_the_service_can_not_read_has_a_command(root):
    """The command for all logs of a place; the lines are read nevertheless."""
    for site in ("a.example", "b.example"):
        make(root, f"var/log/apache2/domlogs/{site}-ssl_log", mode=0o640)
    found = survey(Config(), root)
    (row,) = found.rows
    assert (row["matches"], row["readable"], row["format"]) == (2, 0, "combined")
    fix = f"setfacl -R -m u:nobody:rX,d:u:nobody:rX {root}/var/log/apache2/domlogs"
    assert fixes(found) == [row["fix"]] == [fix]
    assert "cPanel: 2 logs, combined, 0 readable by nobody" in as_blocks(found)


@ROOT
def test_a_directory_that_the_service_can_not_list_is_in_the_command(root):
    """For a pattern; logs that are named alone need no more than their own directory."""
    place = root / "var/lib/docker/containers"
    for name in "ab":
        make(root, f"var/lib/docker/containers/{name}/{name}-json.log", DOCKER, 0o640)
    place.chmod(0o710)
    (fix,) = fixes(survey(Config(), root))
    assert f"setfacl -R -m u:nobody:rX,d:u:nobody:rX {place}/*" in fix
    assert f"setfacl -m u:nobody:rx {place}" in fix
    make(root, "var/lib/docker/containers/b/b-json.log", CHATTER, 0o640)
    (fix,) = fixes(survey(Config(), root))
    assert f"{place}/a" in fix
    assert f"{place}/*" not in fix
    assert f"{place}/b" not in fix


@ROOT
def test_what_the_unit_hides_is_reported(root, monkeypatch):
    """No right helps there, but a setting of the unit does."""
    make(root, "home/a.example/logs/a.example.access_log", COMBINED)
    unit = root / "usr/lib/systemd/system/xmlrpc-blocker.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nProtectHome=yes\n")
    monkeypatch.setattr(access, "_HIDDEN_BY_SYSTEMD", (f"{root}/home",))
    (note,) = survey(Config(), root).notes
    assert "ProtectHome=yes" in note


@pytest.mark.skipif(os.geteuid() != 0, reason="root changes its user here")
def test_a_place_that_may_not_be_listed_is_reported(root, monkeypatch):
    """There may be logs in it."""
    make(root, "var/log/nginx/access.log", mode=0o640)
    make(root, "var/log/caddy/a.log")
    (root / "var/log/caddy").chmod(0o700)
    monkeypatch.setattr(access, "service_account", lambda: None)
    with access.acting_as(NOBODY):
        found = survey(Config(), root)
    assert [row["server"] for row in found.rows] == ["nginx"]
    assert (found.rows[0]["lines"], found.rows[0]["readable"]) == (0, 0)
    assert any(f"{root}/var/log/caddy can't be listed: Permission denied" in n for n in found.notes)


def test_what_is_proposed_passes_the_check(root):
    """Nothing is left to note in any case."""
    for name in ("proxy_access_log", "access_log"):
        make(root, f"var/www/vhosts/system/a.example/logs/{name}")
    make(root, "var/log/ispconfig/httpd/a.example/access.log")
    make(root, "var/log/nginx/a.example.access.log", CACHED)
    make(root, "data/logs/proxy-host-1_access.log", NPM)
    config = parsed(as_list_or_blocks(survey(Config(), root), Config()))
    config = evolve(config, logs=())  # those of the host that this runs on
    found = check.look(config, check.make_matchers(config), root)
    assert found.notes == []
    assert sum(row["readable"] for row in found.logs) == 4


def test_a_proposal_is_the_same_once_it_is_used(root):
    """So it can be written again and again."""
    make(root, "var/log/nginx/a.example.access.log", CACHED)
    make(root, "data/logs/proxy-host-1_access.log", NPM)
    text = as_blocks(survey(Config(), root))
    assert as_blocks(survey(parsed(text), root)) == text
