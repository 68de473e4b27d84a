"""The table of places: what docs/logs.md says of each, and that its lines are understood."""

import fnmatch
from pathlib import Path

import pytest

from blocker.config.schema import Config
from blocker.matching.matcher import Matcher
from blocker.matching.recognise import Recogniser
from blocker.service.log_places import PLACES
from blocker.sources.files.patterns import why_never

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/logs.md").read_text()
OWN = "own"


def samples():
    """Return the lines of tests/samples/places.txt by server."""
    found = {}
    for line in (ROOT / "tests/samples/places.txt").read_text().splitlines():
        if line.startswith("# place: "):
            lines = found.setdefault(line.removeprefix("# place: "), [])
        elif line and not line.startswith(("# ", "= ")):
            lines.append(line.encode())
    return found


SAMPLES = samples()


def rows():
    """Return the rows of the page's table, without its head."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [line for line in lines if len(line) == 4][1:]


def test_the_page_shows_the_table_of_the_command():
    """Every row, in the order of the command, and no other."""
    shown = [[each.server, f"`{each.pattern}`", each.format, each.access] for each in PLACES]
    assert rows() == shown


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.pattern)
def test_the_lines_of_every_place_are_understood_as_stated(place):
    """By themselves in the named format, or with the format that the command sets."""
    assert SAMPLES[place.server]
    assert (place.format == OWN) == bool(place.own)
    matcher = Matcher(list(Config().traps.values()), place.own or "auto", lambda _: False)
    for line in SAMPLES[place.server]:
        assert matcher.explain(line).kind == "hit"
        assert Recogniser().name(line) == ("" if place.own else place.format)


def test_every_sample_is_of_a_place():
    """No server is left behind when its place goes."""
    assert SAMPLES.keys() == {place.server for place in PLACES}


def test_every_pattern_is_one_of_its_own_that_can_match():
    """Whole paths, each once."""
    names = [place.pattern for place in PLACES]
    assert len(set(names)) == len(names)
    assert all(name.startswith("/") and not why_never(name) for name in names)


@pytest.mark.parametrize(
    ("directory", "logs", "others"),
    [
        (
            "/var/log/httpd/domains",
            ["a.example.log", "a.fr.log", "a.org.log", "b.a.com.log"],
            ["a.example.error.log", "a.fr.bytes", "a.example.log.1"],
        ),
        (
            "/var/log/apache2/domlogs",
            ["a.example", "a.com", "a.org", "a.io", "a.example-ssl_log"],
            ["a.example-bytes_log", "a.org-bytes_log", "ftp.a.com-ftp_log"],
        ),
        (
            "/var/www/vhosts/system/a.example/logs",
            ["access_log", "access_ssl_log", "proxy_access_log", "proxy_access_ssl_log"],
            ["error_log", "proxy_error_log", "access_log.processed", "access_ssl_log.webstat"],
        ),
    ],
)
def test_patterns_leave_out_what_is_no_access_log(directory, logs, others):
    """Logs of errors and counters stand beside the access logs of panels."""

    def matched(name):
        path = f"{directory}/{name}"
        return any(
            fnmatch.fnmatchcase(path, each.pattern) and path.count("/") == each.pattern.count("/")
            for each in PLACES
        )

    assert all(map(matched, logs))
    assert not any(map(matched, others))


def test_of_plesk_only_one_log_of_each_request_is_proposed():
    """Its Apache logs again what its nginx passes on."""
    plesk = [each for each in PLACES if each.server.startswith("Plesk")]
    assert {each.group for each in plesk} == {"plesk"}
    assert plesk[0].server == "Plesk with nginx"
    assert {each.group for each in PLACES if each not in plesk} == {""}


def test_places_of_many_programs_are_marked():
    """There, files that are not understood are not the fault of a format."""
    mixed = {each.server for each in PLACES if each.mixed}
    assert mixed == {"Caddy", "HAProxy", "Kubernetes", "Docker", "Podman"}
