"""Prints data as a table, as JSON or as CSV.  JSON and CSV are contracts, tables may change.

``rich`` formats the head of a table and is loaded only for that; it respects ``NO_COLOR``.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from blocker.escape import json_escaped, printable
from blocker.rows import Rows

FORMATS = ("table", "json", "csv")
WIDTH = 500
SLICE = 1000
"""Number of rows of JSON that are formatted at a time."""


def as_json(value: Any) -> None:
    """Print one object."""
    # One write: json.dump would write every token by itself.
    sys.stdout.write(_text(value) + "\n")


def as_json_with_rows(value: Mapping[str, Any]) -> None:
    """Print one object whose rows, at its end, are formatted and written in slices."""
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
    """Return a format string for a row of JSON; formatting is faster than encoding each row."""
    places = {str: '"%s"', int: "%d"}
    return "{" + ", ".join(f'"{name}": {places[kind]}' for name, kind in columns.items()) + "}"


def _text(value: object) -> str:
    # A lone surrogate (a byte of a file name that is not UTF-8) is escaped by the stream as in JSON
    # if its encoding is UTF-8; with other encodings the escape would differ.
    unicode = (sys.stdout.encoding or "utf-8").lower() in {"utf-8", "utf8"}
    return json_escaped(json.dumps(value, ensure_ascii=not unicode))


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows with a header line (RFC 4180)."""
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def as_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], title: str = "") -> None:
    """Print rows as a table with numbers aligned to the right.

    ``rich`` formats the head only: a row takes it milliseconds, and there may be 100,000 rows.
    """
    from rich import box  # noqa: PLC0415 - loading takes as long as everything else
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    listed = list(rows)
    # Wider than a terminal, which wraps long lines: rich would truncate times instead.
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
    """Return the width of a column in terminal cells, and its texts padded to that width."""
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    shown = list(map(printable, texts))
    # Characters other than ASCII may be two cells wide, or none.
    cells = [len(text) if text.isascii() else cell_len(text) for text in shown]
    width = max(cells)
    blanks = [" " * (width - taken) for taken in cells]
    pairs = zip(blanks, shown, strict=True) if numeric else zip(shown, blanks, strict=True)
    return width, ["".join(pair) for pair in pairs]


def as_pairs(values: Mapping[str, Any]) -> None:
    """Print names and values, one pair per line."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
