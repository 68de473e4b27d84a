"""Rounds through all patterns of logs: a bounded part at each look, and no directory delays it.

A look goes on where the last one ended, until every directory has been seen since it began, or its
time is over; so no directory starves.  The disk is asked in a thread of its own.  When the answer
about a directory takes more than half a second, that thread is left behind with it, and another one
goes on with the others: the directory is set aside.

The times of all directories are looked at instead of having the kernel watch each (inotify): that
takes 3 µs, is as good on network file systems, and needs no watches, of which there are few.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic, thread_time
from typing import NamedTuple, TypeAlias

from blocker.sources.files.look_budget import LookBudget
from blocker.sources.files.path_pattern import Choice
from blocker.sources.files.questions import Ask, Check, Listing, Question, Questions, Stamp
from blocker.sources.files.walk import AGE, Walk

LOOK_SECONDS = 1.0
"""How long one look walks.  Nothing is read from the logs meanwhile."""
LOOK_ENTRIES = 300_000
"""Directories and names after which a look ends."""
REST = 9
"""A look is followed by a pause of so many times what it took of a processor: a tenth at most …"""
BRIEF = 0.05
"""… unless that is no more seconds than this …"""
LONGEST_REST = 4.0
"""… but the pause is over before the next poll, if one look is enough to see everything."""
PATIENCE = 0.5
"""Seconds until a directory that does not answer is set aside …"""
PATIENCE_AGAIN = 30.0
"""… and until one that has answered late is taken for dead, with all that is below it."""
MAX_LEFT_BEHIND = 8
"""Threads of the process that may wait for directories: the service may have 64 tasks."""
DEAD_DEVICE = 3
"""Directories of one file system that do not answer, after which none of it is asked.  (One may be
slow by itself; but thousands of links may lead to a server that is gone.)"""
FORGOTTEN = 600.0
"""Seconds after which an answer expires that was not asked for again."""

Disk: TypeAlias = Callable[[Question], Listing]


def _put(question: Question) -> Listing:
    return question.put()


class Trial:
    """A question about one directory that was not answered in time.

    Attributes:
        ask: the question.
        began: monotonic seconds.
        ended: the same, None while there is no answer.
        answer: the last one.
    """

    def __init__(self, ask: Ask, began: float) -> None:
        self.ask, self.began = ask, began
        self.ended: float | None = None
        self.answer: Listing | None = None

    def end(self, answer: Listing) -> None:
        """Take the answer."""
        self.answer, self.ended = answer, monotonic()

    def again(self, disk: Disk) -> None:
        """Ask once more."""
        self.began, self.ended = monotonic(), None
        self.end(disk(self.ask))

    @property
    def seconds(self) -> float:
        """How long the answer takes, or took."""
        return (self.ended or monotonic()) - self.began

    @property
    def is_dead(self) -> bool:
        """Whether nothing below the directory may be touched, either."""
        patience = PATIENCE if self.answer is None else PATIENCE_AGAIN
        return self.ended is None and self.seconds > patience


class Aside:
    """The directories that are set aside; one for the whole process, as threads wait for them."""

    def __init__(self) -> None:
        self._trials: dict[tuple[str, Choice | None], Trial] = {}

    @property
    def waiting(self) -> int:
        """How many threads wait."""
        return sum(trial.ended is None for trial in list(self._trials.values()))

    def seconds(self) -> dict[str, float]:
        """Return the directories, each with the seconds that its answer takes or took."""
        return {trial.ask.path: trial.seconds for trial in list(self._trials.values())}

    def dead(self) -> tuple[list[str], set[int]]:
        """Return the directories that do not answer, and the devices on which nothing does."""
        dead = [trial.ask for trial in list(self._trials.values()) if trial.is_dead]
        stamps = [ask.known.stamp for ask in dead if ask.known is not None]
        known = Counter(stamp[0] for stamp in stamps if len(stamp) > 2)
        devices = {device for device, count in known.items() if count >= DEAD_DEVICE}
        return [ask.path for ask in dead], devices

    def add(self, ask: Ask, began: float) -> Trial:
        """Set a directory aside."""
        trial = self._trials[ask.path, ask.choice] = Trial(ask, began)
        return trial

    def take(self, question: Question, disk: Disk) -> tuple[bool, Listing | None]:
        """Return whether a question must not be asked now, and what is known instead."""
        if not self._trials:
            return False, None
        paths, devices = self.dead()
        if isinstance(question, Check):
            if paths:
                question.spared = lambda path, stamp: _is_behind(path, stamp, paths, devices)
            return question.given_up, None
        stamp = question.known.stamp if question.known is not None else ()
        if _is_behind(question.path, stamp, paths, devices):
            return True, None
        return self._late(question, disk)

    def _late(self, ask: Ask, disk: Disk) -> tuple[bool, Listing | None]:
        """Return whether a directory is slow, and its last listing, which may be a minute old."""
        trial = self._trials.get((ask.path, ask.choice))
        if trial is None:
            return False, None
        is_due = trial.ended is not None and monotonic() - trial.ended >= AGE
        if is_due and self.waiting < MAX_LEFT_BEHIND:
            threading.Thread(target=self._try_again, args=(trial, disk), daemon=True).start()
        return True, trial.answer

    def settle(self, trial: Trial, answer: Listing, disk: Disk) -> None:
        """Take the answer that came late: was it the directory, or is it mended by now?"""
        trial.end(answer)
        self._try_again(trial, disk)

    def _try_again(self, trial: Trial, disk: Disk) -> None:
        trial.again(disk)
        if trial.seconds <= PATIENCE:
            self._trials.pop((trial.ask.path, trial.ask.choice), None)

    def forget(self) -> None:
        """Drop answers that were not asked for again in time."""
        for key, trial in list(self._trials.items()):
            if trial.ended is not None and monotonic() - trial.ended > FORGOTTEN:
                del self._trials[key]


def _is_behind(path: str, stamp: Stamp, paths: Sequence[str], devices: set[int]) -> bool:
    """Whether a path is in a dead directory, or in the same file system as one."""
    if len(stamp) > 2 and stamp[0] in devices:
        return True
    return any(is_in(path, directory) for directory in paths)


def is_in(path: str, directory: str) -> bool:
    """Whether a path is that of a directory, or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


ASIDE = Aside()


class _Errand(threading.Thread):
    """Puts question after question, until all are answered or its time is over.

    Attributes:
        question: the one at work, or the next one.
        finished: whether none is left.
    """

    def __init__(self, rounds: "Rounds", walk: Questions, question: Question | None) -> None:
        super().__init__(daemon=True)
        self._rounds, self._walk, self.question = rounds, walk, question
        self._lock = threading.Lock()
        self._asking = False
        self._trial: Trial | None = None
        self._done = threading.Event()
        self._error: BaseException | None = None
        self.finished = False
        self.effort = 0.0
        """What it took, in seconds of a processor; of a thread that is left behind nothing."""

    def run(self) -> None:
        """Work, in the thread."""
        begin = self._rounds.effort()
        try:
            self._work()
        except StopIteration:
            self.finished = True
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error
        self.effort = self._rounds.effort() - begin
        self._done.set()

    def _work(self) -> None:
        walk, rounds, question = self._walk, self._rounds, self.question
        if question is None:
            question = next(walk)
        while True:
            self.question = question
            if rounds.budget.is_over():
                return
            withheld, found = rounds.aside.take(question, rounds.disk)
            if not withheld:
                self._asking = True
                found = rounds.disk(question)
                with self._lock:
                    self._asking = False
                    if self._trial is not None:
                        break
            rounds.budget.count(question, found)
            question = walk.send(found)
        rounds.aside.settle(self._trial, found, rounds.disk)

    def wait(self) -> bool:
        """Wait for the end; False: a directory does not answer, and has this thread by now."""
        mark: tuple[int, int] | None = None
        since = monotonic()
        while not self._done.wait(PATIENCE / 4):
            with self._lock:
                question = self.question if self._asking else None
                if question is None or mark != (id(question), question.at):
                    mark = None if question is None else (id(question), question.at)
                    since = monotonic()
                elif self._has_to_leave(since):
                    self._trial = self._rounds.aside.add(question.current, since)
                    if isinstance(question, Check):
                        question.given_up = True
                    return False
        if self._error is not None:
            raise self._error
        return True

    def _has_to_leave(self, since: float) -> bool:
        return monotonic() - since > PATIENCE and self._rounds.aside.waiting < MAX_LEFT_BEHIND


class Seen(NamedTuple):
    """What one pattern matches, as far as it is known.

    Attributes:
        pattern: as configured.
        files: paths that match, without directories.
        directories: paths of directories that match.
        closed: directories that could not be listed, with the error.
        left_out: how many names and directories were too many.
        complete: whether all directories have been walked.
    """

    pattern: str
    files: Sequence[str]
    directories: Sequence[str]
    closed: Sequence[tuple[str, str]]
    left_out: int
    complete: bool


class Rounds:
    """Walks the directories of all patterns again and again.

    Args:
        patterns: whose directories are walked.
        clock: monotonic seconds.
        disk: answers questions.
        effort: seconds of a processor that the thread has taken.
        aside: the directories that are set aside.

    Attributes:
        budget: what the look that is going on may still take.
        cut_short: how many looks ended before everything was seen.
        complete: whether everything has been seen once.
        seconds: how long it takes, or took, to see everything once.
        owed: seconds until another look is due, None if none is.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        clock: Callable[[], float] = monotonic,
        disk: Disk = _put,
        effort: Callable[[], float] = thread_time,
        aside: Aside = ASIDE,
    ) -> None:
        self._clock, self.disk, self.effort, self.aside = clock, disk, effort, aside
        self._walks = {text: Walk(text) for text in patterns}
        self._round: Questions | None = None
        self._question: Question | None = None
        self._again = self._busy = 0.0
        self.budget = LookBudget(clock, 0.0, 0)
        self.complete = False
        self._began = self._took = 0.0
        self.cut_short = 0
        self.owed: float | None = None

    def look(self) -> None:
        """Walk on, for a moment; to be called in a thread."""
        begin = self._clock()
        if begin < self._again:
            self.owed = self._again - begin
            return
        self.budget, self._busy = LookBudget(self._clock, begin + LOOK_SECONDS, LOOK_ENTRIES), 0.0
        self.aside.forget()
        goes_on = self._round is not None
        # What has changed since an earlier look began may have been passed already.
        finished = self._go_on() and (not goes_on or self._go_on())
        took, now = self._busy, self._clock()
        self.cut_short += not finished
        rest = min(took * REST, LONGEST_REST if finished else math.inf)
        rest = rest if self.complete and took > BRIEF else 0.0
        self._again = now + rest
        self.owed = None if finished else rest

    @property
    def seconds(self) -> float:
        """How long it takes to see everything once."""
        return max(self._took, self._clock() - self._began if self._round is not None else 0.0)

    def seen(self) -> list[Seen]:
        """Return what each pattern matches; of a first round, as far as it has come."""
        return [self._seen(text) for text in self._walks]

    def _seen(self, text: str) -> Seen:
        walk = self._walks[text]
        return Seen(text, *walk.matches(), walk.closed(), walk.left_out, walk.complete)

    def _go_on(self) -> bool:
        """Go on with a round, or begin one; whether it was finished."""
        walk, question = self._round or self._questions(), self._question
        self._round = self._question = None  # unless it goes well
        answered = False
        while not answered:
            errand = _Errand(self, walk, question)
            errand.start()
            answered = errand.wait()
            self._busy += errand.effort if answered else 0.0
            question = errand.question  # if it was not answered, it is withheld from now on
        if errand.finished:
            self._took, self.complete = self._clock() - self._began, True
        else:
            self._round, self._question = walk, question
        return errand.finished

    def _questions(self) -> Questions:
        self._began = self._clock()
        for walk in self._walks.values():
            yield from walk.questions(self._clock())
