"""A flood on a living daemon, and what a million addresses that it has to remember weigh."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Row, Section
from benchmarks.generate import write
from benchmarks.machine import memory, on_cpu
from benchmarks.memory import write_flood
from benchmarks.rig import ROOT, Answers, Options, running, say, status, wait

LINES, ADDRESSES, HITS = 1_000_000, 50_000, 0.9
TRACKED = 1_000_000
HOW = (
    f"{LINES:,} lines, {HITS:.0%} hits of {ADDRESSES:,} addresses, are appended to the log of a "
    "daemon at work, as fast as the disk takes them: from the first write until all are judged, "
    "all bans are in the kernel and everything is committed. Metrics and `status` are asked "
    f"meanwhile. Memory: {TRACKED:,} addresses, half of them IPv6, each with one or two pending "
    "hits; of the judge alone, and of the whole daemon."
)


def flood(directory: Path, log: Path) -> dict[str, float]:
    """Flood a daemon."""
    with running(directory) as (home, service), Answers(home, service) as answers:
        text, pid = log.read_bytes(), service.process.pid
        before, begun = on_cpu(pid), time.perf_counter()
        with service.log.open("ab") as file:
            file.write(text)
        done = wait(lambda: status(service, "lines") >= LINES, 120, 0.02)
        count = status(service, "hits")
        control, metrics = answers.slowest
        return {
            "hits a second": count / (done - begun),
            "hits a CPU second": count / (on_cpu(pid) - before),
            "slowest status": control,
            "slowest metrics": metrics,
            "peak memory": memory(pid, "VmHWM"),
        }


def weight(directory: Path) -> float:
    """Return the bytes that a daemon grows by for each address that it tracks."""
    with running(directory) as (_, service):
        pid = service.process.pid
        before = memory(pid)
        count = write_flood(service.log, 0)
        wait(lambda: status(service, "lines") >= count, 300, 0.2)
        return (memory(pid) - before) * (1 << 20) / TRACKED


def judge() -> float:
    """Return the same of the judge alone, in a process of its own."""
    code = "from benchmarks.memory import judge_weight; print(judge_weight())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    return float(done.stdout)


def measure(options: Options) -> Section:
    """Flood and weigh in turn."""
    log = write(options.directory / "flood", "flood", LINES, ADDRESSES, end=int(time.time()))
    found: dict[str, list[float]] = {}
    for turn in range(options.rounds):
        each = flood(options.directory / f"flood{turn}", log)
        each["judge"], each["daemon"] = judge(), weight(options.directory / f"tracked{turn}")
        for name, value in each.items():
            found.setdefault(name, []).append(value)
        say(str({name: round(value, 1) for name, value in each.items()}))
    return Section(
        "A flood",
        HOW,
        [
            Row("living daemon", "hits/s", found["hits a second"], asked=150_000, at_least=True),
            Row("living daemon", "hits a CPU second", found["hits a CPU second"]),
            Row("slowest status", "ms", found["slowest status"], asked=100),
            Row("slowest metrics", "ms", found["slowest metrics"], asked=100),
            Row("peak memory", "MB", found["peak memory"]),
            Row("judge, growth per tracked address", "bytes", found["judge"], asked=200),
            Row("daemon, growth per tracked address", "bytes", found["daemon"], asked=200),
        ],
    )
