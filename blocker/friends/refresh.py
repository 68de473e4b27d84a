"""Fetches the lists of networks from their publishers, and stores them.

Only https is used, also after a redirect; the size has a ceiling, and the wait has a timeout.  A
list is written only by ``store``, which replaces the file atomically.
"""

import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

from blocker.errors import BlockerError
from blocker.friends.network_list import Network, ShippedList
from blocker.friends.publishers import (
    SOURCES,
    Difference,
    Source,
    difference,
    parse_networks,
    render,
    suspicious,
)
from blocker.textfile import write_text

MAX_SIZE = 4 << 20
"""Ceiling of a fetched list, bytes."""
TIMEOUT = 30.0
"""Timeout of a connection and of each read, seconds."""
AGENT = "xmlrpc-blocker"


class Refreshed(NamedTuple):
    """A refreshed list, not stored yet.

    Attributes:
        name: name of the list.
        difference: changes to the list in use.
        doubt: why the list is suspicious and accepted only with ``--force``, or "".
        text: the text of the new file.
    """

    name: str
    difference: Difference
    doubt: str
    text: str


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to a URL that ``fetch`` would accept."""

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check(newurl, loopback=self._loopback)
        except BlockerError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str, *, loopback: bool) -> None:
    parts = urlsplit(url)
    plain = loopback and parts.scheme == "http" and parts.hostname == "127.0.0.1"
    if parts.scheme != "https" and not plain:
        raise BlockerError(
            f"{url}: not https; a list that makes friends must be from its publisher"
        )


def fetch(url: str, *, loopback: bool = False) -> str:
    """Return the text at a URL.

    Args:
        url: an https URL.
        loopback: whether http to 127.0.0.1 is accepted as well.

    Raises:
        BlockerError: the URL is not https, the request failed, or the text exceeds ``MAX_SIZE``.
    """
    _check(url, loopback=loopback)
    opener = urllib.request.build_opener(_Careful(loopback=loopback))
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})  # noqa: S310 - checked
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(MAX_SIZE + 1)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise BlockerError(f"{url}: {getattr(error, 'reason', '') or error}; try later") from None
    return _text(content, url)


def read(path: Path) -> str:
    """Return the text of a file that the administrator downloaded.

    Raises:
        BlockerError: the file can't be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            return _text(file.read(4 * MAX_SIZE), str(path), 4 * MAX_SIZE - 1)
    except OSError as error:
        raise BlockerError(
            f"{path}: {error.strerror or error}; name a file that you may read"
        ) from None


def _text(content: bytes, where: str, ceiling: int = MAX_SIZE) -> str:
    if len(content) > ceiling:
        raise BlockerError(f"{where}: more than {ceiling >> 20} MiB; that is no list")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BlockerError(f"{where}: is no text") from None


def refresh(
    old: ShippedList,
    fetched: Callable[[str], str],
    sources: dict[str, Source] = SOURCES,
) -> Refreshed:
    """Return a list with the networks that its publisher lists now; ``fetched`` gets a URL's text.

    Raises:
        BlockerError: the list can't be fetched, or is invalid.
    """
    source = sources[old.name]
    if not source.urls:
        raise BlockerError(
            f"{old.name}: published for people only; get it from {old.source}"
            f" and give it with: lists refresh {old.name} --from FILE"
        )
    texts = [(url, fetched(url)) for url in source.urls]
    return _compared(old, texts, source, " and ".join(source.urls))


def refresh_from(old: ShippedList, path: Path) -> Refreshed:
    """Return a list with the networks in a file.

    Raises:
        BlockerError: the file can't be read, or is no list.
    """
    return _compared(old, [(str(path), read(path))], SOURCES[old.name], old.source)


def _compared(
    old: ShippedList, texts: Sequence[tuple[str, str]], source: Source, said: str
) -> Refreshed:
    networks: dict[Network, None] = {}
    for where, text in texts:
        try:
            networks |= dict.fromkeys(parse_networks(text, source))
        except ValueError as error:
            raise BlockerError(f"{where}: {error}; the list {old.name} stays as it is") from None
    new = tuple(networks)
    today = datetime.now(UTC).date().isoformat()
    return Refreshed(
        old.name,
        difference(old.networks, new),
        suspicious(old.networks, new),
        render(old, new, today, said),
    )


def store(directory: Path, refreshed: Refreshed) -> Path:
    """Write a list to a directory in which it takes precedence over the shipped one.

    Returns:
        the path of the file.

    Raises:
        BlockerError: the file can't be written.
    """
    path = directory / f"{refreshed.name}.txt"
    try:
        write_text(path, refreshed.text)
    except OSError as error:
        raise BlockerError(f"{path}: {error.strerror or error}; try as root") from None
    return path
