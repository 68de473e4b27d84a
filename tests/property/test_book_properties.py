"""The count of standing bans against a list of all of them."""

from hypothesis import given
from hypothesis import strategies as st

from blocker.book import ActiveBans
from blocker.model import SECOND

SUBJECTS = st.sampled_from([bytes(4), bytes(16)])
UNTIL = st.integers(0, 20 * SECOND)


@given(
    st.lists(st.tuples(SUBJECTS, UNTIL, st.booleans()), max_size=50), st.lists(UNTIL, max_size=9)
)
def test_the_count_is_that_of_a_list(bans, moments):
    """Whenever it is asked, exact to the second, and never below zero."""
    book, naive = ActiveBans(), []
    for subject, until, stays in bans:
        book.add(subject, until)
        if stays:
            naive.append((subject, until))
        else:
            book.remove(subject, until)
    for now in sorted(moments):
        standing = [s for s, until in naive if -(-until // SECOND) * SECOND > now]
        assert book.count(now) == (standing.count(bytes(4)), standing.count(bytes(16)))
