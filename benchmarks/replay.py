"""Old logs: ``replay`` beside grep, ripgrep, fail2ban-regex and CrowdSec, in turn, as CPU time."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from support.namespaces import Namespace, namespace

from benchmarks import peers
from benchmarks.figures import Row, Section, absent, ratio
from benchmarks.generate import head, write
from benchmarks.machine import cost
from benchmarks.rig import Options, grep, has, ours, say

MILLION, TEN = 1_000_000, 10_000_000
FEW, MORE, DATED = 1_000, 11_000, 101_000
HOW = (
    "A million lines of a busy site (2 % hits of 2,000 addresses, 5 % other POSTs, 5 % "
    "percent-encoded paths, 1 % with `xmlrpc.php` in the referer only), ten million of the same, "
    "and a million lines of a flood (90 % hits of 50,000 addresses). CPU seconds, user and system, "
    "start-up included; all in turn in each round, and ratios within the round. `grep` is "
    "`LC_ALL=C grep -c xmlrpc.php`, into a pipe. fail2ban-regex and CrowdSec read "
    f"{FEW:,} and {MORE:,} lines ({DATED:,} with the date pattern), and what each further line "
    "costs is scaled to a million. CrowdSec runs one parser and one scenario, its API server is "
    "not counted."
)


def scaled(command: Callable[[Path], list[str]], few: Path, more: Path, lines: int) -> float:
    """Return what a million lines would cost, going by what each further line costs."""
    first, second = (cost(command(path)).seconds for path in (few, more))
    return first + (second - first) * (MILLION - FEW) / (lines - FEW)


class Logs:
    """What is read."""

    def __init__(self, directory: Path) -> None:
        say("writing twelve million lines")
        self.mixed = write(directory / "mixed", "mixed", MILLION)
        self.ten = write(directory / "ten", "mixed", TEN)
        self.flood = write(directory / "flood", "flood", MILLION, 50_000)
        self.few, self.more, self.dated = (head(self.mixed, n) for n in (FEW, MORE, DATED))

    def jobs(self, home: Namespace, crowdsec: Path | None) -> dict[str, Callable[[], float]]:
        """Return what is measured, by name."""
        jobs: dict[str, Callable[[], float]] = {
            "grep": lambda: cost(grep(self.mixed)).seconds,
            "replay": lambda: cost(ours(self.mixed)).seconds,
            "grep, ten million": lambda: cost(grep(self.ten)).seconds,
            "replay, ten million": lambda: cost(ours(self.ten)).seconds,
            "grep, flood": lambda: cost(grep(self.flood)).seconds,
            "replay, flood": lambda: cost(ours(self.flood)).seconds,
        }
        if has("rg"):
            words = ["rg", "-c", "--no-mmap", "xmlrpc.php", str(self.mixed)]
            jobs["ripgrep"] = lambda: cost(words).seconds
        if has("fail2ban-regex"):
            usual, dated = peers.fail2ban_usual, peers.fail2ban_dated
            jobs["fail2ban-regex"] = lambda: scaled(usual, self.few, self.more, MORE)
            jobs["fail2ban-regex, date pattern"] = lambda: scaled(
                dated, self.few, self.dated, DATED
            )
        if crowdsec is not None:
            command = peers.crowdsec_replay(home, crowdsec)
            jobs["CrowdSec"] = lambda: scaled(command, self.few, self.more, MORE)
        return jobs


def measure(options: Options) -> Section:
    """Run all in turn."""
    logs = Logs(options.directory)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(namespace())
        config = None
        if peers.has_crowdsec():
            config = stack.enter_context(peers.crowdsec(home, options.directory / "crowdsec"))
        jobs = logs.jobs(home, config)
        found: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(options.rounds):
            for name, job in jobs.items():
                found[name].append(job())
                say(f"{name}: {found[name][-1]:.3f} s of CPU")
    return Section("Old logs", HOW, [*_costs(found), *_ratios(found)])


def _costs(found: dict[str, list[float]]) -> list[Row]:
    names = [
        *("grep", "replay", "ripgrep", "grep, ten million", "replay, ten million", "grep, flood"),
        *("replay, flood", "fail2ban-regex", "fail2ban-regex, date pattern", "CrowdSec"),
    ]
    return [
        Row(name, "CPU s", found[name]) if name in found else absent(name, name.partition(",")[0])
        for name in names
    ]


def _ratios(found: dict[str, list[float]]) -> list[Row]:
    replay, grep_ = found["replay"], found["grep"]
    steps = [
        [ten - one for ten, one in zip(found[f"{name}, ten million"], found[name], strict=True)]
        for name in ("replay", "grep")
    ]
    asked = {"fail2ban-regex": 500, "fail2ban-regex, date pattern": 30, "CrowdSec": 1500}
    flood = [0.9 * MILLION / each for each in found["replay, flood"]]
    return [
        ratio("replay against grep, a million lines", replay, grep_, asked=5),
        ratio("replay against grep, each further line", steps[0], steps[1], asked=3.5),
        *(
            ratio(f"{name} against replay", found[name], replay, asked=least, at_least=True)
            for name, least in asked.items()
            if name in found
        ),
        Row("replay, flood", "hits a CPU second", flood, asked=400_000, at_least=True),
    ]
