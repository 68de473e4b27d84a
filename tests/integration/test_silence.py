"""Nothing fails in silence: what is wrong with the logs is in ``status`` and in the log."""

import re

import pytest
from integration.daemons import ATTACKER4, daemon, line, wait_for, write

AS_MERE_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
RAW_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]")
UNKNOWN = 'POST /xmlrpc.php asked by "198.51.100.7" at noon\n'


@pytest.fixture
def guard(town, tmp_path):
    """A daemon in the server's namespace, not started yet."""
    with daemon(town.server, tmp_path) as made:
        yield made


def problem(guard, *words):
    """Wait for a problem in the status that holds these words, and return it."""

    def found():
        problems = guard.status()["problems"]
        return [each for each in problems if all(word in each for word in words)]

    return wait_for(found, f"a problem with {words} in the status", pause=0.05)[0]


def rows(guard):
    return {row["path"]: row for row in guard.status()["logs"]}


def test_a_log_that_is_not_understood_is_named(guard):
    """How many of how many, the first reason and what to set: in the log, and as a problem."""
    other = guard.directory / "other.log"
    guard.logs = [str(guard.log), str(other)]
    guard.configure()
    write(guard.log, UNKNOWN * 1800)
    write(other, *(line(ATTACKER4, request="GET / HTTP/1.1") for _ in range(50)), UNKNOWN * 3)
    guard.start()
    said = problem(guard, str(guard.log), "1,800 of 1,800", "`format`", "explain")
    assert guard.said().count(said) == 1
    wait_for(lambda: rows(guard)[str(guard.log)]["unparsed"] == 1800, "the count of its lines")
    assert rows(guard)[str(other)]["unparsed"] == 3
    assert not [each for each in guard.status()["problems"] if str(other) in each]
    table = guard.run("status").stdout
    assert f"{guard.log}: 0 bytes behind, 1,800 lines not understood" in table
    assert f"problem: {said}" in table
    write(guard.log, UNKNOWN)
    guard.until(unparsed=1804)
    problem(guard, "1,801 of 1,801")
    assert guard.said().count("candidate lines could not be parsed") == 1  # hourly


def test_a_log_that_is_understood_again_after_a_reload_is_no_problem(guard):
    """The cause ended with the format that was set."""
    guard.logs = [str(guard.log)]
    write(guard.log, UNKNOWN * 10)
    guard.start()
    problem(guard, str(guard.log), "10 of 10")
    guard.configure('format = "combined"')
    guard.reload(" started: ")
    attack = [line(ATTACKER4)] * 3
    write(guard.log, *attack)
    guard.until_blocked(ATTACKER4)
    assert guard.status()["problems"] == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{directory}/{{a,b}}.log", "braces are not expanded"),
        ("{directory}/logs/", "names a directory"),
        ("{directory}/none-*.log", "matches no file"),
        ("{directory}/none.log", "none.log"),
        ("{directory}/access-%Y.log", "dates such as %Y"),
    ],
)
def test_a_pattern_that_matches_nothing_is_named(guard, pattern, words):
    """And is no problem any more when something matches."""
    (guard.directory / "logs").mkdir()
    guard.log.touch()
    name = pattern.format(directory=guard.directory)
    guard.logs = [str(guard.log), name]
    guard.configure()
    guard.start()
    said = problem(guard, words)
    assert said.startswith(name)
    wait_for(lambda: said in guard.said(), "the same in its own log")
    if "none" in name:
        (guard.directory / "none-1.log").touch()
        (guard.directory / "none.log").touch()
        wait_for(lambda: not guard.status()["problems"], "the end of the problem")
        wait_for(lambda: f"mended: {said}" in guard.said(), "that it is mended")


def test_no_log_at_all_is_a_problem(guard):
    """Nothing matches, so nobody is seen; it ends with the first log."""
    guard.logs = [str(guard.directory / "*.log")]
    guard.configure()
    guard.start()
    said = problem(guard, "no log is followed", str(guard.directory))
    wait_for(lambda: f"warning: {said}" in guard.said(), "a warning")
    guard.log.touch()
    wait_for(lambda: not guard.status()["problems"], "the end of the problem")


def test_a_directory_that_can_not_be_listed_is_named(guard):
    """With its owner and mode, and the command that opens it."""
    closed = guard.directory / "vhosts/closed"
    closed.mkdir(parents=True)
    (closed / "access.log").touch()
    closed.chmod(0o310)
    guard.logs = [f"{guard.directory}/vhosts/*/*.log"]
    guard.configure()
    guard.start(before=AS_MERE_ROOT)
    said = problem(guard, str(closed), "can't be listed: Permission denied")
    assert f"{closed} (root:root, 0310)" in said
    assert f"setfacl -R -m u:root:rX,d:u:root:rX {guard.directory}/vhosts/*" in said
    wait_for(lambda: said in guard.said(), "the same in its own log")
    closed.chmod(0o710)
    wait_for(lambda: not guard.status()["problems"], "the end of the problem")


def test_a_log_that_can_not_be_read_is_named_with_what_to_do(guard):
    """The directory on the way is the obstacle, not the log."""
    closed = guard.directory / "closed"
    closed.mkdir()
    (closed / "access.log").touch(mode=0)
    guard.logs = [str(closed / "access.log")]
    guard.configure()
    guard.start(before=AS_MERE_ROOT)
    said = problem(guard, f"{closed}/access.log: Permission denied", "root needs access to")
    assert f"setfacl -R -m u:root:rX,d:u:root:rX {closed}`" in said
    wait_for(lambda: said in guard.said(), "the same in its own log")


def test_names_of_logs_are_escaped_wherever_they_are_printed(guard):
    """A terminal, the journal and Prometheus get no control character."""
    hostile = guard.directory / "a\x1b[2J\x9b\u202e\nb.log"
    gone = guard.directory / "c\x1b[2J\n.log"
    guard.logs = [f"{guard.directory}/*.log"]
    guard.configure()
    write(hostile, *[line(ATTACKER4)] * 3, UNKNOWN * 200)
    guard.start()
    guard.until_blocked(ATTACKER4)
    problem(guard, "200 of 203")
    shown = r"a\x1b[2J\x9b\u202e\nb.log"
    assert shown in guard.run("status").stdout
    outputs = [guard.messages.read_bytes()]
    metrics = guard.home.run("curl", "-qsS", "--fail", "http://127.0.0.1:9947/metrics")
    assert shown.replace("\\", "\\\\") in metrics
    outputs.append(metrics.encode())
    for words in (
        ("status",), ("status", "-o", "json"), ("status", "-o", "csv"), ("check",),
        ("explain", str(hostile)), ("explain", "-o", "csv", str(hostile)),
        ("explain", str(gone)), ("replay", "-o", "json", str(hostile)),
    ):  # fmt: skip
        done = guard.run(*words)
        outputs += [done.stdout.encode(), done.stderr.encode()]
    for text in outputs:
        assert not RAW_CONTROL.search(text), text
