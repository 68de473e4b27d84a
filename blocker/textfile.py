"""Reads and writes a small text file whole: a ceiling, UTF-8, and advice in the errors."""

import os
from pathlib import Path

from blocker.errors import ConfigError, file_advice

DIRECTORY = Path("/etc/xmlrpc-blocker")
"""Directory of the configuration and the files that belong to it."""


def read_text(path: Path, characters: int) -> str:
    """Return the text of a file, or of its first bytes if it is longer than ``characters``.

    Raises:
        ConfigError: the file can't be read, or is not UTF-8.
    """
    try:
        content = read_bytes(path, characters)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None


def read_bytes(path: Path, characters: int) -> bytes:
    """Return the bytes of a file, or its first bytes if it is longer than ``characters``.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        # A character has at most four bytes, so a longer text is never cut to the ceiling.
        return file.read(4 * characters + 4)


def unreadable(path: Path, error: OSError) -> ConfigError:
    """Return the error for a file that can't be read, with advice."""
    advice = file_advice(error) or "check the file and the disk"
    return ConfigError(f"{path}: {error.strerror or error}; {advice}")


def write_text(path: Path, text: str) -> None:
    """Write a file that everybody may read; it is there whole, or as it was before.

    Raises:
        OSError: the file can't be written.
    """
    import tempfile  # noqa: PLC0415 - start-up time

    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
            os.fchmod(handle, 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
