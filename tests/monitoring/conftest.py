"""One scene for all the tests that only look at it."""

import pytest
from monitoring.scene import scene
from support.namespaces import WHY_NOT, permitted


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A scene with its attack played."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with scene(tmp_path_factory.mktemp("scene")) as made:
        made.attack()
        yield made
