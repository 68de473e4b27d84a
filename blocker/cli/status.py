"""The command status."""

import argparse

from blocker.cli import render
from blocker.cli.client import QUICK_TIMEOUT, ask
from blocker.cli.common import control
from blocker.escape import printable


def run(arguments: argparse.Namespace) -> int:
    """Print the status of the daemon."""
    answer = ask(control(arguments), {"command": "status"}, QUICK_TIMEOUT)
    if arguments.output == "json":
        render.as_json(answer)
        return 0
    logs, problems = answer.pop("logs"), answer.pop("problems")
    events, notes = answer.pop("events", {}), answer.pop("notes", [])
    answer.pop("version")
    if arguments.output == "csv":
        render.as_csv([answer], list(answer))
        return 0
    render.as_pairs(answer)
    if events:
        seen = [f"{count:,} {name}" for name, count in events.items() if count]
        print(f"  reported by WordPress: {', '.join(seen) or 'nothing yet'}")
    for log in logs:
        state = f"{log['lag_bytes']} bytes behind" if log["up"] else "can't be read"
        unparsed = log.get("unparsed", 0)
        state += f", {unparsed:,} lines not parsed" if unparsed else ""
        print(f"  {printable(log['path'])}: {state}")
    for problem in problems:
        print(f"problem: {printable(problem)}")
    for note in notes:
        print(f"note: {printable(note)}")
    return 0
