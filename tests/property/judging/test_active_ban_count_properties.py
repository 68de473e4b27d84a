"""The count of standing bans against a list of all of them."""

from hypothesis import given
from hypothesis import strategies as st

from blocker.judging.active_ban_count import ActiveBanCount
from blocker.times import SECOND

SUBJECTS = st.sampled_from([bytes(4), bytes(16)])
UNTIL = st.integers(0, 20 * SECOND)


@given(
    st.lists(st.tuples(SUBJECTS, UNTIL, st.booleans()), max_size=50), st.lists(UNTIL, max_size=9)
)
def test_the_count_is_that_of_a_list(bans, moments):
    """Whenever it is asked, exact to the second, and never below zero."""
    book, naive = ActiveBanCount(), []
    for subject, until, stays in bans:
        book.add(subject, until)
        if stays:
            naive.append((subject, until))
        else:
            book.remove(subject, until)
    for now in sorted(moments):
        standing = [s for s, until in naive if -(-until // SECOND) * SECOND > now]
        assert book.count(now) == (standing.count(bytes(4)), standing.count(bytes(16)))


def test_what_has_ended_or_was_taken_back_is_not_taken_back_again():
    """The count is of one family, and never below zero."""
    book = ActiveBanCount()
    for subject in (bytes(4), bytes(16)):
        book.add(subject, 5 * SECOND)
    for _ in range(2):
        book.remove(bytes(4), 5 * SECOND)
        assert book.count(0) == (0, 1)
    assert book.count(5 * SECOND) == (0, 0)
    book.remove(bytes(16), 5 * SECOND)
    assert book.count(5 * SECOND) == (0, 0)
