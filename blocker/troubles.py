"""What is wrong with the logs just now: logged when it begins and ends, and kept for ``status``.

Six kinds: a log can't be read; a pattern matches no file, can never match, or leads through a
directory that can't be listed; a directory does not answer, or only late; there are more
directories than can be looked at in time; more logs than may be open; no log at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from blocker import access, events, patterns
from blocker.escape import printable
from blocker.events import Event
from blocker.logfile import in_thread
from blocker.logs import tell
from blocker.rounds import Rounds, Seen

LATE = 30.0
"""Seconds that a round through all directories may take until that is told."""
_DENIED = "Permission denied"
_ABSENT = "No such file or directory"


class Followed(Protocol):
    """What is asked of the followed logs."""

    @property
    def errors(self) -> Mapping[str, str]:
        """What is wrong, by path."""

    @property
    def logs(self) -> Sequence[object]:
        """The open ones."""

    @property
    def over_limit(self) -> int:
        """Files that are not followed, because too many are open."""

    @property
    def seen(self) -> Sequence[Seen]:
        """What the patterns match."""

    @property
    def rounds(self) -> Rounds:
        """The looks at their directories."""


class Trouble(NamedTuple):
    """One thing that is wrong, in one sentence."""

    event: Event
    text: str
    fields: Mapping[str, object]
    raw: str = ""
    """What it was made of: while that stays, the sentence does."""


class LogTroubles:
    """Looks after the logs of one configuration.

    Args:
        logs: the patterns.
        usual: patterns that may match nothing, since they stand for servers that may be absent.
    """

    def __init__(self, logs: Sequence[str], usual: Iterable[str] = ()) -> None:
        self._patterns, self._usual = list(logs), frozenset(usual)
        self._found: dict[str, Trouble] = {}

    @property
    def texts(self) -> dict[str, str]:
        """A sentence for each, by what it is about."""
        return {about: trouble.text for about, trouble in self._found.items()}

    async def update(self, tails: Followed, *, settled: bool) -> None:
        """Look again, and say what has begun and what has ended.

        Args:
            tails: the followed logs.
            settled: whether they have been looked for.
        """
        errors, over = dict(tails.errors), tails.over_limit
        none = settled and tails.rounds.complete and not tails.logs
        now = await in_thread(self._look, errors, tails)
        now |= _of_directories(tails)
        if over:
            text = (
                f"{over:,} logs are not followed: no more than 1,024 can be open at once, and those"
                " written last come first; name fewer in `logs`"
            )
            now["over the limit"] = Trouble(events.LOGS_OVER_LIMIT, text, {"COUNT": over})
        if none:
            now["no log"] = Trouble(events.NO_LOG, self._no_log(), {})
        self._say(now)

    def _no_log(self) -> str:
        names = ", ".join(map(printable, self._patterns[:5]))
        return (
            f"no log is followed, so no attacker is seen: no file that can be read matches {names};"
            " `xmlrpc-blocker check` shows what is there"
        )

    def _look(self, errors: Mapping[str, str], tails: Followed) -> dict[str, Trouble]:
        asks = not tails.rounds.aside.dead()[0]
        matches = [
            patterns.judged(each.pattern, each.files, each.directories, each.closed, asks=asks)
            for each in tails.seen
            if each.complete
        ]
        user = access.current_account().name
        found: dict[str, Trouble] = {}
        for match in matches:
            found |= self._of_pattern(match, user)
        # Of a path that is not there, the pattern's sentence says more than "No such file".
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

    def _say(self, now: dict[str, Trouble]) -> None:
        before, self._found = self._found, now
        for about in sorted(now.keys() - before.keys()):
            trouble = now[about]
            tell(trouble.event, MESSAGE=trouble.text, **trouble.fields)
        for about in sorted(before.keys() - now.keys()):
            tell(
                events.LOG_MENDED,
                REASON=before[about].text,
                LOG=before[about].fields.get("LOG", ""),
            )


def _of_directories(tails: Followed) -> dict[str, Trouble]:
    """Return which directories do not answer, and whether there are too many."""
    aside, found = tails.rounds.aside, {}
    dead, _ = aside.dead()
    for path, seconds in aside.seconds().items():
        text = (
            f"{printable(path)} has not answered for {seconds:,.0f} s; logs in it are not read"
            f" meanwhile, others are; `findmnt -T {access.quoted(path)}` shows its file system:"
            " mend it or unmount it"
            if path in dead
            else f"{printable(path)} took {seconds:,.0f} s to be listed, so it is listed once in a"
            " minute only; keep logs in a directory of their own"
        )
        found[f"directory {path}"] = Trouble(events.LOG_DIRECTORY_SLOW, text, {"LOG": path})
    late, left_out = tails.rounds.seconds, sum(each.left_out for each in tails.seen)
    if late > LATE or left_out:
        text = (
            "`logs` leads through more directories than can be looked at in time: a look at all of"
            f" them takes {late:,.0f} s, and {left_out:,} directories and names are left out, so"
            " new logs are found late or never; name fewer directories, without ** if possible"
        )
        found["directories"] = Trouble(events.LOG_DIRECTORIES, text, {"COUNT": left_out})
    return found
