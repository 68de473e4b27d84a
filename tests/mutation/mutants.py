"""Makes the mutants of a module: small changes of its code that a test should notice.  Pure.

One mutant is one changed place in the syntax tree.  What no test could notice or should pin down
is left as it is: docstrings, annotations, ``__slots__``, the text of a ``raise``, prose.
"""

import ast
import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip
REGEX = re.compile(
    r"(?P<text>\\[^Z0-9]|\(\?[:P>]|\(\?P<\w+>)|(?P<look>\(\?<?[=!])|(?P<times>\{\d+(?:,\d*)?\})"
    r"|(?P<many>[*+]\+?)|(?P<maybe>(?<!\()\?[+?]?)|(?P<inverse>\[\^)|(?P<end>\\Z)"
    r"|(?P<range>[0-9A-Za-z]-[0-9A-Za-z])"
)
CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
"""A class of characters: what repeats outside of it stands for itself inside."""
PROSE = re.compile(r"[a-z',;:]+(?: [a-z',;:]+){3}", re.IGNORECASE)
UNTOUCHED = {"annotation", "returns", "decorator_list", "type_comment"}


class Mutant(NamedTuple):
    """One change: a slot in the tree, and what is put there.

    Attributes:
        where: the function, or "module".
        line: of the statement that is changed.
        last: last line of that statement, or of its head where it has a body.
        before: the statement as it is, on one line.
        after: the same with the change.
        slot: node, field and index (None for a field that is no list) in the tree.
        new: the node that is put there.
    """

    where: str
    line: int
    last: int
    before: str
    after: str
    slot: tuple[ast.AST, str, int | None]
    new: object


def mutants_of(source: str) -> tuple[ast.Module, list[Mutant]]:
    """Return the tree of a module, and its mutants, in the order of the file."""
    tree = ast.parse(source)
    found: dict[tuple[str, int, str], Mutant] = {}
    for where, statement in _statements(tree, "module"):
        before = shown(statement)
        last = _last_line(statement)
        for slot, old in _slots(statement):
            for new in _changes(slot, old, source):
                with changed(slot, new):
                    after = shown(statement)
                made = Mutant(where, statement.lineno, last, before, after, slot, new)
                if after != before:
                    found.setdefault((where, statement.lineno, after), made)
    return tree, list(found.values())


@contextmanager
def changed(slot, new):
    """Have the new node in the slot of the tree meanwhile."""
    node, name, index = slot
    old = getattr(node, name)
    setattr(node, name, new if index is None else [*old[:index], new, *old[index + 1 :]])
    try:
        yield
    finally:
        setattr(node, name, old)


def shown(statement: ast.stmt) -> str:
    """Return a statement on one line, without the body that it may have."""
    head = copy.copy(statement)
    for name in ("body", "orelse", "finalbody", "handlers"):
        if getattr(head, name, None) and isinstance(getattr(head, name), list):
            setattr(head, name, [ast.Pass()] if name == "body" else [])
    if isinstance(head, ast.Try):
        return "try:"
    return " ".join(ast.unparse(head).split("\n")).removesuffix("     pass").strip()


def _statements(node: ast.AST, where: str) -> Iterator[tuple[str, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        inside = where
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            inside = child.name if where == "module" else f"{where}.{child.name}"
        if isinstance(child, ast.stmt) and not isinstance(child, ast.Raise):
            yield (inside if isinstance(child, ast.FunctionDef) else where), child
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _statements(child, inside)


def _last_line(statement: ast.stmt) -> int:
    body = getattr(statement, "body", None)
    if not body:
        return statement.end_lineno
    return max(statement.lineno, body[0].lineno - 1)


def _slots(statement: ast.stmt) -> Iterator[tuple[tuple[ast.AST, str, int | None], ast.AST]]:
    """Return the places of the expressions of one statement, and of the statements it holds."""
    for name, value in ast.iter_fields(statement):
        if name in UNTOUCHED or _is_slots(statement) or isinstance(statement, ast.ClassDef):
            continue
        yield from _slots_in(statement, name, value)


def _slots_in(node: ast.AST, name: str, value: object):
    items = enumerate(value) if isinstance(value, list) else [(None, value)]
    for index, item in items:
        if isinstance(item, ast.stmt) or not isinstance(item, ast.AST):
            continue
        yield (node, name, index), item
        if isinstance(item, ast.ExceptHandler | ast.match_case):
            continue
        for inner, field in ast.iter_fields(item):
            if inner not in UNTOUCHED and not isinstance(field, ast.expr_context):
                yield from _slots_in(item, inner, field)


def _is_slots(statement: ast.stmt) -> bool:
    names = getattr(statement, "targets", [])
    return any(isinstance(name, ast.Name) and name.id == "__slots__" for name in names)


def _changes(slot, old: ast.AST, source: str) -> Iterator[object]:
    node, name, _ = slot
    if isinstance(node, ast.Expr) and isinstance(old, ast.Constant):
        return  # a docstring
    if name == "test" or (isinstance(node, ast.comprehension) and name == "ifs"):
        yield from _negated(old)
    if isinstance(node, ast.Return) and not (isinstance(old, ast.Constant) and not old.value):
        yield ast.Constant(None)
    if name == "value" and _is_kept(node) and not _is_nothing(old):
        yield ast.Constant(None)
    if isinstance(node, ast.Expr) and isinstance(old, ast.Call):
        yield ast.Constant(...)
    if isinstance(node, ast.AugAssign) and name == "op":
        yield ARITHMETIC[type(old)]()
    yield from _changed(old, source)


def _is_nothing(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_kept(node: ast.AST) -> bool:
    """Whether a statement stores something in an object."""
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    return any(isinstance(target, ast.Attribute) for target in targets)


def _negated(test: ast.AST) -> Iterator[object]:
    if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), test)


def _changed(node: ast.AST, source: str) -> Iterator[object]:
    """Return what an expression may be changed into."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        for index in range(len(node.values)):
            rest = [*node.values[:index], *node.values[index + 1 :]]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node, source)


def _other_constants(node: ast.Constant, source: str) -> Iterator[ast.Constant]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode("latin-1")
        if PROSE.search(text):
            return
        others = _other_patterns(text) if _is_raw(node, source) else ["" if text else "mutant"]
        for other in others:
            yield ast.Constant(other if isinstance(value, str) else other.encode("latin-1"))


def _is_raw(node: ast.Constant, source: str) -> bool:
    """Whether a literal is written as expressions are."""
    found = ast.get_source_segment(source, node) or ""
    return re.match(r"[bf]?r[bf]?[\"']", found, re.IGNORECASE) is not None


def _other_patterns(text: str) -> Iterator[str]:
    """Return a regular expression with one of its parts changed."""
    classes = [found.span() for found in CLASS.finditer(text)]
    for found in REGEX.finditer(text):
        inside = any(start < found.start() < end for start, end in classes)
        if inside and found.lastgroup != "range":
            continue
        for other in _other_parts(found.lastgroup, found[0]):
            yield text[: found.start()] + other + text[found.end() :]


def _other_parts(kind: str | None, part: str) -> list[str]:
    match kind:
        case "look":
            others = [part[:-1] + ("=" if part[-1] == "!" else "!")]
        case "times":
            low, comma, high = part[1:-1].partition(",")
            others = [f"{{{int(low) + 1}{comma}{high}}}"]
            others += [f"{{{low},{int(high) - 1}}}"] if high else []
        case "many":
            others = [("+" if part[0] == "*" else "*") + part[1:]]
        case "maybe" | "end":
            others = [""]
        case "inverse":
            others = ["["]
        case "range":
            others = [part[:2] + chr(ord(part[2]) - 1)]
        case _:
            others = []
    return others
