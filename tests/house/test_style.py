"""The style of the repository: tests are sentences, links lead somewhere, decisions say why."""

import ast
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_is_a_sentence():
    """Each test says in one docstring what holds."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


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


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_anchor_of_a_link_is_a_heading():
    """Links into a page lead to one of its headings."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            there = page.parent / target if target else page
            assert anchor in anchors(there), f"{page.name}: {target}#{anchor}"


def test_every_file_that_the_architecture_names_exists():
    """Paths such as ``judging/judge.py`` are those of files in the package."""
    text = (ROOT / "docs/architecture.md").read_text()
    names = set(re.findall(r"`([a-z]+/[a-z0-9_/]+\.py)`", text))
    assert len(names) > 30
    for name in names:
        assert (ROOT / "blocker" / name).is_file() or (ROOT / name).is_file(), name


def test_every_decision_says_what_was_decided_and_why():
    """docs/decisions/NNN-title.md, numbered without gaps, each with a line in the index."""
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [page.name[:3] for page in pages] == [f"{n:03}" for n in range(1, len(pages) + 1)]
    index = (ROOT / "docs/decisions/README.md").read_text()
    for page in pages:
        assert "## Why" in page.read_text(), page.name
        assert f"({page.name})" in index, page.name


UNPLAIN = re.compile(r"\b(whoever|somebody|nobody|told|tells|anew|heeds?|whatever|bears?|let in)\b")
"""Words that hide the subject of a sentence, or that a technical text says more precisely."""
NOT_SEARCHED = {
    "CHANGELOG.md",  # says what was, in the words of then
    "docs/performance.md",  # written by the benchmarks
}


def test_plain_words():
    """The program, its pages and the build's help name components, in the field's words."""
    places = [*ROOT.glob("*.md"), ROOT / "Makefile", *(ROOT / "docs").rglob("*.md")]
    for each in ("blocker", "grafana/source", "packaging"):
        places += [path for path in (ROOT / each).rglob("*") if path.is_file()]
    for path in places:
        name = str(path.relative_to(ROOT))
        if name not in NOT_SEARCHED and path.suffix not in {".pyc", ".gz"}:
            found = UNPLAIN.search(path.read_text())
            assert found is None, f"{name}: {found[0]}"


def sentences(text):
    """Yield what is written for a reader of a test: comments, docstrings, and names in words."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
        elif token.type == tokenize.NAME and token.string.islower():
            yield token.string.replace("_", " ")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def test_tests_are_in_plain_words():
    """What a test compares with may be any text, such as the name of the user ``nobody``."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name != Path(__file__).name:
            found = UNPLAIN.search("\n".join(sentences(path.read_text())).lower())
            assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"
