"""A disk that can be frozen: an ext4 in a file, on a loop device (fsfreeze(8), losetup(8))."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE = 16 << 20


class FreezingDisk:
    """The mounted file system.

    Args:
        mount: an empty directory.
        image: path of the file that holds it.
        size: bytes.
    """

    def __init__(self, mount: Path, image: Path, size: int = SIZE) -> None:
        self.mount = mount
        self._frozen = False
        with image.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-F", str(image))
        _run("mount", "-o", "loop", str(image), str(mount))

    def freeze(self) -> None:
        """Let every write hang from now on."""
        _run("fsfreeze", "--freeze", str(self.mount))
        self._frozen = True

    def thaw(self) -> None:
        """Let them go on."""
        if self._frozen:
            _run("fsfreeze", "--unfreeze", str(self.mount))
            self._frozen = False

    def close(self) -> None:
        """Thaw and unmount."""
        self.thaw()
        _run("umount", "--lazy", str(self.mount))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextlib.contextmanager
def freezing_disk(directory: Path) -> Iterator[FreezingDisk]:
    """Make and mount one in a directory, and remove it even if something hangs."""
    mount = directory / "disk"
    mount.mkdir()
    disk = FreezingDisk(mount, directory / "disk.img")
    try:
        yield disk
    finally:
        disk.close()
