"""The lock on a state: one holder at a time, who that is, and what can't be locked."""

import os
import subprocess
import sys

import pytest

from blocker.errors import BlockerError
from blocker.store.lock import ENDING, StateLock, StateLockedError, holders

HOLD = """
import sys
from blocker.store.lock import StateLock
held, state = StateLock(sys.argv[1]), open(sys.argv[1], "ab")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def holder(state):
    """Another process that holds the state until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


def test_a_state_that_is_held_is_refused_with_its_holder(state, holder):
    """The file of the lock says who that is."""
    with pytest.raises(StateLockedError, match=f"process {holder.pid} works with") as caught:
        StateLock(state)
    assert caught.value.holder == holder.pid


def test_the_end_of_the_holder_releases_the_state(state, holder):
    """Even if it is killed; a caller with patience gets it then."""
    holder.kill()
    with StateLock(state, patience=60.0) as lock:
        assert lock.path == f"{state}{ENDING}"
        assert int((state.parent / f"state.db{ENDING}").read_text()) == os.getpid()


def test_a_released_state_can_be_held_again(state):
    """The file of the lock stays."""
    StateLock(state).release()
    with StateLock(state):
        pass
    assert (state.parent / f"state.db{ENDING}").exists()


def test_a_holder_that_left_no_number_is_another_process(state, holder):
    """As before its number was written."""
    (state.parent / f"state.db{ENDING}").write_text("")
    with pytest.raises(StateLockedError, match="another process works with") as caught:
        StateLock(state)
    assert caught.value.holder == 0


@pytest.mark.parametrize("place", ["missing/state.db", "link"])
def test_what_can_not_be_locked_is_an_error_that_says_why(tmp_path, place):
    """No directory, or a link in place of the file: it might lead anywhere."""
    (tmp_path / f"link{ENDING}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BlockerError, match=f"{place}{ENDING}: "):
        StateLock(tmp_path / place)
    assert not (tmp_path / "elsewhere").exists()


def test_the_holders_of_this_network_are_found(state, holder):
    """With the state that each has open."""
    assert (holder.pid, str(state)) in list(holders())
    holder.kill()
    holder.wait(60)
    assert holder.pid not in dict(holders())


def test_without_proc_no_holder_is_found(tmp_path):
    """As in a jail that does not mount it."""
    assert list(holders(tmp_path)) == []
