"""The command explain."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from blocker.analysis import explain, reading
from blocker.cli import render
from blocker.cli.common import failures, load_config
from blocker.escape import printable

if TYPE_CHECKING:
    from blocker.analysis.replay_report import ExplainRow

EXPLAIN_COLUMNS = ("line", "verdict", "reason", "trap", "address", "time", "request")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict on each line."""
    reader = reading.Reader()
    found = explain.explain(arguments.logs, load_config(arguments), reader)
    # A reason quotes what an attacker sent; a terminal would interpret control characters in it.
    rows: Iterator[ExplainRow] = ({**row, "reason": printable(row["reason"])} for row in found)
    if arguments.output == "json":
        for row in rows:
            render.as_json(row)
    elif arguments.output == "csv":
        shown = ({**row, "line": printable(row["line"])} for row in rows)
        render.as_csv(shown, EXPLAIN_COLUMNS)
    else:
        for row in rows:
            row["line"] = printable(row["line"])
            trap = f" ({row['trap']})" if row["trap"] else ""
            parts = [row["address"], row["time"], row["request"]]
            print(f"{row['line']}: {row['verdict']}{trap}: {row['reason']}")
            if any(parts):
                print("    " + "  ".join(filter(None, parts)))
    return failures(reader.failed)
