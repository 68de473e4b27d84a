"""The command logs."""

import argparse

from blocker.cli import render
from blocker.cli.common import load_config, say
from blocker.config.lint import offers
from blocker.errors import BlockerError, UsageError
from blocker.escape import printable
from blocker.service import log_survey
from blocker.textfile import DIRECTORY, write_text

LOGS_COLUMNS = (
    "server", "pattern", "matches", "readable", "format", "lines", "unparsed", "reason", "fix",
)  # fmt: skip
WRITTEN = DIRECTORY / "conf.d/logs.toml"


def run(arguments: argparse.Namespace) -> int:
    """Propose which logs of this host to follow, and write that if asked to."""
    if arguments.write and arguments.config:
        raise UsageError(f"logs: --write is for {WRITTEN}, which is not read with --config")
    config = load_config(arguments)
    found = log_survey.survey(config)
    proposed = log_survey.as_list_or_blocks(found, config)
    notes = [*found.notes, *log_survey.unused(found.rows), *offers(config)]
    any_log = any(row["proposed"] for row in found.rows)
    if arguments.output == "json":
        fixes = log_survey.fixes(found)
        rows = {"user": found.user, "logs": found.rows, "config": proposed if any_log else ""}
        render.as_json({"version": 1, **rows, "fixes": fixes, "notes": notes})
    else:
        for note in notes:
            say(f"note: {note}")
        if arguments.output == "csv":
            render.as_csv(found.rows, LOGS_COLUMNS)
        elif any_log:
            print(proposed, end="")
        _show_fixes(found)
    if not any_log:
        say("no access log is in a known place: set `logs` to where the web server writes them")
    elif arguments.write:
        _write(log_survey.as_blocks(found))
    return 0


def _show_fixes(found: log_survey.Survey) -> None:
    fixes = log_survey.fixes(found)
    if fixes:
        say(f"note: {found.user} can't read all of these; as root (setfacl is in the package acl):")
        for fix in fixes:
            say(printable(fix))


def _write(text: str) -> None:
    """Write the file of the proposed tables, but never over one that an administrator wrote."""
    try:
        if WRITTEN.exists() and not WRITTEN.read_bytes().startswith(log_survey.HEAD.encode()):
            raise BlockerError(
                f"{WRITTEN} was not written by this command, and is left as it is; move it away,"
                " or paste what is proposed"
            )
        write_text(WRITTEN, text)
    except OSError as error:
        raise BlockerError(f"{WRITTEN}: {error.strerror or error}; try as root") from None
    say(f"written: {WRITTEN}; to use it: systemctl reload xmlrpc-blocker")
