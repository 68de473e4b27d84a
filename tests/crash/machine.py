"""A machine that loses its power: one disk, the file system on it, and what is flushed when.

The file system is the kernel's own, on a loop device over ``crash.disk``.  Its page cache is lost
because nothing can be written after the cut; the disk's cache is lost as far as a seed says.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parents[1]
MIB = 1 << 20


class FileSystem(NamedTuple):
    """How one is made and mounted.

    Attributes:
        size: of its disk, MiB; the least that its maker takes, and some room.
        make: the command, without the device.
        options: of mount; ext4 writes its journal every second instead of every five, so that
            there is something unflushed on its way at each cut.
    """

    name: str
    size: int
    make: tuple[str, ...]
    options: str = "loop,noatime"


FILE_SYSTEMS = {
    each.name: each
    for each in (
        FileSystem(
            "ext4", 96, ("mkfs.ext4", "-q", "-F", "-E", "nodiscard"), "loop,noatime,commit=1"
        ),
        FileSystem("xfs", 384, ("mkfs.xfs", "-q", "-f", "-K")),
        FileSystem("btrfs", 256, ("mkfs.btrfs", "-q", "-f", "-K"), "loop,noatime,commit=1"),
    )
}


def missing(name: str) -> str:
    """Return what this host lacks for such a disk, or nothing."""
    if os.geteuid():
        return "only root can mount"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not Path(device).exists():
            return f"there is no {device}"
    maker = FILE_SYSTEMS[name].make[0]
    if not shutil.which(maker):
        return f"there is no {maker}"
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", name], check=False)
    known = Path("/proc/filesystems").read_text().split()
    return "" if name in known else f"the kernel has no {name}"


class Failure(NamedTuple):
    """One failure of the power: sectors that were in the disk's cache, and that survived."""

    cached: int
    kept: int


class Machine:
    """A disk with a file system on it.

    Args:
        directory: on a disk that has power.
        name: of the file system.

    Attributes:
        root: where it is mounted.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._system = FILE_SYSTEMS[name]
        self._image, self.root = directory / "platter", directory / "disk"
        self.root.mkdir()
        self._other, self._others_device = directory / "other", ""
        with self._other.open("wb") as other:
            other.truncate(MIB)
        words = [sys.executable, "-m", "crash.disk", str(self._image)]
        self._disk = subprocess.Popen(
            [*words, str(self._system.size * MIB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=TESTS,
        )

    def make(self) -> None:
        """Make the file system, and mount it."""
        assert self._disk.stdout.readline() == "there\n"
        _run(*self._system.make, str(self._image))
        self._mount()

    def _mount(self) -> None:
        options = self._system.options
        _run("mount", "-t", self._system.name, "-o", options, str(self._image), str(self.root))

    def _ask(self, command: str) -> list[int]:
        self._disk.stdin.write(f"{command}\n")
        return [int(word) for word in self._disk.stdout.readline().split()]

    def sync(self) -> None:
        """Bring everything onto the platter."""
        _run("sync", "-f", str(self.root))

    def cut(self) -> None:
        """Lose the power: nothing is written any more.  Running processes are to be killed now."""
        self._ask("cut")

    def boot(self, how: str, seed: int) -> Failure:
        """Get the power back and mount what is there; no process may have a file open."""
        self._unmount(self.root)
        cached, kept = self._ask(f"on {how} {seed}")
        self._swap_numbers()
        self._mount()
        return Failure(cached, kept)

    def _swap_numbers(self) -> None:
        """Put another disk before this one, or take it away: device numbers change at boots."""
        if self._others_device:
            _run("losetup", "--detach", self._others_device)
            self._others_device = ""
        else:
            self._others_device = _run("losetup", "--find", "--show", str(self._other)).strip()

    def _unmount(self, place: Path) -> None:
        """Unmount, and wait until killed processes have let go."""
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, f"{place} is busy"
            time.sleep(0.01)

    def close(self) -> None:
        """Take everything down."""
        try:
            if self.root.is_mount():
                self._unmount(self.root)
            self._unmount(self._image)
            if self._others_device:
                self._swap_numbers()
        finally:
            self._disk.stdin.close()
            self._disk.stdout.close()
            self._disk.wait()


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def write_back(file: Path) -> None:
    """Have the kernel begin to write what is unwritten of a file, without a flush."""
    fd = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def flush(file: Path) -> None:
    """Bring a file onto the platter."""
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


@contextmanager
def machine(directory: Path, name: str) -> Iterator[Machine]:
    """A machine that is taken down in any case."""
    made = Machine(directory, name)
    try:
        made.make()
        yield made
    finally:
        made.close()
