"""The command line: data on stdout, messages on stderr, and documented exit codes.

It uses argparse, because every command starts here and click takes five times as long to load
(docs/decisions/002).  A command is named by its module, whose function is ``run``, or as
``module:function``; the module is loaded when the command is chosen.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path

from blocker import __version__
from blocker.errors import BlockerError

EPILOG = """\
exit codes:
  0  success, even if there is nothing to list
  1  failure: an unreadable log (the rest was processed), a friend, or
     the kernel or the database refuses
  2  usage
  3  the daemon is not reachable, or did not answer
  4  nothing changed: unban of an unknown address, a ban shorter than the active one
  5  not permitted
 78  bad configuration
if several addresses fail for different reasons: 1 before 2 before 4
"""

Command = Callable[[argparse.Namespace], int]


# The parser ------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the man page and the completions are generated from it."""
    parser = argparse.ArgumentParser(
        prog="xmlrpc-blocker",
        description="Follows web server logs and bans XML-RPC attackers in nftables.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--config", metavar="FILE", type=Path,
        help="read only this file, not /etc/xmlrpc-blocker/config.toml and conf.d/*.toml",
    )  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    run = add("run", "run", "run the daemon in the foreground")
    run.add_argument("--dry-run", action="store_true", help="judge and log, but enforce nothing")
    check = add("check", "check", "validate the configuration and check the logs; changes nothing")
    _with_look(_with_output(check))
    _with_write(add("logs", "logs", "propose which access logs of this host to follow"))
    _with_output(add("status", "status", "show the status of the daemon"))
    _with_output(add("bans", "bans", "list the active bans and the time left"))
    _with_ban(add("ban", "bans:ban", "ban addresses or networks by hand (IPv6 by its network)"))
    unban = add("unban", "unban", "unban addresses or networks")
    _with_addresses(unban, nargs="*")
    unban.add_argument(
        "--all", action="store_true",
        help="end all bans; as root this works without a daemon: it deletes the table",
    )  # fmt: skip
    forget = add("forget", "bans:forget", "erase addresses: their windows, bans and offences")
    _with_addresses(forget)
    replay = add("replay", "replay", "judge old logs and show the bans; changes nothing")
    _with_logs(_with_output(replay))
    explain = add("explain", "explain", "show the verdict on each line, and why")
    _with_logs(_with_output(explain))
    backfill = add("backfill", "backfill", "print old logs as time series for Prometheus")
    _with_logs(_with_series(backfill))
    lists = add("lists", "lists", "show the lists of proxies and services and their dates")
    _with_refresh(_with_output(lists))
    return parser


def _with_ban(parser: argparse.ArgumentParser) -> None:
    _with_addresses(parser)
    parser.add_argument(
        "--for", dest="length", metavar="TIME", help="duration, such as 90s, 30m, 12h, 1d, 1w"
    )
    parser.add_argument(
        "--reason", metavar="TEXT", help="shown by bans and in the journal; up to 200 characters"
    )


def _with_addresses(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    parser.add_argument(
        "addresses", metavar="ADDR", nargs=nargs,
        help="an address, or a network up to /24 or /48; - reads a list from standard input",
    )  # fmt: skip


def _with_look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-logs",
        dest="logs",
        action="store_false",
        help="check only the configuration, not the logs",
    )


def _with_write(parser: argparse.ArgumentParser) -> None:
    _with_output(parser).add_argument(
        "--write", action="store_true",
        help="write the proposal to /etc/xmlrpc-blocker/conf.d/logs.toml; a reload uses it",
    )  # fmt: skip


def _with_refresh(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "refresh", metavar="refresh", nargs="?", choices=("refresh",),
        help="fetch lists from their publishers and show what would change",
    )  # fmt: skip
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these lists")
    parser.add_argument(
        "--from", dest="source", metavar="FILE", type=Path,
        help="read one list from a file that was downloaded",
    )  # fmt: skip
    parser.add_argument(
        "--write", action="store_true", help="store the fetched lists; a reload uses them"
    )
    parser.add_argument(
        "--force", action="store_true", help="accept a list even if it shrank or grew suspiciously"
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=Path,
        help="use this directory, not /etc/xmlrpc-blocker/lists",
    )


def _with_output(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "-o", dest="output", metavar="FORMAT", choices=("table", "json", "csv"), default="table",
        help="table (default), json or csv",
    )  # fmt: skip
    return parser


def _with_series(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--until", metavar="TIME",
        help="export nothing from this time on, such as 2026-11-22T18:00:00Z: when the daemon"
        " itself began to count; default: now",
    )  # fmt: skip
    parser.add_argument(
        "--every", metavar="LENGTH", default="1h",
        help="interval of the samples (default: 1h); 15m or 30m if a time zone is not whole hours",
    )  # fmt: skip
    parser.add_argument(
        "--job", metavar="NAME", default="xmlrpc-blocker",
        help="the job in Prometheus' configuration (default: xmlrpc-blocker)",
    )  # fmt: skip
    parser.add_argument(
        "--instance", metavar="TARGET", default="localhost:9947",
        help="the target in Prometheus' configuration (default: localhost:9947)",
    )  # fmt: skip
    parser.add_argument(
        "--log-label", dest="log_labels", metavar="PATH", action="append",
        help="path at which the daemon follows the log, if it differs from LOG; once for each log",
    )  # fmt: skip
    return parser


def _with_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "logs", metavar="LOG", nargs="+",
        help="plain, .gz, .xz, .bz2 or .zst; - is standard input",
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    _prepare_streams()
    try:
        code = _exit_code(argv)
    except BrokenPipeError:
        # The reader of the output has closed it; grep ends by SIGPIPE then, too.
        _end_by(signal.SIGPIPE)
        code = 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
        code = 128 + signal.SIGINT
    sys.exit(code)


def _prepare_streams() -> None:
    """Make standard output accept any text, because file names may hold any bytes."""
    # In Python a standard stream that was closed by the caller is None.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _exit_code(argv: Sequence[str] | None) -> int:
    """Run a command and return its exit code; errors are printed."""
    command = ""
    try:
        try:
            arguments = build_parser().parse_args(argv)
            command = arguments.command
            code = _loaded(command)(arguments)
        finally:
            sys.stdout.flush()
    except BlockerError as error:
        _say(f"xmlrpc-blocker: {error}")
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        if command == "run":
            raise
        name = f"{error.filename}: " if error.filename else ""
        _say(f"xmlrpc-blocker: {name}{error.strerror or error}")
        _give_up_output()
        return 1
    return code


def _loaded(command: str) -> Command:
    """Return the function of a command."""
    module, _, function = command.partition(":")
    function = function or "run"
    found: Command = getattr(importlib.import_module(f"blocker.cli.{module}"), function)
    return found


def _say(text: str) -> None:
    from blocker.cli.common import say  # noqa: PLC0415 - needed for errors only

    say(text)


def _give_up_output() -> None:
    """Drop output that can't be written; the interpreter would retry it at exit otherwise."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _end_by(number: signal.Signals) -> None:
    """End this process by a signal, so that the shell sees it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
