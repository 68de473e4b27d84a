"""Data as a table, JSON or CSV.  Tables are for people, the others are contracts.

``rich`` draws the tables and is loaded only for them; it respects ``NO_COLOR``.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from blocker.escape import json_escaped, printable
from blocker.report import Rows

FORMATS = ("table", "json", "csv")
WIDTH = 500
SLICE = 1000
"""Rows of JSON that are at hand at a time."""


def as_json(value: Any) -> None:
    """Print one object."""
    # In one piece: json.dump would write every number by itself.
    sys.stdout.write(_text(value) + "\n")


def as_json_with_rows(value: Mapping[str, Any]) -> None:
    """Print one object whose rows, which stand at its end, are made and written some at a time."""
    sys.stdout.writelines(_pieces(value))


def _pieces(value: Mapping[str, Any]) -> Iterator[str]:
    rows = {name: each for name, each in value.items() if isinstance(each, Rows)}
    yield _text({name: each for name, each in value.items() if name not in rows})[:-1]
    for name, each in rows.items():
        yield f", {_text(name)}: ["
        form = _form(each.kind.__annotations__)
        for start in range(0, len(each), SLICE):
            yield ", " * bool(start)
            yield ", ".join([form % values for values in each.values(start, start + SLICE)])
        yield "]"
    yield "}\n"


def _form(columns: Mapping[str, type]) -> str:
    """Return a row of JSON with a place for each value: to fill it is quicker than to encode."""
    places = {str: '"%s"', int: "%d"}
    return "{" + ", ".join(f'"{name}": {places[kind]}' for name, kind in columns.items()) + "}"


def _text(value: object) -> str:
    # A half of a pair of surrogates (a byte of a name that is not UTF-8) is escaped by the stream,
    # as JSON has it; another encoding would escape in a way of its own.
    unicode = (sys.stdout.encoding or "utf-8").lower() in {"utf-8", "utf8"}
    return json_escaped(json.dumps(value, ensure_ascii=not unicode))


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows with a header line (RFC 4180)."""
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def as_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], title: str = "") -> None:
    """Print rows as a table; numbers stand at the right.

    ``rich`` draws the head alone: it takes milliseconds for a row, and there may be 100,000.
    """
    from rich import box  # noqa: PLC0415 - costs as much as everything else together
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    listed = list(rows)
    # As wide as it is: a terminal wraps what is too long for it, but a time cut off is lost.
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
    sys.stdout.write(head.get().rstrip(" \n") + "\n")
    sys.stdout.writelines(
        f"  {'   '.join(row)}".rstrip() + "\n" for row in zip(*drawn, strict=True)
    )
    sys.stdout.write("\n")


def _column(texts: Iterable[str], *, numeric: bool) -> tuple[int, list[str]]:
    """Return how many cells of a terminal a column is wide, and its texts, filled up to that."""
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    shown = list(map(printable, texts))
    # Most are ASCII; other characters may be two cells wide, or none.
    cells = [len(text) if text.isascii() else cell_len(text) for text in shown]
    width = max(cells)
    blanks = [" " * (width - taken) for taken in cells]
    pairs = zip(blanks, shown, strict=True) if numeric else zip(shown, blanks, strict=True)
    return width, ["".join(pair) for pair in pairs]


def as_pairs(values: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
