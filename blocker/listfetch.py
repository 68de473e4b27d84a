"""Fetches the lists of networks from their publishers, and stores what was looked at.

https only, also behind a redirection; a ceiling on what is read, and a limit in time.  Nothing is
written without being asked for, and a file is replaced whole or not at all.
"""

import os
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

from blocker.errors import BlockerError
from blocker.friends import Network, ShippedList
from blocker.listsource import (
    SOURCES,
    Difference,
    Source,
    beyond_belief,
    difference,
    parse_networks,
    render,
)

MAX_SIZE = 4 << 20
TIMEOUT = 30.0
AGENT = "xmlrpc-blocker"


class Refreshed(NamedTuple):
    """What came of one list.

    Attributes:
        difference: to the list in use.
        doubt: why it is not taken without ``force``, or nothing.
        text: the file as it would be written.
    """

    name: str
    difference: Difference
    doubt: str
    text: str


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where we would have gone by ourselves."""

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
    """Return the text that stands at a URL.

    Args:
        url: https.
        loopback: whether http to 127.0.0.1 will do as well.

    Raises:
        BlockerError: it can't be had, or is too large, or is not served by https.
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
    """Return the text of a file that somebody fetched by hand.

    Raises:
        BlockerError: it can't be read, or is too large.
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
    """Return what a list would become by what its publisher says now.

    Raises:
        BlockerError: it can't be had, or is no list.
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
    """Return what a list would become by a file.

    Raises:
        BlockerError: it can't be read, or is no list.
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
        beyond_belief(old.networks, new),
        render(old, new, today, said),
    )


def store(directory: Path, refreshed: Refreshed) -> Path:
    """Write a list to where it takes precedence over the shipped one; return its file.

    Raises:
        BlockerError: it can't be written.
    """
    path = directory / f"{refreshed.name}.txt"
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=directory, prefix=".", text=True)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(refreshed.text)
                file.flush()
                os.fsync(handle)
                os.fchmod(handle, 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise BlockerError(f"{path}: {error.strerror or error}; try as root") from None
    return path
