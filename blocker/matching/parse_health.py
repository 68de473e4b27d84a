"""Whether logs can be parsed, and which conditions persist.  Pure: time is an argument.

A log is *not understood* if, within the last hour,

* at least ``HANDFUL`` candidate lines could not be parsed, they are at least half of the candidate
  lines, and its other lines are not understood either; or
* at least ``MANY`` candidate lines could not be parsed, even if all others could.

A candidate line is one that the byte search selects as a possible hit.  Attackers choose
candidates, but not the other lines.  So a few hostile lines in a healthy log do not raise a
warning, and an attacker with a request that can't be parsed is still noticed.  "Other lines" are
the last ``SAMPLES`` sampled lines; each log is sampled at most once a second.

Candidates that are parsed and are no hit are not counted, because counting would slow down the
fast path of the matcher.  They are part of the sample.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from blocker.escape import printable
from blocker.times import HOUR, SECOND

HANDFUL = 3
MANY = 100
SAMPLES = 16
SAMPLED_AT_ONCE = 8
"""Ceiling of the lines sampled from one block."""
MAX_SAMPLED_LINE = 16 << 10
"""Longest line that is sampled, bytes."""
MAX_LOGS = 2048
"""Ceiling of the logs; beyond it, the log that was added first is forgotten."""
MAX_REASON = 300
"""Ceiling of a reason, characters."""
MAX_CONDITIONS = 64
"""Ceiling of the conditions; beyond it, the condition that was added first is forgotten."""
_SLOT = HOUR // 12


class Verdict(Protocol):
    """The part of the result of ``Matcher.explain`` that is used here."""

    @property
    def kind(self) -> str:
        """``unparsed`` for a line that could not be parsed."""

    @property
    def reason(self) -> str:
        """The reason for the verdict."""


class Lines(Protocol):
    """The part of the matcher's result for a block that is used here."""

    @property
    def unparsed(self) -> Sequence[int]:
        """Ends of candidate lines that can't be parsed, offsets within the block."""

    @property
    def hits(self) -> Sequence[object]:
        """The hits."""


class ParseHealth:
    """Counters and samples of one log for the last hour."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, int, int]] = deque()
        """Slots of five minutes: number of the slot, unparsed candidates, hits."""
        self._samples: deque[bool] = deque(maxlen=SAMPLES)
        self._sampled_at = 0
        self._reason = ""

    def note(self, now: int, unparsed: int, hits: int) -> None:
        """Count unparsed candidates and hits of one block."""
        slot = now // _SLOT
        if self._slots and self._slots[-1][0] == slot:
            _, *counted = self._slots[-1]
            self._slots[-1] = (slot, counted[0] + unparsed, counted[1] + hits)
        else:
            self._forget(now)
            self._slots.append((slot, unparsed, hits))

    def note_reason(self, reason: str) -> None:
        """Keep the reason why the first line of the hour could not be parsed."""
        self._reason = printable(reason)[:MAX_REASON]

    def note_samples(self, now: int, understood: Sequence[bool]) -> None:
        """Add samples: for each line whether it could be parsed."""
        self._samples.extend(understood)
        self._sampled_at = now

    @property
    def lacks_reason(self) -> bool:
        """Whether no reason is kept for the unparsed lines of this hour."""
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
        """Whether at least half of the sampled lines were understood."""
        return bool(self._samples) and 2 * sum(self._samples) >= len(self._samples)

    def trouble(self, now: int) -> "Unparsed | None":
        """Return the unparsed candidates of the last hour if they deserve a warning, or None."""
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
        unparsed: number of lines that could not be parsed.
        candidates: number of candidate lines counted, hits included.
        reason: reason for the first unparsed line, escaped, at most ``MAX_REASON`` characters.
        others_understood: whether most of the other lines are understood.
    """

    unparsed: int
    candidates: int
    reason: str
    others_understood: bool

    def words(self, path: str) -> str:
        """Return one sentence that names the log, the reason and the advice."""
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
    """Return the advice for a log that is not understood; most reasons already contain some."""
    cure = "" if "; " in reason else "set `format` to what the web server writes; "
    return f"{cure}`xmlrpc-blocker explain {name}` explains each line"


class ParseWatch:
    """Watches for each log whether its lines can be parsed."""

    def __init__(self) -> None:
        self._logs: dict[str, ParseHealth] = {}

    def look(
        self, path: str, now: int, block: bytes, found: Lines, explain: Callable[[bytes], Verdict]
    ) -> Unparsed | None:
        """Record the result for a block of a log; return the problem if it has unparsed lines."""
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
        """Return the current problem of each log that has one, by path."""
        found = {path: health.trouble(now) for path, health in self._logs.items()}
        return {path: trouble for path, trouble in found.items() if trouble is not None}


def line_before(block: bytes, end: int) -> bytes:
    """Return the line that ends at an offset, without its newline, cut to the ceiling."""
    start = block.rfind(b"\n", 0, end - 1) + 1
    return block[start : min(end - 1, start + MAX_SAMPLED_LINE)]


def others(block: bytes, unparsed: Sequence[int], most: int) -> Iterator[bytes]:
    """Yield up to ``most`` of the last lines of a block that are no unparsed candidates."""
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
    """Conditions that were observed within the last hour, with a sentence for each."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    def see(self, topic: str, text: str, now: int) -> None:
        """Record that a condition holds at ``now``."""
        if len(self._seen) >= MAX_CONDITIONS and topic not in self._seen:
            del self._seen[next(iter(self._seen))]
        self._seen[topic] = (now, text)

    def refresh(self, topic: str, now: int) -> bool:
        """Record that a known condition still holds; False if it is not known."""
        known = self._seen.get(topic)
        if known is None:
            return False
        self._seen[topic] = (now, known[1])
        return True

    def texts(self, now: int) -> list[str]:
        """Return a sentence for each condition of the last hour."""
        self._seen = {t: each for t, each in self._seen.items() if each[0] <= now < each[0] + HOUR}
        return [text for _, text in self._seen.values()]
