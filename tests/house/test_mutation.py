"""The tool that changes the modules in small ways: what it makes, and that nothing is forgotten."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mutation.mutants import changed, mutants_of
from mutation.table import BY_OTHERS, TESTS, path_of
from test_rooms import FILES, PURE, covers

TESTS_DIRECTORY = Path(__file__).parent.parent
ROOT = TESTS_DIRECTORY.parent
LISTED = tomllib.loads((TESTS_DIRECTORY / "mutation/equivalent.toml").read_text())


def after(source):
    return [mutant.after for mutant in mutants_of(source)[1]]


def test_every_pure_module_has_tests_to_notice_its_mutants():
    """The table has all of them, no others, and names files that exist."""
    assert TESTS.keys() == {name for name in FILES if covers(PURE, name)} - BY_OTHERS
    for files in TESTS.values():
        for name in files:
            assert (TESTS_DIRECTORY / name).exists(), name


def test_every_equivalent_mutant_is_one_of_its_module_and_says_why():
    """A change of the module that makes an entry senseless is noticed."""
    for module, entries in LISTED.items():
        mutants = mutants_of((ROOT / path_of(module)).read_text())[1]
        known = {text for mutant in mutants for text in (mutant.before, mutant.after)}
        for entry in entries:
            assert entry["reason"]
            assert {*entry.get("before", ()), *entry.get("after", ())} <= known, entry


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a and b", ["b", "a"]),
        ("a + 1", ["a - 1", "a + 2"]),
        ("not a", ["a"]),
        ("x += 1", ["x -= 1", "x += 2"]),
        ("x = b if c else d", ["x = b", "x = d", "x = b if not c else d"]),
        ("self.x = y", ["self.x = None"]),
        ("f(x)", ["..."]),
        ("x = True", ["x = False"]),
        ("x = 'key'", ["x = ''"]),
        ("x = r'[0-9]{2,3}a?'", ["x = '[0-8]{2,3}a?'", "x = '[0-9]{3,3}a?'",
                                 "x = '[0-9]{2,2}a?'", "x = '[0-9]{2,3}a'"]),
        ("x = r'[*+?a-c]'", ["x = '[*+?a-b]'"]),
        ("x = rb'(?!a)[^b]*+'", ["x = b'(?=a)[^b]*+'", "x = b'(?!a)[b]*+'", "x = b'(?!a)[^b]++'"]),
    ],
)  # fmt: skip
def test_a_mutant_is_one_small_change(source, expected):
    """Each kind of expression has its own."""
    assert after(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring with a 1 in it."""',
        "x: Literal['a'] | None",
        "class A:\n    __slots__ = ('a', 'b')",
        "raise ValueError('wrong')",
        "x = 'this is a sentence for people'",
        "def f(x: 'A') -> 'B':\n    return None",
    ],
)
def test_what_no_test_should_pin_down_is_left_as_it_is(source):
    """Words for people, and what only the type checker reads."""
    assert after(source) == []


def test_a_mutant_knows_its_function_and_its_lines():
    """The head of a compound statement ends where its body begins."""
    source = "class A:\n  def f(self):\n    if (\n      self.x\n    ):\n      g()\n"
    first, second = mutants_of(source)[1]
    assert (first.where, first.line, first.last) == ("A.f", 3, 5)
    assert (first.before, first.after) == ("if self.x:", "if not self.x:")
    assert (second.where, second.line, second.before) == ("A.f", 6, "g()")


def test_a_tree_is_whole_again_after_a_mutant():
    """One mutant is never in the way of the next."""
    tree, mutants = mutants_of("x = [1, 2]")
    changes = []
    for mutant in mutants:
        with changed(mutant.slot, mutant.new):
            changes.append(ast.unparse(tree))
    assert changes == ["x = [2, 2]", "x = [1, 3]"]
    assert ast.unparse(tree) == "x = [1, 2]"


ONE_OF_BOOK = """
from mutation import mutants, run, trial
trial.preload()
path = trial.ROOT / "blocker/judging/active_ban_count.py"
tree, made = mutants.mutants_of(path.read_text())
name = "judging.active_ban_count"
base = run.baseline(name, tree)
tried = [(m, run.trial_of(name, m, base)) for m in made if m.before.startswith("return")]
print(*[outcome.killer.partition("::")[0] for outcome in run.tried(tried, tree)])
"""


def test_a_trial_names_the_test_that_notices_a_mutant():
    """With the module as it is they pass, with one that counts the wrong family they fail."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_OF_BOOK],
        env={**os.environ, "PYTHONPATH": str(TESTS_DIRECTORY), "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["tests/property/judging/test_active_ban_count_properties.py"] * 3


AFTER_A_DEEP_ONE = """
import sys
from mutation import mutants, run, trial
trial.preload()
run.TESTS = {"escape": (sys.argv[1],)}
tree, _ = mutants.mutants_of((trial.ROOT / "blocker/escape.py").read_text())
touched = run.baseline("escape", tree).touched
print(*{test.partition("::")[2] for tests in touched.values() for test in tests if test})
"""
DEEP = """
def deeper():
    deeper()

def test_deep():
    try:
        deeper()
    except RecursionError:
        return

def test_next():
    from blocker.escape import json_escaped
    json_escaped('x')
"""


def test_a_test_that_recurses_too_deeply_hides_no_line_of_the_next(tmp_path):
    """Python stops tracing when a trace function fails, and lines that no test runs survive."""
    (tmp_path / "test_deep.py").write_text(DEEP)
    done = subprocess.run(
        [sys.executable, "-c", AFTER_A_DEEP_ONE, tmp_path / "test_deep.py"],
        env={**os.environ, "PYTHONPATH": str(TESTS_DIRECTORY)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["test_next"]
