"""A real journal that no other process sees: systemd-journald with a /run of its own.

It lives in a mount namespace, and so do the processes that use it.  Its storage vanishes with it.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.daemons import wait_for
from support.namespaces import Namespace

SETTINGS = "[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\nRateLimitBurst=0\\n"
SCRIPT = f"""\
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal
printf '{SETTINGS}' >/run/journald.conf
mount --bind /run/journald.conf /etc/systemd/journald.conf
printf '%032d\\n' 7 >/run/machine-id
test -e /etc/machine-id || : >/etc/machine-id
mount --bind /run/machine-id /etc/machine-id
exec /lib/systemd/systemd-journald
"""
SOCKETS = "socket", "stdout", "dev-log"
"""It makes them one after the other."""
LARGE = 100_000
"""Bytes of an entry that goes in a sealed file instead of a datagram."""
SPEAKER = """\
import os, socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/systemd/journal/stdout")
stream.sendall(b"xmlrpc-blocker\\n\\n6\\n1\\n0\\n0\\n0\\n")
os.dup2(stream.fileno(), 2)
info = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{info.st_dev}:{info.st_ino}"
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Gives a program the journal for its standard error, as systemd does."""


class Journal:
    """A running journald."""

    def __init__(self, home: Namespace) -> None:
        # As systemd sets it before it makes the journal's sockets.
        home.run("sh", "-c", "echo 512 >/proc/sys/net/unix/max_dgram_qlen")
        words = ("unshare", "--mount", "--propagation=private", "sh", "-c", SCRIPT)
        self._process = subprocess.Popen(home.command(*words))
        wait_for(self._is_ready, "the journal to listen")

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        sockets = " -a ".join(f"-S /run/systemd/journal/{each}" for each in SOCKETS)
        done = subprocess.run(self.inside("test", *sockets.split()), check=False)
        return done.returncode == 0

    def inside(self, *words: str) -> list[str]:
        """Return the words of a command that sees this journal and no other."""
        return ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", *words]

    def read(self, *matches: str) -> list[dict[str, Any]]:
        """Return the entries that match, as ``journalctl`` prints them."""
        done = subprocess.run(
            self.inside("journalctl", "--quiet", "--output=json", *matches),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def directory(self) -> Path:
        """Where its files are, for a program outside."""
        return Path(f"/proc/{self._process.pid}/root/run/log/journal/{7:032d}")

    def send(self, *messages: bytes, fields: bytes = b"SYSLOG_IDENTIFIER=web\n") -> None:
        """Write entries as programs do that speak the journal's own protocol."""
        place = f"/proc/{self._process.pid}/root/run/systemd/journal/socket"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as pen:
            pen.connect(place)
            for message in messages:
                entry = fields + b"MESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n"
                if len(entry) < LARGE:
                    pen.send(entry)
                    continue
                sealed = os.memfd_create("entry", os.MFD_ALLOW_SEALING)
                os.write(sealed, entry)
                seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
                fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_WRITE)
                socket.send_fds(pen, [b""], [sealed])
                os.close(sealed)

    def rotate(self) -> None:
        """Have it begin a new file behind what was sent, and wait until it has."""
        # A signal overtakes the entries that wait in the socket.
        mark = f"SYSLOG_IDENTIFIER=mark{time.monotonic_ns()}"
        self.send(b"", fields=f"{mark}\n".encode())
        wait_for(lambda: self.read(mark), "what was sent to be written")
        before = set(self.archived())
        os.kill(self._process.pid, signal.SIGUSR2)
        wait_for(lambda: set(self.archived()) - before, "a rotation of the journal")

    def archived(self) -> list[Path]:
        """Return the files that were rotated away."""
        return list(self.directory.glob("*@*"))

    def vacuum(self) -> None:
        """Delete the files that were rotated away."""
        for path in self.archived():
            path.unlink()

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def journal(home: Namespace) -> Iterator[Journal]:
    """A journal that is gone in the end."""
    made = Journal(home)
    try:
        yield made
    finally:
        made.close()
