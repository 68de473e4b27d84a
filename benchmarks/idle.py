"""What it costs to wait, and to follow a busy site, by the scheduler's accounts."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.namespaces import namespace

from benchmarks import peers
from benchmarks.figures import Row, Section, absent
from benchmarks.generate import Site, arguments_of
from benchmarks.machine import memory, on_cpu
from benchmarks.rig import Options, has, meanwhile, running, say, status, wait

LOGS, RATE = 10, 5_000
SETTLE = 10.0
HOW = (
    "Seconds on a processor of all threads, as `/proc/PID/task/*/schedstat` has them. Idle: ten "
    "logs that nobody writes, nobody asks for metrics; {idle:.0f} s in each round, fail2ban "
    "beside it with the same logs. Busy: {rate:,} lines a second (2 % hits of 2,000 addresses), "
    "each written by itself, for {busy:.0f} s, after {settle:.0f} s of the same."
)


@contextmanager
def written(log: Path) -> Iterator[None]:
    """Write lines like a busy server: one write for each, evenly in time."""
    words = ["mixed", "--lines", "200000", "--end", str(int(time.time()))]
    text = [line.encode() for line in Site(arguments_of(words)).lines()]

    def repeat(over: threading.Event) -> None:
        file, number, begun = os.open(log, os.O_WRONLY | os.O_APPEND), 0, time.perf_counter()
        while not over.is_set():
            os.write(file, text[number % len(text)])
            number += 1
            time.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        os.close(file)

    with meanwhile(repeat):
        yield


def share(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """Return what part of a core each process uses for so long, in percent."""
    before, begun = {name: on_cpu(pid) for name, pid in pids.items()}, time.perf_counter()
    time.sleep(seconds)
    spent = time.perf_counter() - begun
    return {name: (on_cpu(pid) - before[name]) / spent * 100 for name, pid in pids.items()}


def idle(directory: Path, seconds: float) -> dict[str, float]:
    """Let both wait."""
    directory.mkdir()
    logs = [directory / f"{n}.log" for n in range(LOGS)]
    for log in logs:
        log.touch()
    with ExitStack() as stack:
        _, service = stack.enter_context(running(directory, logs=logs))
        pids = {"ours": service.process.pid}
        if has("fail2ban-server"):
            home = stack.enter_context(namespace())
            server = peers.Fail2ban(home, directory / "fail2ban", logs)
            pids["fail2ban"] = stack.enter_context(server).process.pid
        time.sleep(SETTLE)
        found = share(pids, seconds)
        sizes = {f"{name}, memory": memory(pid) for name, pid in pids.items()}
        return {**found, **sizes}


def busy(directory: Path, seconds: float) -> float:
    """Let ours follow a busy site."""
    with running(directory) as (_, service), written(service.log):
        time.sleep(SETTLE)
        before = status(service, "lines")
        found = share({"ours": service.process.pid}, seconds)["ours"]
        wait(lambda: status(service, "lines") > before + 0.9 * RATE * seconds, 5)
        return found


def measure(options: Options) -> Section:
    """Wait and work in turn."""
    long, short = (300.0, 60.0) if options.long else (30.0, 20.0)
    found: dict[str, list[float]] = {}
    for turn in range(options.rounds):
        # Five minutes once are as good as five rounds of one.
        if not (options.long and turn):
            for name, value in idle(options.directory / f"idle{turn}", long).items():
                found.setdefault(name, []).append(value)
        found.setdefault("busy", []).append(busy(options.directory / f"busy{turn}", short))
        say(str({name: round(values[-1], 4) for name, values in found.items()}))
    rows = [
        Row("idle, ten logs", "% of a core", found["ours"], asked=0.05),
        Row(f"{RATE:,} lines a second", "% of a core", found["busy"], asked=5),
        Row("idle, ten logs: memory", "MB", found["ours, memory"], asked=45),
    ]
    if "fail2ban" in found:
        rows.append(Row("fail2ban: idle, ten logs", "% of a core", found["fail2ban"]))
        rows.append(Row("fail2ban: memory", "MB", found["fail2ban, memory"]))
    else:
        rows.append(absent("fail2ban", "fail2ban"))
    how = HOW.format(idle=long, rate=RATE, busy=short, settle=SETTLE)
    return Section("Waiting and following", how, rows)
