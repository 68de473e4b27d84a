"""The commands bans, ban, unban and forget."""

import argparse
from collections.abc import Mapping
from typing import Any

from blocker.cli import render
from blocker.cli.bulk import do_each
from blocker.cli.client import ask
from blocker.cli.common import control, say, span

BAN_COLUMNS = ("address", "trap", "start", "until", "hits", "offence")
ACTIVE_COLUMNS = ("address", "trap", "until", "left", "hits", "offence", "enforced", "reason")


def run(arguments: argparse.Namespace) -> int:
    """List the active bans."""
    path = control(arguments)
    rows: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = ask(path, {"command": "bans", "after": after})
        rows += page["bans"]
        after = page["next"]
    if arguments.output == "json":
        render.as_json({"version": 1, "bans": rows})
    elif arguments.output == "csv":
        render.as_csv(rows, (*BAN_COLUMNS, "left", "enforced", "reason"))
    elif rows:
        render.as_table([{**row, "left": span(row["left"])} for row in rows], ACTIVE_COLUMNS)
    else:
        say("no active bans")
    return 0


def ban(arguments: argparse.Namespace) -> int:
    """Ban addresses or networks."""
    request = {"command": "ban", "for": arguments.length, "reason": arguments.reason}

    def done(row: Mapping[str, Any]) -> str:
        return f"banned {row['address']} until {row['until']}{how_many(row)}"

    return do_each(control(arguments), request, arguments.addresses, done)


def how_many(row: Mapping[str, Any]) -> str:
    """Return the number of changed subjects in brackets, or "" for one."""
    return f" ({row['changed']})" if row["changed"] > 1 else ""


def forget(arguments: argparse.Namespace) -> int:
    """Erase addresses everywhere."""
    return do_each(
        control(arguments),
        {"command": "forget"},
        arguments.addresses,
        lambda row: f"forgot {row['address']}",
    )
