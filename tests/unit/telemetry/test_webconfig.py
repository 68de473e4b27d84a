"""The web configuration: what is understood is used, and anything else is refused with advice."""

import asyncio
import base64
import os
import ssl
import subprocess
import sys

import bcrypt
import pytest
from support.certificates import certificate

from blocker.errors import ConfigError
from blocker.telemetry import webconfig

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


@pytest.fixture
def file(tmp_path):
    """A file to write into, beside a certificate."""
    certificate(tmp_path)
    return tmp_path / "web.yml"


TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


def test_an_empty_file_asks_for_nothing(file):
    """No TLS, and no client is asked for a name."""
    file.write_text("# nothing\n")
    read = webconfig.load(file)
    assert read.tls is None
    assert read.users == {}


def test_everything_is_read(file):
    """TLS with clients' certificates, and users, with paths relative to the file."""
    file.write_text(
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.crt\n"
        f"  min_version: TLS13\nbasic_auth_users:\n  prometheus: {HASH}\n"
    )
    read = webconfig.load(file)
    assert read.tls.verify_mode == ssl.CERT_REQUIRED
    assert read.tls.minimum_version == ssl.TLSVersion.TLSv1_3
    assert read.users == {"prometheus": HASH.encode()}


def test_old_versions_of_tls_are_not_spoken(file):
    """Without a word about it, the least is TLS 1.2."""
    file.write_text(TLS)
    assert webconfig.load(file).tls.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not YAML"),
        ("a: b: c", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("!!python/object/apply:os.system [id]", "not YAML"),
        ("- a", "must hold keys and values"),
        ("text", "must hold keys and values"),
        ("http_server_config: {}", "http_server_config: unknown here; known: tls_server_config"),
        ("1: 2", "1: unknown here"),
        ("tls_server_config: {}", "needs cert_file and key_file"),
        ("tls_server_config: []", "must hold keys and values"),
        (TLS + "  cipher_suites: []", "tls_server_config.cipher_suites: unknown here"),
        (TLS + "  min_version: TLS10", "'TLS10': one of TLS12, TLS13"),
        (TLS + "  min_version: 12", "min_version: must be a text"),
        (TLS + "  client_auth_type: RequireAnyClientCert", "one of NoClientCert"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert", "go together"),
        (TLS + "  client_ca_file: server.crt", "go together"),
        (TLS.replace("server.crt", "none.crt"), "none.crt"),
        (TLS.replace("server.crt", "server.key"), "look at "),
        ("basic_auth_users: []", "must hold keys and values"),
        ("basic_auth_users: {a: secret}", "basic_auth_users.a: no hash of bcrypt; make one with"),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "no name of a user"),
        (f"basic_auth_users: {{1: {HASH}}}", "no name of a user"),
        ("#" * 70_000, "larger than"),
        ("\x00", "not YAML"),
    ],
)
def test_a_mistake_is_reported_with_its_place(file, text, said):
    """With the file, the key and what is right; secrets are not repeated."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        webconfig.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_reported(tmp_path):
    """With the key that names it."""
    with pytest.raises(ConfigError, match=r"No such file.*web_config"):
        webconfig.load(tmp_path / "none.yml")


@pytest.mark.parametrize("missing", ["yaml", "bcrypt"])
def test_what_is_not_installed_is_reported(file, missing):
    """With the package to install; a Python without it is asked to read the file."""
    file.write_text(f"basic_auth_users:\n  a: {HASH}\n")
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from pathlib import Path; from blocker.telemetry import webconfig\n"
        f"webconfig.load(Path({str(file)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert f"apt install python3-{missing}" in done.stderr


@pytest.mark.parametrize("name", ["web.yml", "server.crt", "server.key"])
def test_a_change_of_any_file_is_noticed(file, name):
    """The file itself, the certificate and its key."""
    file.write_text(TLS)
    read = webconfig.load(file)
    assert not webconfig.changed(read)
    path = file.parent / name
    os.utime(path, ns=(1, 1))
    assert webconfig.changed(read)
    read = webconfig.load(file)
    path.unlink()
    assert webconfig.changed(read)


# Who is exempt -----------------------------------------------------------------------------------


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


USERS = {"prometheus": HASH.encode()}
HEADERS = [
    (basic("prometheus", "secret"), True),
    (" " + basic("prometheus", "secret"), True),
    (basic("prometheus", "secret").replace("Basic", "bASIC"), True),
    (basic("prometheus", "wrong"), False),
    (basic("prometheus", ""), False),
    (basic("nobody", "secret"), False),
    (basic("", ""), False),
    (basic("prometheus", "secret" * 20), False),
    (basic("prometheus", "secret\0"), False),
    ("", False),
    ("Basic", False),
    ("Basic !!!", False),
    ("Basic " + base64.b64encode(b"\xff:secret").decode(), False),
    ("Basic " + base64.b64encode(b"prometheus").decode(), False),
    ("Bearer secret", False),
]


@pytest.mark.parametrize(("header", "right"), HEADERS, ids=range(len(HEADERS)))
def test_only_the_password_is_accepted(header, right):
    """The first time and, from what is remembered, the second."""

    async def scenario():
        authenticator = webconfig.Authenticator()
        try:
            assert await authenticator.accepts(USERS, header) == right
            assert await authenticator.accepts(USERS, header) == right
            assert len(authenticator._known) == right
        finally:
            authenticator.close()

    asyncio.run(scenario())


def test_a_changed_password_is_not_remembered():
    """What was right for the hash before is not right for the next."""
    other = {"prometheus": bcrypt.hashpw(b"other", bcrypt.gensalt(4))}

    async def scenario():
        authenticator = webconfig.Authenticator()
        assert await authenticator.accepts(USERS, basic("prometheus", "secret"))
        assert not await authenticator.accepts(other, basic("prometheus", "secret"))
        assert not await authenticator.accepts({"x": HASH.encode()}, basic("prometheus", "secret"))
        assert await authenticator.accepts({}, "")
        authenticator.close()

    asyncio.run(scenario())


def test_the_loop_goes_on_while_a_password_is_looked_at():
    """It costs what it is meant to cost, and the loop has its turns meanwhile."""
    slow = {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(10))}

    async def scenario():
        authenticator = webconfig.Authenticator()
        asking = asyncio.ensure_future(authenticator.accepts(slow, basic("prometheus", "secret")))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        assert await asking
        assert turns > 10
        authenticator.close()

    asyncio.run(scenario())
