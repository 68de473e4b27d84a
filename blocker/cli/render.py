"""Prints data as a table, as JSON or as CSV.  JSON and CSV are contracts, tables may change.

``rich`` formats the head of a table and is loaded only for that.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from blocker.escape import json_escaped
from blocker.rows import Rows

FORMATS = ("table", "json", "csv")
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
    """Print rows as a table with numbers aligned to the right."""
    from blocker.cli import table  # noqa: PLC0415 - rich takes as long as everything else

    sys.stdout.writelines(table.lines_of(rows, columns, title))


def as_pairs(values: Mapping[str, Any]) -> None:
    """Print names and values, one pair per line."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
