"""The command unban, and unban --all without a daemon."""

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path

from blocker.cli.bans import how_many
from blocker.cli.bulk import do_each
from blocker.cli.client import ask
from blocker.cli.common import control, load_config, say
from blocker.config.files import salvaged
from blocker.config.schema import Config
from blocker.errors import ConfigError, NotReachableError
from blocker.store.lock import StateLock, StateLockedError, holders

UNBAN_PATIENCE = 10.0
"""Seconds that ``unban --all`` waits for a running daemon that does not answer."""


def run(arguments: argparse.Namespace) -> int:
    """Unban addresses, networks, or all."""
    if arguments.all == bool(arguments.addresses):
        say("unban: name addresses, or --all")
        return 2
    if not arguments.all:
        return do_each(
            control(arguments),
            {"command": "unban"},
            arguments.addresses,
            lambda row: f"unbanned {row['address']}{how_many(row)}",
        )
    return _unban_all(arguments)


def _unban_all(arguments: argparse.Namespace) -> int:
    """Unban all, through the daemon or without one, even with an invalid configuration."""
    broken = False
    try:
        config = load_config(arguments)
    except ConfigError as error:
        config, broken = salvaged(arguments.config), True
        say(
            f"{error}\nwarning: the configuration is broken; using the control socket"
            f" {config.control}, the state {config.state} and the table {config.firewall.table}"
        )
    request = {"command": "unban", "all": True}
    try:
        answer = ask(config.control, request)
    except NotReachableError:
        if broken:
            _refuse_beside_a_daemon(config)
        return _unban_all_without_answer(config, request)
    print(f"unbanned everybody ({answer['unbanned']})")
    return 0


def _refuse_beside_a_daemon(config: Config) -> None:
    """Raise an error if a daemon is running with another state than the configuration names."""
    for process, state in holders():
        if state != os.path.realpath(config.state):
            raise NotReachableError(
                f"{config.control}: no daemon answers there, but one is running (process {process},"
                f" state {state}), so nothing was changed; repair the configuration, or stop it"
                " first (systemctl stop xmlrpc-blocker), then try again"
            )


def _unban_all_without_answer(config: Config, request: Mapping[str, object]) -> int:
    """Unban all without a daemon; if a daemon has locked the state, retry until it answers.

    Raises:
        NotReachableError: a daemon has locked the state and does not answer.
    """
    if not Path(config.state).parent.exists():
        return _unban_all_alone(config)
    deadline = time.monotonic() + UNBAN_PATIENCE
    while True:
        try:
            with StateLock(config.state):
                return _unban_all_alone(config)
        except StateLockedError as error:
            who = f"the daemon (process {error.holder})" if error.holder else "a daemon"
        try:
            answer = ask(config.control, request, UNBAN_PATIENCE)
            print(f"unbanned everybody ({answer['unbanned']})")
        except NotReachableError:
            if time.monotonic() >= deadline:
                raise NotReachableError(
                    f"{config.control}: {who} is running and does not answer, so nothing was"
                    " changed; stop it first (systemctl stop xmlrpc-blocker), then try again"
                ) from None
            time.sleep(0.1)
        else:
            return 0


def _unban_all_alone(config: Config) -> int:
    from blocker.service import emergency  # noqa: PLC0415 - loads firewall and store

    done = emergency.unban_all(config)
    say("no daemon answers; did it without one")
    table = "deleted" if done.table_deleted else "was not there"
    print(f"unbanned everybody ({done.bans}); table {config.firewall.table} {table}")
    return 0
