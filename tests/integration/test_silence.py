"""Nothing fails in silence: what is wrong with the logs is in ``status`` and in the log."""

import re

import pytest
from support.daemons import ATTACKER4, daemon, line, wait_for, write

AS_MERE_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
RAW_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]")
UNKNOWN = 'POST /xmlrpc.php asked by "198.51.100.7" at noon\n'


@pytest.fixture
def service(network, tmp_path):
    """A daemon in the server's namespace, not started yet."""
    with daemon(network.server, tmp_path) as made:
        yield made


def problem(service, *words):
    """Wait for a problem in the status that holds these words, and return it."""

    def found():
        problems = service.status()["problems"]
        return [each for each in problems if all(word in each for word in words)]

    return wait_for(found, f"a problem with {words} in the status", pause=0.05)[0]


def rows(service):
    return {row["path"]: row for row in service.status()["logs"]}


def test_a_log_that_is_not_understood_is_named(service):
    """How many of how many, the first reason and what to set: in the log, and as a problem."""
    other = service.directory / "other.log"
    service.logs = [str(service.log), str(other)]
    service.configure()
    write(service.log, UNKNOWN * 1800)
    write(other, *(line(ATTACKER4, request="GET / HTTP/1.1") for _ in range(50)), UNKNOWN * 3)
    service.start()
    said = problem(service, str(service.log), "1,800 of 1,800", "`format`", "explain")
    assert service.said().count(said) == 1
    wait_for(lambda: rows(service)[str(service.log)]["unparsed"] == 1800, "the count of its lines")
    assert rows(service)[str(other)]["unparsed"] == 3
    assert not [each for each in service.status()["problems"] if str(other) in each]
    table = service.run("status").stdout
    assert f"{service.log}: 0 bytes behind, 1,800 lines not parsed" in table
    assert f"problem: {said}" in table
    write(service.log, UNKNOWN)
    service.until(unparsed=1804)
    problem(service, "1,801 of 1,801")
    assert service.said().count("candidate lines could not be parsed") == 1  # hourly


def test_a_log_that_is_understood_again_after_a_reload_is_no_problem(service):
    """The cause ended with the format that was set."""
    service.logs = [str(service.log)]
    write(service.log, UNKNOWN * 10)
    service.start()
    problem(service, str(service.log), "10 of 10")
    service.configure('format = "combined"')
    service.reload(" started: ")
    attack = [line(ATTACKER4)] * 3
    write(service.log, *attack)
    service.until_blocked(ATTACKER4)
    wait_for(lambda: not service.status()["problems"], "no problem")


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
def test_a_pattern_that_matches_nothing_is_named(service, pattern, words):
    """And is no problem any more when something matches."""
    (service.directory / "logs").mkdir()
    service.log.touch()
    name = pattern.format(directory=service.directory)
    service.logs = [str(service.log), name]
    service.configure()
    service.start()
    said = problem(service, words)
    assert said.startswith(name)
    wait_for(lambda: said in service.said(), "the same in its own log")
    if "none" in name:
        (service.directory / "none-1.log").touch()
        (service.directory / "none.log").touch()
        wait_for(lambda: not service.status()["problems"], "the end of the problem")
        wait_for(lambda: f"resolved: {said}" in service.said(), "that it is mended")


def test_no_log_at_all_is_a_problem(service):
    """Nothing matches, so no attacker is seen; it ends with the first log."""
    service.logs = [str(service.directory / "*.log")]
    service.configure()
    service.start()
    said = problem(service, "no log is followed", str(service.directory))
    wait_for(lambda: f"warning: {said}" in service.said(), "a warning")
    service.log.touch()
    wait_for(lambda: not service.status()["problems"], "the end of the problem")


def test_a_directory_that_can_not_be_listed_is_named(service):
    """With its owner and mode, and the command that opens it."""
    closed = service.directory / "vhosts/closed"
    closed.mkdir(parents=True)
    (closed / "access.log").touch()
    closed.chmod(0o310)
    service.logs = [f"{service.directory}/vhosts/*/*.log"]
    service.configure()
    service.start(before=AS_MERE_ROOT)
    said = problem(service, str(closed), "can't be listed: Permission denied")
    assert f"{closed} (root:root, 0310)" in said
    assert f"setfacl -R -m u:root:rX,d:u:root:rX {service.directory}/vhosts/*" in said
    wait_for(lambda: said in service.said(), "the same in its own log")
    closed.chmod(0o710)
    wait_for(lambda: not service.status()["problems"], "the end of the problem")


def test_a_log_that_can_not_be_read_is_named_with_what_to_do(service):
    """The directory on the way is the obstacle, not the log."""
    closed = service.directory / "closed"
    closed.mkdir()
    (closed / "access.log").touch(mode=0)
    service.logs = [str(closed / "access.log")]
    service.configure()
    service.start(before=AS_MERE_ROOT)
    said = problem(service, f"{closed}/access.log: Permission denied", "root needs access to")
    assert f"setfacl -R -m u:root:rX,d:u:root:rX {closed}`" in said
    wait_for(lambda: said in service.said(), "the same in its own log")


def test_names_of_logs_are_escaped_wherever_they_are_printed(service):
    """A terminal, the journal and Prometheus get no control character."""
    hostile = service.directory / "a\x1b[2J\x9b\u202e\nb.log"
    gone = service.directory / "c\x1b[2J\n.log"
    service.logs = [f"{service.directory}/*.log"]
    service.configure()
    write(hostile, *[line(ATTACKER4)] * 3, UNKNOWN * 200)
    service.start()
    service.until_blocked(ATTACKER4)
    problem(service, "200 of 203")
    shown = r"a\x1b[2J\x9b\u202e\nb.log"
    assert shown in service.run("status").stdout
    outputs = [service.messages.read_bytes()]
    metrics = service.home.run("curl", "-qsS", "--fail", "http://127.0.0.1:9947/metrics")
    assert shown.replace("\\", "\\\\") in metrics
    outputs.append(metrics.encode())
    for words in (
        ("status",), ("status", "-o", "json"), ("status", "-o", "csv"), ("check",),
        ("explain", str(hostile)), ("explain", "-o", "csv", str(hostile)),
        ("explain", str(gone)), ("replay", "-o", "json", str(hostile)),
    ):  # fmt: skip
        done = service.run(*words)
        outputs += [done.stdout.encode(), done.stderr.encode()]
    for text in outputs:
        assert not RAW_CONTROL.search(text), text
