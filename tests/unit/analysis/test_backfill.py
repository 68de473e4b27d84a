"""Old logs as time series: counts, labels, and where the samples stand."""

import gzip
import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from blocker.telemetry.catalogue import CATALOGUE

TRACES = Path(__file__).parents[2] / "traces"
START = 1_420_070_400  # 2015-01-01T00:00:00Z


def run(*words, config="/dev/null", stdin=b"", expected=0):
    command = [sys.executable, "-m", "blocker", "--config", str(config), *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    assert done.returncode == expected, done.stderr
    return done.stdout.decode(), done.stderr.decode()


def samples(text):
    """Return the samples of each series, read by a strict parser: [(time, value), …]."""
    assert text.endswith("# EOF\n")
    found = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("xmlrpc_blocker_").removesuffix("_total")
            labels = frozenset(sample.labels.items())
            found[name, labels].append((float(sample.timestamp), sample.value))
    return found


def backfilled(*words, **options):
    return samples(run("backfill", *words, **options)[0])


def totals(found):
    """Return the highest value of each counter, added up over its series."""
    sums = defaultdict(int)
    for (name, _), points in found.items():
        sums[name] += max(value for _, value in points)
    return sums


def line(second, request="GET / HTTP/1.1", who="203.0.113.7"):
    stamp = datetime.fromtimestamp(START + second, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{who} - - [{stamp}] "{request}" 200 5 "-" "-"\n'


HIT = "POST /xmlrpc.php HTTP/1.1"


@pytest.mark.parametrize(
    "name", ["flood.log.gz", "distributed.log.gz", "quiet.log.gz", "seed-week.log"]
)
def test_the_sums_are_those_of_replay(name):
    """Lines, requests, hits, ignored hits and bans of the published attacks."""
    report = json.loads(run("replay", "-o", "json", TRACES / name)[0])
    found = backfilled(TRACES / name)
    sums = totals(found)
    for ours, theirs in (("log_lines", "lines"), ("requests", "requests"), ("hits", "hits")):
        assert sums[ours] == report[theirs]
    assert sums["bans"] == sums["offences"] == len(report["bans"])
    by_reason = {
        dict(labels)["reason"]: max(value for _, value in points)
        for (counter, labels), points in found.items()
        if counter == "ignored_hits"
    }
    assert by_reason["banned"] == report["blocked"]
    assert by_reason["friend"] == report["friends"]
    assert by_reason["stale"] == 0


def test_each_ban_is_counted_in_its_hour():
    """The first sample that counts a ban is at the end of the hour in which that began."""
    report = json.loads(run("replay", "-o", "json", TRACES / "seed-week.log")[0])
    starts = [datetime.fromisoformat(ban["start"]).timestamp() for ban in report["bans"]]
    found = backfilled(TRACES / "seed-week.log")
    (points,) = (points for (name, _), points in found.items() if name == "bans")
    for time, value in points[:-1]:
        assert value == sum(start < int(time) for start in starts)


def test_offences_are_counted_by_their_number():
    """First, second, third, and all later ones."""
    found = backfilled(TRACES / "seed-week.log")
    reported = {
        dict(labels)["offence"]: max(value for _, value in points)
        for (name, labels), points in found.items()
        if name == "offences"
    }
    report = json.loads(run("replay", "-o", "json", TRACES / "seed-week.log")[0])
    numbers = [min(ban["offence"], 4) for ban in report["bans"]]
    assert reported == {name: numbers.count(n) for n, name in enumerate(("1", "2", "3", "4+"), 1)}


def test_a_rotated_set_has_the_label_of_the_live_log(tmp_path):
    """As the daemon, which follows one path; the parts are read in their order."""
    (tmp_path / "access.log").write_text(line(7200, HIT))
    (tmp_path / "access.log.1").write_text(line(3600, HIT))
    (tmp_path / "access.log.2.gz").write_bytes(gzip.compress(line(0, HIT).encode()))
    found = backfilled(*sorted(tmp_path.iterdir()))
    logs = {dict(labels)["log"] for name, labels in found if name == "hits"}
    assert logs == {str(tmp_path / "access.log")}
    assert totals(found)["bans"] == 0  # the first is not within the hour of the last


def test_labels_can_be_given(tmp_path):
    """Those of the target, and the place where the daemon follows the log."""
    words = ("--job", "web", "--instance", 'a"b:9947', "--log-label", "/var/log/a\\b.log", "-")
    found = backfilled(*words, stdin=line(0, HIT).encode())
    for name, labels in found:
        common = dict(labels)
        assert (common["job"], common["instance"]) == ("web", 'a"b:9947')
        if name == "hits":
            assert common["log"] == "/var/log/a\\b.log"


def test_without_a_label_for_each_log_there_is_one_for_all(tmp_path):
    """If the daemon is configured so, the past is as well."""
    config = tmp_path / "config.toml"
    config.write_text("[metrics]\nper_log = false\n")
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text(line(0, HIT))
    found = backfilled(tmp_path / "a.log", tmp_path / "b.log", config=config)
    assert [dict(labels)["log"] for name, labels in found if name == "hits"] == ["all"]
    assert totals(found)["hits"] == 2


def test_names_and_labels_are_those_of_the_daemon():
    """Each counter is in the catalogue, with the labels that it has there."""
    for name, labels in backfilled(TRACES / "seed-week.log"):
        assert set(CATALOGUE[name].labels) | {"job", "instance"} == set(dict(labels))
        assert CATALOGUE[name].stored, "it goes on after a restart"


def test_each_log_needs_a_label_if_any_has_one(tmp_path):
    """Two logs and one label: usage."""
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text(line(0))
    words = ("--log-label", "/var/log/a.log", tmp_path / "a.log", tmp_path / "b.log")
    assert "one --log-label for each log" in run("backfill", *words, expected=2)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--until", "yesterday"), "--until yesterday: write a time such as"),
        (("--every", "7h"), "--every 7h: a day must be a multiple of it"),
        (("--every", "1s"), "--every 1s: a day must be a multiple of it"),
        (("--every", "often"), "--every often: a day must be a multiple of it"),
    ],
)
def test_a_bad_option_is_refused(words, message):
    """With what is right, and exit code 2."""
    text, said = run("backfill", *words, TRACES / "seed-week.log", expected=2)
    assert text == ""
    assert message in said


def test_nothing_is_written_of_what_the_daemon_counted_itself(tmp_path):
    """Behind --until there is no line, no ban and no sample, and the last word is 0."""
    log = tmp_path / "access.log"
    log.write_text("".join(line(second, HIT) for second in range(0, 7200, 600)))
    found = backfilled("--until", "2015-01-01T01:30:00Z", log)
    assert totals(found)["hits"] == 9
    for points in found.values():
        *others, last = points
        assert last == (START + 5400.002, 0)
        assert others[-1][0] == START + 5400
        assert all(time <= START + 5400 for time, _ in others)


@pytest.mark.parametrize("words", [(), ("--until", "2015-01-01T01:30:00Z")])
def test_beside_a_daemon_a_missing_end_is_reported(tmp_path, words):
    """Who forgets --until there would make a curve that jumps."""
    config = tmp_path / "config.toml"
    config.write_text(f'control = "{tmp_path / "socket"}"\n')
    (tmp_path / "access.log").write_text(line(0))
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "socket"))
        _, said = run("backfill", *words, tmp_path / "access.log", config=config)
    assert ("without --until" in said) == (not words)


def test_other_formats_have_hours_too(tmp_path):
    """Lines of JSON, and lines with a virtual host in front."""
    log = tmp_path / "access.log"
    about = '"remote_addr": "203.0.113.7", "request": "POST /xmlrpc.php HTTP/1.1", "status": 200'
    stamps = ("2015-01-01T00:10:00+00:00", "2015-01-01T01:10:00+00:00")
    log.write_text("".join(f'{{"time_iso8601": "{stamp}", {about}}}\n' for stamp in stamps))
    (tmp_path / "other.log").write_text("www.example.org:443 " + line(600, HIT))
    found = backfilled(log, tmp_path / "other.log")
    assert totals(found)["requests"] == totals(found)["hits"] == 3
    hits = {dict(labels)["log"]: dict(points) for (name, labels), points in found.items()
            if name == "hits"}  # fmt: skip
    assert [hits[str(log)][START + hour * 3600] for hour in range(3)] == [0, 1, 2]


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path):
    """A path may hold any bytes, and the text must be UTF-8."""
    path = os.fsencode(tmp_path) + b"/\xff.log"
    Path(os.fsdecode(path)).write_text(line(0, HIT))
    found = backfilled(os.fsdecode(path))
    assert {dict(labels).get("log") for _, labels in found} == {None, f"{tmp_path}/?.log"}


def test_by_default_nothing_is_written_of_the_future(tmp_path):
    """A stamp ahead of the clock would stand in the way of what is really counted then."""
    log = tmp_path / "access.log"
    log.write_text(line(0) + line(80 * 366 * 86400))
    found = backfilled(log)
    assert totals(found)["log_lines"] == 1


def test_a_log_without_a_time_is_reported(tmp_path):
    """An empty text is valid, and the exit code says that something is wrong."""
    log = tmp_path / "access.log"
    log.write_text("what\nis\nthis\n")
    text, said = run("backfill", log, expected=1)
    assert text.splitlines()[-1] == "# EOF"
    assert "no line with a time" in said


def test_a_log_that_can_not_be_read_is_reported_and_the_rest_is_processed(tmp_path):
    """As by replay."""
    words = ("backfill", tmp_path / "missing.log", TRACES / "seed-week.log")
    text, said = run(*words, expected=1)
    assert totals(samples(text))["hits"] == 61
    assert "missing.log" in said


def test_friends_are_counted_apart(tmp_path):
    """Their hits are ignored ones, by reason."""
    log = tmp_path / "access.log"
    log.write_text("".join(line(second, HIT, "192.168.1.1") for second in range(5)))
    sums = totals(backfilled(log))
    assert (sums["hits"], sums["ignored_hits"], sums["requests"]) == (0, 5, 5)


def test_unparsed_candidates_are_no_requests(tmp_path):
    """Lines that can't be read are counted where they stand."""
    log = tmp_path / "access.log"
    broken = 'x "POST /xmlrpc.php\n'
    log.write_text(broken + line(10) + broken + line(7210) + broken)
    found = backfilled(log)
    sums = totals(found)
    assert (sums["log_lines"], sums["requests"], sums["parse_failures"]) == (5, 2, 3)
    (points,) = (points for (name, _), points in found.items() if name == "parse_failures")
    assert dict(points)[START + 3600] == 2
    assert dict(points)[START + 3 * 3600] == 3


def test_lines_beyond_the_ceiling_are_lines(tmp_path):
    """They are judged by their beginning: one that can't be a hit is no unparsed candidate."""
    log = tmp_path / "access.log"
    log.write_text(line(10) + "x" * (3 << 20) + "\n" + line(7210))
    sums = totals(backfilled(log))
    assert (sums["log_lines"], sums["parse_failures"], sums["hits"]) == (3, 0, 0)
    log.write_text(line(10) + line(20, HIT)[:-1] + "x" * (3 << 20) + "\n" + line(7210))
    sums = totals(backfilled(log))
    assert (sums["log_lines"], sums["parse_failures"], sums["hits"]) == (3, 0, 1)


def test_several_logs_are_judged_as_one(tmp_path):
    """Three hits over two logs make a ban, and each log has its own."""
    (tmp_path / "a.log").write_text(line(0, HIT) + line(20, HIT))
    (tmp_path / "b.log").write_text(line(10, HIT))
    found = backfilled(tmp_path / "a.log", tmp_path / "b.log")
    hits = {dict(labels)["log"]: max(points)[1] for (name, labels), points in found.items()
            if name == "hits" for points in [points[:-1]]}  # fmt: skip
    assert hits == {str(tmp_path / "a.log"): 2, str(tmp_path / "b.log"): 1}
    assert totals(found)["bans"] == 1
