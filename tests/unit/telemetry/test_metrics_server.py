"""The metrics server, with real TLS, real passwords, and clients that behave badly."""

import asyncio
import base64
import contextlib
import socket
import ssl

import bcrypt
import pytest
from support.certificates import certificate
from support.loops import on_uvloop

from blocker.errors import ConfigError
from blocker.firewall.facts import OPERATIONS
from blocker.telemetry.exposition import Durations, Metrics
from blocker.telemetry.server import GRACE, MAX_CLIENTS, MetricsServer

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
USERS = f"basic_auth_users:\n  prometheus: {HASH}\n"
TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
RIGHT = "Authorization: Basic " + base64.b64encode(b"prometheus:secret").decode() + "\r\n"
WRONG = "Authorization: Basic " + base64.b64encode(b"prometheus:guess").decode() + "\r\n"


class Truth:
    """A stand-in for the daemon's state."""

    def snapshot(self):
        return {"build": {("1", "3.11"): 1}}


def play(scenario, web=""):
    """Serve on a free port of loopback, on the daemon's kind of loop, while a scenario runs."""
    uncaught = []

    async def scene():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: uncaught.append(what))
        server = MetricsServer(Metrics(Truth(), Durations(OPERATIONS)), web=str(web))
        await server.start(("127.0.0.1", 0))
        try:
            await scenario(server, server._listener._socket.getsockname()[1])
        finally:
            await server.close()

    on_uvloop(scene())
    assert not uncaught


async def ask(port, tls=None, headers="", path="/metrics"):
    """Return status line, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    async with asyncio.timeout(10):
        text = await reader.read()
    writer.close()
    head, _, body = text.decode().partition("\r\n\r\n")
    return head.partition("\r\n")[0].removeprefix("HTTP/1.1 "), head, body


def trusting(directory, name="server"):
    return ssl.create_default_context(cafile=str(directory / f"{name}.crt"))


def subject(connection):
    return dict(pair for part in connection["subject"] for pair in part)["commonName"]


async def common_name(port, tls):
    """Return whom the server's certificate names."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    name = subject(writer.get_extra_info("peercert"))
    writer.close()
    return name


@pytest.fixture
def web(tmp_path):
    """A web configuration to write, beside a certificate."""
    certificate(tmp_path)
    return tmp_path / "web.yml"


def test_without_a_web_configuration_anybody_is_served():
    """Plain HTTP, without a question."""

    async def scenario(_server, port):
        status, _, body = await ask(port)
        assert status == "200 OK"
        assert "xmlrpc_blocker_build_info" in body

    play(scenario)


def test_a_name_and_a_password_are_asked_for(web):
    """401 with what to send for any path; 200 with the password."""
    web.write_text(USERS)

    async def scenario(_server, port):
        for headers in ("", WRONG, "Authorization: nonsense\r\n"):
            for path in ("/metrics", "/other"):
                status, head, body = await ask(port, headers=headers, path=path)
                assert status == "401 Unauthorized"
                assert 'WWW-Authenticate: Basic realm="metrics"' in head
                assert "xmlrpc" not in body
        for headers in (RIGHT, RIGHT.replace("Authorization", "AUTHORIZATION")):
            assert (await ask(port, headers=headers))[0] == "200 OK"
        assert (await ask(port, headers=RIGHT, path="/other"))[0] == "404 Not Found"

    play(scenario, web)


def test_tls_is_spoken_and_nothing_else(web):
    """A client that trusts the certificate is served; plain HTTP and old versions are not."""
    web.write_text(TLS + USERS)

    async def scenario(_server, port):
        assert (await ask(port, trusting(web.parent), RIGHT))[0] == "200 OK"
        assert (await ask(port, trusting(web.parent)))[0] == "401 Unauthorized"
        with contextlib.suppress(ConnectionError):
            assert (await ask(port))[0] == ""
        old = trusting(web.parent)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(port, old)
        assert (await ask(port, trusting(web.parent), RIGHT))[0] == "200 OK"

    play(scenario, web)


def test_a_client_s_certificate_is_asked_for(web):
    """Only who has one that the named authority vouches for is served."""
    certificate(web.parent, "client")
    certificate(web.parent, "stranger")
    web.write_text(
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n"
    )

    def bearing(name):
        context = trusting(web.parent)
        context.load_cert_chain(web.parent / f"{name}.crt", web.parent / f"{name}.key")
        return context

    async def scenario(_server, port):
        assert (await ask(port, bearing("client")))[0] == "200 OK"
        for context in (bearing("stranger"), trusting(web.parent)):
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                assert (await ask(port, context))[0] == ""

    play(scenario, web)


def test_a_changed_file_is_taken_without_closing_the_door(web):
    """A renewed certificate, another password, TLS switched on: each by writing the file."""
    web.write_text(USERS)

    async def scenario(server, port):
        assert not await server.reread()
        assert (await ask(port, headers=RIGHT))[0] == "200 OK"
        web.write_text("{}")
        assert await server.reread()
        assert (await ask(port))[0] == "200 OK"
        web.write_text(TLS)
        assert await server.reread()
        assert await common_name(port, trusting(web.parent)) == "server"
        certificate(web.parent, "renewed")
        for kind in ("key", "crt"):
            (web.parent / f"renewed.{kind}").replace(web.parent / f"server.{kind}")
        assert await server.reread()
        assert await common_name(port, trusting(web.parent)) == "renewed"
        assert not await server.reread()

    play(scenario, web)


def test_a_file_broken_later_changes_nothing(web):
    """The one before goes on: the same clients are admitted as before."""
    web.write_text(USERS)

    async def scenario(server, port):
        for text in ("[", "basic_auth_users: {a: b}", TLS.replace("server", "none")):
            web.write_text(text)
            with pytest.raises(ConfigError):
                await server.reread()
            assert (await ask(port))[0] == "401 Unauthorized"
            assert (await ask(port, headers=RIGHT))[0] == "200 OK"
        web.unlink()
        with pytest.raises(ConfigError):
            await server.reread()
        assert (await ask(port))[0] == "401 Unauthorized"

    play(scenario, web)


def test_a_file_broken_at_first_serves_no_client(web):
    """Nothing is better than everything to everybody."""
    web.write_text("basic_auth_user: {}")

    async def scene():
        server = MetricsServer(Metrics(Truth(), Durations(OPERATIONS)), web=str(web))
        with pytest.raises(ConfigError, match="unknown here"):
            await server.start(("127.0.0.1", 0))
        assert server._listener._socket is None
        await server.close()

    on_uvloop(scene())


def test_a_port_that_is_taken_is_an_error():
    """Of the operating system, with its reason."""

    async def scenario(_server, port):
        other = MetricsServer(Metrics(Truth(), Durations(OPERATIONS)))
        with pytest.raises(OSError, match="in use"):
            await other.start(("127.0.0.1", port))
        await other.close()

    play(scenario)


def test_a_unix_socket_that_a_dead_daemon_left_is_replaced(tmp_path):
    """And served on."""
    path = str(tmp_path / "metrics.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)

    async def scene():
        server = MetricsServer(Metrics(Truth(), Durations(OPERATIONS)))
        await server.start(path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"200 OK" in await reader.readline()
        writer.close()
        await server.close()

    on_uvloop(scene())


def test_rude_clients_harm_no_other():
    """Too much, half a request, nothing at all, gone at once: the next is served."""

    async def scenario(server, port):
        for text in (
            b"\0" * 20_000,
            b"GET /met",
            b"",
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\xff\r\n\r\n",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(text)
            writer.transport.abort()
        while server._clients:  # noqa: ASYNC110 - there is no event for tests to wait for
            await asyncio.sleep(0)
        assert (await ask(port))[0] == "200 OK"

    play(scenario)


def test_an_unknown_accept_header_is_answered():
    """The plain text format is sent, and the connection is closed."""

    async def scenario(server, port):
        for accept in (
            "application/openmetrics-text; version=1.x",
            "application/openmetrics-text; version=99.9.9; escaping=zz",
            "application/openmetrics-text; version=; escaping=",
            "application/openmetrics-text;version",
            "text/plain;version",
            ";;;=,;",
        ):
            status, _, body = await ask(port, headers=f"Accept: {accept}\r\n")
            assert (status, "xmlrpc_blocker_build_info" in body) == ("200 OK", True)
        while server._clients:  # noqa: ASYNC110 - there is no event for tests to wait for
            await asyncio.sleep(0)
        assert server.counts.refused == 0

    play(scenario)


def test_the_idlest_client_makes_room_for_a_scrape():
    """All places are taken by silent clients: the next is served, and only they are closed."""

    async def scenario(server, port):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * MAX_CLIENTS)]
        assert (await ask(port))[0] == "200 OK"
        assert len(server._clients) <= MAX_CLIENTS
        assert server.counts.evicted > 2 * MAX_CLIENTS
        assert await crowd[0][0].read() == b""
        for _, each in crowd:
            each.transport.abort()
        while server._clients:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
        assert (await ask(port))[0] == "200 OK"

    play(scenario)


def test_a_client_keeps_its_place_for_a_moment():
    """A scraper has time for its handshake, however fast others come."""

    async def scenario(server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CLIENTS)]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await reader.read() == b""
        assert loop.time() - begun > GRACE / 2
        for _, each in (*crowd, (reader, writer)):
            each.transport.abort()

    play(scenario)


def test_connections_without_a_handshake_count(web):
    """TLS clients that say nothing are under the same ceiling, and give way as well."""
    web.write_text(TLS)

    async def scenario(server, port):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * MAX_CLIENTS)]
        assert (await ask(port, trusting(web.parent)))[0] == "200 OK"
        assert len(server._clients) <= MAX_CLIENTS
        assert server.counts.evicted >= MAX_CLIENTS
        for _, each in crowd:
            each.transport.abort()

    play(scenario, web)
