"""The rooms of the package: who may import whom, what is pure, and how long a file may be."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "blocker"

VOCABULARY = {
    "model", "errors", "times", "addresses", "rows", "escape", "textfile", "threads",
}  # fmt: skip
"""The files at the top: every room may import them, and they import only one another."""

MAY_IMPORT = {
    "telemetry": set(),
    "matching": set(),
    "judging": set(),
    "firewall": set(),
    "sources": set(),
    "friends": set(),
    "config": {"friends.network_list", "sources.schemes"},
    "store": {"judging.windows", "sources.position"},
    "engine": {
        "matching", "judging", "firewall", "store", "friends.friends", "sources.stream",
        "sources.position",
        "telemetry.events", "telemetry.eventlog",
    },
    "analysis": {
        "config", "friends", "sources", "matching", "judging", "store",
        "telemetry.catalogue", "telemetry.origins",
    },
    "service": {
        "config", "friends", "sources", "matching", "judging", "firewall", "store", "engine",
        "telemetry",
    },
    "cli": {"config", "friends", "analysis", "service", "telemetry.webconfig", "store.lock"},
}  # fmt: skip
"""By room: the rooms, or single files of a room, that it may import beside the vocabulary."""

PURE = {
    "model", "errors", "times", "addresses", "rows", "escape",
    "matching", "judging", "store.schema",
    "config.schema", "config.readers", "config.parse", "config.problems", "config.lint",
    "config.fail2ban",
    "friends.friends", "friends.network_list", "friends.publishers",
    "firewall.facts", "firewall.netlink", "firewall.ruleset",
    "telemetry.events", "telemetry.catalogue",
    "sources.stream", "sources.position", "sources.schemes", "sources.line_buffer",
    "sources.line_splitter", "store.records", "store.counter_names",
    "engine.advice", "engine.orders", "engine.targets",
    "analysis.time_bins", "analysis.replay_report", "analysis.merge",
    "analysis.either",
    "service.log_places",
}  # fmt: skip
"""Rooms and files that know no clock, file, socket, thread, loop or log."""

WORLD = {
    "aiofiles", "asyncio", "concurrent", "ctypes", "io", "logging", "nftables", "os", "pathlib",
    "prometheus_client", "random", "sdnotify", "selectors", "signal", "socket", "sqlite3",
    "subprocess", "tempfile", "threading", "time", "urllib", "uvloop",
}  # fmt: skip
CONVERSIONS = {"AF_INET", "AF_INET6", "inet_pton"}
"""What may be taken out of ``socket``: text to bytes."""
MAX_FUNCTION, MAX_FILE = 45, 550
"""Lines; those of a file are counted as a reader does, with docstrings and comments."""


def name_of(path):
    """Return a file's name inside the package: ``judging.judge``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


FILES = {
    name_of(path): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in {"__init__.py", "__main__.py"}
}


def imports(tree):
    """Yield (module, names) of every import, those inside functions and for typing included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, set()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module, {alias.name for alias in node.names}


def ours(tree):
    """Yield the names of our own files that a file imports."""
    for module, names in imports(tree):
        top, _, rest = module.partition(".")
        if top == "blocker":
            found = [f"{rest}.{name}".lstrip(".") for name in names]
            yield from [each for each in found if each in FILES] or [rest]


def covers(allowed, name):
    """Whether a set of rooms and files holds a file, by its own name or by one of its rooms'."""
    parts = name.split(".")
    return any(".".join(parts[:n]) in allowed for n in range(1, len(parts) + 1))


def functions(tree):
    """Return every function of a file."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_in_a_room(name):
    """A new file belongs to a room, or to the vocabulary that is listed here."""
    room = name.partition(".")[0]
    assert room in MAY_IMPORT if "." in name else name in VOCABULARY


@pytest.mark.parametrize("name", FILES)
def test_a_room_imports_only_what_its_row_says(name):
    """Imports inside functions and for typing count as well."""
    room, dot, _ = name.partition(".")
    allowed = VOCABULARY | ({room} | MAY_IMPORT[room] if dot else set())
    assert not {each for each in ours(FILES[name]) if each and not covers(allowed, each)}


@pytest.mark.parametrize("name", [name for name in FILES if covers(PURE, name)])
def test_a_pure_file_touches_nothing(name):
    """No clock, file, socket, thread, loop or log, and only pure neighbours."""
    for module, names in imports(FILES[name]):
        if module == "socket" and names <= CONVERSIONS:
            continue
        assert module.partition(".")[0] not in WORLD, f"{name} imports {module}"
    for imported in ours(FILES[name]):
        assert not imported or covers(PURE, imported), f"{name} imports {imported}"


def test_the_rooms_have_an_order():
    """No circle of rooms: each row names only rooms that come before it."""
    seen = set()
    for room, allowed in MAY_IMPORT.items():
        assert {each.partition(".")[0] for each in allowed} <= seen, room
        seen.add(room)


def test_the_files_have_an_order():
    """No circle of files: imports inside functions and for typing count as well."""
    graph = {name: {each for each in ours(tree) if each in FILES} for name, tree in FILES.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_the_engine_does_not_look_into_positions():
    """It reads only which log and which content a position is of; each source has its own rest."""
    hidden = {"device", "inode", "identity", "offset", "tail", "shortened"}
    for name in (name for name in FILES if covers({"engine"}, name)):
        nodes = ast.walk(FILES[name])
        assert not {each.attr for each in nodes if isinstance(each, ast.Attribute)} & hidden, name


def test_packages_hand_nothing_on():
    """An ``__init__.py`` is a docstring: names are imported from where they stand."""
    for path in PACKAGE.rglob("*/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert body, path
        assert all(isinstance(node, ast.Expr) for node in body), path


def test_the_command_line_loads_nothing_before_it_knows_the_command():
    """A command's module is loaded when it is chosen."""
    top = {node.module for node in FILES["cli.main"].body if isinstance(node, ast.ImportFrom)}
    assert {name for name in top if name.startswith("blocker.")} == {"blocker.errors"}


@pytest.mark.parametrize("name", FILES)
def test_functions_and_files_are_short(name):
    """What a stranger reads in a sitting, and a docstring first."""
    path = PACKAGE / Path(*name.split(".")).with_suffix(".py")
    assert ast.get_docstring(FILES[name])
    assert len(path.read_text().splitlines()) <= MAX_FILE
    for node in functions(FILES[name]):
        assert node.end_lineno - node.lineno < MAX_FUNCTION, f"{name}.{node.name}"
