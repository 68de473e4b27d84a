"""Mutation testing: changes the pure modules in small ways, and sees whether a test notices.

``run.py [MODULE…]``; without names, all modules of ``table.py``.  What survives is printed as a
difference, and kept in build/mutation: results.json and survivors.diff.  A result is remembered
while it can't have changed: that of a mutant which was killed as long as the module and the test
that killed it are the same; that of a survivor as long as the module and its tests are.
"""

import ast
import hashlib
import json
import os
import select
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mutation.mutants import Mutant, changed, mutants_of
from mutation.table import TESTS, path_of
from mutation.trial import GRACE, ROOT, SLOWER, Report, Trial, preload, start

KEPT = ROOT / "build" / "mutation"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"
JOBS = int(os.environ.get("JOBS", "2"))
FLOOR = 90
"""Percent that have to be killed of each module."""
SHOWN = ("where", "line", "before", "after")
"""What is kept of a survivor."""


class Running(NamedTuple):
    """A mutant that is being tried."""

    mutant: Mutant
    child: int
    reader: int
    until: float


class Outcome(NamedTuple):
    """What became of a mutant: the test that noticed it, "" if none did, None if unknown."""

    mutant: Mutant
    killer: str | None


class Cache:
    """Outcomes of former runs."""

    def __init__(self, module: str, source: str) -> None:
        self._name, self._path = module, KEPT / f"{module}.json"
        self._tests = {name: (ROOT / "tests" / name).read_text() for name in TESTS[module]}
        self._module = _digest(source + sys.version)
        self._all = _digest(json.dumps(self._tests))
        self._functions = {
            f"tests/{name}::{node.name}": _digest(ast.dump(node))
            for name, text in self._tests.items()
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef)
        }
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._known = kept.get("known", {}) if kept.get("module") == self._module else {}

    def get(self, mutant: Mutant) -> str | None:
        """Return the killer of a mutant, "" for a survivor, None if that is not known."""
        killer, proof = self._known.get(_name(mutant), ("", ""))
        return killer if proof and proof == self._proof(killer) else None

    def put(self, mutant: Mutant, killer: str) -> None:
        """Remember it."""
        self._known[_name(mutant)] = (killer, self._proof(killer))

    def save(self) -> None:
        """Write what is remembered, unless it was found out about something else."""
        now = Cache(self._name, (ROOT / path_of(self._name)).read_text())
        if (now._module, now._all) != (self._module, self._all):
            sys.exit(f"{self._name}: the module or its tests were changed meanwhile; begin again")
        self._path.write_text(json.dumps({"module": self._module, "known": self._known}))

    def _proof(self, killer: str) -> str:
        return self._functions.get(killer.partition("[")[0], self._all)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name(mutant: Mutant) -> str:
    return f"{mutant.where}:{mutant.line}: {mutant.after}"


def finish(running: list[Running]) -> Outcome:
    """Wait until a mutant is through, or its time is, and take it out.

    A mutant that uses the processor for too long ends itself and is killed.  One that only took
    long by the clock is ended here, and nothing is known of it: the machine may have been paused.
    """
    while True:
        readable, _, _ = select.select([each.reader for each in running], [], [], 0.5)
        late = {each.reader for each in running if time.monotonic() > each.until} - {*readable}
        for each in running:
            if each.reader in late:
                os.killpg(each.child, signal.SIGKILL)
            if each.reader in late or each.reader in readable:
                running.remove(each)
                failed = _finished(each.child, each.reader).failed
                return Outcome(each.mutant, None if each.reader in late else failed)


def baseline(module: str, tree: ast.Module) -> Report:
    """Run the tests with the module as it is, and note which of them runs which line."""
    traced, timed = (
        _finished(*start(Trial(module, TESTS[module]), tree, 600, trace=trace))
        for trace in (True, False)
    )
    for report in (traced, timed):
        if report.failed:
            sys.exit(f"{module}: its tests fail without a mutant: {report.failed}")
    return timed._replace(touched=traced.touched)


def _finished(child: int, reader: int) -> Report:
    """Return what a process reports at its end."""
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    # No report: the processor's time is up, or the mutant has brought the interpreter down.
    return Report(*json.loads(text)) if text else Report("time limit", {}, {})


def trial_of(module: str, mutant: Mutant, base: Report) -> Trial:
    """Return the tests that run the lines of a mutant; all, if an import does."""
    lines = range(mutant.line, mutant.last + 1)
    tests = {test for line in lines for test in base.touched.get(str(line), ())}
    chosen = base.took.keys() if "" in tests else tests
    files = [name for name in TESTS[module] if any(f"tests/{name}::" in test for test in chosen)]
    return Trial(module, tuple(files), frozenset(chosen), base.took)


def attempt(module: str, progress: "Progress") -> list[Outcome]:
    """Try all mutants of a module whose outcome is not known."""
    source = (ROOT / path_of(module)).read_text()
    tree, mutants = mutants_of(source)
    cache = Cache(module, source)
    known = [Outcome(mutant, cache.get(mutant)) for mutant in mutants]
    outcomes = [outcome for outcome in known if outcome.killer is not None]
    waiting = [mutant for mutant, killer in known if killer is None]
    progress.begin(module, len(waiting), len(outcomes))
    if waiting:
        base = baseline(module, tree)
        trials = [(mutant, trial_of(module, mutant, base)) for mutant in waiting]
        for outcome in tried(trials, tree):
            outcomes.append(outcome)
            if outcome.killer is not None:
                cache.put(*outcome)
            progress.step(outcome.killer)
            if progress.done % 50 == 0:
                cache.save()
    cache.save()
    return sorted(outcomes, key=lambda outcome: outcome.mutant.line)


def tried(trials: list[tuple[Mutant, Trial]], tree: ast.Module) -> Iterator[Outcome]:
    """Yield the outcome of each trial, a few at a time, as they end."""
    running: list[Running] = []
    try:
        for mutant, trial in trials:
            if not trial.chosen:  # no test runs these lines
                yield Outcome(mutant, "")
                continue
            if len(running) >= JOBS:
                yield finish(running)
            seconds = GRACE + SLOWER * sum(trial.took[test] for test in trial.chosen)
            with changed(mutant.slot, mutant.new):
                child, reader = start(trial, tree, seconds)
            running.append(Running(mutant, child, reader, time.monotonic() + 4 * seconds))
        while running:
            yield finish(running)
    finally:
        for each in running:
            os.killpg(each.child, signal.SIGKILL)


class Progress:
    """A line that says how far a module is."""

    def begin(self, module: str, total: int, known: int) -> None:
        """Start with a module."""
        self._module, self._total, self._known = module, total, known
        self.done = self._alive = 0
        self._started = time.monotonic()

    def step(self, killer: str) -> None:
        """Note one more outcome."""
        self.done += 1
        self._alive += not killer
        left = (time.monotonic() - self._started) / self.done * (self._total - self.done)
        last, shown = self.done == self._total, sys.stderr.isatty()
        if last or shown or self.done % 50 == 0:
            end = "   \r" if shown and not last else "\n"
            sys.stderr.write(
                f"{self._module}: {self.done} of {self._total} ({self._known} known),"
                f" {self._alive} survive, {left:.0f} s left{end}"
            )
            sys.stderr.flush()


class Result(NamedTuple):
    """The score of one module."""

    module: str
    mutants: int
    killed: int
    equivalent: int
    survivors: list[dict[str, object]]
    wrong: list[str]

    @property
    def score(self) -> float:
        """Percent killed of those that differ from the module."""
        return 100 * self.killed / max(1, self.mutants - self.equivalent)


def judged(module: str, outcomes: list[Outcome]) -> Result:
    """Return the score; survivors that are listed as equivalent are left out of it."""
    alive = [outcome.mutant for outcome in outcomes if not outcome.killer]
    listed = tomllib.loads(EQUIVALENT.read_text()).get(module, [])
    survivors = [each for each in alive if not any(_is_meant(entry, each) for entry in listed)]
    return Result(
        module,
        len(outcomes),
        len(outcomes) - len(alive),
        len(alive) - len(survivors),
        [{key: getattr(each, key) for key in SHOWN} for each in survivors],
        [str(entry) for entry in listed if not any(_is_meant(entry, each) for each in alive)],
    )


def _is_meant(entry: dict[str, list[str]], mutant: Mutant) -> bool:
    """Whether an entry names a mutant, or the statement all of whose survivors are equivalent."""
    return mutant.after in entry.get("after", ()) or mutant.before in entry.get("before", ())


def difference(module: str, survivor) -> str:
    """Return a survivor as a difference."""
    place = f"{path_of(module)}:{survivor['line']} {survivor['where']}"
    return f"@@ {place}\n-{survivor['before']}\n+{survivor['after']}\n"


def table(results: list[Result]) -> str:
    """Return the scores as a table."""
    lines = ["| module | mutants | killed | survived | equivalent | score |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {each.module} | {each.mutants} | {each.killed} | {len(each.survivors)} "
        f"| {each.equivalent} | {each.score:.1f} % |"
        for each in results
    ]
    return "\n".join(lines)


def keep(result: Result) -> None:
    """Write a module's result beside those of the others."""
    path = KEPT / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results[result.module] = result._asdict() | {"score": round(result.score, 1)}
    path.write_text(json.dumps(results, indent=1, sort_keys=True))
    diffs = [difference(name, one) for name in results for one in results[name]["survivors"]]
    (KEPT / "survivors.diff").write_text("".join(diffs))


def main() -> int:
    """Try the modules that are named, and print what survives."""
    modules = sys.argv[1:] or sorted(TESTS)
    if unknown := set(modules) - TESTS.keys():
        sys.exit(f"no such module in tests/mutation/table.py: {', '.join(sorted(unknown))}")
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and with it what is running
    KEPT.mkdir(parents=True, exist_ok=True)
    preload()
    progress = Progress()
    results = []
    for module in modules:
        results.append(judged(module, attempt(module, progress)))
        keep(results[-1])
    found = [difference(each.module, one) for each in results for one in each.survivors]
    sys.stdout.write("".join(found) + "\n" + table(results) + "\n")
    wrong = [f"{each.module}: {text}" for each in results for text in each.wrong]
    for text in wrong:
        sys.stdout.write(f"listed as equivalent, but killed, or no mutant any more: {text}\n")
    return bool(wrong or any(each.score < FLOOR for each in results))


if __name__ == "__main__":
    sys.exit(main())
