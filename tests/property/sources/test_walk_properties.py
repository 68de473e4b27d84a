"""The walk against naive oracles: ``glob`` where no link is below ``**``, and an own recursion."""

import contextlib
import fnmatch
import glob
import os
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples

from blocker.sources.files.path_pattern import Pattern
from blocker.sources.files.walk import Walk

NAMES = st.sampled_from(["a", "b", "logs", "x.log", "y.log", ".h"])
PARTS = st.sampled_from(["*", "**", "a", "logs", "*.log", "x.log", "[ab]", ".*", "l*s", "?"])
PATTERNS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TREES = st.lists(st.tuples(PATHS, st.sampled_from(["file", "directory"])), max_size=12)
LINKS = st.lists(
    st.tuples(PATHS, st.sampled_from([".", "..", "../..", "a", "/a", "/b/logs", "/", "x.log"])),
    max_size=5,
)
CHANGES = st.lists(st.tuples(PATHS, st.sampled_from(["file", "directory", "away"])), max_size=6)


@contextlib.contextmanager
def place():
    """An empty directory so deep that no link leads out of what is removed afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve() / "1" / "2"
        root.mkdir(parents=True)
        yield root


def grow(root, entries):
    """Make files and directories; what is in the way stays."""
    for path, kind in entries:
        whole = root / path
        with contextlib.suppress(OSError):
            whole.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                whole.touch()
            elif kind == "directory":
                whole.mkdir(exist_ok=True)
            else:
                whole.rename(root / f"moved-{len(list(root.iterdir()))}")


def link(root, links):
    for path, target in links:
        whole = root / path
        with contextlib.suppress(OSError):
            whole.parent.mkdir(parents=True, exist_ok=True)
            whole.symlink_to(f"{root}{target}" if target.startswith("/") else target)


def answered(walk, now=0.0):
    """Answer all questions of a walk; return what it matches, and how many questions there were."""
    questions, found, count = walk.questions(now), None, 0
    with contextlib.suppress(StopIteration):
        while True:
            question = questions.send(found)
            found, count = question.put(), count + 1
    files, directories = walk.matches()
    return {*files, *directories}, count


def places(paths):
    """Return the files, independent of links to their directories."""
    return {(os.path.realpath(Path(each).parent), Path(each).name) for each in paths}


def is_real(path):
    """Whether no directory in a path is a link."""
    return os.path.realpath(Path(path).parent) == str(Path(path).parent)


def named(path):
    """Whether a name is there, also one that leads nowhere."""
    return os.path.lexists(path)


def expected(place, parts):
    """Return what a pattern matches, by trying everything; a path of more than 12 names is none."""
    part, *rest = parts
    if part == "**":
        if not rest:
            return expected(place, ["**", "*"])
        found = expected(place, rest)
        for name in listed(place):
            below = f"{place}/{name}"
            if name[0] != "." and Path(below).is_dir() and not Path(below).is_symlink():
                found |= expected(below, parts)
        return found
    if glob.has_magic(part):
        hidden = part.startswith(".")
        names = [n for n in listed(place) if fnmatch.fnmatch(n, part) and (hidden or n[0] != ".")]
    else:
        names = [part] if named(f"{place}/{part}") else []
    whole = [f"{place}/{name}" for name in names]
    if not rest:
        return set(whole)
    return {path for each in whole if Path(each).is_dir() for path in expected(each, rest)}


def listed(place):
    with contextlib.suppress(OSError):
        return [entry.name for entry in Path(place).iterdir()]
    return []


@examples(200)
@given(TREES, PATTERNS)
@example([("a", "directory"), ("a/x.log", "file")], "**/x.log")
@example([("logs", "directory")], "**")
def test_without_links_the_walk_matches_what_glob_does(tree, pattern):
    """Every name, hidden ones left out as a shell does."""
    with place() as root:
        grow(root, tree)
        whole = f"{root}/{pattern}"
        oracle = {*map(os.path.normpath, glob.glob(whole, recursive=True))}  # noqa: PTH207
        if pattern.endswith("**"):
            oracle = expected(str(root), pattern.split("/"))
        assert answered(Walk(whole))[0] == oracle


@examples(200)
@given(TREES, PATTERNS)
@example([("a", "directory"), ("a/x.log", "file")], "**/x.log")
@example([("logs", "directory")], "**")
@example([("a/.h/x.log", "file")], "**/x.log")
def test_a_pattern_fits_the_paths_that_its_walk_finds(tree, pattern):
    """And no others, without a look at the disk."""
    with place() as root:
        grow(root, tree)
        whole = f"{root}/{pattern}"
        there = {str(each) for each in root.rglob("*")}
        fitting = {path for path in there if Pattern(whole).fits(path)}
        assert fitting == answered(Walk(whole))[0] & there


@examples(200)
@given(TREES, LINKS, PATTERNS)
@example([("a", "directory")], [("a/a", "."), ("a/b", ".")], "**/*/**/x.log")
@example([("b/logs/x.log", "file")], [("a", "/b")], "*/logs/x.log")
def test_with_links_every_file_is_found_and_no_name_is_made_up(tree, links, pattern):
    """Every name is one that the pattern matches, and each directory that it leads to is seen.

    A directory may be reached under many names, of which one is enough.
    """
    with place() as root:
        grow(root, tree)
        link(root, links)
        oracle = expected(str(root), pattern.split("/"))
        found, questions = answered(Walk(f"{root}/{pattern}"))
        assert found <= oracle
        assert places(found) == places(oracle)
        assert {each for each in oracle if is_real(each)} <= found
        assert questions < 3000


@examples(100)
@example([("a", "directory")], "a", [], [("a", "away")])
@given(TREES, PATTERNS, CHANGES, CHANGES)
def test_what_changes_is_found_at_the_next_look(tree, pattern, first, second):
    """An update comes to the same as a walk from the root."""
    with place() as root:
        grow(root, tree)
        walk = Walk(f"{root}/{pattern}")
        answered(walk)
        for change in (first, second):
            grow(root, change)
            assert answered(walk)[0] == answered(Walk(f"{root}/{pattern}"))[0]


@examples(100)
@given(TREES, LINKS, PATTERNS, CHANGES, CHANGES)
def test_what_changes_among_links_is_found_when_everything_has_been_listed_again(
    tree, links, pattern, first, second
):
    """What was seen under a name that is gone is found under another one."""
    with place() as root:
        grow(root, tree)
        link(root, links)
        walk = Walk(f"{root}/{pattern}")
        answered(walk)
        for hours, change in enumerate((first, second), 1):
            grow(root, change)
            answered(walk, hours * 3600.0)
            found = answered(walk, hours * 3600.0 + 1800.0)[0]
            assert places(found) == places(answered(Walk(f"{root}/{pattern}"))[0])


def test_a_link_that_led_nowhere_is_gone_at_the_next_look():
    """Its name is looked up each time, as that of a directory."""
    with place() as root:
        link(root, [("a", "nowhere")])
        walk = Walk(f"{root}/a")
        assert answered(walk)[0] == {f"{root}/a"}
        (root / "a").unlink()
        assert answered(walk)[0] == set()
