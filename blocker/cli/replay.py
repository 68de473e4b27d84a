"""The command replay."""

import argparse

from blocker.analysis import reading, replay
from blocker.cli import render
from blocker.cli.bans import BAN_COLUMNS
from blocker.cli.common import finish, load_config

ATTACKER_COLUMNS = ("address", "hits", "bans", "first", "last")
SHOWN_ATTACKERS = 20


def run(arguments: argparse.Namespace) -> int:
    """Print what the daemon would have done with old logs."""
    reader = reading.Reader()
    report = replay.replay(arguments.logs, load_config(arguments), reader)
    if arguments.output == "json":
        render.as_json_with_rows(report)
    elif arguments.output == "csv":
        render.as_csv(report["bans"], BAN_COLUMNS)
    else:
        totals = {name: value for name, value in report.items() if isinstance(value, int)}
        totals.pop("version")
        failures = {
            f"reported {name}": counts["failures"]
            for name, counts in report.get("events", {}).items()
        }
        render.as_pairs({**totals, **failures, "bans": len(report["bans"])})
        if report["bans"]:
            render.as_table(report["bans"], BAN_COLUMNS, "bans")
        if report["attackers"]:
            render.as_table(report["attackers"][:SHOWN_ATTACKERS], ATTACKER_COLUMNS, "attackers")
    return finish(reader)
