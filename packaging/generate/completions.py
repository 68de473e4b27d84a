"""Writes completions for bash, zsh and fish: completions.py DIRECTORY.

All three are generated from the program's own parser.  Addresses to complete come from the
daemon's active bans; logs and configurations are files.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from blocker.cli.main import build_parser

STANDING = "xmlrpc-blocker bans -o csv 2>/dev/null | tail -n +2 | cut -d, -f1"
LENGTHS = ("30m", "12h", "1d", "1w")


class Option(NamedTuple):
    """An option, its meaning, and its argument: choices, ``FILE``, or None without one."""

    names: tuple[str, ...]
    text: str
    takes: tuple[str, ...] | str | None


class Command(NamedTuple):
    """A command, its meaning, its options, and its arguments: choices, or a kind.

    The kind is LOG, ADDR or another name in capitals, or empty.
    """

    name: str
    text: str
    options: tuple[Option, ...]
    choices: tuple[str, ...]
    argument: str


def _takes(action: argparse.Action) -> tuple[str, ...] | str | None:
    if action.nargs == 0:
        return None
    if action.choices:
        return tuple(map(str, action.choices))
    return LENGTHS if action.metavar == "TIME" else str(action.metavar)


def options(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    return tuple(
        Option(tuple(action.option_strings), action.help or "", _takes(action))
        for action in parser._actions  # noqa: SLF001 - argparse has no public way
        if action.option_strings
    )


def commands(parser: argparse.ArgumentParser) -> list[Command]:
    subs = next(
        action
        for action in parser._actions  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    texts = {each.dest: each.help or "" for each in subs._choices_actions}  # noqa: SLF001
    return [
        Command(name, texts.get(name, ""), options(sub), *_arguments(sub))
        for name, sub in subs.choices.items()
    ]


def _arguments(parser: argparse.ArgumentParser) -> tuple[tuple[str, ...], str]:
    actions = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001
    choices = tuple(str(word) for action in actions for word in action.choices or ())
    names = [str(action.metavar) for action in actions if not action.choices]
    return choices, names[0] if names else ""


def words(found: tuple[Option, ...]) -> str:
    return " ".join(name for option in found for name in option.names)


# bash ------------------------------------------------------------------------------------------

BASH = """\
# Completion of xmlrpc-blocker for bash; made from its parser.
_xmlrpc_blocker()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            --config) ((i++)) ;;
            -*) ;;
            *) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case $prev in
{values}
    esac
    local words="" standing=""
    case $command in
{commands}
    esac
    if [ -n "$standing" ] && [[ $cur != -* ]]; then
        words="$words $({asked})"
        # An address of IPv6 is one word here, though colons part words in bash.
        declare -F _get_comp_words_by_ref >/dev/null && _get_comp_words_by_ref -n : cur
    fi
    # shellcheck disable=SC2207 # words without blanks
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    ! declare -F __ltrim_colon_completions >/dev/null || __ltrim_colon_completions "$cur"
}}
complete -F _xmlrpc_blocker xmlrpc-blocker
"""


def bash(top: tuple[Option, ...], known: list[Command]) -> str:
    every = {option.names: option for option in (*top, *(o for c in known for o in c.options))}
    values = [_bash_value(option) for option in every.values() if option.takes]
    cases = [f'        "") words="{" ".join(c.name for c in known)} {words(top)}" ;;']
    cases += [f"        {command.name}) {_bash_words(command)} ;;" for command in known]
    return BASH.format(values="\n".join(values), commands="\n".join(cases), asked=STANDING)


def _bash_value(option: Option) -> str:
    takes = f"-W '{' '.join(option.takes)}'" if isinstance(option.takes, tuple) else "-f"
    names = "|".join(option.names)
    return f'        {names}) mapfile -t COMPREPLY < <(compgen {takes} -- "$cur"); return ;;'


def _bash_words(command: Command) -> str:
    if command.argument == "LOG":
        files = 'mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return'
        return f'words="{words(command.options)}"; [[ $cur == -* ]] || {{ {files}; }}'
    standing = "; standing=yes" if command.argument == "ADDR" and command.name != "ban" else ""
    found = " ".join([*command.choices, words(command.options)])
    return f'words="{found}"{standing}'


# zsh -------------------------------------------------------------------------------------------

ZSH = """\
#compdef xmlrpc-blocker
# Completion of xmlrpc-blocker for zsh; made from its parser.

_xmlrpc_blocker_standing() {{
    local -a standing
    standing=(${{(f)"$({asked})"}})
    compadd -a standing
}}

_xmlrpc-blocker() {{
    local -a known
    local state line
    known=(
{known}
    )
    _arguments -C \\
{top}
        '1:command:->command' \\
        '*::argument:->argument'
    case $state in
        command) _describe command known ;;
        argument)
            case $line[1] in
{cases}
            esac ;;
    esac
}}

_xmlrpc-blocker "$@"
"""


def _zsh_text(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return quoted.replace(":", "\\:").replace("'", "'\\''").replace("%(prog)s", "xmlrpc-blocker")


def _zsh_option(option: Option) -> str:
    value = ""
    if isinstance(option.takes, tuple):
        value = f":value:({' '.join(option.takes)})"
    elif option.takes:
        value = ":file:_files"
    names = option.names[0]
    if len(option.names) > 1:
        both = " ".join(option.names)
        return f"'({both})'{{{','.join(option.names)}}}'[{_zsh_text(option.text)}]{value}'"
    return f"'{names}[{_zsh_text(option.text)}]{value}'"


def zsh(top: tuple[Option, ...], known: list[Command]) -> str:
    described = [f"        '{c.name}:{_zsh_text(c.text)}'" for c in known]
    cases = []
    for command in known:
        parts = [_zsh_option(option) for option in command.options]
        if command.argument == "LOG":
            parts.append("'*:log:_files'")
        elif command.argument == "ADDR" and command.name != "ban":
            parts.append("'*:address:_xmlrpc_blocker_standing'")
        elif command.choices:
            parts.append(f"'*:argument:({' '.join(command.choices)})'")
        elif command.argument:
            parts.append("'*:address:'")
        cases.append(f"                {command.name}) _arguments {' '.join(parts)} ;;")
    return ZSH.format(
        asked=STANDING,
        known="\n".join(described),
        top="\n".join(f"        {_zsh_option(option)} \\" for option in top),
        cases="\n".join(cases),
    )


# fish ------------------------------------------------------------------------------------------


def _fish_text(text: str) -> str:
    plain = text.replace("%(prog)s", "xmlrpc-blocker")
    return "'" + plain.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_option(option: Option, when: str) -> str:
    parts = ["complete -c xmlrpc-blocker", when]
    parts += [f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names]
    if isinstance(option.takes, tuple):
        parts.append(f"-x -a '{' '.join(option.takes)}'")
    elif option.takes:
        parts.append("-r -F")
    return " ".join(filter(None, [*parts, "-d", _fish_text(option.text)]))


def fish(top: tuple[Option, ...], known: list[Command]) -> str:
    first = "-n __fish_use_subcommand"
    lines = ["# Completion of xmlrpc-blocker for fish; made from its parser."]
    lines += ["complete -c xmlrpc-blocker -f", *(_fish_option(option, first) for option in top)]
    for command in known:
        about = f"-a {command.name} -d {_fish_text(command.text)}"
        lines.append(f"complete -c xmlrpc-blocker {first} {about}")
        when = f"-n '__fish_seen_subcommand_from {command.name}'"
        lines += [_fish_option(option, when) for option in command.options]
        if command.argument == "LOG":
            lines.append(f"complete -c xmlrpc-blocker {when} -F")
        elif command.argument == "ADDR" and command.name != "ban":
            lines.append(f"complete -c xmlrpc-blocker {when} -a '({STANDING})'")
        elif command.choices:
            lines.append(f"complete -c xmlrpc-blocker {when} -a '{' '.join(command.choices)}'")
    return "\n".join([*lines, ""])


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    parser = build_parser()
    top, known = options(parser), commands(parser)
    for name, make in {
        "xmlrpc-blocker.bash": bash,
        "_xmlrpc-blocker": zsh,
        "xmlrpc-blocker.fish": fish,
    }.items():
        (directory / name).write_text(make(top, known), "utf-8")


if __name__ == "__main__":
    main()
