"""The verdict of ``explain`` on a line.  Pure."""

from typing import NamedTuple

from blocker.matching.grammar import Fields


class Verdict(NamedTuple):
    """The verdict on one line.

    Attributes:
        kind: ``hit``, ``no hit`` or ``unparsed``.
        reason: a short explanation.
        fields: the parsed fields; None if the line could not be split into fields.
        trap: index of the trap, or -1.
    """

    kind: str
    reason: str
    fields: Fields | None = None
    trap: int = -1


def printable_bytes(text: str) -> str:
    """Return a decoded path with control characters escaped, safe to print on a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def excerpt(text: bytes) -> str:
    """Return the first 80 bytes in quotes, all but printable ASCII escaped."""
    return ascii(text[:80])[1:]
