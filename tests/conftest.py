"""Shared fixtures: throw-away network namespaces, and the reason when there can be none."""

import pytest
from integration.namespaces import WHY_NOT, namespace, permitted


@pytest.fixture
def netns():
    """A network namespace of its own, which the test and every thread it starts are in."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with namespace() as made, made.inside():
        yield made
