"""The command lists."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from blocker.cli import render
from blocker.cli.common import failures, say
from blocker.errors import BlockerError
from blocker.friends import refresh
from blocker.friends.publishers import SOURCES
from blocker.friends.shipped import LISTS, shipped_lists

if TYPE_CHECKING:
    from blocker.friends.refresh import Refreshed

LIST_COLUMNS = ("name", "kind", "networks", "date", "source")


def run(arguments: argparse.Namespace) -> int:
    """Print the lists of networks, or fetch newer ones."""
    if arguments.refresh:
        return _refresh_lists(arguments)
    if arguments.names or arguments.source or arguments.write or arguments.force:
        say("lists: to fetch newer lists: lists refresh [NAME…]")
        return 2
    rows = [
        {**each._asdict(), "networks": len(each.networks)}
        for each in shipped_lists(arguments.directory or LISTS).values()
    ]
    if arguments.output == "json":
        render.as_json({"version": 1, "lists": rows})
    elif arguments.output == "csv":
        render.as_csv(rows, LIST_COLUMNS)
    else:
        render.as_table(rows, LIST_COLUMNS)
    return 0


def _refresh_lists(arguments: argparse.Namespace) -> int:
    directory = arguments.directory or LISTS
    lists = shipped_lists(directory)
    fetchable = [name for name in lists if SOURCES[name].urls]
    unknown = [name for name in arguments.names if name not in lists]
    if unknown or (arguments.source and len(arguments.names) != 1):
        text = f"no list is named {unknown[0]}" if unknown else "name one list for --from FILE"
        say(f"lists: {text}; there are: {', '.join(lists)}")
        return 2
    code = 0
    for name in arguments.names or fetchable:
        try:
            if arguments.source:
                refreshed = refresh.refresh_from(lists[name], arguments.source)
            else:
                refreshed = refresh.refresh(lists[name], refresh.fetch)
            code |= _take_list(refreshed, directory, arguments)
        except BlockerError as error:
            code |= failures([str(error)])
    return code


def _take_list(refreshed: "Refreshed", directory: Path, arguments: argparse.Namespace) -> int:
    """Print what changes in a list, and store it if ``--write`` was given."""
    added, removed = refreshed.difference
    print(f"{refreshed.name}: {len(added)} added, {len(removed)} removed")
    for sign, networks in (("+", added), ("-", removed)):
        for network in networks:
            print(f"{sign} {network}")
    if refreshed.doubt and not arguments.force:
        advice = "look at the difference, and use --force if it is right"
        return failures([f"{refreshed.name}: {refreshed.doubt}; {advice}"])
    if arguments.write:
        path = refresh.store(directory, refreshed)
        say(f"written: {path}; to use it: systemctl reload xmlrpc-blocker")
    elif added or removed:
        say(f"{refreshed.name}: nothing is written without --write")
    return 0
