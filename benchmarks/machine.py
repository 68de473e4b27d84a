"""What the measurements run on, and what a process costs there."""

import contextlib
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple


class Cost(NamedTuple):
    """What a process used: CPU seconds, user and system, and its peak memory."""

    seconds: float
    megabytes: float


class Peak(threading.Thread):
    """Looks at the peak memory of a process until it ends.

    What the kernel tells at its end would be no less than the memory of whoever started it.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.megabytes = 0.0

    def run(self) -> None:
        """Look now and then."""
        with contextlib.suppress(OSError, KeyError):
            while True:
                self.megabytes = memory(self._pid, "VmHWM")
                time.sleep(0.02)


def cost(
    command: Sequence[str],
    feed: Iterable[bytes] | None = None,
    fine: tuple[int, ...] = (0, 1),
) -> Cost:
    """Run a command, its output into a pipe that is read to its end.

    To /dev/null grep would stop at its first match.  With a feed it goes to a file.

    Raises:
        RuntimeError: it failed.
    """
    with (
        tempfile.TemporaryFile() as answer,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE if feed is None else answer,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        ) as process,
    ):
        peak = Peak(process.pid)
        peak.start()
        if feed is not None and process.stdin is not None:
            _feed(process.stdin, feed)
        while process.stdout is not None and process.stdout.read(1 << 16):
            pass
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak.join()
    if process.returncode not in fine:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, peak.megabytes)


def _feed(pipe: IO[bytes], blocks: Iterable[bytes]) -> None:
    try:
        for block in blocks:
            pipe.write(block)
        pipe.close()
    except BrokenPipeError:
        pass


def on_cpu(pid: int) -> float:
    """Return the seconds that the scheduler has given to all threads of a process."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(path.read_text().split()[0])
    return total / 1e9


def memory(pid: int, field: str = "VmRSS") -> float:
    """Return the memory of a process in MB: VmRSS, or VmHWM for its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def load() -> str:
    """Return the load averages: what else went on."""
    return " ".join(f"{each:.2f}" for each in os.getloadavg())


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _debian() -> str:
    try:
        return Path("/etc/debian_version").read_text().strip()
    except OSError:
        return "no"


def named() -> dict[str, str]:
    """Return what machine this is, without naming it."""
    total = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    return {
        "": f"{os.cpu_count()} cores of {_model()}",
        "memory": f"{total} GiB",
        "Linux": platform.release().partition("-")[0],
        "Debian": _debian(),
        "Python": platform.python_version(),
    }
