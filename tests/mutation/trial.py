"""Runs the tests of one module in a forked process, with one mutant in the module's place.

The working tree is never written to: an import hook compiles the changed syntax tree.
"""

import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from mutation.table import path_of

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = 50
"""What hypothesis tries in each test, at most."""
SLOWER = 5
"""A test may take so many times as long as it does without a mutant."""
GRACE = 2
"""Seconds more, for each test."""
MEMORY = 4 << 30
"""Bytes that a mutant may take; some never stop adding to a list."""
PRELOADED = (
    "hypothesis", "hypothesis.strategies", "_hypothesis_pytestplugin", "attrs", "cattrs",
    "asyncio", "sqlite3", "tomllib", "uvloop", "aiofiles", "ipaddress", "decimal", "rich.table",
    "hypothesis.internal.conjecture.engine", "_pytest.main", "_pytest.python", "_pytest.terminal",
)  # fmt: skip
"""Imported once and shared by all forks, which start faster for it; nothing of ours."""


class Trial(NamedTuple):
    """What is run against a module.

    Attributes:
        module: the name of it.
        files: of its tests, under ``tests``.
        chosen: the tests to run, the fastest first; None for all.
        took: seconds of every test that there is without a mutant.
    """

    module: str
    files: tuple[str, ...]
    chosen: frozenset[str] | None = None
    took: Mapping[str, float] = MappingProxyType({})


class Report(NamedTuple):
    """What a run of tests found.

    Attributes:
        failed: the test that failed, "import" when there was none to run, or "".
        took: seconds of each test.
        touched: by line of the module, the tests that ran it; "" stands for an import.
    """

    failed: str
    took: dict[str, float]
    touched: dict[str, list[str]]


def preload() -> None:
    """Import what every fork would import, and keep what is compiled where it is found again."""
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(ROOT / "build" / "mutation" / "compiled")
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def start(trial: Trial, tree: ast.Module, seconds: float, *, trace: bool = False):
    """Fork a process that runs the trial; return its id and the descriptor of its report."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        os.close(reader)
        _confine(seconds)
        report = _run(trial, tree, trace=trace)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(report).encode())
    finally:
        os._exit(0)  # without a report, this trial has failed in its own way


def _confine(seconds: float) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(ROOT)
    os.environ.pop("CI", None)  # there, a skipped test fails, and hypothesis has another profile
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    limit = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _run(trial: Trial, tree: ast.Module, *, trace: bool) -> Report:
    path = str(ROOT / path_of(trial.module))
    sys.meta_path.insert(0, _Finder(f"blocker.{trial.module}", path, tree))
    sys.path.insert(0, str(ROOT))
    plugin = _Plugin(trial)
    if trace:
        plugin.trace = lambda frame, *_: plugin.line if frame.f_code.co_filename == path else None
        sys.settrace(plugin.trace)
    files = [str(ROOT / "tests" / name) for name in trial.files]
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--noconftest",
               "-W", "ignore::pytest.PytestAssertRewriteWarning")  # fmt: skip
    code = pytest.main([*options, *files], plugins=[plugin])
    sys.settrace(None)
    failed = plugin.failed or ("import" if code else "")
    return Report(failed, plugin.took, {str(key): sorted(v) for key, v in plugin.touched.items()})


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module: the mutant."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(self, fullname, path, target=None):  # noqa: ARG002 - as importlib calls it
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._path)
        loader.tree = self._tree
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from its syntax tree, past the cache of compiled files."""

    tree: ast.Module

    def get_code(self, fullname):  # noqa: ARG002 - as importlib calls it
        return compile(ast.fix_missing_locations(self.tree), self.path, "exec")


class _Plugin:
    """Chooses and orders the tests, has few examples tried, notes what each does."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._now = ""
        self.failed = ""
        self.took: dict[str, float] = {}
        self.touched: dict[int, set[str]] = {}
        self.trace: Callable[..., object] | None = None

    def line(self, frame, event, _):
        if event == "line":
            self.touched.setdefault(frame.f_lineno, set()).add(self._now)
        return self.line

    def pytest_collection_modifyitems(self, items):
        for item in items:
            _settle(item)
        chosen, took = self._trial.chosen, self._trial.took
        if chosen is not None:
            # What a mutant gives another name was not there without it, and is run, too.
            kept = [i for i in items if i.nodeid in chosen or i.nodeid not in took]
            items[:] = sorted(kept, key=lambda item: took.get(item.nodeid, 0))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self._now, started = item.nodeid, _processor_time()
        # Set for each test: Python removes a trace function that fails, as it does in a test that
        # recurses too deeply.
        sys.settrace(self.trace)
        if self._trial.chosen is not None:
            # Without a handler: what runs in C for ever is ended, too.
            usual = self._trial.took.get(item.nodeid, 0)
            signal.setitimer(signal.ITIMER_PROF, GRACE + SLOWER * usual)
        result = yield
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.took[item.nodeid] = _processor_time() - started
        self._now = ""
        return result

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = self.failed or report.nodeid


def _processor_time() -> float:
    """Seconds that this process and those it waited for have had of a processor."""
    return sum(os.times()[:4])


def _settle(item) -> None:
    """Have hypothesis try few examples, the same in each run, without looking for simpler ones."""
    from hypothesis import HealthCheck, Phase, settings  # noqa: PLC0415 - imported by then

    test = getattr(item, "obj", None)
    if not getattr(test, "is_hypothesis_test", False):
        return
    before = test._hypothesis_internal_use_settings
    test._hypothesis_internal_use_settings = settings(
        max_examples=min(before.max_examples, EXAMPLES),
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
