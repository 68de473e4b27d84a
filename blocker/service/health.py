"""What is wrong or late at the moment, in one record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blocker.firewall.facts import BannedTraffic, Drops


@dataclass(slots=True)
class Health:
    """State that the chores and the daemon find out, and that status and metrics report.

    Attributes:
        catching_up: whether the backlog of the start is still being read.
        reload_error: why the last reload was refused, or "".
        metrics_error: why the metrics are not served, or "".
        web_config_error: why the changed ``web.config.file`` was refused, or "".
        origins_error: why the databases of origins are not used yet, or "".
        log_errors: a message for each problem with the logs, by path or pattern.
        hits_at_start: hits in access logs that were counted before this start.
        clock_steps: how often the clock was set.
        start_in_doubt: whether the clock of the start was more than a day off the last commit.
        loop_lag: largest delay of the event loop in the last minute, seconds.
        drops: what the kernel has dropped, as last read; None before the first reading.
        senders: what the top offenders sent while banned, as last read.
    """

    catching_up: bool = True
    reload_error: str = ""
    metrics_error: str = ""
    web_config_error: str = ""
    origins_error: str = ""
    log_errors: Mapping[str, str] = field(default_factory=dict)
    hits_at_start: int = 0
    clock_steps: int = 0
    start_in_doubt: bool = False
    loop_lag: float = 0.0
    drops: Drops | None = None
    senders: Sequence[BannedTraffic] = ()

    def errors(self) -> list[str]:
        """Return a sentence for each thing that was refused or does not answer."""
        reload = f"the last reload was refused: {self.reload_error}" if self.reload_error else ""
        each = (self.metrics_error, self.web_config_error, self.origins_error, reload)
        return [error for error in each if error]
