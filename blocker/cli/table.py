"""Draws tables.  Loaded only when one is printed: ``rich`` takes as long as everything else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from blocker.escape import printable

WIDTH = 500
"""Columns; wider than a terminal, which wraps long lines: ``rich`` would truncate times instead."""


def lines_of(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], title: str = ""
) -> Iterator[str]:
    """Yield the lines of a table with numbers aligned to the right, and an empty line.

    ``rich`` formats the head only: a row takes it milliseconds, and there may be 100,000 rows.  It
    respects ``NO_COLOR``.
    """
    listed = list(rows)
    console = Console(width=WIDTH, highlight=False)
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    drawn: list[list[str]] = []
    for column in columns:
        name, values = column.replace("_", " "), [row[column] for row in listed]
        numeric = bool(listed) and all(isinstance(value, int) for value in values)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        width, cells = _column([name, *map(str, values)], numeric=numeric)
        table.add_column(name, justify=justify, no_wrap=True, min_width=width)
        drawn.append(cells[1:])
    with console.capture() as head:
        console.print(table)
    yield head.get().rstrip(" \n") + "\n"
    for row in zip(*drawn, strict=True):
        yield f"  {'   '.join(row)}".rstrip() + "\n"
    yield "\n"


def _column(texts: Iterable[str], *, numeric: bool) -> tuple[int, list[str]]:
    """Return the width of a column in terminal cells, and its texts padded to that width."""
    shown = list(map(printable, texts))
    # Characters other than ASCII may be two cells wide, or none.
    cells = [len(text) if text.isascii() else cell_len(text) for text in shown]
    width = max(cells)
    blanks = [" " * (width - taken) for taken in cells]
    pairs = zip(blanks, shown, strict=True) if numeric else zip(shown, blanks, strict=True)
    return width, ["".join(pair) for pair in pairs]
