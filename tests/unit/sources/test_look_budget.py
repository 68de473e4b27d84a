"""The budget of a look at the directories: time, and the number of names."""

import pytest

from blocker.sources.files.look_budget import LookBudget
from blocker.sources.files.questions import Ask, Check, Listing

CHOICE = object()


def test_a_look_ends_at_its_time():
    """Not before."""
    now = [10.0]
    budget = LookBudget(lambda: now[0], 11.0, 100)
    assert not budget.is_over()
    now[0] = 11.0
    assert budget.is_over()


@pytest.mark.parametrize(
    ("question", "found", "counted"),
    [
        (Ask("/a", CHOICE), Listing((), looked_at=7), 7),
        (Ask("/a", CHOICE, Listing((), looked_at=7)), Listing((), looked_at=5), 5),
        (Ask("/a", CHOICE), None, 1),
        (Check([("/a", ()), ("/b", ()), ("/c", ())]), Listing((), looked_at=9), 3),
    ],
)
def test_a_look_ends_when_it_has_seen_enough(question, found, counted):
    """Of a listing its names count, of a question about times the directories."""
    budget = LookBudget(lambda: 0.0, 1.0, counted + 1)
    budget.count(question, found)
    assert not budget.is_over()
    budget.count(Ask("/b", None), None)
    assert budget.is_over()


def test_a_listing_that_was_known_counts_as_one():
    """It was not listed again."""
    known = Listing((), looked_at=1000)
    budget = LookBudget(lambda: 0.0, 1.0, 2)
    budget.count(Ask("/a", CHOICE, known), known)
    assert not budget.is_over()
