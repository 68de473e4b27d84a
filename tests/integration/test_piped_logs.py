"""Logs that come through a FIFO or standard input."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.daemons import ATTACKER4, NEIGHBOUR4, daemon, line, wait_for
from support.log_senders import two_each, until_counted

FLOOD = 300_000
"""Lines of some 110 bytes: more than the daemon and the pipe hold together."""
RESTARTS = 20


@pytest.fixture
def service(network, tmp_path):
    """A daemon that follows a FIFO."""
    with daemon(network.server, tmp_path) as made:
        made.logs = [fifo_of(made)]
        made.configure()
        yield made


def path_of(service):
    """Return where the FIFO is."""
    return service.directory / "access.fifo"


def fifo_of(service):
    """Return the name of the log."""
    return f"fifo:{path_of(service)}"


def lost(service, reason):
    """Return the lines that were lost for a reason."""
    return service.metrics()[
        f'xmlrpc_blocker_source_lost_total{{log="{fifo_of(service)}",reason="{reason}"}}'
    ]


def test_attackers_are_banned(service):
    """The status names the log, and writers come and go."""
    service.start()
    for _ in range(3):
        with path_of(service).open("w") as log:
            log.write(line(ATTACKER4))
    service.until_blocked(ATTACKER4)
    service.until(lines=3, hits=3)
    assert service.status()["logs"][0]["up"]
    wait_for(lambda: not service.status()["problems"], "no problem")


def test_a_writer_waits_for_no_judgement(service):
    """In a flood lines are dropped rather than that: every line is a hit or counted as lost."""
    service.start()
    block = b"".join(two_each(1000))
    with path_of(service).open("wb", buffering=0) as log:
        for _ in range(FLOOD // 1000):
            rest = block
            while rest:
                rest = rest[log.write(rest) :]
    wait_for(lambda: service.status()["lines"] + lost(service, "buffer") == FLOOD,
             "every line to be judged or lost", patience=60)  # fmt: skip
    with path_of(service).open("w") as log:
        log.write(line(NEIGHBOUR4) * 3)
    service.until_blocked(NEIGHBOUR4)


class Writer:
    """Writes to the FIFO as a web server does, and counts what was accepted."""

    def __init__(self, path):
        self.accepted = self.refused = 0
        self.slowest = 0.0
        self.stop = threading.Event()
        self._fd = os.open(path, os.O_WRONLY)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self):
        while not self.stop.wait(0.001):
            (text,) = two_each(1, self.accepted)
            begun = time.monotonic()
            try:
                os.write(self._fd, text)
            except BrokenPipeError:
                self.refused += 1
            else:
                self.accepted += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)

    def end(self):
        """Stop writing."""
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        os.close(self._fd)


def test_what_a_fifo_accepts_is_judged_over_restarts(service):
    """A server that has it open loses what it writes while there is no daemon, and never waits."""
    service.start()
    writer = Writer(path_of(service))
    for _ in range(RESTARTS):
        enough = writer.accepted + 20
        wait_for(lambda enough=enough: writer.accepted >= enough, "lines to be accepted")
        assert service.stop() == 0, service.said()
        missed = writer.refused
        wait_for(lambda missed=missed: writer.refused > missed, "a line to be refused")
        service.start()
    writer.end()
    service.until(lines=writer.accepted, hits=writer.accepted)
    assert writer.slowest < 15


def test_a_reload_loses_nothing(service):
    """The FIFO stays open."""
    service.start()
    writer = Writer(path_of(service))
    for turn in range(10):
        service.process.send_signal(signal.SIGHUP)
        enough = 50 * (turn + 1)
        wait_for(lambda enough=enough: writer.accepted >= enough, "lines to be accepted")
    writer.end()
    assert writer.refused == 0
    until_counted(service, lines=writer.accepted, hits=writer.accepted)


def begun(service):
    """Start the daemon with a pipe as its standard input, and wait until it is started."""
    count = service.said().count(" started: ")
    with service.messages.open("ab") as messages:
        service.process = subprocess.Popen(
            service.home.command(
                sys.executable, "-m", "blocker", "--config", str(service.config), "run"
            ),
            stdin=subprocess.PIPE, stdout=messages, stderr=messages,
        )  # fmt: skip
    wait_for(lambda: service.said().count(" started: ") > count, "the start of the daemon")
    return service.process


def test_a_daemon_lives_as_long_as_its_standard_input(service):
    """All of it is judged first, a last line without newline too."""
    service.logs = ["-"]
    service.configure()
    with begun(service) as process:
        process.stdin.write(b"".join(two_each(5000)) + line(NEIGHBOUR4).encode().rstrip())
    assert process.returncode == 0, service.said()
    assert "standard input has ended, so the daemon stops" in service.said()
    with begun(service) as process:
        service.until(lines=5001, hits=5001)
        process.stdin.write(line(ATTACKER4).encode() * 3)
        process.stdin.flush()
        service.until_blocked(ATTACKER4)
        service.reload(" started: ")
        process.stdin.write(line(ATTACKER4).encode())
        process.stdin.flush()
        service.until(lines=5005, hits=5005)
    assert process.returncode == 0, service.said()


def test_a_service_has_no_standard_input(service):
    """It says so, and goes on: systemd would start it again and again."""
    service.logs.append("-")
    service.configure()
    service.start()
    wait_for(
        lambda: any("-: standard input is closed or /dev/null" in each
                    for each in service.status()["problems"]),
        "the problem",
    )  # fmt: skip
    with path_of(service).open("w") as log:
        log.write(line(ATTACKER4) * 3)
    service.until_blocked(ATTACKER4)


def test_the_commands_know_what_they_can_read(service):
    """``check`` names every log; old lines of a socket or FIFO are nowhere."""
    service.logs += ["-", f"unix:{service.directory}/access.sock", "udp:127.0.0.1:5140"]
    service.configure()
    done = service.run("check")
    for name in service.logs:
        assert f"  {name}: 1 log, 1 readable" in done.stdout, done.stderr
    assert "note: -: the standard input of `run`" in done.stderr
    service.start()
    done = service.run("check")
    for name in service.logs:
        assert f"  {name}: 1 log, 1 readable" in done.stdout, done.stderr
        if name.startswith(("unix:", "udp:")):
            assert f"note: {name}: the running daemon has it open" in done.stderr
            for command in ("explain", "replay", "backfill"):
                refused = service.run(command, name)
                assert refused.returncode == 1, refused.stderr
                assert "only the running daemon receives its lines" in refused.stderr
