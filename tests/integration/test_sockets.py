"""Logs that are sent to a socket: by a test, and by real web servers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest
from support.daemons import ATTACKER4, NEIGHBOUR4, SERVER4, daemon, line, wait_for
from support.log_senders import two_each, until_counted

PORT = 5140
UDP = f"udp:127.0.0.1:{PORT}"
STRANGER = 54321
"""A user that no host has."""
FLOOD = 60_000
"""Lines: more than 16 MiB hold, as the kernel counts them."""


@pytest.fixture
def service(network, tmp_path):
    """A daemon that follows a file, a Unix socket and a UDP socket."""
    with daemon(network.server, tmp_path) as made:
        made.logs += [unix_of(made), UDP]
        made.log.touch()
        made.configure()
        yield made


def path_of(service):
    """Return where the Unix socket is."""
    return service.directory / "access.sock"


def unix_of(service):
    """Return the name of the log that is a Unix socket."""
    return f"unix:{path_of(service)}"


def pen_for(service, name):
    """Return a socket that sends to a log."""
    if name == UDP:
        with service.home.inside():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect(("127.0.0.1", PORT))
        return made
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.connect(str(path_of(service)))
    return made


def lost(service, name):
    """Return the lines that were lost, by reason."""
    found = service.metrics()
    start = f'xmlrpc_blocker_source_lost_total{{log="{name}",reason="'
    return {key.removeprefix(start)[:-2]: int(value)
            for key, value in found.items() if key.startswith(start)}  # fmt: skip


@pytest.fixture(params=["unix", "udp"])
def kind(request):
    """Both kinds of sockets."""
    return request.param


def named(service, kind):
    """Return the name of the log."""
    return UDP if kind == "udp" else unix_of(service)


def frozen(service):
    """Stop the daemon's process, and let it go on in the end."""

    @contextlib.contextmanager
    def stopped():
        service.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            service.process.send_signal(signal.SIGCONT)

    return stopped()


def refuses(pen, text):
    """Whether a socket refuses a line, because there is no receiver."""
    try:
        pen.send(text)
    except ConnectionError:
        return True
    return False


def problems(service, text):
    """Return the problems with a text in them."""
    return [each for each in service.status()["problems"] if text in each]


def test_every_line_is_a_hit(service, kind):
    """As in a file: attackers are banned, and status and metrics name the log."""
    name = named(service, kind)
    service.start()
    with pen_for(service, name) as pen:
        for each in two_each(1000):
            pen.send(each)
        service.until(lines=1000, hits=1000)
        for _ in range(3):
            pen.send(line(ATTACKER4).encode())
        service.until_blocked(ATTACKER4)
    rows = {row["path"]: row for row in service.status()["logs"]}
    assert rows[name]["up"]
    assert service.metrics()[f'xmlrpc_blocker_log_lines_total{{log="{name}"}}'] == 1003
    assert not any(lost(service, name).values())
    wait_for(lambda: not service.status()["problems"], "no problem")


def test_what_is_sent_is_a_hit_or_counted_as_lost(service, kind):
    """In a flood at a daemon that stands still.

    The kernel drops UDP and counts it; a Unix socket is full, and its sender gets an error.
    """
    name, sent = named(service, kind), 0
    service.start()
    with pen_for(service, name) as pen, frozen(service):
        pen.settimeout(0)
        for each in two_each(FLOOD):
            try:
                pen.send(each)
            except BlockingIOError:
                continue
            sent += 1
    if kind == "udp":
        wait_for(lambda: service.status()["hits"] + lost(service, name)["kernel"] == FLOOD,
                 "every line to be a hit or lost")  # fmt: skip
        assert service.status()["hits"]
        assert lost(service, name)["kernel"]
        wait_for(lambda: problems(service, "the kernel dropped lines"), "the problem")
        assert f"{name}: the kernel dropped lines" in service.said()
    else:
        assert 0 < sent < FLOOD
        service.until(hits=sent)
        assert not any(lost(service, name).values())


def test_a_datagram_is_one_line(service, kind):
    """A newline in it forges no line; nothing is passed but text."""
    service.start()
    with pen_for(service, named(service, kind)) as pen:
        forged = b"GET /\n" + line(NEIGHBOUR4).encode()
        for each in [forged] * 5 + [b""] * 5 + [line(ATTACKER4).encode() + b"\n\0"] * 3:
            pen.send(each)
        if kind == "unix":
            socket.send_fds(pen, [line(ATTACKER4).encode()], [0] * 50)
        service.until_blocked(ATTACKER4)
        service.until(lines=9 if kind == "unix" else 8)
    assert service.left(NEIGHBOUR4) is None
    links = os.scandir(f"/proc/{service.process.pid}/fd")
    assert sum(1 for _ in links) < 50


FORGER = """\
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(54321)
os.setuid(54321)
pen = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
pen.connect("access.sock")
for _ in range(5):
    pen.send(sys.argv[2].encode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_lines_of_another_user_are_refused(service):
    """And counted; whom the configuration names may send."""
    name = unix_of(service)
    service.directory.chmod(0o755)
    words = [sys.executable, "-c", FORGER, str(service.directory), line(ATTACKER4)]
    service.start()
    subprocess.run(words, check=True)
    wait_for(lambda: lost(service, name)["sender"] == 5, "five refused lines")
    wait_for(lambda: problems(service, f"user {STRANGER} are refused"), "the problem")
    service.until(lines=0, hits=0)
    service.logs.remove(name)
    service.configure(f'[[log]]\npath = "{name}"\nsenders = ["{STRANGER}"]\n')
    service.reload(" started: ")
    subprocess.run(words, check=True)
    service.until_blocked(ATTACKER4)
    with pen_for(service, name) as pen:  # the daemon's own user still may
        pen.send(line(NEIGHBOUR4).encode())
    service.until(lines=6)


def test_a_reload_loses_nothing(service, kind):
    """The sockets stay open, and what was received is judged by the next configuration."""
    name, sent = named(service, kind), 0
    service.start()
    with pen_for(service, name) as pen:
        for turn in range(10):
            service.process.send_signal(signal.SIGHUP)
            for each in two_each(500, 500 * turn):
                pen.send(each)
                sent += 1
        until_counted(service, lines=sent, hits=sent)
    assert not any(lost(service, name).values())


def test_a_stop_judges_what_was_received(service, kind):
    """Only what is sent while it is stopped is lost, and the sender of a Unix socket knows."""
    name = named(service, kind)
    service.start()
    with pen_for(service, name) as pen:
        for each in two_each(400):
            pen.send(each)
        assert service.stop() == 0, service.said()
        # UDP reports a closed port with the next call.
        assert any(refuses(pen, each) for each in two_each(2))
    assert not path_of(service).exists()
    service.start()
    with pen_for(service, name) as pen:
        pen.send(line(NEIGHBOUR4).encode())
    service.until(lines=401, hits=401)


def test_a_socket_that_was_left_behind_is_replaced(service):
    """After a kill; also one that is deleted while the daemon runs."""
    name = unix_of(service)
    service.start()
    service.stop(signal.SIGKILL)
    assert path_of(service).is_socket()
    service.start()
    with pen_for(service, name) as pen:
        pen.send(line(NEIGHBOUR4).encode())
    service.until(lines=1)
    path_of(service).unlink()
    wait_for(path_of(service).is_socket, "another socket")
    with pen_for(service, name) as pen:
        pen.send(line(NEIGHBOUR4).encode())
    service.until(lines=2)


def test_what_is_at_the_path_already_is_left_alone(service):
    """A file, or the socket of another program: the status says so, and other logs are read."""
    path = path_of(service)
    path.write_text("mine")
    service.start()
    wait_for(lambda: problems(service, f"{unix_of(service)}: is not a socket"), "the problem")
    assert path.read_text() == "mine"
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        wait_for(lambda: problems(service, "another program listens there"), "the problem")
        with pen_for(service, UDP) as pen:
            pen.send(line(NEIGHBOUR4).encode())
        service.until(lines=1)
    wait_for(lambda: not service.status()["problems"], "the end of the problem")
    with pen_for(service, unix_of(service)) as pen:
        pen.send(line(NEIGHBOUR4).encode())
    service.until(lines=2)


def test_no_other_host_reaches_a_udp_log(service, network):
    """Not even where packets to loopback addresses are routed."""
    service.start()
    network.server.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")

    with network.attacker.inside():
        pen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pen:
        pen.sendto(line(NEIGHBOUR4).encode(), (SERVER4, PORT))
    with pen_for(service, UDP) as pen:
        pen.send(line(NEIGHBOUR4).encode())
    service.until(lines=1)
