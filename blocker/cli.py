"""The command line: data on stdout, messages on stderr, exit codes that mean something.

argparse, because the daemon and the offline commands start through here as well and it costs a
fifth of click (docs/decisions/002).  Whatever a command needs is imported by that command.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocker import __version__
from blocker.errors import BlockerError, ConfigError, NotReachableError

if TYPE_CHECKING:
    from blocker.check import Findings
    from blocker.config import Config
    from blocker.hours import Hours
    from blocker.listfetch import Refreshed
    from blocker.offline import Reader
    from blocker.report import ExplainRow

EPILOG = """\
exit codes:
  0  success, even if there is nothing to list
  1  failure: an unreadable log (the rest was processed), a friend, or
     the kernel or the database refuses
  2  usage
  3  the daemon is not reachable, or hung up before it had answered
  4  nothing changed: unban of an unknown address, a ban shorter than the standing one
  5  not permitted
 78  bad configuration
of several addresses some of which are refused: 1 before 2 before 4
"""
BAN_COLUMNS = ("address", "trap", "start", "until", "hits", "offence")
STANDING_COLUMNS = ("address", "trap", "until", "left", "hits", "offence", "enforced", "reason")
ATTACKER_COLUMNS = ("address", "hits", "bans", "first", "last")
EXPLAIN_COLUMNS = ("line", "verdict", "reason", "trap", "address", "time", "request")
CHECK_COLUMNS = ("path", "readable", "owner", "mode", "fix", "lines", "unparsed", "reason")
LIST_COLUMNS = ("name", "kind", "networks", "date", "source")
SHOWN_ATTACKERS = 20
UNBAN_PATIENCE = 10.0
"""Seconds that ``unban --all`` waits for a daemon that runs and does not answer."""

Command = Callable[[argparse.Namespace], int]


# Commands --------------------------------------------------------------------------------------


def _config(arguments: argparse.Namespace) -> "Config":
    from blocker.configfile import load  # noqa: PLC0415

    return load(arguments.config)


def _control(arguments: argparse.Namespace) -> str:
    """Return the path of the control socket: a broken configuration must not hide a daemon.

    Raises:
        ConfigError: the configuration is broken, and no socket is at the path that it leaves.
    """
    try:
        return _config(arguments).control
    except ConfigError as error:
        from blocker.configfile import salvaged  # noqa: PLC0415

        path = salvaged(arguments.config).control
        if not _is_socket(path):
            raise
        _say(f"{error}\nwarning: the configuration is broken; asking the daemon at {path}")
        return path


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket()
    except OSError:  # a directory on the way is closed to this user
        return False


def _run(arguments: argparse.Namespace) -> int:
    from blocker.daemon import run  # noqa: PLC0415

    run(arguments.config, dry_run=arguments.dry_run)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from blocker.config import warnings  # noqa: PLC0415
    from blocker.configfile import shipped_lists  # noqa: PLC0415
    from blocker.match import Matcher  # noqa: PLC0415
    from blocker.report import counted  # noqa: PLC0415

    config = _config(arguments)
    matcher = Matcher(list(config.traps.values()), config.format)
    shipped_lists()
    if config.metrics.web_config:
        from blocker import webconfig  # noqa: PLC0415

        webconfig.load(Path(config.metrics.web_config))
    traps, notes = counted(len(config.traps), "trap"), warnings(config)
    if arguments.logs:
        from blocker import check  # noqa: PLC0415

        found = check.look(config, matcher)
        return _show_check(found, traps, notes, arguments.output)
    for note in notes:
        _say(f"note: {note}")
    print(f"ok: {traps}")
    return 0


def _show_check(found: "Findings", traps: str, notes: list[str], output: str) -> int:
    from blocker import show  # noqa: PLC0415
    from blocker.escape import printable  # noqa: PLC0415
    from blocker.report import counted  # noqa: PLC0415

    notes += found.notes
    if output == "json":
        rows = {"user": found.user, "patterns": found.patterns, "logs": found.logs}
        show.as_json({"version": 1, **rows, "notes": notes})
        return 0
    for note in notes:
        _say(f"note: {note}")
    if output == "csv":
        show.as_csv(found.logs, CHECK_COLUMNS)
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


def _status(arguments: argparse.Namespace) -> int:
    from blocker import show  # noqa: PLC0415
    from blocker.control import QUICK_TIMEOUT, ask  # noqa: PLC0415
    from blocker.escape import printable  # noqa: PLC0415

    answer = ask(_control(arguments), {"command": "status"}, QUICK_TIMEOUT)
    if arguments.output == "json":
        show.as_json(answer)
        return 0
    logs, problems = answer.pop("logs"), answer.pop("problems")
    answer.pop("version")
    if arguments.output == "csv":
        show.as_csv([answer], list(answer))
        return 0
    show.as_pairs(answer)
    for log in logs:
        state = f"{log['lag_bytes']} bytes behind" if log["up"] else "can't be read"
        unparsed = log.get("unparsed", 0)
        state += f", {unparsed:,} lines not understood" if unparsed else ""
        print(f"  {printable(log['path'])}: {state}")
    for problem in problems:
        print(f"problem: {printable(problem)}")
    return 0


def _bans(arguments: argparse.Namespace) -> int:
    from blocker import show  # noqa: PLC0415
    from blocker.control import ask  # noqa: PLC0415

    path = _control(arguments)
    rows: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = ask(path, {"command": "bans", "after": after})
        rows += page["bans"]
        after = page["next"]
    if arguments.output == "json":
        show.as_json({"version": 1, "bans": rows})
    elif arguments.output == "csv":
        show.as_csv(rows, (*BAN_COLUMNS, "left", "enforced", "reason"))
    elif rows:
        show.as_table([{**row, "left": _span(row["left"])} for row in rows], STANDING_COLUMNS)
    else:
        _say("nobody is banned")
    return 0


def _ban(arguments: argparse.Namespace) -> int:
    from blocker.byhand import do_each  # noqa: PLC0415

    request = {"command": "ban", "for": arguments.length, "reason": arguments.reason}

    def done(row: Mapping[str, Any]) -> str:
        return f"banned {row['address']} until {row['until']}{_how_many(row)}"

    return do_each(_control(arguments), request, arguments.addresses, done)


def _how_many(row: Mapping[str, Any]) -> str:
    return f" ({row['changed']})" if row["changed"] > 1 else ""


def _unban(arguments: argparse.Namespace) -> int:
    from blocker.byhand import do_each  # noqa: PLC0415

    if arguments.all == bool(arguments.addresses):
        _say("unban: name addresses, or --all")
        return 2
    if not arguments.all:
        return do_each(
            _control(arguments),
            {"command": "unban"},
            arguments.addresses,
            lambda row: f"unbanned {row['address']}{_how_many(row)}",
        )
    return _unban_all(arguments)


def _unban_all(arguments: argparse.Namespace) -> int:
    """Have the daemon do it, or do it alone; a broken configuration must not stand in the way."""
    from blocker.control import ask  # noqa: PLC0415

    broken = False
    try:
        config = _config(arguments)
    except ConfigError as error:
        from blocker.configfile import salvaged  # noqa: PLC0415

        config, broken = salvaged(arguments.config), True
        _say(
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


def _refuse_beside_a_daemon(config: "Config") -> None:
    """Raise an error if a daemon runs whose state a broken configuration does not name."""
    from blocker.statelock import holders  # noqa: PLC0415

    for process, state in holders():
        if state != os.path.realpath(config.state):
            raise NotReachableError(
                f"{config.control}: no daemon answers there, but one is running (process {process},"
                f" state {state}), so nothing was changed; mend the configuration, or stop it first"
                " (systemctl stop xmlrpc-blocker), then try again"
            )


def _unban_all_without_answer(config: "Config", request: Mapping[str, object]) -> int:
    """Do it alone if no daemon holds the state; else wait until the one that does answers.

    Raises:
        NotReachableError: a daemon holds the state and does not answer.
    """
    import time  # noqa: PLC0415

    from blocker.control import ask  # noqa: PLC0415
    from blocker.statelock import StateLock, StateLockedError  # noqa: PLC0415

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


def _unban_all_alone(config: "Config") -> int:
    """The emergency: no daemon answers, so the table goes and the store ends every ban."""
    import time  # noqa: PLC0415

    from blocker.firewall import delete_table  # noqa: PLC0415
    from blocker.store import Store  # noqa: PLC0415

    gone = delete_table(config.firewall.table)
    ended = 0
    if Path(config.state).exists():
        store = Store(config.state)
        ended = store.end_all(time.time_ns() // 1000)
        store.close()
    _say("no daemon answers; did it without one")
    table = "deleted" if gone else "was not there"
    print(f"unbanned everybody ({ended}); table {config.firewall.table} {table}")
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    from blocker.byhand import do_each  # noqa: PLC0415

    return do_each(
        _control(arguments),
        {"command": "forget"},
        arguments.addresses,
        lambda row: f"forgot {row['address']}",
    )


def _replay(arguments: argparse.Namespace) -> int:
    from blocker import offline, show  # noqa: PLC0415

    reader = offline.Reader()
    report = offline.replay(arguments.logs, _config(arguments), reader)
    if arguments.output == "json":
        show.as_json_with_rows(report)
    elif arguments.output == "csv":
        show.as_csv(report["bans"], BAN_COLUMNS)
    else:
        totals = {name: value for name, value in report.items() if isinstance(value, int)}
        totals.pop("version")
        show.as_pairs({**totals, "bans": len(report["bans"])})
        if report["bans"]:
            show.as_table(report["bans"], BAN_COLUMNS, "bans")
        if report["attackers"]:
            show.as_table(report["attackers"][:SHOWN_ATTACKERS], ATTACKER_COLUMNS, "attackers")
    return _finish(reader)


def _backfill(arguments: argparse.Namespace) -> int:
    from blocker import backfill, offline  # noqa: PLC0415
    from blocker.hours import exposition  # noqa: PLC0415

    hours = _hours(arguments)
    if isinstance(hours, str):
        _say(f"backfill: {hours}")
        return 2
    config = _config(arguments)
    labels = backfill.labels_of(arguments.logs, config)
    if len(arguments.log_labels or labels) != len(labels):
        _say("backfill: one --log-label for each log, in their order; a rotated set is one log")
        return 2
    if arguments.until is None and _is_socket(config.control):
        _say("note: a daemon is here; give --until, or what it counted itself is told twice")
    common = {"job": arguments.job, "instance": arguments.instance}
    counter = backfill.Backfill(config, hours, common)
    reader = offline.Reader()
    counter.read(arguments.logs, arguments.log_labels or labels, reader)
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stdout.writelines(exposition(counter.counts, hours))
    if not any(counter.counts.values()):
        reader.failed.append("no line with a time before --until: nothing to tell")
    return _finish(reader)


def _hours(arguments: argparse.Namespace) -> "Hours | str":
    """Return how time is cut, or what is wrong with it."""
    import time  # noqa: PLC0415

    from blocker.hours import Hours  # noqa: PLC0415
    from blocker.lines import parse_time  # noqa: PLC0415
    from blocker.model import SECOND  # noqa: PLC0415
    from blocker.values import DAY, MINUTE, duration  # noqa: PLC0415

    try:
        width = duration(arguments.every)
    except ValueError:
        width = 0
    if width < MINUTE or DAY % width:
        return f"--every {arguments.every}: a day must be a multiple of it, as of 15m or 1h"
    text = arguments.until
    if text is None:
        return Hours(width, int(time.time()) * SECOND)
    until = parse_time(text.encode("utf-8", "replace"))
    if until is None:
        return f"--until {text}: write a time such as 2026-11-22T18:00:00Z"
    return Hours(width, until // SECOND * SECOND)


def _explain(arguments: argparse.Namespace) -> int:
    from blocker import offline, show  # noqa: PLC0415
    from blocker.escape import printable  # noqa: PLC0415

    reader = offline.Reader()
    found = offline.explain(arguments.logs, _config(arguments), reader)
    # A reason quotes what an attacker sent, a terminal would obey it.
    rows: Iterator[ExplainRow] = ({**row, "reason": printable(row["reason"])} for row in found)
    if arguments.output == "json":
        for row in rows:
            show.as_json(row)
    elif arguments.output == "csv":
        shown = ({**row, "line": printable(row["line"])} for row in rows)
        show.as_csv(shown, EXPLAIN_COLUMNS)
    else:
        for row in rows:
            row["line"] = printable(row["line"])
            trap = f" ({row['trap']})" if row["trap"] else ""
            parts = [row["address"], row["time"], row["request"]]
            print(f"{row['line']}: {row['verdict']}{trap}: {row['reason']}")
            if any(parts):
                print("    " + "  ".join(filter(None, parts)))
    return _failures(reader.failed)


def _lists(arguments: argparse.Namespace) -> int:
    if arguments.refresh:
        return _refresh_lists(arguments)
    if arguments.names or arguments.source or arguments.write or arguments.force:
        _say("lists: to fetch lists anew: lists refresh [NAME…]")
        return 2
    from blocker import show  # noqa: PLC0415
    from blocker.configfile import LISTS, shipped_lists  # noqa: PLC0415

    rows = [
        {**each._asdict(), "networks": len(each.networks)}
        for each in shipped_lists(arguments.directory or LISTS).values()
    ]
    if arguments.output == "json":
        show.as_json({"version": 1, "lists": rows})
    elif arguments.output == "csv":
        show.as_csv(rows, LIST_COLUMNS)
    else:
        show.as_table(rows, LIST_COLUMNS)
    return 0


def _refresh_lists(arguments: argparse.Namespace) -> int:
    from blocker import listfetch  # noqa: PLC0415
    from blocker.configfile import LISTS, shipped_lists  # noqa: PLC0415
    from blocker.listsource import SOURCES  # noqa: PLC0415

    directory = arguments.directory or LISTS
    lists = shipped_lists(directory)
    fetchable = [name for name in lists if SOURCES[name].urls]
    unknown = [name for name in arguments.names if name not in lists]
    if unknown or (arguments.source and len(arguments.names) != 1):
        text = f"no list is named {unknown[0]}" if unknown else "name one list for --from FILE"
        _say(f"lists: {text}; there are: {', '.join(lists)}")
        return 2
    code = 0
    for name in arguments.names or fetchable:
        try:
            if arguments.source:
                refreshed = listfetch.refresh_from(lists[name], arguments.source)
            else:
                refreshed = listfetch.refresh(lists[name], listfetch.fetch)
            code |= _take_list(refreshed, directory, arguments)
        except BlockerError as error:
            code |= _failures([str(error)])
    return code


def _take_list(refreshed: "Refreshed", directory: Path, arguments: argparse.Namespace) -> int:
    """Show the difference of a list, and store it if that is asked for."""
    from blocker import listfetch  # noqa: PLC0415

    added, removed = refreshed.difference
    print(f"{refreshed.name}: {len(added)} added, {len(removed)} removed")
    for sign, networks in (("+", added), ("-", removed)):
        for network in networks:
            print(f"{sign} {network}")
    if refreshed.doubt and not arguments.force:
        advice = "look at the difference, and use --force if it is right"
        return _failures([f"{refreshed.name}: {refreshed.doubt}; {advice}"])
    if arguments.write:
        path = listfetch.store(directory, refreshed)
        _say(f"written: {path}; to use it: systemctl reload xmlrpc-blocker")
    elif added or removed:
        _say(f"{refreshed.name}: nothing is written without --write")
    return 0


def _finish(reader: "Reader") -> int:
    """Say what was not understood and what could not be read."""
    for note in reader.notes():
        _say(f"note: {note}")
    return _failures(reader.failed)


def _failures(failed: Sequence[str]) -> int:
    for message in failed:
        _say(f"xmlrpc-blocker: {message}")
    return 1 if failed else 0


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    return " ".join([f"{count}{unit}" for count, unit in parts if count][:2]) or "0s"


def _say(text: str) -> None:
    from blocker.escape import printable_lines  # noqa: PLC0415

    print(printable_lines(text), file=sys.stderr)


# The parser ------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line; man page and completions are made from it."""
    parser = argparse.ArgumentParser(
        prog="xmlrpc-blocker",
        description="Bans XML-RPC attackers in nftables, from what web servers log.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--config", metavar="FILE", type=Path,
        help="read this file alone, not /etc/xmlrpc-blocker/config.toml and conf.d/*.toml",
    )  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    run = add("run", _run, "the daemon, in the foreground")
    run.add_argument("--dry-run", action="store_true", help="judge and tell, but block nobody")
    _with_look(_with_output(add("check", _check, "validate the configuration; touches nothing")))
    _with_output(add("status", _status, "how the daemon is doing"))
    _with_output(add("bans", _bans, "who is banned, and for how much longer"))
    _with_ban(add("ban", _ban, "ban addresses or networks by hand (IPv6 by its network)"))
    unban = add("unban", _unban, "let addresses or networks in again")
    _with_addresses(unban, nargs="*")
    unban.add_argument(
        "--all", action="store_true",
        help="let everybody in; as root this works without a daemon: it deletes the table",
    )  # fmt: skip
    forget = add("forget", _forget, "erase addresses everywhere: windows, bans, offences")
    _with_addresses(forget)
    replay = add("replay", _replay, "what would have happened with old logs; no firewall")
    _with_logs(_with_output(replay))
    explain = add("explain", _explain, "a verdict on each line, and why")
    _with_logs(_with_output(explain))
    backfill = add("backfill", _backfill, "old logs as time series for Prometheus (OpenMetrics)")
    _with_logs(_with_series(backfill))
    lists = add("lists", _lists, "the lists of proxies and services, and how old they are")
    _with_refresh(_with_output(lists))
    return parser


def _with_ban(parser: argparse.ArgumentParser) -> None:
    _with_addresses(parser)
    parser.add_argument(
        "--for", dest="length", metavar="TIME", help="such as 90s, 30m, 12h, 1d, 1w"
    )
    parser.add_argument(
        "--reason", metavar="TEXT", help="shown by bans and in the journal; up to 200 characters"
    )


def _with_addresses(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    parser.add_argument(
        "addresses", metavar="ADDR", nargs=nargs,
        help="an address, or a network up to /24 or /48; - is a list on standard input",
    )  # fmt: skip


def _with_look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-logs", dest="logs", action="store_false", help="the configuration alone, not the logs"
    )


def _with_refresh(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "refresh", metavar="refresh", nargs="?", choices=("refresh",),
        help="fetch lists from their publishers and show what would change",
    )  # fmt: skip
    parser.add_argument("names", metavar="NAME", nargs="*", help="these only")
    parser.add_argument(
        "--from", dest="source", metavar="FILE", type=Path,
        help="take one list from a file that was fetched by hand",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="store them, to be used from now on")
    parser.add_argument(
        "--force", action="store_true", help="though a list shrinks or grows beyond belief"
    )
    parser.add_argument(
        "--directory", metavar="DIR", type=Path, help="instead of /etc/xmlrpc-blocker/lists"
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
        help="tell nothing of this time and later, such as 2026-11-22T18:00:00Z: when the daemon"
        " itself began to count; by default now",
    )  # fmt: skip
    parser.add_argument(
        "--every", metavar="LENGTH", default="1h",
        help="a sample so often (default: 1h); 15m or 30m where time zones are not whole hours",
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
        help="where the daemon follows the log, if that is another place than where LOG is now;"
        " once for each log",
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
        code = _ended(argv)
    except BrokenPipeError:
        # As grep does: whatever reads our output may stop reading.
        _end_by(signal.SIGPIPE)
        code = 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
        code = 128 + signal.SIGINT
    sys.exit(code)


def _prepare_streams() -> None:
    """Make standard output take any text: names of files need not be text at all."""
    # Python has None for a stream that is closed: nothing is read from it or written to it.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _ended(argv: Sequence[str] | None) -> int:
    """Run a command and return its exit code; what went wrong is said."""
    command: Command | None = None
    try:
        try:
            arguments = build_parser().parse_args(argv)
            command = arguments.command
            code = command(arguments)
        finally:
            sys.stdout.flush()
    except BlockerError as error:
        _say(f"xmlrpc-blocker: {error}")
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        if command is _run:
            raise
        name = f"{error.filename}: " if error.filename else ""
        _say(f"xmlrpc-blocker: {name}{error.strerror or error}")
        _give_up_output()
        return 1
    return code


def _give_up_output() -> None:
    """Drop what can't be written, or the interpreter would try again when it ends."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _end_by(number: signal.Signals) -> None:
    """End by a signal, so that a shell knows of it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
