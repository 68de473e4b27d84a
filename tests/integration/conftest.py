"""The street that the tests of the whole share."""

import pytest
from support.daemons import street
from support.namespaces import WHY_NOT, permitted


@pytest.fixture
def network():
    """A street of namespaces."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with street() as made:
        yield made
