"""The street that the tests of the whole share."""

import pytest
from integration.daemons import street
from integration.namespaces import WHY_NOT, permitted


@pytest.fixture
def town():
    """A street of namespaces."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with street() as made:
        yield made
