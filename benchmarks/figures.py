"""What was measured, and how it is shown.  Pure: no clock, no process, no file.

A section is what one benchmark returns: a title, how it was measured, and rows.  A row has the
values of all rounds, in the order they were taken, and perhaps what is asked of their median.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

BEGIN, END = "<!-- made by make bench: begin -->", "<!-- made by make bench: end -->"


class Row(NamedTuple):
    """One figure.

    Attributes:
        name: what it is a figure of.
        unit: of the values.
        values: one of each round.
        asked: what the median is held against, if anything.
        at_least: whether more is better.
        note: said behind it.
    """

    name: str
    unit: str
    values: Sequence[float]
    asked: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median is what is asked; None if nothing is."""
        if self.asked is None or not self.values:
            return None
        return self.median >= self.asked if self.at_least else self.median <= self.asked


class Section(NamedTuple):
    """What one benchmark found."""

    title: str
    how: str
    rows: Sequence[Row]


def absent(name: str, package: str) -> Row:
    """Return the row of something that is not there."""
    return Row(name, "", [], note=f"{package}: not installed")


def ratio(name: str, above: Sequence[float], below: Sequence[float], **more: Any) -> Row:
    """Return the row of a ratio, round by round: noise that hits both cancels out."""
    pairs = zip(above, below, strict=True)
    return Row(name, "times", [a / b for a, b in pairs if b > 0], **more)


def number(value: float) -> str:
    """Return a number with three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}" if abs(value) >= 0.001 else f"{value:.2g}"


def verdict(row: Row) -> str:
    """Return what is asked, and whether it is met."""
    if row.asked is None:
        return ""
    asked = f"{'≥' if row.at_least else '≤'} {number(row.asked)}"
    return asked if row.met is None else f"{asked}: {'met' if row.met else '**missed**'}"


def _cells(row: Row) -> list[str]:
    name = f"{row.name}, {row.unit}" if row.unit else row.name
    if not row.values:
        return [name, "", row.note, "", verdict(row)]
    found = (min(row.values), row.median, max(row.values))
    note = f" ({row.note})" if row.note else ""
    return [name + note, *map(number, found), verdict(row)]


def table(rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [["", "min", "median", "max", "asked"], ["---", "---:", "---:", "---:", "---"]]
    lines += [_cells(row) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(rows: Iterable[Row]) -> str:
    """Return a table for a terminal."""
    lines = [_cells(row) for row in rows]
    width = max((len(line[0]) for line in lines), default=0)
    return "\n".join(
        f"{line[0]:<{width}}  {line[1]:>9} {line[2]:>9} {line[3]:>9}  {line[4]}" for line in lines
    )


def page(found: dict[str, Any]) -> str:
    """Return the part of the page that is made of a run's JSON."""
    machine, sections = found["machine"], found["sections"]
    what = ", ".join(f"{key} {value}".strip() for key, value in machine.items())
    parts = [BEGIN, f"Machine: {what}."]
    for each in sections.values():
        rows = [Row(**row) for row in each["rows"]]
        when = f"{each['date']}, load before {each['load']}, {each['rounds']} rounds."
        parts += [f"## {each['title']}", f"{each['how']} {when}", table(rows)]
    rows = [Row(**row) for each in sections.values() for row in each["rows"]]
    held = [row for row in rows if row.met is not None]
    missed = [row.name for row in held if not row.met]
    said = f"Of {len(held)} figures that something is asked of, {len(held) - len(missed)} are met"
    tail = "; missed: " + "; ".join(missed) if missed else ""
    parts[2:2] = [f"{said}{tail}."]
    return "\n\n".join([*parts, END])


def into(text: str, made: str) -> str:
    """Return a page's text with that part replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + made + after
