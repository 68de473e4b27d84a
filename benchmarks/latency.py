"""From the line in the log to the element in the kernel's set: how long that takes.

A real daemon in a network namespace of its own follows a log.  For each address two lines are
written and judged; then the third is written, and the time runs until the kernel announces the
element in the set, on the socket that ``nft monitor`` listens to as well.  Needs root, or
unprivileged user namespaces.

    benchmarks/latency.py [--addresses 200] [-o text|json]
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from blocker.control import ask
from blocker.errors import NotReachableError

INSIDE = "XMLRPC_BLOCKER_BENCHMARK_INSIDE"
NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
PATIENCE = 20.0
FIRST = IPv4Address("198.18.0.1")


class Rig:
    """A daemon, its log, and an ear for what the kernel announces."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "access.log"
        self.control = str(directory / "control.sock")
        config = directory / "config.toml"
        config.write_text(
            f'logs = ["{self.log}"]\nstate = "{directory}/state.db"\n'
            f'control = "{self.control}"\n[metrics]\nlisten = ""\n'
        )
        self.log.touch()
        self.messages = directory / "messages"
        with self.messages.open("wb") as messages:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "blocker", "--config", str(config), "run"],
                stderr=messages,
            )
        self.wait(lambda: b" started: " in self.messages.read_bytes())
        self.ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.ear.bind((0, 0))
        self.ear.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        self.ear.settimeout(PATIENCE)

    def wait(self, condition) -> None:
        """Ask until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the daemon does not do its part:\n{self.messages.read_text()}")
            time.sleep(0.001)

    def hits(self) -> int:
        """Return how many hits the daemon has judged."""
        try:
            return ask(self.control, {"command": "status"})["hits"]
        except NotReachableError:
            return -1

    def write(self, address: IPv4Address, times: int) -> None:
        """Append lines with one write, as a web server does."""
        stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S %z")
        line = f'{address} - - [{stamp}] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n'
        with self.log.open("a") as log:
            log.write(line * times)

    def measure(self, address: IPv4Address) -> float:
        """Return the milliseconds from the third line to the kernel's set."""
        before = self.hits()
        self.write(address, 2)
        self.wait(lambda: self.hits() >= before + 2)
        # The attribute that holds the key: its length, its type (NFTA_DATA_VALUE), the address.
        key = b"\x08\x00\x01\x00" + address.packed
        begun = time.perf_counter()
        self.write(address, 1)
        while key not in self.ear.recv(65536):
            pass
        spent = (time.perf_counter() - begun) * 1000
        self.wait(lambda: self.hits() >= before + 3)
        return spent

    def close(self) -> None:
        """Stop the daemon."""
        self.ear.close()
        self.daemon.terminate()
        self.daemon.wait(PATIENCE)


def inside_a_namespace() -> None:
    """Start again in a network namespace of one's own."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    program = shutil.which("unshare")
    if program is None:
        sys.exit("unshare is missing; install util-linux")
    own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    os.environ[INSIDE] = "1"
    words = [program, "--net", *own_user, sys.executable, *sys.argv]
    os.execv(program, words)  # noqa: S606 - the same program again, as it was called


def measured(addresses: int) -> list[float]:
    """Return the latency of so many bans, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="xmlrpc-blocker-") as directory:
        rig = Rig(Path(directory))
        try:
            found = []
            for number in range(addresses):
                found.append(rig.measure(FIRST + number))
                if (number + 1) % 50 == 0 or number + 1 == addresses:
                    print(f"{number + 1} of {addresses} bans", file=sys.stderr)
            return found
        finally:
            rig.close()


def summary(found: list[float]) -> dict[str, float]:
    """Return the figures that matter."""
    ordered = sorted(found)
    return {
        "addresses": len(ordered),
        "min_ms": round(ordered[0], 3),
        "median_ms": round(statistics.median(ordered), 3),
        "p99_ms": round(ordered[-(-99 * len(ordered) // 100) - 1], 3),
        "max_ms": round(ordered[-1], 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time from a log line to the kernel's set.")
    parser.add_argument("--addresses", type=int, default=200, metavar="N")
    parser.add_argument("-o", dest="output", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    if not 0 < arguments.addresses <= 10_000:
        parser.error("--addresses: use 1 to 10000")
    inside_a_namespace()
    figures = summary(measured(arguments.addresses))
    if arguments.output == "json":
        print(json.dumps(figures))
        return
    print(
        "log line to kernel set, ms: min {min_ms}, median {median_ms}, 99th percentile {p99_ms}, "
        "max {max_ms} ({addresses} bans)".format(**figures)
    )


if __name__ == "__main__":
    main()
