"""What ``check`` finds out about the logs: what each pattern matches, can be read, is understood.

It looks as the service would: run by root, where the service's user exists, the kernel is asked as
that user (``access``); run by anybody else, as whoever runs it.  What the unit hides from the
service (``ProtectHome=``) is read from the unit's files.  Everything is bounded, and nothing is
changed.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypedDict

from blocker import access, patterns
from blocker.config import Config
from blocker.escape import printable
from blocker.health import HANDFUL, MAX_REASON, advice_for, line_before
from blocker.match import Matcher
from blocker.naming import MISNAMED, rotation_key, shown

MAX_LOGS = 1024
"""Files that the daemon opens at once."""
MAX_READ = 256
"""Logs whose end is read, those written last first."""
END = 64 << 10
"""Bytes of that end."""
LAST_LINES = 20
NAMED = 3
_USUAL = Config().logs
_UNIT = f"{access.SERVICE}.service"
_UNIT_DIRECTORIES = ("usr/lib/systemd/system", "run/systemd/system", "etc/systemd/system")
_PROTECT_HOME = re.compile(r"(?m)^[ \t]*ProtectHome[ \t]*=[ \t]*(\S*)")


class PatternRow(TypedDict):
    """What one pattern matches: ``first`` are the first few, ``newest`` was written last."""

    pattern: str
    matches: int
    readable: int
    first: list[str]
    newest: str | None
    not_listed: list[str]


class LogRow(TypedDict):
    """One log: ``unparsed`` of its last ``lines`` can't be parsed, ``reason`` is of the first."""

    path: str
    readable: bool
    owner: str
    mode: str
    fix: str
    lines: int
    unparsed: int
    reason: str


class Findings(NamedTuple):
    """Everything that ``check`` finds; ``user`` is who was judged, ``notes`` are sentences."""

    user: str
    patterns: list[PatternRow]
    logs: list[LogRow]
    notes: list[str]


def look(config: Config, matcher: Matcher, root: Path = Path("/")) -> Findings:
    """Return what the daemon would find, ``root`` being where its unit is looked for."""
    account = access.service_account()
    try:
        with access.acting_as(account):
            pass
    except PermissionError:  # in a container, perhaps, this process can't become another user
        account = None
    return _Look(config, matcher, account, root).findings()


class _Look:
    """One look at the logs of a configuration."""

    def __init__(
        self, config: Config, matcher: Matcher, account: access.Account | None, root: Path
    ) -> None:
        self._config, self._matcher, self._account, self._root = config, matcher, account, root
        self._user = (account or access.current_account()).name
        self._logs: dict[str, LogRow] = {}
        self._written: dict[str, float] = {}
        self._notes: list[str] = []
        self._misnamed = False

    def findings(self) -> Findings:
        """Look at every pattern and every log."""
        rows = [self._pattern(pattern) for pattern in self._config.logs]
        latest = sorted(self._logs, key=lambda path: (-self._written[path], path))
        for path in latest[:MAX_READ]:
            if self._logs[path]["readable"]:
                self._read(self._logs[path])
        if not self._logs and not self._misnamed:
            names = ", ".join(map(printable, self._config.logs))
            cure = "set `logs` to where the web server writes them"
            self._notes.insert(0, f"no log is there yet for {names}: {cure}")
        if len(self._logs) > MAX_LOGS:
            self._notes.append(
                f"{len(self._logs):,} logs match, and no more than {MAX_LOGS:,} can be open at"
                " once: only those written last are followed; name fewer in `logs`"
            )
        return Findings(self._user, rows, list(self._logs.values()), self._notes)

    # Patterns ----------------------------------------------------------------------------------

    def _pattern(self, pattern: str) -> PatternRow:
        with access.acting_as(self._account):
            seen = patterns.match(pattern)
        whole = patterns.match(pattern) if self._account else seen
        named = _without_rotated(whole.files)
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
        """Say which files are not followed, as nothing could name them."""
        self._misnamed |= bool(names)
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._notes.append(f"{printable(names[0])}{others} can't be followed: {MISNAMED}")

    def _note_pattern(
        self, seen: patterns.Match, unreadable: Sequence[str], *, there: bool
    ) -> None:
        """Say what hinders a pattern; one sentence for all of its logs."""
        name, place = printable(seen.pattern), patterns.place(seen.pattern)
        hidden = self._hidden(seen.pattern)
        for text in filter(None, (hidden, self._confined(seen.pattern))):
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

    def _hidden(self, pattern: str) -> str:
        """Return what the unit hides of a pattern."""
        if self._account is None or not access.below_home(pattern):
            return ""
        protects = protect_home(self._root)
        if protects in {"", "no", "false", "0", "off", "read-only"}:
            return ""
        return (
            f"the service does not see it, since its unit has ProtectHome={protects}: set"
            f" `ProtectHome=read-only` by `systemctl edit {access.SERVICE}`, then"
            f" `systemctl restart {access.SERVICE}`"
        )

    def _confined(self, pattern: str) -> str:
        """Return what AppArmor keeps from the service of a pattern, as far as files say."""
        profile = self._root / "etc/apparmor.d" / access.SERVICE
        enabled = _text(self._root / "sys/module/apparmor/parameters/enabled").strip() == "Y"
        if not enabled or not profile.exists() or pattern.startswith("/var/log/"):
            return ""
        base = patterns.place(pattern).partition("*")[0].rstrip("/")
        local = f"etc/apparmor.d/local/{access.SERVICE}"
        if base in _text(self._root / local):
            return ""
        return f"AppArmor lets the service read logs in /var/log only: add lines to /{local}"

    # Logs --------------------------------------------------------------------------------------

    def _note_log(self, path: str) -> None:
        with access.acting_as(self._account):
            readable = _can_be_read(path)
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
        """Look at the last lines of a log: most of them, or of the candidates, are understood?"""
        try:
            block = _end_of(row["path"])
        except OSError:
            return
        found = self._matcher.scan(block)
        lines = block.split(b"\n")[:-1][-LAST_LINES:]
        failed = [line for line in lines if self._matcher.explain(line).kind == "unparsed"]
        row["lines"], row["unparsed"] = len(lines), len(failed)
        unparsed, candidates = len(found.unparsed), len(found.unparsed) + len(found.hits)
        of_all = bool(failed) and 2 * len(failed) >= len(lines)
        if not of_all and (unparsed < HANDFUL or 2 * unparsed < candidates):
            return
        first = failed[0] if failed else line_before(block, found.unparsed[0])
        row["reason"] = printable(self._matcher.explain(first).reason)[:MAX_REASON]
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


def protect_home(root: Path) -> str:
    """Return ``ProtectHome=`` of the installed unit and its drop-ins; empty if there is none."""
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


def _without_rotated(files: Sequence[str]) -> list[str]:
    """Leave out rotated files whose log is there: they are read with it."""
    there = set(files)
    return [path for path in files if rotation_key(path) not in there - {path}]


def _can_be_read(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _end_of(path: str) -> bytes:
    """Return the last whole lines of a regular file."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(opened).st_size
        data = os.pread(opened, END, max(0, size - END))
    finally:
        os.close(opened)
    begin = data.find(b"\n") + 1 if size > END else 0
    return data[begin : data.rfind(b"\n") + 1]
