"""TLS and passwords for ``/metrics``: ``web.config.file`` as in Prometheus' exporter-toolkit.

Supported are ``tls_server_config`` (cert_file, key_file, client_auth_type, client_ca_file,
min_version) and ``basic_auth_users``.  Any other key is refused, because ignoring it could leave
the endpoint less protected than its author expects.  Relative paths are relative to the file.
PyYAML and bcrypt are needed only if this file is used; if one is missing, an error says so.

Checking a password takes a tenth of a second by design.  It is done in a thread, and correct
passwords are cached as keyed hashes, at most ``MAX_KNOWN`` of them.
"""

import asyncio
import base64
import binascii
import hmac
import re
import secrets
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from blocker.errors import ConfigError

MAX_SIZE = 65536
"""Ceiling of the file, bytes."""
MAX_KNOWN = 64
"""Ceiling of the cached passwords; a full cache is emptied."""
_TLS_KEYS = ("cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version")
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_HASH = re.compile(r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}")
_NOBODY = b"$2b$10$7EqJtq98hPqEX7fNZaFWoOhi5BWX4Z1Z0Z1lqpc.y0ZfQ3h5x5p7e"
"""Hash to compare with for an unknown user, so that timing does not reveal which users exist."""

Stamp = tuple[tuple[str, int, int, int], ...]


class WebConfig(NamedTuple):
    """The contents of a ``web.config.file``.

    Attributes:
        tls: context for the server; None for plain HTTP.
        users: bcrypt hashes by name; if empty, no authentication is required.
        stamp: identity, size and time of all files that were read.
    """

    tls: ssl.SSLContext | None = None
    users: Mapping[str, bytes] = {}
    stamp: Stamp = ()


def load(path: Path) -> WebConfig:
    """Return the configuration in a file.

    Raises:
        ConfigError: the file can't be read, or holds something unsupported.
    """
    stamp = stamp_of([path])
    document = _mapping(_yaml(path), path, "", ("tls_server_config", "basic_auth_users"))
    section = document.get("tls_server_config")
    tls, files = (None, []) if section is None else _tls(section, path)
    users = _users(document.get("basic_auth_users"), path)
    return WebConfig(tls, users, stamp + stamp_of(files))


def changed(config: WebConfig) -> bool:
    """Return whether one of the files that were read has changed since."""
    return stamp_of([Path(name) for name, *_ in config.stamp]) != config.stamp


def stamp_of(paths: list[Path]) -> Stamp:
    """Return path, inode, size and mtime (nanoseconds) of each file; zeros if it is missing."""
    found = []
    for path in paths:
        try:
            state = path.stat()
            found.append((str(path), state.st_ino, state.st_size, state.st_mtime_ns))
        except OSError:
            found.append((str(path), 0, 0, 0))
    return tuple(found)


# Reading ---------------------------------------------------------------------------------------


def _needed(module: str, package: str, path: Path) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ConfigError(
            f"{path}: can't be used without {package}; install it (Debian: apt install {package})"
        ) from None


def _yaml(path: Path) -> object:
    yaml = _needed("yaml", "python3-yaml", path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; see [metrics] web_config") from None
    if len(content) > MAX_SIZE:
        raise ConfigError(f"{path}: larger than {MAX_SIZE} bytes; that is no web configuration")
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None


def _mapping(value: object, path: Path, where: str, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where or 'the file'}: must hold keys and values")
    for key in value:
        if known and key not in known:
            raise ConfigError(
                f"{path}: {where}{key!s:.64}: unknown here; known: {', '.join(known)}"
            )
    return value


def _tls(section: object, path: Path) -> tuple[ssl.SSLContext, list[Path]]:
    where = "tls_server_config"
    found = _mapping(section, path, f"{where}.", _TLS_KEYS)
    for key, value in found.items():
        if not isinstance(value, str):
            raise ConfigError(f"{path}: {where}.{key}: must be a text")
    if not (found.get("cert_file") and found.get("key_file")):
        raise ConfigError(f"{path}: {where}: needs cert_file and key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _chosen(found, "min_version", "TLS12", _VERSIONS, path)
    auth = _chosen(found, "client_auth_type", "NoClientCert", _CLIENT_AUTH, path)
    files = {key: path.parent / found[key] for key in found if key.endswith("_file")}
    if (auth != ssl.CERT_NONE) != ("client_ca_file" in files):
        raise ConfigError(
            f"{path}: {where}: client_ca_file and a client_auth_type that verifies go together"
        )
    _load_files(context, files, path)
    context.verify_mode = auth
    return context, list(files.values())


def _chosen(
    found: Mapping[str, str], key: str, default: str, known: Mapping[str, Any], path: Path
) -> Any:
    value = found.get(key) or default
    if value not in known:
        choices = ", ".join(known)
        raise ConfigError(f"{path}: tls_server_config.{key}: {value!r:.64}: one of {choices}")
    return known[value]


def _load_files(context: ssl.SSLContext, files: Mapping[str, Path], path: Path) -> None:
    try:
        # With an empty passphrase, an encrypted key is refused; OpenSSL would prompt otherwise.
        context.load_cert_chain(files["cert_file"], files["key_file"], password=lambda: "")
        if "client_ca_file" in files:
            context.load_verify_locations(files["client_ca_file"])
    except (OSError, ValueError) as error:
        names = ", ".join(str(file) for file in files.values())
        raise ConfigError(
            f"{path}: tls_server_config: {getattr(error, 'reason', '') or error}; look at {names}"
        ) from None


def _users(section: object, path: Path) -> dict[str, bytes]:
    users = _mapping(section, path, "basic_auth_users", ())
    for name, value in users.items():
        if not isinstance(name, str) or not name or ":" in name:
            raise ConfigError(f"{path}: basic_auth_users: {name!s:.64}: no name of a user")
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise ConfigError(
                f"{path}: basic_auth_users.{name:.64}: no hash of bcrypt; "
                "make one with: htpasswd -nBC 10 '' | tr -d ':\\n'"
            )
    if users:
        _needed("bcrypt", "python3-bcrypt", path)
    return {name: value.encode() for name, value in users.items()}


# Authentication --------------------------------------------------------------------------------


class Authenticator:
    """Authenticates requests by name and password, and caches correct passwords."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, None] = {}
        self._thread = ThreadPoolExecutor(1, "bcrypt")

    def close(self) -> None:
        """End the thread without waiting for a running check."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def accepts(self, users: Mapping[str, bytes], header: str) -> bool:
        """Return whether an ``Authorization`` header (RFC 7617) is valid for one of the users."""
        if not users:
            return True
        pair = _credentials(header)
        if pair is None:
            return False
        name, password = pair
        hashed = users.get(name, _NOBODY)
        seen = hmac.digest(self._key, name.encode() + b"\0" + password + b"\0" + hashed, "sha256")
        if seen in self._known:
            return True
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._thread, _is_right, password, hashed)
        if not right or name not in users:
            return False
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[seen] = None
        return True


def _credentials(header: str) -> tuple[str, bytes] | None:
    scheme, _, text = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def _is_right(password: bytes, hashed: bytes) -> bool:
    try:
        return bool(import_module("bcrypt").checkpw(password, hashed))
    except ValueError:  # longer than bcrypt accepts
        return False
