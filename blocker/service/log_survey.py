"""Finds the access logs of this host in the known places, and proposes how to follow them.

The places are those of ``log_places``.  Lines are read with the rights of the caller, by the very
matcher of the daemon; access is judged as that of the service's user, as ``check`` does.  All work
is bounded, and nothing is changed.
"""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypedDict

from blocker.config.schema import Config, as_toml
from blocker.escape import printable
from blocker.matching.matcher import Matcher
from blocker.matching.parse_health import MAX_REASON
from blocker.matching.recognise import Recogniser
from blocker.service import check
from blocker.service.log_places import PLACES, Place
from blocker.sources.files import access, patterns
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.files.naming import shown

MAX_READ = 64
"""Ceiling of the logs of one place whose end is read; the most recently written ones are."""
MAX_ALONE = 20
"""Ceiling of the logs of one place that are proposed one by one."""
HEAD = "# Written by `xmlrpc-blocker logs`, which replaces this file with --write.\n"
"""The first line of what is proposed: a file without it belongs to an administrator."""


_Ends: TypeAlias = Mapping[str, Sequence[bytes]]
"""The last lines of logs, by path, the most recently written log first."""


class Row(TypedDict):
    """A place where there are logs.

    ``matches`` are its logs, of which the service can read ``readable``; ``format`` is how the
    lines are written, in words, and ``set_format`` what the configuration must say; ``unparsed`` of
    the last ``lines`` are not understood, the first for the ``reason``; ``fix`` makes all readable;
    ``proposed`` are the paths to follow, none with the ``note`` why.
    """

    server: str
    pattern: str
    matches: int
    readable: int
    first: list[str]
    format: str
    set_format: str
    lines: int
    unparsed: int
    reason: str
    fix: str
    proposed: list[str]
    note: str


class Survey(NamedTuple):
    """The rows, ``user`` whose access was checked, and ``notes``, a sentence each."""

    user: str
    rows: list[Row]
    notes: list[str]


class _Seen(NamedTuple):
    """How the last lines of some logs are understood by one format.

    Attributes:
        log_format: as the configuration has it.
        lines: how many lines were read.
        unparsed: how many of them were not understood.
        reason: why the first of them was not.
        good: logs of which more than half of the lines were understood.
        bad: logs of which they were not.
    """

    log_format: str
    lines: int
    unparsed: int
    reason: str
    good: Sequence[str]
    bad: Sequence[str]


def survey(config: Config, root: Path = Path("/"), places: Sequence[Place] = PLACES) -> Survey:
    """Return what there is below a root.

    Raises:
        ConfigError: a format of the configuration can't be compiled.
    """
    return _Surveyor(config, root).survey(places)


class _Surveyor:
    """A single look at the known places."""

    def __init__(self, config: Config, root: Path) -> None:
        self._config, self._root = config, root
        self._account = check.judged_account()
        self._user = (self._account or access.current_account()).name
        self._rules = list(config.traps.values())
        self._formats = LogFormats(config.format, config.own_formats)
        self._matchers: dict[str, Matcher] = {}
        self._recogniser = Recogniser()
        self._taken: set[tuple[int, int]] = set()
        """Device and inode of each file that an earlier place has."""
        self._notes: list[str] = []

    def survey(self, places: Sequence[Place]) -> Survey:
        """Look at each place."""
        rows: list[Row] = []
        groups: dict[str, str] = {}
        for place in places:
            pattern = f"{str(self._root).rstrip('/')}{place.pattern}"
            files = self._files_of(pattern)
            if not files:
                continue
            row = self._row(place, pattern, files)
            first = groups.setdefault(place.group or pattern, pattern)
            if first != pattern:
                row["proposed"] = []
                row["note"] = f"it has the requests of {first} again"
            rows.append(row)
            if row["proposed"]:
                self._note_access(row)
        return Survey(self._user, rows, self._notes)

    def _files_of(self, pattern: str) -> list[str]:
        """Return the logs of a pattern that no earlier place has, the newest first."""
        seen = patterns.match(pattern)
        if seen.closed:
            directory, error = seen.closed[0]
            self._notes.append(
                f"{printable(pattern)}: {printable(directory)} can't be listed: {error}; try as"
                " root"
            )
        written: dict[str, float] = {}
        for path in check.without_rotated(seen.files):
            about = _regular(path)
            if about is None or shown(path) != path or not path.isprintable():
                continue
            identity = (about.st_dev, about.st_ino)
            if identity not in self._taken:
                self._taken.add(identity)
                written[path] = about.st_mtime
        return sorted(written, key=lambda path: (-written[path], path))

    def _row(self, place: Place, pattern: str, files: Sequence[str]) -> Row:
        ends = {path: _last_lines(path) for path in files[:MAX_READ]}
        seen = self._best(place, ends)
        readable = [path for path in files if self._can_be_read(path)]
        proposed, note = [pattern], ""
        if place.mixed and seen.lines and not seen.good:
            proposed, note = [], "none of its files is an access log"
        elif place.mixed and seen.bad:
            proposed = [glob.escape(path) for path in sorted(seen.good)[:MAX_ALONE]]
            note = f"{len(seen.bad)} of its files are no access logs, so the others are named alone"
        row: Row = {
            "server": place.server,
            "pattern": pattern,
            "matches": len(files),
            "readable": len(readable),
            "first": sorted(files)[: check.NAMED],
            "format": self._name(seen, ends),
            "set_format": seen.log_format,
            "lines": seen.lines,
            "unparsed": seen.unparsed,
            "reason": seen.reason,
            "fix": "",
            "proposed": proposed,
            "note": note,
        }
        unreadable = [path for path in files if path not in readable]
        row["fix"] = self._fix(row, files if proposed == [pattern] else seen.good, unreadable)
        return row

    # Formats -----------------------------------------------------------------------------------

    def _best(self, place: Place, ends: _Ends) -> _Seen:
        """Return what is understood by the first format that understands every log."""
        known = self._formats.of(next(iter(ends)))
        configured = known if isinstance(known, str) else known.format
        seen = self._seen(configured, ends)
        best = seen
        for each in dict.fromkeys(("auto", *filter(None, (place.own,)))):
            if not best.bad:
                break
            tried = seen if each == configured else self._seen(each, ends)
            if len(tried.good) > len(best.good):
                best = tried
        return best

    def _seen(self, log_format: str, ends: _Ends) -> _Seen:
        if log_format not in self._matchers:
            self._matchers[log_format] = Matcher(self._rules, log_format, lambda _: False)
        matcher = self._matchers[log_format]
        good: list[str] = []
        bad: list[str] = []
        total, unparsed, reason = 0, 0, ""
        for path, lines in ends.items():
            verdicts = [matcher.explain(line) for line in lines]
            failed = [each for each in verdicts if each.kind == "unparsed"]
            total, unparsed = total + len(lines), unparsed + len(failed)
            if failed and not reason:
                reason = printable(failed[0].reason)[:MAX_REASON]
            if lines:
                (bad if 2 * len(failed) >= len(lines) else good).append(path)
        return _Seen(log_format, total, unparsed, reason, good, bad)

    def _name(self, seen: _Seen, ends: _Ends) -> str:
        """Return how the lines that were understood are written."""
        if seen.log_format != "auto":
            return seen.log_format if seen.good else ""
        names = (self._recogniser.name(line) for path in seen.good or ends for line in ends[path])
        return " and ".join(name for name, _ in Counter(filter(None, names)).most_common(2))

    # Access ------------------------------------------------------------------------------------

    def _can_be_read(self, path: str) -> bool:
        with access.acting_as(self._account):
            return check.can_be_read(path)

    def _fix(self, row: Row, files: Sequence[str], unreadable: Sequence[str]) -> str:
        """Return the command that lets the service list and read what is proposed."""
        whole = row["proposed"] == [row["pattern"]]
        closed: list[str] = []
        if whole:
            with access.acting_as(self._account):
                closed = [path for path, _ in patterns.match(row["pattern"]).closed]
        wanted = [path for path in files if path in set(unreadable)]
        found = [
            obstacle
            for paths, listing in ((closed, True), (wanted, False))
            for path in paths[: check.NAMED if whole else MAX_ALONE]
            for obstacle in access.obstacles(path, self._account, listing=listing)
        ]
        found = [each for each in dict.fromkeys(found) if not access.is_hidden(each)]
        place = patterns.place(row["pattern"]) if whole else ""
        return access.remedy(found, self._user, place) if found else ""

    def _note_access(self, row: Row) -> None:
        """Note what keeps the service from the logs of a place, and lines it can't understand."""
        for text in check.barriers(row["pattern"], self._account, self._root):
            self._notes.append(f"{printable(row['pattern'])}: {text}")
        if 2 * row["unparsed"] >= row["lines"] > 0:
            self._notes.append(
                f"{printable(row['pattern'])} is not understood: {row['unparsed']} of its last"
                f" {row['lines']} lines can't be parsed; the first: {row['reason']}"
            )


def _regular(path: str) -> os.stat_result | None:
    """Return what the system says of a regular file, or None for anything else."""
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return about if stat.S_ISREG(about.st_mode) else None


def _last_lines(path: str) -> list[bytes]:
    """Return the last lines of a file; none if the caller can't read it."""
    try:
        block = check.end_of(path)
    except OSError:
        return []
    return block.split(b"\n")[:-1][-check.LAST_LINES :]


# The configuration -----------------------------------------------------------------------------


def as_list_or_blocks(found: Survey, config: Config) -> str:
    """Return the proposed configuration: one list of ``logs`` if that says everything."""
    rows = [row for row in found.rows if row["proposed"]]
    if not rows or any(row["set_format"] != config.format for row in rows):
        return as_blocks(found)
    proposed = {path for row in rows for path in row["proposed"]}
    known = {*proposed, *Config().logs, *(row["pattern"] for row in found.rows)}
    kept = [each for each in config.logs if each not in known]
    lines = [f"    {as_toml(each)},  # as configured\n" for each in kept]
    lines += [
        f"    {as_toml(path)},  # {_about(row, found.user)}\n"
        for row in rows
        for path in row["proposed"]
    ]
    return f"{HEAD}logs = [\n{''.join(lines)}]\n"


def as_blocks(found: Survey) -> str:
    """Return the proposed configuration as tables, which add up with those of other files."""
    return HEAD + "".join(_blocks(found))


def _blocks(found: Survey) -> Iterator[str]:
    for row in found.rows:
        for path in row["proposed"]:
            text = f"\n# {_about(row, found.user)}\n[[log]]\npath = {as_toml(path)}\n"
            chosen = row["set_format"]
            yield text + (f"format = {as_toml(chosen)}\n" if chosen != "auto" else "")


def _about(row: Row, user: str) -> str:
    """Return a row in a few words, in one line."""
    logs = f"{row['matches']} log{'s' * (row['matches'] != 1)}"
    name = "own format" if row["set_format"] != "auto" else row["format"]
    words = [f"{row['server']}: {logs}", name or ("not understood" if row["lines"] else "empty")]
    if row["readable"] < row["matches"]:
        words.append(f"{row['readable']} readable by {user}")
    return printable(", ".join(words))


def fixes(found: Survey) -> list[str]:
    """Return the commands that let the service read what is proposed, each once."""
    return list(dict.fromkeys(row["fix"] for row in found.rows if row["proposed"] and row["fix"]))


def unused(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each place that is left out, or taken in part."""
    return [f"{printable(row['pattern'])}: {row['note']}" for row in rows if row["note"]]
