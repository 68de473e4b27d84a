"""The house itself: pure modules stay pure, functions short, and every test is a sentence."""

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "blocker"
PURE = {
    "model", "errors", "config", "friends", "lines", "logformat", "match", "judge", "merge",
    "json_lines", "book", "notices", "ruleset", "netlink", "report", "listsource", "values",
    "catalogue", "hours", "events", "offenders",
    "fail2ban", "escape", "health", "targets", "orders",
}  # fmt: skip
HANDS = {
    "tail", "generation", "generations", "directories", "disks", "inotify", "logfile", "naming",
    "walk", "rounds", "rewritten",
    "configfile", "firewall",
    "channel", "monitor", "store", "metrics", "control", "offline", "show", "logs", "enforce",
    "batch", "committer", "ledger", "threads",
    "metricsserver", "statelock", "intake", "engine", "desk", "figures", "life", "origins",
    "listfetch", "webconfig", "backfill", "access", "patterns", "troubles", "byhand", "check",
    "ceiling",
}  # fmt: skip
TOP = {"daemon", "cli", "__main__", "__init__"}
WORLD = {
    "asyncio", "time", "os", "socket", "subprocess", "logging", "threading", "concurrent",
    "sqlite3", "ctypes", "pathlib", "io", "selectors", "signal", "aiofiles", "uvloop", "nftables",
    "prometheus_client", "sdnotify", "random", "tempfile", "urllib",
}  # fmt: skip
CONVERSIONS = {"AF_INET", "AF_INET6", "inet_pton"}
"""What the world lends to the pure: out of ``socket``, and touches none."""
MAX_FUNCTION = 45
MAX_MODULE = 900


def modules():
    return {path.stem: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}


MODULES = modules()


def imports(tree, *, top_level_only=False):
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in itertools.filterfalse(borrows_only_conversions, nodes):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def borrows_only_conversions(node):
    """Tell whether an import takes nothing but text to bytes."""
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "socket"
        and {alias.name for alias in node.names} <= CONVERSIONS
    )


def functions(tree):
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_every_module_has_its_place():
    """A new module says whether it is head or hand."""
    assert set(MODULES) == PURE | HANDS | TOP


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_imports_nothing_of_the_world(name):
    """No clock, no files, no sockets, no threads, no logging; and only pure neighbours."""
    for imported in imports(MODULES[name]):
        top, _, rest = imported.partition(".")
        assert top not in WORLD, f"{name} imports {imported}"
        if top == "blocker" and rest:
            assert rest in PURE, f"{name} imports {imported}"


@pytest.mark.parametrize("name", sorted(PURE | HANDS))
def test_nobody_imports_those_who_wire_them(name):
    """The direction is one way: the daemon and the command line know the others."""
    forbidden = {"blocker.daemon", "blocker.cli"}
    if name != "life":
        forbidden.add("blocker.life")
    assert not forbidden & set(imports(MODULES[name]))


def test_the_command_line_loads_nothing_before_it_knows_the_command():
    """Whatever a command needs is imported by that command."""
    ours = {name for name in imports(MODULES["cli"], top_level_only=True) if "." in name}
    assert ours == {"collections.abc", "blocker.errors"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_functions_are_short(name):
    """What separates a good house from a bad one is its longest function."""
    for function in functions(MODULES[name]):
        length = function.end_lineno - function.lineno + 1
        assert length <= MAX_FUNCTION, f"{name}.{function.name} has {length} lines"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_modules_open_with_their_rules_and_stay_readable(path):
    """A docstring first, and not more than a stranger reads in a sitting."""
    assert ast.get_docstring(MODULES[path.stem])
    assert len(path.read_text().splitlines()) <= MAX_MODULE


def test_every_test_is_a_sentence():
    """Each test says in one docstring what holds."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for function in functions(ast.parse(path.read_text())):
            if function.name.startswith("test_"):
                assert ast.get_docstring(function), f"{path.name}: {function.name}"


def test_no_test_mocks():
    """No unittest.mock anywhere: the real thing, or a fake that is one."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name != Path(__file__).name:
            assert "unittest.mock" not in path.read_text(), path


def test_every_link_in_the_documentation_leads_somewhere():
    """Relative links of the pages exist."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_decision_says_what_was_decided_and_why():
    """docs/decisions/NNN-title.md, numbered without gaps."""
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [page.name[:3] for page in pages] == [f"{n:03}" for n in range(1, len(pages) + 1)]
    for page in pages:
        assert "## Why" in page.read_text(), page.name
