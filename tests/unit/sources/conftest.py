"""A bench to follow logs on, which leaves no descriptor behind."""

import asyncio
import gc

import pytest
from support.logs_by_hand import Bench, descriptors


@pytest.fixture
def bench(tmp_path):
    """A bench in an empty directory."""
    with asyncio.Runner() as runner:
        runner.run(asyncio.to_thread(int))  # the loop and its threads have their descriptors now
        gc.collect()  # what other tests left behind must not go in the middle of this one
        before = descriptors()
        made = Bench(runner, tmp_path)
        yield made
        made.stop()
        assert descriptors() == before
