"""Where reading begins in a log that has no stored position."""

from blocker.judging.limits import AHEAD
from blocker.service.parts import RuntimeParts
from blocker.sources.files.generation import Generation, at_end_if_shorter
from blocker.sources.files.seek import first_line_behind, first_line_since, start_of_unknown


class LogStart:
    """Finds the offset of the first line to judge.

    Args:
        parts: engine, clock and configuration.
    """

    def __init__(self, parts: RuntimeParts) -> None:
        self._logs, self._clock = parts.engine.logs, parts.clock
        self._lookback = parts.config.lookback

    async def of(self, log: Generation) -> int:
        """Return the offset for a log never seen before, or for one that lost its end."""
        matcher, now = self._logs.matchers.of(log.path), self._clock()

        def time_of(line: bytes) -> int | None:
            return matcher.time_of(line, now)

        if log.lost is None:
            log.judge_since(self._clock() - self._lookback)
            fd, cutoff = log.file.fd, log.cutoff
            first = await first_line_since(fd, log.size, cutoff, time_of)
            return await start_of_unknown(fd, first, cutoff, time_of)
        # New lines are later than the latest event of the log, unless the clock was set back.
        latest = self._logs.latest(log.path)
        if latest > self._clock() + AHEAD:
            return await at_end_if_shorter(log)
        return await first_line_behind(log.file.fd, log.lost.tail, latest, time_of)
