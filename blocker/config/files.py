"""Finds and reads the files of the configuration."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from blocker.config import readers
from blocker.config.parse import MAX_SIZE, parse
from blocker.config.schema import Config, FirewallConfig
from blocker.errors import ConfigError
from blocker.textfile import DIRECTORY, read_bytes, read_text, unreadable


def load(path: Path | None = None, directory: Path = DIRECTORY) -> Config:
    """Return the configuration in the file ``path``, or else that in the directory.

    Raises:
        ConfigError: a file can't be read, or has mistakes.
    """
    paths = [path] if path else _standard(directory)
    return parse([(str(each), read_text(each, MAX_SIZE)) for each in paths])


def salvaged(path: Path | None = None, directory: Path = DIRECTORY) -> Config:
    """Return ``control``, ``state`` and ``firewall.table`` of a configuration with mistakes.

    All other keys have their defaults.  The keys are searched in the lines of all tables, and the
    last valid value wins: the mistake may be a missing table header, a quote, or invalid UTF-8.
    """
    found: dict[str, str] = {}
    for each in _places(path, directory):
        for match in _SALVAGED.finditer(each.decode("utf-8", "replace").replace("\r", "\n")):
            with suppress(ValueError):
                text = match["quoted"] or match["bare"]
                found[match["key"]] = _SALVAGERS[match["key"]](text.strip())
    default = Config()
    return Config(
        control=found.get("control", default.control),
        state=found.get("state", default.state),
        firewall=FirewallConfig(table=found.get("table", default.firewall.table)),
    )


_SALVAGERS: Mapping[str, Callable[[object], str]] = {
    "control": readers.socket, "state": readers.file, "table": readers.table,
}  # fmt: skip
# The closing quote may be missing; a string with escapes is skipped.
_SALVAGED = re.compile(
    r"""^[ \t]*(?:firewall[ \t]*[.=][ \t{]*)?["']?(?P<key>control|state|table)["']?[ \t]*=[ \t]*"""
    r"""(?:["'](?P<quoted>[^"'\\\n]++)|(?P<bare>[^\s"'#\\]++))(?!\\)""",
    re.MULTILINE,
)


def _places(path: Path | None, directory: Path) -> Iterator[bytes]:
    """Yield the contents of each file that can be read."""
    paths = [path] if path else [directory / "config.toml"]
    with suppress(ConfigError):
        paths = paths if path else _standard(directory)
    for each in paths:
        with suppress(OSError):
            yield read_bytes(each, MAX_SIZE)


def _standard(directory: Path) -> list[Path]:
    main = directory / "config.toml"
    try:
        parts = sorted(part for part in (directory / "conf.d").iterdir() if _counts(part))
    except (FileNotFoundError, NotADirectoryError):
        parts = []
    except OSError as error:
        raise unreadable(directory / "conf.d", error) from None
    # A dangling symlink is a mistake to report, not an absent file.
    return [main, *parts] if main.is_symlink() or main.exists() else parts


def _counts(path: Path) -> bool:
    # Skips what editors and package managers leave: hidden files and other suffixes.
    return path.suffix == ".toml" and not path.name.startswith(".")
