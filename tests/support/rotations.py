"""Ways in which a log gets another name, or its name another file."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

Rotate = Callable[[Path], None]


def renamed(name: str) -> Rotate:
    """Return what gives a log this name, in a directory that it makes."""

    def rotate(log: Path) -> None:
        target = log.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        log.rename(target)

    return rotate


def packed(name: str, compress: Callable[[bytes], bytes]) -> Rotate:
    """Return what packs a log under this name, in a directory that it makes."""

    def rotate(log: Path) -> None:
        renamed(name)(log)
        target = log.parent / name
        packed_file = target.with_name("being-packed")
        packed_file.write_bytes(compress(target.read_bytes()))
        packed_file.replace(target)

    return rotate


def relinked(log: Path) -> None:
    """The log is a link, and leads to another day's file by now."""
    log.unlink()
    log.symlink_to(log.with_name("tuesday"))


def hard_linked(log: Path) -> None:
    """The same with a hard link."""
    log.unlink()
    log.with_name("tuesday").touch()
    os.link(log.with_name("tuesday"), log)


def prepare(log: Path, rotate: Rotate) -> None:
    """Make the log the link that is led to another file later."""
    monday = log.with_name("monday")
    if rotate is relinked:
        log.symlink_to(monday)
    elif rotate is hard_linked:
        monday.touch()
        os.link(monday, log)


ROTATIONS = {
    "a symlink's new target": relinked,
    "a hard link's new target": hard_linked,
    "access-2026-03-11T00-00-00.000.log": renamed("access-2026-03-11T00-00-00.000.log"),
    "access.1.log": renamed("access.1.log"),
    "access.log.webstat": renamed("access.log.webstat"),
    "access_20260311.log": renamed("access_20260311.log"),
    "olddir below": renamed("old/access.log.1"),
    "olddir beside": renamed("../old/access.log"),
}
PACKINGS = {
    "old/access.log.bz2": packed("old/access.log.bz2", bz2.compress),
    "access.xz": packed("access.xz", lzma.compress),
    "access.log.packed": packed("access.log.packed", gzip.compress),
}
"""The same, and packed: nothing but the content says which log a file was."""
