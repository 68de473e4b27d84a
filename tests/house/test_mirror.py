"""Where the tests of a file are: in a file of its name, so that they are found by it."""

import ast
from pathlib import Path

import pytest
from test_rooms import FILES

TESTS = Path(__file__).parents[1]
ROOMS = ("engine", "judging", "matching", "friends", "config", "store")
"""Rooms in which each file has tests of its own."""

ELSEWHERE = {
    "config.files": "unit/config/test_config.py",
    "config.lint": "unit/config/test_config.py",
    "config.parse": "unit/config/test_config.py",
    "config.problems": "unit/config/test_config.py",
    "config.readers": "unit/config/test_config.py",
    "config.schema": "unit/config/test_config.py",
    "engine.parts": "integration/test_enforcer.py",  # only puts objects together
    "friends.host": "unit/config/test_config.py",
    "friends.network_list": "unit/friends/test_lists.py",
    "friends.publishers": "unit/friends/test_lists.py",
    "friends.refresh": "unit/friends/test_lists.py",
    "friends.shipped": "unit/friends/test_lists.py",
    "judging.limits": "unit/judging/test_judge.py",
    "judging.tally": "unit/judging/test_judge.py",
    "judging.windows": "unit/judging/test_judge.py",
    "matching.grammar": "unit/matching/test_format_strings.py",
    "matching.line_parser": "unit/matching/test_matcher.py",
    "matching.matchers": "unit/sources/test_log_formats.py",
    "matching.requests": "unit/matching/test_matcher.py",
    "matching.server_variables": "unit/matching/test_format_strings.py",
    "matching.verdict": "unit/matching/test_matcher.py",
    "store.convert": "unit/store/test_store.py",
    "store.database": "unit/store/test_store.py",
    "store.edits": "unit/store/test_store.py",
    "store.records": "unit/store/test_store.py",
    "store.rows": "unit/store/test_store.py",
    "store.schema": "unit/store/test_store.py",
}
"""Files that are tested with the file that uses them, and where; this list may only shrink."""

NAMED = {
    path.stem.removeprefix("test_").removesuffix("_properties")
    for kind in ("unit", "property", "integration")
    for path in (TESTS / kind).rglob("test_*.py")
}
"""What the test files are named for."""


def has_tests_of_its_name(name):
    """Whether there is a test file for a file of the package."""
    return name.rpartition(".")[2] in NAMED


@pytest.mark.parametrize("name", [name for name in FILES if name.partition(".")[0] in ROOMS])
def test_a_file_has_tests_of_its_name(name):
    """In tests/unit, tests/property, or, where it takes a kernel, tests/integration."""
    assert has_tests_of_its_name(name) or name in ELSEWHERE


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_exception_is_needed_and_leads_to_tests(name):
    """A file that has got tests of its name leaves the list."""
    assert name in FILES
    assert not has_tests_of_its_name(name)
    tree = ast.parse((TESTS / ELSEWHERE[name]).read_text())
    assert any(
        isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for node in ast.walk(tree)
    )


def test_test_files_have_names_of_their_own():
    """Pytest imports them by their base names."""
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert len(names) == len(set(names))
