"""Whether logs are understood, and which conditions last.  Pure: time is an argument.

A log is *not understood* if, within the last hour,

* at least ``HANDFUL`` candidate lines could not be parsed, they are at least half of the candidate
  lines, and its other lines are not understood either; or
* at least ``MANY`` candidate lines could not be parsed, whatever else the log holds.

A candidate line is one that a byte search takes for a possible hit.  Candidates are chosen by
attackers, other lines are not, so a few hostile lines in a healthy log do not raise a warning, and
an attacker who found a request that can't be parsed does not stay unseen.  "Other lines" are a
sample of the last ``SAMPLES`` lines looked at, at most once a second for each log.

Candidates that are parsed and turn out to be no hit are not counted: counting them would cost
the fast path of the matcher.  They show in the sample.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from blocker.escape import printable
from blocker.model import SECOND

HOUR = 3600 * SECOND
HANDFUL = 3
MANY = 100
SAMPLES = 16
SAMPLED_AT_ONCE = 8
"""Lines of one block that are sampled."""
MAX_SAMPLED_LINE = 16 << 10
"""Bytes: a longer line is not sampled."""
MAX_LOGS = 2048
"""Logs that are remembered; beyond that, the one that was added first is forgotten."""
MAX_REASON = 300
MAX_CONDITIONS = 64
_SLOT = HOUR // 12


class Verdict(Protocol):
    """What ``Matcher.explain`` returns."""

    @property
    def kind(self) -> str:
        """``unparsed`` for a line that could not be parsed."""

    @property
    def reason(self) -> str:
        """Why."""


class Lines(Protocol):
    """What the matcher found in a block."""

    @property
    def unparsed(self) -> Sequence[int]:
        """Where candidate lines that do not parse end, offsets within the block."""

    @property
    def hits(self) -> Sequence[object]:
        """The hits."""


class ParseHealth:
    """How well one log was understood within the last hour."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, int, int]] = deque()
        """Slot of time, unparsed candidates, hits."""
        self._samples: deque[bool] = deque(maxlen=SAMPLES)
        self._sampled_at = 0
        self._reason = ""

    def note(self, now: int, unparsed: int, hits: int) -> None:
        """Count what one block held."""
        slot = now // _SLOT
        if self._slots and self._slots[-1][0] == slot:
            _, *counted = self._slots[-1]
            self._slots[-1] = (slot, counted[0] + unparsed, counted[1] + hits)
        else:
            self._forget(now)
            self._slots.append((slot, unparsed, hits))

    def note_reason(self, reason: str) -> None:
        """Keep why the first line of the hour could not be parsed."""
        self._reason = printable(reason)[:MAX_REASON]

    def note_samples(self, now: int, understood: Sequence[bool]) -> None:
        """Keep whether lines that are no failed candidates were understood."""
        self._samples.extend(understood)
        self._sampled_at = now

    @property
    def lacks_reason(self) -> bool:
        """Whether no reason is known for the lines of this hour."""
        return not self._reason

    def wants_samples(self, now: int) -> bool:
        """Whether the last sample is more than a second old."""
        return not self._sampled_at <= now < self._sampled_at + SECOND

    def _forget(self, now: int) -> None:
        oldest, newest = now // _SLOT - 12, now // _SLOT
        while self._slots and not oldest < self._slots[0][0] <= newest:
            self._slots.popleft()
        if not any(unparsed for _, unparsed, _ in self._slots):
            self._reason = ""

    @property
    def sampled_healthy(self) -> bool:
        """Whether most of the other lines are understood."""
        return bool(self._samples) and 2 * sum(self._samples) >= len(self._samples)

    def trouble(self, now: int) -> "Unparsed | None":
        """Return what could not be parsed within the last hour, if that is worth a warning."""
        self._forget(now)
        unparsed = sum(slot[1] for slot in self._slots)
        candidates = unparsed + sum(slot[2] for slot in self._slots)
        most = 2 * unparsed >= candidates and not self.sampled_healthy
        if unparsed >= MANY or (unparsed >= HANDFUL and most):
            return Unparsed(unparsed, candidates, self._reason, self.sampled_healthy)
        return None


class Unparsed(NamedTuple):
    """Candidate lines of one log that could not be parsed within the last hour.

    Attributes:
        unparsed: how many.
        candidates: of how many, hits included.
        reason: of the first of them, escaped and bounded.
        others_understood: whether most of the other lines are understood.
    """

    unparsed: int
    candidates: int
    reason: str
    others_understood: bool

    def words(self, path: str) -> str:
        """Return one sentence that names the log, the reason and what to do."""
        name = printable(path)
        counted = f"{self.unparsed:,} of {self.candidates:,} candidate lines"
        reason = self.reason or "longer than the ceiling"
        advice = (
            "its other lines are understood, so it holds two formats, or a client sends what this"
            f" version can't read: look at `xmlrpc-blocker explain {name}`"
            if self.others_understood
            else advice_for(reason, name)
        )
        return (
            f"{name}: {counted} could not be parsed in the last hour, so their attackers are not"
            f" banned; the first: {reason}; {advice}"
        )


def advice_for(reason: str, name: str) -> str:
    """Return what to do about a log that is not understood; most reasons have said it."""
    cure = "" if "; " in reason else "set `format` to what the web server writes; "
    return f"{cure}`xmlrpc-blocker explain {name}` explains each line"


class ParseWatch:
    """How well each log is understood."""

    def __init__(self) -> None:
        self._logs: dict[str, ParseHealth] = {}

    def look(
        self, path: str, now: int, block: bytes, found: Lines, explain: Callable[[bytes], Verdict]
    ) -> Unparsed | None:
        """Note what a block of a log held; return what is wrong, if lines were not understood."""
        unparsed = found.unparsed
        health = self._logs.get(path) or self._new(path)
        if unparsed or found.hits:
            health.note(now, len(unparsed), len(found.hits))
        if health.wants_samples(now):
            if unparsed or not found.hits:
                most = SAMPLED_AT_ONCE if unparsed else 1
                lines = others(block, unparsed, most)
                understood = [explain(line).kind != "unparsed" for line in lines]
            else:
                understood = [True]
            health.note_samples(now, understood)
        if not unparsed:
            return None
        if health.lacks_reason:
            health.note_reason(explain(line_before(block, unparsed[0])).reason)
        return health.trouble(now)

    def _new(self, path: str) -> ParseHealth:
        if len(self._logs) >= MAX_LOGS:
            del self._logs[next(iter(self._logs))]
        return self._logs.setdefault(path, ParseHealth())

    def troubles(self, now: int) -> dict[str, Unparsed]:
        """Return what is wrong, by log."""
        found = {path: health.trouble(now) for path, health in self._logs.items()}
        return {path: trouble for path, trouble in found.items() if trouble is not None}


def line_before(block: bytes, end: int) -> bytes:
    """Return the line whose newline ends at an offset."""
    start = block.rfind(b"\n", 0, end - 1) + 1
    return block[start : min(end - 1, start + MAX_SAMPLED_LINE)]


def others(block: bytes, unparsed: Sequence[int], most: int) -> Iterator[bytes]:
    """Yield some of the last lines of a block that are no failed candidates."""
    failed, end = set(unparsed[-8 * most :]), len(block)
    for _ in range(8 * most):
        if end <= 0 or most <= 0:
            return
        start = block.rfind(b"\n", 0, end - 1) + 1
        if end not in failed and 1 < end - start <= MAX_SAMPLED_LINE:
            most -= 1
            yield block[start : end - 1]
        end = start


class Conditions:
    """Conditions that were noticed within the last hour, with a sentence for each."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    def see(self, topic: str, text: str, now: int) -> None:
        """Note that a condition holds."""
        if len(self._seen) >= MAX_CONDITIONS and topic not in self._seen:
            del self._seen[next(iter(self._seen))]
        self._seen[topic] = (now, text)

    def refresh(self, topic: str, now: int) -> bool:
        """Note that a known condition still holds; False if it is not known."""
        known = self._seen.get(topic)
        if known is None:
            return False
        self._seen[topic] = (now, known[1])
        return True

    def texts(self, now: int) -> list[str]:
        """Return a sentence for each condition of the last hour."""
        self._seen = {t: each for t, each in self._seen.items() if each[0] <= now < each[0] + HOUR}
        return [text for _, text in self._seen.values()]
