"""Writes xmlrpc-blocker(8) and xmlrpc-blocker.toml(5): manpages.py DIRECTORY.

Commands, options and exit codes come from the program's parser; keys, meanings and defaults from
its configuration.  Only what neither contains is written here.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import AttrsInstance, fields

from blocker import __version__
from blocker.cli.main import build_parser
from blocker.config.schema import Config, FirewallConfig, MetricsConfig, OriginsConfig, TrapConfig

FILES = (
    ("/etc/xmlrpc-blocker/config.toml", "the configuration; see xmlrpc-blocker.toml(5)"),
    ("/etc/xmlrpc-blocker/conf.d/*.toml", "further files, read afterwards in order of their names"),
    ("/var/lib/xmlrpc-blocker/state.db", "bans, windows, positions in the logs, and counters"),
    ("/run/xmlrpc-blocker/control.sock", "the control socket, for root and one group"),
)
SIGNALS = (
    ("SIGHUP", "read the configuration again; an invalid one changes nothing"),
    (
        "SIGTERM, SIGINT",
        "finish the current batch, commit, and exit; the kernel keeps blocking until the bans end",
    ),
)
ABOUT = """\
Follows the access logs of web servers, and has the kernel block addresses that attack XML-RPC: by
default, an address that sends three requests for /xmlrpc.php within an hour can't reach ports 80
and 443 for one day. Bans are elements of sets in the nftables table inet xmlrpc_blocker; nothing
outside it is touched."""
NOTES = """\
Stopping the daemon ends no ban. To end all bans, with or without a daemon: xmlrpc-blocker unban
--all. If even that fails: nft delete table inet xmlrpc_blocker."""
EXAMPLES = (
    ("xmlrpc-blocker check", "validate the configuration; show which logs the service can read"),
    ("xmlrpc-blocker logs", "find the access logs of this host, and propose how to follow them"),
    ("xmlrpc-blocker replay /var/log/nginx/access.log*", "show who would have been banned"),
    ("xmlrpc-blocker explain /var/log/nginx/access.log", "show why a line is a hit or not"),
    (
        "xmlrpc-blocker status; xmlrpc-blocker bans -o csv",
        "show the state of the daemon, and the active bans",
    ),
    (
        'xmlrpc-blocker ban --for 1w --reason "scans" 203.0.113.7 198.51.100.0/24',
        "ban an address and a network for a week",
    ),
    ("xmlrpc-blocker ban - < addresses.txt", "ban a list, one address a line"),
    ("xmlrpc-blocker unban 203.0.113.7", "end the ban of an address"),
    ("xmlrpc-blocker unban --all", "end all bans, with or without a daemon"),
    ("xmlrpc-blocker run --dry-run", "judge and log in the foreground, but block no address"),
    (
        "journalctl -u xmlrpc-blocker EVENT=ban CLIENT_IP=203.0.113.7",
        "show why it was banned",
    ),
)
ABOUT_TOML = """\
The configuration of xmlrpc-blocker(8), in TOML. Every key has a default, so no key is required.
config.toml is read first, then conf.d/*.toml in order of their names: tables merge, and a
later value replaces an earlier one, except that the lists of allow add up. An unknown key is an
error. With --config, only the named file is read."""
DURATIONS = """\
Durations are units in falling order (w, d, h, m, s), such as "1h30m"; a plain number is
seconds."""
TRAPS = """\
A path with its policy. The trap xmlrpc always exists; further ones are tables of the same form,
each with another path."""


# The language ----------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Return text that roff prints literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def bold(text: str) -> str:
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{escaped(text)}\\fR"


def entry(head: str, *paragraphs: str) -> list[str]:
    """Return a tagged paragraph."""
    return [".TP", head, "\n.IP\n".join(map(escaped, filter(None, paragraphs)))]


def title(name: str, section: int, what: str) -> list[str]:
    # Reproducible: the time of the sources, if the build sets it.
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0"))))
    manual = "System Administration" if section == 8 else "File Formats"
    return [
        f'.TH "{name.upper()}" "{section}" "{date}" "xmlrpc-blocker {__version__}" "{manual}"',
        *(".SH NAME", f"{escaped(name)} \\- {escaped(what)}"),
    ]


# xmlrpc-blocker(8) -----------------------------------------------------------------------------


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands by name, in the order of the help."""
    return next(
        action.choices
        for action in parser._actions  # noqa: SLF001 - argparse has no public way
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )


def usage(command: argparse.ArgumentParser) -> str:
    """Return name and arguments of a command, in bold and italics."""
    words = [bold(command.prog)]
    for action in command._actions:  # noqa: SLF001
        if action.dest == "help":
            continue
        words.append(_word(action))
    return " ".join(words)


def _word(action: argparse.Action) -> str:
    if not action.option_strings:
        name = italic(str(action.metavar))
        return {"?": f"[{name}]", "+": f"{name} ...", "*": f"[{name} ...]"}.get(
            str(action.nargs), name
        )
    return f"[{_option(action)}]"


def _option(action: argparse.Action) -> str:
    names = ", ".join(map(bold, action.option_strings))
    return names if action.nargs == 0 else f"{names} {italic(str(action.metavar))}"


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        if action.help and (action.option_strings or action.dest != "help"):
            head = _option(action) if action.option_strings else italic(str(action.metavar))
            yield from entry(head, action.help.replace("%(prog)s", parser.prog))


def exit_codes(epilog: str) -> Iterator[str]:
    """Yield each code with its whole meaning, and the text below the codes."""
    # A meaning continues in indented lines.
    for code, text in re.findall(r"^ {1,2}(\d+)  (.*(?:\n {5}.*)*)$", epilog, re.MULTILINE):
        yield from entry(bold(code), re.sub(r"\n +", " ", text))
    last = epilog.strip().splitlines()[-1]
    yield from (".PP", escaped(last[0].upper() + last[1:] + "."))


def manual_of_command() -> str:
    parser = build_parser()
    lines = title("xmlrpc-blocker", 8, "bans XML-RPC attackers in nftables")
    lines += [".SH SYNOPSIS", f"{bold(parser.prog)} [{bold('--config')} {italic('FILE')}]"]
    lines += [f"{italic('COMMAND')} [{italic('OPTIONS')}]"]
    lines += [".SH DESCRIPTION", escaped(ABOUT), ".SH OPTIONS", *options(parser), ".SH COMMANDS"]
    for command in commands(parser).values():
        lines += [".SS " + usage(command), escaped(command.description or ""), *own(command)]
    lines += [".SH EXIT STATUS", *exit_codes(parser.epilog or "")]
    for name, rows in (("SIGNALS", SIGNALS), ("FILES", FILES), ("EXAMPLES", EXAMPLES)):
        lines += [f".SH {name}", *(line for head, text in rows for line in entry(bold(head), text))]
    see = "xmlrpc-blocker.toml(5), nft(8), nginx(8), apache2(8), journalctl(1)"
    lines += [".SH NOTES", escaped(NOTES), ".SH SEE ALSO", escaped(see)]
    return "\n".join([*lines, ""])


def own(command: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what a command has beside --help, which all have."""
    lines = list(options(command))
    for number in range(0, len(lines), 3):
        if "\\-\\-help" not in lines[number + 1]:
            yield from lines[number : number + 3]


# xmlrpc-blocker.toml(5) ------------------------------------------------------------------------


def keys(table: AttrsInstance) -> Iterator[str]:
    """Yield the keys of a table, each with its meaning and default."""
    for attribute in fields(type(table)):
        about = attribute.metadata
        if "help" in about:
            default = about["write"](getattr(table, attribute.name))
            yield from entry(bold(attribute.name), about["help"], f"Default: {default}")


def manual_of_configuration() -> str:
    config = Config()
    lines = title("xmlrpc-blocker.toml", 5, "configuration of xmlrpc-blocker")
    lines += [".SH SYNOPSIS", "\n.br\n".join(escaped(path) for path, _ in FILES[:2])]
    lines += [".SH DESCRIPTION", escaped(ABOUT_TOML), ".PP", escaped(DURATIONS)]
    lines += [".SH KEYS AT THE TOP", *keys(config)]
    tables = (
        ("[trap.xmlrpc]", TRAPS, TrapConfig()),
        ("[firewall]", FirewallConfig.__doc__, FirewallConfig()),
        ("[metrics]", MetricsConfig.__doc__, MetricsConfig()),
        ("[origins]", OriginsConfig.__doc__, OriginsConfig()),
    )
    for name, about, table in tables:
        lines += [f".SH {name}", escaped(about or ""), *keys(table)]
    example = "/usr/share/doc/xmlrpc-blocker/examples/config.example.toml"
    lines += [".SH FILES", *entry(bold(example), "all keys with their defaults")]
    return "\n".join([*lines, ".SH SEE ALSO", "xmlrpc\\-blocker(8)", ""])


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "xmlrpc-blocker.8").write_text(manual_of_command(), "utf-8")
    (directory / "xmlrpc-blocker.toml.5").write_text(manual_of_configuration(), "utf-8")


if __name__ == "__main__":
    main()
