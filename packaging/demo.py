"""The demonstration of ``make run``, in its own network namespace.

It writes a week of a published attack log, shifted so that the week ends now, into a log file that
a real daemon follows, with a real kernel set; then it prints the result.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEEK = ROOT / "tests/traces/seed-week.log"
STAMP = re.compile(r"\[([^\]]+)\]")
CLF = "%d/%b/%Y:%H:%M:%S %z"
PATIENCE = 30.0
BURSTS = 12


def shifted(lines: list[str], now: datetime) -> list[str]:
    """Return the lines with their time moved so that the last one is stamped now."""
    stamps = [datetime.strptime(STAMP.findall(line)[0], CLF).astimezone(UTC) for line in lines]
    shift = now - max(stamps)
    return [
        STAMP.sub(f"[{(stamp + shift).strftime(CLF)}]", line, count=1)
        for line, stamp in zip(lines, stamps, strict=True)
    ]


def show(title: str, text: str) -> None:
    """Print one part of the demonstration."""
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n== {title}")
    print(text.strip("\n"))


class Demo:
    """A daemon in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "access.log"
        self.config = directory / "config.toml"
        self.log.touch()
        self.config.write_text(
            f'logs = ["{self.log}"]\nstate = "{directory}/state.db"\n'
            f'control = "{directory}/control.sock"\n'
        )
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.daemon = subprocess.Popen(self.command("run"))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the real command."""
        return [sys.executable, "-m", "blocker", "--config", str(self.config), *arguments]

    def ask(self, *arguments: str) -> str:
        """Run the real command and return what it prints."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)
        return done.stdout

    def wait_for(self, what: str, *arguments: str) -> None:
        """Wait until a command prints something."""
        deadline = time.monotonic() + PATIENCE
        while what not in self.ask(*arguments):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit("the demonstration failed: see the messages above")
            time.sleep(0.05)

    def play(self) -> int:
        """Write the week into the log, in bursts; return how many lines."""
        lines = shifted(WEEK.read_text().splitlines(keepends=True), datetime.now(UTC))
        step = -(-len(lines) // BURSTS)
        for at in range(0, len(lines), step):
            with self.log.open("a") as log:
                log.writelines(lines[at : at + step])
            time.sleep(0.1)
        return len(lines)

    def metrics(self) -> str:
        """Return the counters as Prometheus would see them, without those that are 0."""
        with urllib.request.urlopen("http://127.0.0.1:9947/metrics", timeout=5) as answer:
            text = answer.read().decode()
        wanted = ("hits_total", "bans_total", "repeat_", "active_bans", "latency_seconds_sum")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        lines = [line for line in lines if not line.endswith(" 0.0")]
        return "\n".join(line for line in lines if any(each in line for each in wanted))

    def stop(self) -> None:
        """Stop the daemon."""
        if self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(PATIENCE)


def main() -> None:
    """Play, wait, print, and stop unless it is to keep running."""
    with tempfile.TemporaryDirectory(prefix="xmlrpc-blocker-") as directory:
        demo = Demo(Path(directory))
        try:
            demo.wait_for('"lag_bytes"', "status", "-o", "json")  # it follows the log by now
            count = demo.play()
            demo.wait_for(f'"lines": {count},', "status", "-o", "json")
            show("the daemon", demo.ask("status"))
            show("active bans (those of the last day of the week)", demo.ask("bans"))
            kernel = ["nft", "list", "set", "inet", "xmlrpc_blocker", "ban4"]
            show(
                "the kernel's set",
                subprocess.run(kernel, capture_output=True, text=True, check=True).stdout,
            )
            show("metrics, at http://127.0.0.1:9947/metrics", demo.metrics())
            keep(demo)
        except KeyboardInterrupt:
            print()
        finally:
            demo.stop()
    print("\nThe namespace and its bans end with this process; this host was not touched.")
    print("To follow a log of this host: make run LOG=/var/log/nginx/access.log")


def keep(demo: Demo) -> None:
    """With KEEP=1, stay until Ctrl-C and print commands to try."""
    if os.environ.get("KEEP") != "1":
        return
    show(
        "kept running, end with Ctrl-C; try, from another terminal",
        f"nsenter -t {demo.daemon.pid} -n curl http://127.0.0.1:9947/metrics\n"
        f"nsenter -t {demo.daemon.pid} -n nft list table inet xmlrpc_blocker\n"
        f"{sys.executable} -m blocker --config {demo.config} bans",
    )
    demo.daemon.wait()


if __name__ == "__main__":
    main()
