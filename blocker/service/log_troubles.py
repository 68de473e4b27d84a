"""Problems with the logs: logged when they begin and end, and listed in ``status``.

There are seven kinds: a log can't be read; a socket or pipe loses lines; a pattern matches no file,
can never match, or leads through a directory that can't be listed; a directory does not answer, or
only late; there are more directories than can be scanned in time; there are more logs than may be
open; no log is followed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from blocker.escape import printable
from blocker.sources.files import access, patterns
from blocker.sources.files.disk_threads import in_thread
from blocker.sources.files.rounds import Rounds, Seen
from blocker.telemetry import events
from blocker.telemetry.eventlog import emit
from blocker.telemetry.events import Event

LATE = 30.0
"""Seconds that a scan of all directories may take before that is logged."""
_NONE: Mapping[str, str] = {}
_DENIED = "Permission denied"
_ABSENT = "No such file or directory"


class HasPath(Protocol):
    """An open log."""

    @property
    def path(self) -> str:
        """Where it is."""


class Followed(Protocol):
    """What is read of the object that follows the logs."""

    @property
    def errors(self) -> Mapping[str, str]:
        """What is wrong with a log, by path."""

    @property
    def generations(self) -> Sequence[HasPath]:
        """The open logs."""

    @property
    def over_limit(self) -> int:
        """Number of files that are not followed because too many are open."""

    @property
    def seen(self) -> Sequence[Seen]:
        """The matches of the patterns."""

    @property
    def rounds(self) -> Rounds:
        """The scans of the directories."""


class Trouble(NamedTuple):
    """A problem.

    Attributes:
        event: how it is logged.
        text: one sentence.
        fields: fields of the event.
        raw: the error that the sentence was made from; while it stays the same, the sentence does.
    """

    event: Event
    text: str
    fields: Mapping[str, object]
    raw: str = ""


class LogTroubles:
    """Finds the problems with the logs of one configuration.

    Args:
        logs: the patterns.
        usual: patterns that may match nothing, because their servers may not be installed.
        reports: patterns of logs in which WordPress reports; an attack may be in none of them.
        is_of_events: whether the log at a path is one of these.
    """

    def __init__(
        self,
        logs: Sequence[str],
        usual: Iterable[str] = (),
        reports: Iterable[str] = (),
        is_of_events: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        self._usual, self._is_of_events = frozenset(usual), is_of_events
        self._patterns = [each for each in logs if each not in frozenset(reports)]
        self._found: dict[str, Trouble] = {}

    @property
    def texts(self) -> dict[str, str]:
        """A sentence for each problem, by path or pattern."""
        return {about: trouble.text for about, trouble in self._found.items()}

    async def update(
        self,
        tailer: Followed,
        *,
        settled: bool,
        others: Mapping[str, str] = _NONE,
        losses: Mapping[str, str] = _NONE,
    ) -> None:
        """Look for problems again; log those that are new and those that have ended.

        Args:
            tailer: follows the logs.
            settled: whether the first search for logs has finished.
            others: what is wrong with logs that are no files.
            losses: why lines of such a log were lost.
        """
        errors, over = dict(tailer.errors), tailer.over_limit
        followed = any(not self._is_of_events(log.path) for log in tailer.generations)
        none = bool(settled and self._patterns and tailer.rounds.complete and not followed)
        now = await in_thread(self._look, errors, tailer)
        now |= _of_directories(tailer)
        now |= {
            log: Trouble(events.LOG_UNREADABLE, printable(text), {"LOG": log})
            for log, text in others.items()
        }
        now |= {
            f"lines of {log}": Trouble(events.LOG_LINES_LOST, printable(text), {"LOG": log})
            for log, text in losses.items()
        }
        if over:
            text = (
                f"{over:,} logs are not followed: no more than 1,024 can be open at once, and those"
                " written last come first; name fewer in `logs`"
            )
            now["over the limit"] = Trouble(events.LOGS_OVER_LIMIT, text, {"COUNT": over})
        if none:
            now["no log"] = Trouble(events.NO_LOG, self._no_log(), {})
        self._log(now)

    def _no_log(self) -> str:
        names = ", ".join(map(printable, self._patterns[:5]))
        return (
            f"no log is followed, so no attacker is seen: no file that can be read matches {names};"
            " `xmlrpc-blocker check` shows what is there"
        )

    def _look(self, errors: Mapping[str, str], tailer: Followed) -> dict[str, Trouble]:
        asks = not tailer.rounds.aside.dead()[0]
        matches = [
            patterns.judged(each.pattern, each.files, each.directories, each.closed, asks=asks)
            for each in tailer.seen
            if each.complete
        ]
        user = access.current_account().name
        found: dict[str, Trouble] = {}
        for match in matches:
            found |= self._of_pattern(match, user)
        # For a missing file the sentence about its pattern says more than "No such file".
        absent = {match.pattern for match in matches if match.doubt}
        absent |= {path for path in found if errors.get(path, "").endswith(_ABSENT)}
        for path, error in errors.items():
            if path in absent:
                continue
            found[path] = self._of_log(path, error, user)
        return found

    def _of_pattern(self, match: patterns.Match, user: str) -> dict[str, Trouble]:
        name, place = printable(match.pattern), patterns.place(match.pattern)
        found: dict[str, Trouble] = {}
        if match.closed:
            directory, error = match.closed[0]
            others = f" and {len(match.closed) - 1} more" if len(match.closed) > 1 else ""
            hinders = access.obstacles(directory, listing=True)
            text = (
                f"{name}: {printable(directory)}{others} can't be listed: {error};"
                f" {access.advice(hinders, user, place)}"
            )
            found[match.pattern] = Trouble(events.LOG_PATTERN, text, {"LOG": match.pattern})
        elif match.doubt or match.pattern not in self._usual:
            text = patterns.words(match)
            if text:
                found[match.pattern] = Trouble(events.LOG_PATTERN, text, {"LOG": match.pattern})
        return found

    def _of_log(self, path: str, error: str, user: str) -> Trouble:
        known = self._found.get(path)
        if known is not None and known.raw == error:
            return known
        text = printable(error)
        if error.endswith(_DENIED):
            text += f"; {access.advice(access.obstacles(path), user)}"
        return Trouble(events.LOG_UNREADABLE, text, {"LOG": path}, error)

    def _log(self, now: dict[str, Trouble]) -> None:
        before, self._found = self._found, now
        for about in sorted(now.keys() - before.keys()):
            trouble = now[about]
            emit(trouble.event, MESSAGE=trouble.text, **trouble.fields)
        for about in sorted(before.keys() - now.keys()):
            emit(
                events.LOG_MENDED,
                REASON=before[about].text,
                LOG=before[about].fields.get("LOG", ""),
            )


def _of_directories(tailer: Followed) -> dict[str, Trouble]:
    """Return problems with directories: slow ones, and too many of them."""
    aside, found = tailer.rounds.aside, {}
    dead, _ = aside.dead()
    for path, seconds in aside.seconds().items():
        text = (
            f"{printable(path)} has not answered for {seconds:,.0f} s; logs in it are not read"
            f" until then, others are; `findmnt -T {access.quoted(path)}` shows its file system:"
            " repair or unmount it"
            if path in dead
            else f"{printable(path)} took {seconds:,.0f} s to be listed, so it is listed once in a"
            " minute only; keep logs in a directory of their own"
        )
        found[f"directory {path}"] = Trouble(events.LOG_DIRECTORY_SLOW, text, {"LOG": path})
    late, left_out = tailer.rounds.seconds, sum(each.left_out for each in tailer.seen)
    if late > LATE or left_out:
        text = (
            "`logs` leads through more directories than can be looked at in time: a look at all of"
            f" them takes {late:,.0f} s, and {left_out:,} directories and names are left out, so"
            " new logs are found late or never; name fewer directories, without ** if possible"
        )
        found["directories"] = Trouble(events.LOG_DIRECTORIES, text, {"COUNT": left_out})
    return found
