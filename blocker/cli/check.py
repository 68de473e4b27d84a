"""The command check."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from blocker.cli import render
from blocker.cli.common import load_config, say
from blocker.config.lint import offers, warnings
from blocker.escape import printable
from blocker.friends.shipped import shipped_lists
from blocker.rows import counted
from blocker.service import check
from blocker.service.check import make_matchers

if TYPE_CHECKING:
    from blocker.service.check import Findings

CHECK_COLUMNS = ("path", "readable", "owner", "mode", "fix", "lines", "unparsed", "reason")


def run(arguments: argparse.Namespace) -> int:
    """Validate the configuration, and check whether the logs can be read and parsed."""
    config = load_config(arguments)
    matchers = make_matchers(config)
    shipped_lists()
    if config.metrics.web_config:
        from blocker.telemetry import webconfig  # noqa: PLC0415

        webconfig.load(Path(config.metrics.web_config))
    traps, notes = counted(len(config.used_traps), "trap"), [*warnings(config), *offers(config)]
    if arguments.logs:
        found = check.look(config, matchers)
        return _show_check(found, traps, notes, arguments.output)
    for note in notes:
        say(f"note: {note}")
    print(f"ok: {traps}")
    return 0


def _show_check(found: "Findings", traps: str, notes: list[str], output: str) -> int:
    notes += found.notes
    if output == "json":
        rows = {"user": found.user, "patterns": found.patterns, "logs": found.logs}
        render.as_json({"version": 1, **rows, "notes": notes})
        return 0
    for note in notes:
        say(f"note: {note}")
    if output == "csv":
        render.as_csv(found.logs, CHECK_COLUMNS)
        return 0
    for row in found.patterns:
        text = f"  {row['pattern']}: {counted(row['matches'], 'log')}"
        if row["matches"]:
            text += f", {row['readable']} readable by {found.user}: {', '.join(row['first'])}"
            text += f", …; newest {row['newest']}" if row["matches"] > len(row["first"]) else ""
        print(printable(text))
    readable = sum(row["readable"] for row in found.logs)
    text = f"ok: {traps}, {counted(len(found.logs), 'log')}"
    if readable < len(found.logs):
        text += f", {readable} of them readable by {found.user}"
    print(text if readable else f"{text}: no attack can be seen")
    return 0
