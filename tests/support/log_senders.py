"""Real servers that send their access log somewhere: nginx, Apache, HAProxy and Caddy."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from support.daemons import APACHE, NGINX, OTHER_PORT, PATIENCE, Client, Daemon, line, wait_for
from support.namespaces import Namespace

from blocker.errors import BlockerError

HAPROXY = """\
global
    log {target} local0
    user haproxy
    group haproxy
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend web
    bind :80
    bind :::80 v6only
    bind :{other}
    http-request return status 200 content-type text/plain string answer
"""
CADDY = """\
{{
    admin off
    auto_https off
}}
:80, :{other} {{
    log {{
        output net {target}
        format json
    }}
    respond "answer" 200
}}
"""
USUAL = "{directory}/access.log {log_format}"


class Server(NamedTuple):
    """A kind of server: its configuration with a place for the log, and its command."""

    text: str
    words: tuple[str, ...]


SERVERS: Mapping[str, Server] = {
    "nginx": Server(
        NGINX.replace(USUAL, "{target} combined"), ("nginx", "-p", "{directory}", "-c", "{config}")
    ),
    "apache": Server(
        APACHE.replace(USUAL, "{target} combined"), ("apache2", "-f", "{config}", "-DFOREGROUND")
    ),
    "haproxy": Server(HAPROXY, ("haproxy", "-db", "-f", "{config}")),
    "caddy": Server(CADDY, ("caddy", "run", "--adapter", "caddyfile", "--config", "{config}")),
}


@contextlib.contextmanager
def sending(
    name: str, target: str, home: Namespace, directory: Path, client: Client
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that logs to a target, as its configuration names it, until it answers."""
    server = SERVERS[name]
    config, said = directory / f"{name}.conf", directory / f"{name}.said"
    config.write_text(server.text.format(directory=directory, target=target, other=OTHER_PORT))
    words = [word.format(directory=directory, config=config) for word in server.words]
    # Caddy keeps files there.
    environment = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    with said.open("wb") as messages:
        process = subprocess.Popen(
            home.command(*words), stdout=messages, stderr=messages, env=environment
        )
    try:
        wait_for(lambda: process.poll() is not None or client.get("/"), f"{name} to answer")
        assert process.poll() is None, said.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def two_each(count: int, start: int = 0) -> list[bytes]:
    """Return attacks of many addresses, two each, so that none is banned."""
    numbers = range(start, start + count)
    return [line(f"198.18.{n >> 9 & 127}.{n >> 1 & 255}").encode() for n in numbers]


def until_counted(service: Daemon, **figures: int) -> None:
    """Wait until the status shows these figures, also while reloads end its answers."""
    shown: dict[str, object] = {}

    def met() -> bool:
        with contextlib.suppress(BlockerError):
            shown.update(service.status())
        return figures.items() <= shown.items()

    try:
        wait_for(met, f"{figures} in the status")
    except AssertionError as error:
        error.add_note(f"the status: {shown}\nthe daemon: {service.said()}")
        raise


def attack(client: Client, count: int) -> int:
    """Send so many attacks one after the other over one connection; return how many succeed."""
    words = ("curl", "-qs", "--noproxy", "*", "-m", "60", "--interface", client.source, "-d", "x")
    url = f"http://{client.host}/xmlrpc.php?[1-{count}]"
    done = subprocess.run(
        client.home.command(*words, "-w", "\\n", url), capture_output=True, text=True, check=False
    )
    return done.stdout.split().count("answer")
