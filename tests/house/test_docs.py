"""The documentation says what the program does: commands, options, and examples that run."""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from blocker.cli.main import build_parser

ROOT = Path(__file__).parent.parent.parent
PAGES = ("README.md", "docs/commands.md")
COMMANDS = (ROOT / "docs/commands.md").read_text()
OFFLINE = ("replay", "backfill", "explain", "check")


def commands():
    return next(
        action.choices
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def section(name):
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", COMMANDS, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def examples():
    """Yield each offline example of the pages: the command line, and the output shown below it."""
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, shown = each.partition("\n")
                words = shlex.split(line, comments=True)
                if words[0] == "xmlrpc-blocker" and set(OFFLINE) & set(words[1:4]):
                    yield page, words[1:], shown


RUNNABLE = [each for each in examples() if "bad.toml" not in each[1]]


def run(words):
    config = [] if "--config" in words else ["--config", "/dev/null"]
    return subprocess.run(
        [sys.executable, "-m", "blocker", *config, *words],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name):
    """docs/commands.md has a section for each command that names its options and arguments."""
    text = section(name)
    assert text, f"docs/commands.md lacks the section {name}"
    for action in commands()[name]._actions:
        if action.dest == "help":
            continue
        words = action.option_strings or [action.metavar]
        assert all(word in text for word in words), f"{name}: {words}"


def test_every_global_option_and_exit_code_is_documented():
    """So are the options before the command, and every code that the help lists."""
    for action in build_parser()._actions:
        assert all(word in COMMANDS for word in action.option_strings), action.option_strings
    codes = re.findall(r"^ {1,2}(\d+) {2}", build_parser().epilog, re.MULTILINE)
    assert len(codes) == 7
    for code in codes:
        assert f"\n| {code} | " in COMMANDS, code


def test_every_command_is_in_the_readme():
    """README.md names each command at least once."""
    text = (ROOT / "README.md").read_text()
    for name in commands():
        assert f"xmlrpc-blocker {name}" in text, name


@pytest.mark.parametrize(
    ("page", "words", "shown"), RUNNABLE, ids=[" ".join(words) for _, words, _ in RUNNABLE]
)
def test_offline_examples_run_and_print_what_is_shown(page, words, shown):
    """Each replay, explain and check of the pages exits with 0, and the lines shown come out."""
    done = run(words)
    assert done.returncode == 0, f"{page}: {done.stderr}"
    if "check" in words:
        return  # how many logs there are depends on the host
    printed = [line.split() for line in done.stdout.splitlines()]
    for line in shown.splitlines():
        assert line.strip() in {"", "…"} or line.split() in printed, f"{page}: {line}"


def test_there_are_examples():
    """The test above has found something to test."""
    assert {word for _, words, _ in RUNNABLE for word in words} >= set(OFFLINE)


@pytest.mark.parametrize("page", ["docs/failure-modes.md", "docs/reliability.md"])
def test_every_test_that_a_page_names_is_there(page):
    """What is said to be tested is tested, under that name."""
    text = (ROOT / page).read_text()
    there = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for name in set(re.findall(r"`(test_\w+(?:\.py)?)`", text)):
        assert name in files or f"def {name}(" in there, f"{page} names {name}"
