"""Several logs in one order of events, against a sort of all of them."""

from hypothesis import given
from hypothesis import strategies as st

from blocker.analysis.merge import merged, running
from blocker.model import Hit

WHO = bytes([192, 0, 2, 1])
LOGS = st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=4)


def hits(times):
    """Return a hit for each time; its end says where it stood."""
    return [Hit(time, WHO, 0, 200, end) for end, time in enumerate(times)]


@given(LOGS)
def test_logs_are_merged_by_the_latest_time_that_each_has_reached(logs):
    """Ties go in the order given, and each log keeps its own order, though it be out of order."""
    expected = [
        (max(times[: place + 1]), index, place)
        for index, times in enumerate(logs)
        for place in range(len(times))
    ]
    found = merged([hits(times) for times in logs])
    assert [(index, hit.end) for index, hit in found] == [each[1:] for each in sorted(expected)]


def test_a_log_that_goes_on_begins_where_it_had_arrived():
    """What it is read on with does not come before what it had."""
    assert [latest for latest, _, _ in running(0, hits([0, 3, 7, 5]), 4)] == [4, 4, 7, 7]
    assert [latest for latest, _, _ in running(0, hits([0, 3, 2]))] == [0, 3, 3]
