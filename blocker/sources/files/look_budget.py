"""How much one look at the directories may take."""

from collections.abc import Callable

from blocker.sources.files.questions import Ask, Listing, Question


class LookBudget:
    """What is left of the time and the names of one look.

    Args:
        clock: monotonic seconds.
        until: when the look has to end.
        entries: how many names and directories may be looked at.
    """

    def __init__(self, clock: Callable[[], float], until: float, entries: int) -> None:
        self._clock, self._until, self._left = clock, until, entries

    def is_over(self) -> bool:
        """Whether the look has to end."""
        return self._left <= 0 or self._clock() >= self._until

    def count(self, question: Question, found: Listing | None) -> None:
        """Count what was looked at."""
        is_listed = isinstance(question, Ask) and found is not None and found is not question.known
        self._left -= found.looked_at if is_listed and found is not None else question.entries
