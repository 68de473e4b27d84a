"""What the tailer reports of each log: whether it is read, and how far behind that is."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from blocker.sources.files.generation import Generation
from blocker.sources.files.rotation_set import RotationSet

_NONE: Mapping[str, int] = MappingProxyType({})


class LogStatus(NamedTuple):
    """How one log stands.

    Attributes:
        path: of the log.
        up: whether it is there and can be read.
        lag_bytes: that were not read yet, those of rotated files included.
        lag_seconds: since which there have been any.
        last_line: when a line was last read, or else the file written; seconds since the epoch.
        rotations: how often the path became another file.
        truncations: how often a file of this path was truncated.
        lost: lines that were lost before they could be read, by reason; of sockets and pipes.
    """

    path: str
    up: bool = False
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    last_line: float = 0.0
    rotations: int = 0
    truncations: int = 0
    lost: Mapping[str, int] = _NONE


def status_of(
    rotation_set: RotationSet, live: Generation | None, generations: Sequence[Generation]
) -> LogStatus:
    """Return the status of one log, of which these generations are open."""
    lags = [generation.lag for generation in generations]
    up = rotation_set.alias or (
        live is not None and live.errors is None and rotation_set.error is None
    )
    last = rotation_set.last_line
    if not last and live is not None and not live.state.released:
        last = live.activity.written
    behind, since = sum(lag[0] for lag in lags), max((lag[1] for lag in lags), default=0.0)
    return LogStatus(
        rotation_set.path, up, behind, since, last, rotation_set.rotations, rotation_set.truncations
    )
