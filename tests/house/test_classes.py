"""How large a class may be: more than this is more than one job."""

import ast

import pytest
from test_rooms import FILES

MAX_METHODS, MAX_ATTRIBUTES = 25, 15
"""Functions of the class body; names assigned to ``self``, and annotated fields of the body."""

LARGER = {
    "config.schema.Config": (25, 20),  # data: one field for each key of the configuration
    "sources.files.rotation_set.RotationSet": (34, 18),
}
"""Classes that may be larger, and how large; none of these but that of the keys may grow."""


def methods(node):
    """Return the functions of a class."""
    return [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def attributes(node):
    """Return the names of a class's attributes."""
    stored = {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }
    fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
    return stored | {each.id for each in fields if isinstance(each, ast.Name)}


CLASSES = {
    f"{name}.{node.name}": (len(methods(node)), len(attributes(node)))
    for name, tree in FILES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_one_job(name):
    """At most so many methods and attributes."""
    found, allowed = CLASSES[name], LARGER.get(name, (MAX_METHODS, MAX_ATTRIBUTES))
    assert found[0] <= allowed[0], f"{name}: {found[0]} methods, at most {allowed[0]}"
    assert found[1] <= allowed[1], f"{name}: {found[1]} attributes, at most {allowed[1]}"


@pytest.mark.parametrize("name", LARGER)
def test_an_exception_is_needed_as_it_stands(name):
    """An exception that has become too wide is made smaller, or goes."""
    ordinary = (MAX_METHODS, MAX_ATTRIBUTES)
    assert LARGER[name] == tuple(map(max, CLASSES[name], ordinary)) != ordinary
