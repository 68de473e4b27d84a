"""Our ``replay`` beside grep, ripgrep and fail2ban-regex: in turn, as ratios of CPU time.

    python benchmarks/compare.py                       five rounds over a million lines
    python benchmarks/compare.py --lines 100000 --rounds 3 --guard

CPU time is user + system of the whole process, start-up included.  grep counts into a pipe: to
/dev/null it would stop at its first match.  fail2ban is far slower, so it reads the first
``--few`` lines, and its figure is scaled to all of them; it is said where that is so.  ``--guard``
fails if ours costs more than ten times grep's: a clear regression, whatever the machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
GUARD = 10.0
FILTER = r"^<HOST> \S+ \S+ \[[^\]]*\] \"POST /xmlrpc\.php"


class Tool(NamedTuple):
    """One command, the log it reads, and what its time is multiplied by."""

    name: str
    command: list[str]
    scale: float


def cpu_seconds(command: list[str]) -> float:
    """Run a command into a pipe and return its user + system time."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    ) as process:
        while process.stdout.read(1 << 16):
            pass
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1}:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def generate(path: Path, kind: str, lines: int, addresses: int) -> None:
    """Write a log."""
    generator = [sys.executable, str(HERE / "generate.py"), kind, "--lines", str(lines)]
    with path.open("wb") as log:
        subprocess.run([*generator, "--addresses", str(addresses)], stdout=log, check=True)


def head(source: Path, target: Path, lines: int) -> None:
    """Copy the first lines."""
    with source.open("rb") as whole, target.open("wb") as part:
        for _, line in zip(range(lines), whole, strict=False):
            part.write(line)


def ours(log: Path) -> list[str]:
    """Return our command."""
    return [sys.executable, "-m", "blocker", "replay", "-o", "json", str(log)]


def tools(directory: Path, arguments: argparse.Namespace) -> list[Tool]:
    """Return what is installed; ours and grep always are."""
    mixed, ten, flood, few = (directory / name for name in ("mixed", "ten", "flood", "few"))
    generate(mixed, "mixed", arguments.lines, 2000)
    generate(ten, "mixed", arguments.lines * 10, 2000)
    generate(flood, "flood", arguments.lines, 50_000)
    head(mixed, few, arguments.few)
    found = [
        Tool("grep -c", ["grep", "-c", "xmlrpc.php", str(mixed)], 1),
        Tool("replay", ours(mixed), 1),
        Tool("grep -c, ten times the lines", ["grep", "-c", "xmlrpc.php", str(ten)], 1),
        Tool("replay, ten times the lines", ours(ten), 1),
        Tool("replay, flood", ours(flood), 1),
    ]
    if shutil.which("rg"):
        found.append(Tool("ripgrep -c", ["rg", "-c", "--no-mmap", "xmlrpc.php", str(mixed)], 1))
    if shutil.which("fail2ban-regex"):
        scale = arguments.lines / arguments.few
        usual = ["fail2ban-regex", str(few), FILTER]
        dated = ["fail2ban-regex", "-d", r"%d/%b/%Y:%H:%M:%S %z", str(few), FILTER]
        found.append(Tool("fail2ban-regex, as usual (scaled)", usual, scale))
        found.append(Tool("fail2ban-regex, date pattern (scaled)", dated, scale))
    return found


def measure(found: list[Tool], rounds: int) -> dict[str, list[float]]:
    """Run all in turn, so often."""
    times: dict[str, list[float]] = {tool.name: [] for tool in found}
    for number in range(rounds):
        for tool in found:
            print(f"round {number + 1}/{rounds}: {tool.name}\033[K", end="\r", file=sys.stderr)
            times[tool.name].append(cpu_seconds(tool.command) * tool.scale)
    print("\033[K", end="", file=sys.stderr)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=20_000, help="lines for fail2ban")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("-o", dest="output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xmlrpc-blocker-") as directory:
        times = measure(tools(Path(directory), arguments), arguments.rounds)
    grep = statistics.median(times["grep -c"])
    rows = [
        {
            "tool": name, "min": min(each), "median": statistics.median(each), "max": max(each),
            "times_grep": statistics.median(each) / grep,
        }
        for name, each in times.items()
    ]  # fmt: skip
    report(rows, times, arguments)


def report(rows: list[dict], times: dict[str, list[float]], arguments: argparse.Namespace) -> None:
    """Print the figures and the three ratios that matter."""
    median = {row["tool"]: row["median"] for row in rows}
    ratio = median["replay"] / median["grep -c"]
    steps = [
        (b - a) / (d - c)
        for a, b, c, d in zip(
            times["replay"], times["replay, ten times the lines"],
            times["grep -c"], times["grep -c, ten times the lines"], strict=True,
        )
    ]  # fmt: skip
    slope, flood = statistics.median(steps), 0.9 * arguments.lines / median["replay, flood"]
    if arguments.output == "json":
        totals = {"ratio": ratio, "slope": slope, "flood_hits_per_second": flood}
        print(json.dumps({"lines": arguments.lines, "tools": rows, **totals}))
    else:
        print(f"{'CPU seconds':<40} {'min':>8} {'median':>8} {'max':>8} {'x grep':>8}")
        for row in rows:
            print(
                f"{row['tool']:<40} {row['min']:8.3f} {row['median']:8.3f} {row['max']:8.3f}"
                f" {row['times_grep']:8.1f}"
            )
        print(f"\nreplay: {ratio:.1f} x grep, {slope:.1f} x per additional line")
        print(f"flood: {flood:,.0f} hits a second")
    if arguments.guard and ratio > GUARD:
        sys.exit(f"replay costs {ratio:.1f} times grep: more than {GUARD:.0f}, something is wrong")


if __name__ == "__main__":
    main()
