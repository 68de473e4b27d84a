"""All followed logs as one source: files, and those of other kinds.

The kind is chosen by the scheme of the log's name (``sources.schemes``), in ``open_sources``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from blocker.config.schema import Config
from blocker.sources.datagrams import Datagrams
from blocker.sources.files.generation import StartOf
from blocker.sources.files.log_status import LogStatus
from blocker.sources.files.tailer import FileTailer
from blocker.sources.inbox import Opens
from blocker.sources.journald import Journals
from blocker.sources.live import Inboxes, Live
from blocker.sources.pipes import Pipe
from blocker.sources.position import Position
from blocker.sources.schemes import FILE, JOURNAL, LIVE, PIPES, scheme_of
from blocker.sources.stream import Source, Stream


class OtherSource(Source, Protocol):
    """Logs of one kind that are no files."""

    @property
    def errors(self) -> Mapping[str, str]:
        """What is wrong, by log."""

    async def begin(self) -> None:
        """Take a first look, but do not wait long for it."""

    async def wait(self) -> None:
        """Return when some log may have something new; may be cancelled."""

    def statuses(self) -> Sequence[LogStatus]:
        """Return how each log stands."""

    def close(self) -> None:
        """Let go of everything."""


class FollowedFiles(FileTailer):
    """Files, and whether a scan of them is under way, which must not be broken off."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.at_rest = asyncio.Event()
        self.at_rest.set()

    async def scan(self) -> None:
        """Take one look at the directories and all files."""
        self.at_rest.clear()
        try:
            await super().scan()
        finally:
            self.at_rest.set()


class LogSources:
    """Every log of one configuration.

    Args:
        files: the followed files.
        others: the logs that are none, by kind.
        live: those of them that are sockets and pipes, if there are any.

    Attributes:
        files: the same.
    """

    def __init__(
        self, files: FollowedFiles, others: Sequence[OtherSource] = (), live: Live | None = None
    ) -> None:
        self.files, self.live = files, live
        self._others = [*others, *([live] if live is not None else [])]

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong with the logs that are no files."""
        return {log: text for each in self._others for log, text in each.errors.items()}

    @property
    def losses(self) -> dict[str, str]:
        """What sockets and pipes lost within the last hour and why, by log."""
        return self.live.losses if self.live is not None else {}

    async def begin(self) -> list[str]:
        """Take a first look at everything; return the logs that are followed."""
        await self.files.scan()
        for other in self._others:
            await other.begin()
        found = [each.path for each in self.files.generations]
        found += [each.path for each in self.other_statuses() if each.up]
        return list(dict.fromkeys(found))

    @property
    def ended(self) -> bool:
        """Whether standard input has ended, and all of it was taken."""
        return self.live is not None and self.live.ended

    def ready(self) -> Sequence[Stream]:
        """Return the streams that may have something new, in the order to read them."""
        return [*self.files.ready(), *(each for other in self._others for each in other.ready())]

    def new_positions(self) -> Sequence[Position]:
        """Return the positions since the last call that no block brings."""
        found = [each for other in self._others for each in other.new_positions()]
        return [*self.files.new_positions(), *found]

    async def wait(self) -> None:
        """Return when some log may have something new.

        When another source has something, a scan of the files that is under way comes to its end.
        """
        if not self._others:
            await self.files.wait()
            return
        waits = {asyncio.ensure_future(each.wait()) for each in self._others}
        waits.add(asyncio.ensure_future(self.files.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await self.files.at_rest.wait()
        finally:
            for each in waits:
                each.cancel()
            await asyncio.wait(waits)
        for each in waits:
            if not each.cancelled():
                each.result()

    def statuses(self) -> list[LogStatus]:
        """Return the status of each log."""
        return [*self.files.statuses(), *self.other_statuses()]

    def other_statuses(self) -> list[LogStatus]:
        """Return the status of each log that is no file."""
        return [each for other in self._others for each in other.statuses()]

    def close(self) -> None:
        """Let go of everything; nothing may be reading any more."""
        self.files.close()
        for other in self._others:
            other.close()


def open_sources(
    config: Config,
    positions: Sequence[Position],
    start_of: StartOf,
    now: int,
    inboxes: Inboxes,
) -> LogSources:
    """Return the logs of a configuration, each followed as its scheme says.

    Args:
        config: the configuration.
        positions: how far the logs were judged.
        start_of: where to start in a file never seen before, and in one that lost its end.
        now: the clock, microseconds.
        inboxes: the sockets and pipes that are open.
    """
    known = defaultdict[str, list[Position]](list)
    for each in positions:
        known[scheme_of(each.path)].append(each)
    files = FollowedFiles(config.of_scheme(FILE), known[FILE], start_of=start_of)
    others: list[OtherSource] = []
    if journals := config.of_scheme(JOURNAL):
        others.append(Journals(journals, known[JOURNAL], now - config.lookback))
    opens = openers(config)
    senders = {each.path: each.senders for each in config.log}
    senders |= dict.fromkeys(config.events, config.event_writers)
    return LogSources(files, others, Live(opens, senders, inboxes) if opens else None)


def openers(config: Config) -> dict[str, Opens]:
    """Return what opens each socket and pipe of a configuration, by name of the log."""
    return {
        name: partial(Pipe if kind in PIPES else Datagrams, name)
        for kind in LIVE
        for name in config.of_scheme(kind)
    }
