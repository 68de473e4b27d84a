"""What ``check`` reports about the logs: which files match, can be read and can be parsed.

If root runs it and the service's user exists, access is checked as that user (``access``);
otherwise as the user who runs it.  What the unit hides from the service (``ProtectHome=``) is read
from the unit's files.  All work is bounded, and nothing is changed.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypedDict

from blocker.config.schema import Config
from blocker.escape import printable
from blocker.matching.matchers import Matchers
from blocker.matching.parse_health import HANDFUL, MAX_REASON, advice_for, line_before
from blocker.sources.files import access, patterns
from blocker.sources.files.log_formats import LogFormats
from blocker.sources.files.naming import MISNAMED, rotation_key, shown
from blocker.sources.schemes import FILE, JOURNAL, scheme_of
from blocker.sources.senders import Allowed
from blocker.times import SECOND

MAX_LOGS = 1024
"""Ceiling of the files that the daemon has open."""
MAX_READ = 256
"""Ceiling of the logs whose end is read; the most recently written ones are."""
END = 64 << 10
"""Size of that end, bytes."""
LAST_LINES = 20
"""Number of last lines that are parsed."""
NAMED = 3
"""Ceiling of the files that are named for a pattern."""
_USUAL = Config().logs
_UNIT = f"{access.SERVICE}.service"
_UNIT_DIRECTORIES = ("usr/lib/systemd/system", "run/systemd/system", "etc/systemd/system")
_PROTECT_HOME = re.compile(r"(?m)^[ \t]*ProtectHome[ \t]*=[ \t]*(\S*)")


def make_matchers(config: Config) -> Matchers:
    """Return matchers for a configuration's traps and formats.

    Raises:
        ConfigError: a format can't be compiled.
    """
    formats = LogFormats(config.format, config.own_formats)
    users = Allowed(config.event_writers)
    return Matchers(list(config.traps.values()), formats, users=users)


class PatternRow(TypedDict):
    """The matches of a pattern: ``first`` are up to three, ``newest`` was written last."""

    pattern: str
    matches: int
    readable: int
    first: list[str]
    newest: str | None
    not_listed: list[str]


class LogRow(TypedDict):
    """A log: ``unparsed`` of its last ``lines`` can't be parsed; ``reason`` is for the first."""

    path: str
    readable: bool
    owner: str
    mode: str
    fix: str
    lines: int
    unparsed: int
    reason: str


class Findings(NamedTuple):
    """The result of ``check``: ``user`` is whose access was checked, ``notes`` are sentences."""

    user: str
    patterns: list[PatternRow]
    logs: list[LogRow]
    notes: list[str]


def look(config: Config, matchers: Matchers, root: Path = Path("/")) -> Findings:
    """Return what the daemon would find; ``root`` is where its unit is searched for."""
    return _Look(config, matchers, judged_account(), root).findings()


def judged_account() -> access.Account | None:
    """Return the user whose access is checked; None for the one who runs this."""
    account = access.service_account()
    try:
        with access.acting_as(account):
            pass
    except PermissionError:  # in some containers root can't change its user
        return None
    return account


class _Look:
    """A single check of the logs of a configuration."""

    def __init__(
        self, config: Config, matchers: Matchers, account: access.Account | None, root: Path
    ) -> None:
        self._config, self._matchers, self._account, self._root = config, matchers, account, root
        self._user = (account or access.current_account()).name
        self._logs: dict[str, LogRow] = {}
        self._written: dict[str, float] = {}
        self._notes: list[str] = []
        self._misnamed = False

    def findings(self) -> Findings:
        """Check every pattern and every log."""
        rows = [
            self._pattern(log) if scheme_of(log) == FILE else self._other(log)
            for log in self._config.patterns
        ]
        latest = sorted(self._logs, key=lambda path: (-self._written[path], path))
        for path in latest[:MAX_READ]:
            if self._logs[path]["readable"] and scheme_of(path) == FILE:
                self._read(self._logs[path])
        if not self._logs and not self._misnamed:
            names = ", ".join(map(printable, self._config.patterns))
            cure = "set `logs` to where the web server writes them"
            self._notes.insert(0, f"no log exists yet for {names}: {cure}")
        if len(self._logs) > MAX_LOGS:
            self._notes.append(
                f"{len(self._logs):,} logs match, and no more than {MAX_LOGS:,} can be open at"
                " once: only those written last are followed; name fewer in `logs`"
            )
        return Findings(self._user, rows, list(self._logs.values()), self._notes)

    def _other(self, log: str) -> PatternRow:
        """Check whether a log that is no file can be read."""
        good, notes = self._of_journal() if scheme_of(log) == JOURNAL else self._of_live(log)
        self._notes += [f"{printable(log)}: {printable(text)}" for text in notes]
        self._written[log] = 0.0
        self._logs[log] = {
            "path": log, "readable": good, "owner": "", "mode": "",
            "fix": "", "lines": 0, "unparsed": 0, "reason": "",
        }  # fmt: skip
        return {
            "pattern": log, "matches": 1, "readable": int(good), "first": [log],
            "newest": log, "not_listed": [],
        }  # fmt: skip

    def _of_journal(self) -> tuple[bool, list[str]]:
        from blocker.sources.journal_reader import obstacle  # noqa: PLC0415 - only where needed

        with access.acting_as(self._account):
            text = obstacle()
        return not text, [text] if text else []

    def _of_live(self, log: str) -> tuple[bool, list[str]]:
        from blocker.service import live_check  # noqa: PLC0415 - only where needed

        return live_check.look(log, self._account, self._config.control)

    # Patterns ----------------------------------------------------------------------------------

    def _pattern(self, pattern: str) -> PatternRow:
        with access.acting_as(self._account):
            seen = patterns.match(pattern)
        whole = patterns.match(pattern) if self._account else seen
        named = without_rotated(whole.files)
        logs = [path for path in named if shown(path) == path]
        self._note_misnamed([shown(path) for path in named if shown(path) != path])
        for path in logs:
            if path not in self._logs:
                self._note_log(path)
        unreadable = [path for path in logs if not self._logs[path]["readable"]]
        self._note_pattern(seen, unreadable, there=bool(named))
        newest = max(logs, key=lambda path: (self._written[path], path), default=None)
        return {
            "pattern": pattern,
            "matches": len(logs),
            "readable": len(logs) - len(unreadable),
            "first": logs[:NAMED],
            "newest": newest,
            "not_listed": [path for path, _ in seen.closed],
        }

    def _note_misnamed(self, names: Sequence[str]) -> None:
        """Note the files that are not followed because of their names."""
        self._misnamed |= bool(names)
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._notes.append(f"{printable(names[0])}{others} can't be followed: {MISNAMED}")

    def _note_pattern(
        self, seen: patterns.Match, unreadable: Sequence[str], *, there: bool
    ) -> None:
        """Note what keeps logs of a pattern from being read, in one sentence."""
        name, place = printable(seen.pattern), patterns.place(seen.pattern)
        hidden = _hidden(seen.pattern, self._account, self._root)
        for text in filter(None, (hidden, _confined(seen.pattern, self._root))):
            self._notes.append(f"{name}: {text}")
        if seen.closed:
            directory, error = seen.closed[0]
            others = f" and {len(seen.closed) - 1} more" if len(seen.closed) > 1 else ""
            found = access.obstacles(directory, self._account, listing=True)
            self._notes.append(
                f"{name}: {printable(directory)}{others} can't be listed: {error};"
                f" {access.advice(found, self._user, place)}"
            )
        elif unreadable:
            each = [access.obstacles(path, self._account) for path in unreadable[:NAMED]]
            found = list(dict.fromkeys(obstacle for found in each for obstacle in found))
            others = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
            about = printable(unreadable[0])
            prefix = "" if about == name else f"{name}: "
            self._notes.append(
                f"{prefix}{about}{others} can't be read: Permission denied;"
                f" {access.advice(found, self._user, place)}"
            )
        elif not there and not hidden and (seen.doubt or seen.pattern not in _USUAL):
            self._notes.append(patterns.words(seen))

    # Logs --------------------------------------------------------------------------------------

    def _note_log(self, path: str) -> None:
        with access.acting_as(self._account):
            readable = can_be_read(path)
        found = [] if readable else access.obstacles(path, self._account)
        owner, mode = access.owner_and_mode(path)
        self._written[path] = 0.0
        with suppress(OSError):
            self._written[path] = Path(path).stat().st_mtime
        self._logs[path] = {
            "path": path, "readable": readable, "owner": owner, "mode": mode,
            "fix": access.remedy(found, self._user), "lines": 0, "unparsed": 0, "reason": "",
        }  # fmt: skip

    def _read(self, row: LogRow) -> None:
        """Note a log of which half of the last lines, or of the candidates, can't be parsed."""
        try:
            block = end_of(row["path"])
        except OSError:
            return
        matcher = self._matchers.of(row["path"])
        now = int(self._written[row["path"]] * SECOND)
        found = matcher.scan(block, now)
        lines = block.split(b"\n")[:-1][-LAST_LINES:]
        failed = [line for line in lines if matcher.explain(line, now).kind == "unparsed"]
        row["lines"], row["unparsed"] = len(lines), len(failed)
        unparsed, candidates = len(found.unparsed), len(found.unparsed) + len(found.hits)
        of_all = bool(failed) and 2 * len(failed) >= len(lines)
        if not of_all and (unparsed < HANDFUL or 2 * unparsed < candidates):
            return
        first = failed[0] if failed else line_before(block, found.unparsed[0])
        row["reason"] = printable(matcher.explain(first, now).reason)[:MAX_REASON]
        name = printable(row["path"])
        counted = (
            f"{len(failed)} of its last {len(lines)} lines"
            if of_all
            else f"{unparsed} of the last {candidates} candidate lines"
        )
        self._notes.append(
            f"{name} is not understood: {counted} can't be parsed; the first: {row['reason']};"
            f" {advice_for(row['reason'], name)}"
        )


def barriers(pattern: str, account: access.Account | None, root: Path = Path("/")) -> list[str]:
    """Return a sentence for each setting of the system that hides the files of a pattern."""
    return list(filter(None, (_hidden(pattern, account, root), _confined(pattern, root))))


def _hidden(pattern: str, account: access.Account | None, root: Path) -> str:
    """Return a sentence if the unit hides the files of a pattern, or ""."""
    if account is None or not access.below_home(pattern):
        return ""
    protects = protect_home(root)
    if protects in {"", "no", "false", "0", "off", "read-only"}:
        return ""
    return (
        f"the service does not see it, since its unit has ProtectHome={protects}: set"
        f" `ProtectHome=read-only` by `systemctl edit {access.SERVICE}`, then"
        f" `systemctl restart {access.SERVICE}`"
    )


def _confined(pattern: str, root: Path) -> str:
    """Return a sentence if AppArmor denies the service the files of a pattern, or ""."""
    profile = root / "etc/apparmor.d" / access.SERVICE
    enabled = _text(root / "sys/module/apparmor/parameters/enabled").strip() == "Y"
    if not enabled or not profile.exists() or pattern.startswith("/var/log/"):
        return ""
    base = patterns.place(pattern).partition("*")[0].rstrip("/")
    local = f"etc/apparmor.d/local/{access.SERVICE}"
    if base in _text(root / local):
        return ""
    return f"AppArmor lets the service read logs in /var/log only: add lines to /{local}"


def protect_home(root: Path) -> str:
    """Return ``ProtectHome=`` of the installed unit and its drop-ins, or ""."""
    texts = [_text(root / each / _UNIT) for each in _UNIT_DIRECTORIES]
    unit = next((text for text in reversed(texts) if text), "")
    drops = {
        path.name: path
        for each in _UNIT_DIRECTORIES
        for path in sorted((root / each / f"{_UNIT}.d").glob("*.conf"))
    }
    found = _PROTECT_HOME.findall(
        "\n".join([unit, *(_text(drops[name]) for name in sorted(drops))])
    )
    return found[-1].lower() if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def without_rotated(files: Sequence[str]) -> list[str]:
    """Return the files without rotated ones whose log exists, because they are read with it."""
    there = set(files)
    return [path for path in files if rotation_key(path) not in there - {path}]


def can_be_read(path: str) -> bool:
    """Return whether this process may read a file."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def end_of(path: str) -> bytes:
    """Return the last whole lines of a regular file."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(opened).st_size
        data = os.pread(opened, END, max(0, size - END))
    finally:
        os.close(opened)
    begin = data.find(b"\n") + 1 if size > END else 0
    return data[begin : data.rfind(b"\n") + 1]
