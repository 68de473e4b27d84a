"""How cost grows: with lines, hits, addresses, logs and traps.  With bans: see restart."""

import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.figures import Row, Section
from benchmarks.generate import as_json, head, repeated, write
from benchmarks.machine import Cost, cost, on_cpu
from benchmarks.rig import Options, grep, lines, ours, running, say, status, wait
from benchmarks.rig import write as append

MILLION = 1_000_000
LINES = {100_000: 1, MILLION: 1, 10 * MILLION: 10}
LONG_LINES = {100 * MILLION: 100}
SHARES = (0, 0.02, 0.1, 0.5, 0.9, 1)
SHARE_LINES = 200_000
ADDRESSES = (100, 1_000, 10_000, 100_000, MILLION)
LOGS = (1, 10, 100, 1000)
LOG_LINES = 100_000
TRAPS = (1, 2, 5, 10, 20)
PATHS = [
    *("/wp-login.php", "/wp-cron.php", "/admin.php", "/login.php", "/setup.php", "/install.php"),
    *("/upload.php", "/shell.php", "/config.php", "/test.php", "/info.php", "/phpinfo.php"),
    *("/cgi-bin/luci", "/boaform/admin", "/api/login", "/user/login", "/manager/html"),
    *("/actuator/env", "/_ignition/execute"),
]
HOW = (
    "CPU seconds for each million lines, start-up included. Lines: the same million again and "
    "again, dated a day later each time, through a pipe into `replay -`, beside grep. Hits, "
    f"addresses and traps: `replay` of {SHARE_LINES:,} lines (addresses: as many hits as "
    f"addresses, {SHARE_LINES:,} at least). Logs: {LOG_LINES:,} lines (2 % hits), spread over so "
    "many logs that a living daemon follows, until all are judged and committed; and what it costs "
    "to wait, with so many logs, in percent of a core. The longest lines are measured once."
)


class Curve:
    """One row for each point, with the values of all rounds."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = {}

    def note(self, name: str, unit: str, value: float) -> None:
        """Note a value."""
        say(f"{name}: {value:.3f} {unit}")
        self.values.setdefault((name, unit), []).append(value)

    def rows(self) -> list[Row]:
        """Return the rows."""
        return [Row(name, unit, values) for (name, unit), values in self.values.items()]


def by_lines(curve: Curve, million: Path, sizes: Iterable[tuple[int, int]]) -> None:
    """Feed more and more lines."""
    few = head(million, 100_000)
    for count, times in sizes:
        source = few if count < MILLION else million
        costs: dict[str, Cost] = {}
        for name, command in (("grep", grep()), ("replay", ours("-"))):
            costs[name] = cost(command, repeated(source, times))
            each = costs[name].seconds / count * MILLION
            curve.note(f"{count:,} lines: {name}", "CPU s a million", each)
        ratio = costs["replay"].seconds / costs["grep"].seconds
        curve.note(f"{count:,} lines: replay against grep", "times", ratio)
        curve.note(f"{count:,} lines: replay, peak memory", "MB", costs["replay"].megabytes)


def by_share(curve: Curve, directory: Path) -> None:
    """Replay more and more hits."""
    for share in SHARES:
        log = directory / f"share{share}"
        if not log.exists():
            write(log, "mixed", SHARE_LINES, 2000, share=share)
            as_json(log)
        for name, path in (("", log), (", JSON", log.with_name(f"{log.name}.json"))):
            spent = cost(ours(path)).seconds
            curve.note(f"{share:.0%} hits{name}", "CPU s a million", spent / SHARE_LINES * MILLION)


def by_addresses(curve: Curve, directory: Path) -> None:
    """Replay hits of more and more addresses."""
    for count in ADDRESSES:
        log, hits = directory / f"addresses{count}", max(count, SHARE_LINES)
        if not log.exists():
            with log.open("w") as file:
                for start in range(0, hits, 10_000):
                    file.write(lines(n % count for n in range(start, start + 10_000)))
        found = cost(ours(log))
        curve.note(f"{count:,} addresses", "CPU s a million", found.seconds / hits * MILLION)
        curve.note(f"{count:,} addresses: peak memory", "MB", found.megabytes)


def by_traps(curve: Curve, directory: Path) -> None:
    """Replay with more and more traps."""
    log = directory / f"share{SHARES[1]}"
    for count in TRAPS:
        config = directory / f"traps{count}.toml"
        traps = "".join(f'[trap.t{n}]\npath = "{PATHS[n]}"\n' for n in range(count - 1))
        config.write_text(f"{traps}[trap.xmlrpc]\n")
        spent = cost(ours(log, config=config)).seconds
        name = "1 trap" if count == 1 else f"{count} traps"
        curve.note(name, "CPU s a million", spent / SHARE_LINES * MILLION)


def by_logs(curve: Curve, directory: Path, turn: int) -> None:
    """Follow more and more logs."""
    text = head(directory / "mixed", LOG_LINES).read_text().splitlines(keepends=True)
    for count in LOGS:
        home = directory / f"logs{turn}-{count}"
        home.mkdir()
        logs = [home / f"{n}.log" for n in range(count)]
        for log in logs:
            log.touch()
        with running(home, logs=[home / "[0-9]*.log"]) as (_, service):
            wait(lambda count=count: len(service.status()["logs"]) == count, 20)
            waiting = idle(service.process.pid)
            before, begun = on_cpu(service.process.pid), time.perf_counter()
            for n, log in enumerate(logs):
                append(log, "".join(text[n::count]))
            done = wait(lambda: status(service, "lines") >= LOG_LINES, 60, 0.05)
            spent = on_cpu(service.process.pid) - before
        name = "1 log" if count == 1 else f"{count:,} logs"
        curve.note(name, "CPU s a million", spent / LOG_LINES * MILLION)
        curve.note(f"{name}: caught up", "s", done - begun)
        curve.note(f"{name}: waiting", "% of a core", waiting)


def idle(pid: int) -> float:
    """Return what a process costs in the next seconds, in percent of a core."""
    time.sleep(5)
    before = on_cpu(pid)
    time.sleep(10)
    return (on_cpu(pid) - before) / 10 * 100


def measure(options: Options) -> Section:
    """Measure all curves, each in every round."""
    curve, directory = Curve(), options.directory
    million = write(directory / "mixed", "mixed", MILLION)
    for turn in range(options.rounds):
        by_lines(curve, million, LINES.items())
        by_share(curve, directory)
        by_addresses(curve, directory)
        by_traps(curve, directory)
        by_logs(curve, directory, turn)
    if options.long:
        by_lines(curve, million, LONG_LINES.items())
    return Section("How cost grows", HOW, curve.rows())
