"""Looks at very many directories: bounded, fair, and not held up by one that does not answer."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
from support.logs_by_hand import Bench, append, from_the_start

from blocker.sources.files import questions, rounds, walk
from blocker.sources.files.questions import Ask, Check
from blocker.sources.files.rounds import Aside, Rounds
from blocker.sources.files.tailer import FileTailer
from blocker.sources.files.walk import Walk


class Disk:
    """The real disk; but it does not answer about what is behind ``hangs`` until it is mended."""

    def __init__(self):
        self.hangs = "/nowhere"
        self.mended = threading.Event()
        self.asked = []

    def __call__(self, question):
        if isinstance(question, Check):
            return self._check(question)
        self.asked.append(question.path)
        self._wait(question.path)
        return question.put()

    def _check(self, question):
        for number, (path, stamp) in enumerate(question.paths):
            question.at = number
            if question.spared is None or not question.spared(path, stamp):
                self._wait(path)
                one = Check([(path, stamp)])
                one.put()
                question.changed += [number] * len(one.changed)
        return questions.Listing(())

    def _wait(self, path):
        if rounds.is_in(path, self.hangs):
            assert self.mended.wait(20)


@pytest.fixture
def disk(monkeypatch):
    """A disk that is mended when the test is over."""
    monkeypatch.setattr(rounds, "PATIENCE", 0.2)
    made = Disk()
    yield made
    made.mended.set()


def sites(directory, count=5):
    for number in range(count):
        (directory / f"site{number}" / "logs").mkdir(parents=True)
        (directory / f"site{number}" / "logs" / "access.log").touch()


def matched(made):
    """Return the sites whose logs are matched."""
    (seen,) = made.seen()
    return sorted(Path(path).parent.parent.name for path in seen.files)


def until(condition):
    """Wait for another thread."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


PATTERNS = ["*/logs/access.log", "*/logs/*.log", "**/access.log"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_directory_that_does_not_answer_holds_up_no_other(tmp_path, disk, pattern):
    """It is set aside in the first look, and found when it answers."""
    sites(tmp_path)
    disk.hangs = f"{tmp_path}/site2/logs"
    made = Rounds([f"{tmp_path}/{pattern}"], disk=disk, aside=Aside())
    made.look()
    assert matched(made) == ["site0", "site1", "site3", "site4"]
    assert all(rounds.is_in(path, disk.hangs) for path in made.aside.dead()[0])
    assert made.aside.waiting == 1
    made.look()
    assert made.aside.waiting == 1, "it is not asked again while it does not answer"
    disk.mended.set()
    until(lambda: made.look() or len(matched(made)) == 5)
    until(lambda: made.look() or not made.aside.seconds())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_directory_that_stops_to_answer_keeps_its_logs_and_holds_up_no_new_one(
    tmp_path, disk, pattern
):
    """What was in it is taken to be there still."""
    sites(tmp_path)
    made = Rounds([f"{tmp_path}/{pattern}"], disk=disk, aside=Aside())
    made.look()
    assert len(matched(made)) == 5
    disk.hangs = f"{tmp_path}/site2"
    sites(tmp_path / "more", 0)
    (tmp_path / "site9" / "logs").mkdir(parents=True)
    (tmp_path / "site9" / "logs" / "access.log").touch()
    made.look()
    assert len(matched(made)) == 6
    assert made.aside.waiting == 1
    until(lambda: made.look() or made.aside.waiting == 1)
    disk.mended.set()
    until(lambda: made.look() or not made.aside.seconds())
    assert len(matched(made)) == 6


def test_a_directory_that_is_slow_is_listed_in_a_thread_of_its_own(tmp_path, disk, monkeypatch):
    """The look waits for it once, and takes what it said last from then on."""
    sites(tmp_path, 2)
    slow = f"{tmp_path}/site1/logs"
    answering = threading.Event()

    def slowly(question):
        if isinstance(question, Ask) and question.path == slow:
            assert answering.wait(20)
        return question.put()

    made = Rounds([f"{tmp_path}/*/logs/*.log"], disk=slowly, aside=Aside())
    made.look()
    assert matched(made) == ["site0"]
    answering.set()
    until(lambda: made.look() or matched(made) == ["site0", "site1"])
    answering.clear()
    monkeypatch.setattr(rounds, "AGE", 0.0)
    begin = time.monotonic()
    for _ in range(20):
        made.look()
        assert matched(made) == ["site0", "site1"]
    assert time.monotonic() - begin < 20 * rounds.PATIENCE, "the looks do not wait"
    answering.set()


def test_links_to_a_dead_file_system_are_left_alone_after_a_few(tmp_path, disk):
    """However many directories lead to it: what is known to be there is not asked."""
    far = tmp_path / "far"
    near = tmp_path / "near"
    for number in range(20):
        (far / f"{number}").mkdir(parents=True)
        (near / f"site{number}").mkdir(parents=True)
        (near / f"site{number}" / "logs").symlink_to(far / f"{number}")
        (far / f"{number}" / "access.log").touch()

    def ask(question):
        asks = question.paths if isinstance(question, Check) else [(question.path, ())]
        for number, (path, stamp) in enumerate(asks):
            if isinstance(question, Check):
                question.at = number
                if question.given_up or (question.spared and question.spared(path, stamp)):
                    continue
            if disk.hangs != "/nowhere" and path.endswith("logs"):
                assert disk.mended.wait(20)
        return question.put()

    made = Rounds([f"{near}/*/logs/*.log"], disk=ask, aside=Aside())
    made.look()
    disk.hangs = str(far)
    made.look()
    made.look()
    assert made.aside.waiting == rounds.DEAD_DEVICE
    assert len(matched(made)) == 20
    disk.mended.set()
    until(lambda: made.look() or not made.aside.seconds())


def test_no_more_threads_are_left_behind_than_the_service_may_have(tmp_path, disk, monkeypatch):
    """With so many file systems dead at once, the next one is waited for."""
    monkeypatch.setattr(rounds, "MAX_LEFT_BEHIND", 2)
    sites(tmp_path, 4)
    disk.hangs = str(tmp_path)
    disk_of = {f"{tmp_path}/site{n}/logs": n for n in range(4)}

    def ask(question):
        if isinstance(question, Ask) and question.path in disk_of:
            assert disk.mended.wait(20)
        return question.put()

    made = Rounds([f"{tmp_path}/*/logs/*.log"], disk=ask, aside=Aside())
    looking = threading.Thread(target=made.look)
    looking.start()
    until(lambda: made.aside.waiting == 2)
    looking.join(4 * rounds.PATIENCE)
    assert looking.is_alive()
    assert made.aside.waiting == 2
    disk.mended.set()
    looking.join(20)
    until(lambda: made.look() or len(matched(made)) == 4)


def test_a_look_ends_at_its_ceiling_and_the_next_goes_on(tmp_path, monkeypatch):
    """So no directory starves, and how often that happened is counted."""
    monkeypatch.setattr(rounds, "LOOK_ENTRIES", 12)
    sites(tmp_path, 30)
    made = Rounds([f"{tmp_path}/*/logs/*.log"], aside=Aside(), clock=lambda: 0.0)
    looks = 0
    while not made.complete:
        before = len(matched(made))
        made.look()
        looks += 1
        assert len(matched(made)) <= before + 12
        assert looks < 50
    assert len(matched(made)) == 30
    assert looks > 2
    assert made.cut_short >= looks - 1
    (tmp_path / "site7" / "logs" / "new.log").touch()
    for _ in range(looks + 2):
        made.look()
    assert len(made.seen()[0].files) == 31


def test_a_look_ends_when_its_time_is_over(tmp_path):
    """What is left is for the next one, which is due."""
    sites(tmp_path, 10)
    now = [0.0]

    def clock():
        now[0] += 0.3
        return now[0]

    made = Rounds([f"{tmp_path}/*/logs/*.log"], aside=Aside(), clock=clock)
    made.look()
    assert (made.complete, made.owed, made.cut_short) == (False, 0.0, 1)
    while not made.complete:
        made.look()
    assert made.seconds > rounds.LOOK_SECONDS
    assert len(matched(made)) == 10


def test_looks_are_a_tenth_of_the_time(tmp_path):
    """A look that took long is followed by a pause, in which nothing is asked."""
    sites(tmp_path, 1)
    now, slow = [0.0], [0.0]

    def clock():
        return now[0]

    def slowly(question):
        now[0] += slow[0]
        return question.put()

    made = Rounds([f"{tmp_path}/*/logs/*.log"], clock, slowly, clock, Aside())
    made.look()
    slow[0] = 0.1
    made.look()
    after = now[0]
    made.look()
    assert now[0] == after
    assert made.owed == pytest.approx(after * rounds.REST)
    now[0] += made.owed + 0.01
    made.look()
    assert now[0] > after * (1 + rounds.REST) + 0.1


def test_what_has_not_changed_is_not_listed_again(tmp_path, monkeypatch):
    """Its times are looked at; but now and then it is listed all the same."""
    monkeypatch.setattr(questions, "_TICK", -(10**18))
    sites(tmp_path)
    disk, now = Disk(), [0.0]
    made = Rounds([f"{tmp_path}/*/logs/*.log"], disk=disk, aside=Aside(), clock=lambda: now[0])
    made.look()
    disk.asked.clear()
    made.look()
    assert disk.asked == []
    (tmp_path / "site3" / "logs" / "new.log").touch()
    made.look()
    assert disk.asked == [f"{tmp_path}/site3/logs"]
    disk.asked.clear()
    for seconds in range(0, 62, 2):
        now[0] = float(seconds)
        made.look()
    assert {path for path in disk.asked if path.endswith("logs")} == {
        f"{tmp_path}/site{n}/logs" for n in range(5)
    }


def test_a_file_in_the_place_of_a_directory_is_seen(tmp_path):
    """And a directory in the place of a file, when it is looked up again."""
    path, now = tmp_path / "a" / "access.log", [0.0]
    path.mkdir(parents=True)
    made = Rounds([f"{tmp_path}/*/access.log"], lambda: now[0], aside=Aside())
    made.look()
    assert made.seen()[0].directories == [str(path)]
    path.rmdir()
    path.touch()
    made.look()
    assert (made.seen()[0].files, made.seen()[0].directories) == ([str(path)], [])
    path.unlink()
    path.mkdir()
    now[0] = walk.AGE
    made.look()
    assert (made.seen()[0].files, made.seen()[0].directories) == ([], [str(path)])


def test_more_directories_than_are_kept_are_found_all_the_same(tmp_path, monkeypatch):
    """They are listed at each look instead."""
    monkeypatch.setattr(walk, "MAX_KEPT", 3)
    sites(tmp_path)
    made = Rounds([f"{tmp_path}/**/*.log"], aside=Aside())
    made.look()
    assert len(matched(made)) == 5
    (tmp_path / "site0" / "logs" / "new.log").touch()
    (tmp_path / "site4" / "logs" / "new.log").touch()
    made.look()
    assert len(made.seen()[0].files) == 7
    assert made.seen()[0].left_out == 0


@pytest.mark.parametrize("ceiling", ["MAX_PENDING", "MAX_MATCHES"])
def test_what_is_too_much_is_counted(tmp_path, monkeypatch, ceiling):
    """Nothing is left out in silence."""
    for module in (walk, questions):
        monkeypatch.setattr(module, ceiling, 3, raising=False)
    sites(tmp_path)
    made = Rounds([f"{tmp_path}/*/logs/*.log"], aside=Aside())
    made.look()
    (seen,) = made.seen()
    assert len(seen.files) == 3
    assert seen.left_out == 2


def test_links_in_a_circle_are_walked_once(tmp_path):
    """Forty links to the same place are forty names, not two to the power of forty."""
    for number in range(40):
        (tmp_path / f"{number}").symlink_to(".")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "access.log").touch()
    for pattern in ("**/access.log", "*/*/*/*/access.log", "*/**/*/**/*/access.log"):
        disk = Disk()
        made = Rounds([f"{tmp_path}/{pattern}"], disk=disk, aside=Aside())
        made.look()
        assert made.complete
        assert len(disk.asked) < 1000
        assert made.seen()[0].files
        assert all(Path(path).exists() for path in made.seen()[0].files)


def test_links_of_control_panels_are_followed(tmp_path):
    """By a fixed name and by a wildcard, also out of the tree; and not below two asterisks."""
    real, home = tmp_path / "var" / "virtualmin", tmp_path / "home"
    real.mkdir(parents=True)
    (home / "user").mkdir(parents=True)
    (real / "access.log").touch()
    (home / "user" / "logs").symlink_to(real)
    for pattern in ("*/logs/access.log", "*/*/*.log", "user/*/access.log", "**/logs/access.log"):
        found, _ = _walked(f"{home}/{pattern}")
        assert found == [f"{home}/user/logs/access.log"], pattern
    assert _walked(f"{home}/**/access.log")[0] == []
    assert _walked(f"{tmp_path}/**/access.log")[0] == [f"{real}/access.log"]


def test_a_link_does_not_take_the_place_of_the_real_name(tmp_path):
    """In any order: otherwise a neighbour's link would rename the logs of others."""
    for name in ("a", "m", "z"):
        (tmp_path / name).mkdir()
    (tmp_path / "m" / "logs").mkdir()
    (tmp_path / "m" / "logs" / "x.log").touch()
    for name in ("a", "z"):
        (tmp_path / name / "logs").symlink_to(tmp_path / "m" / "logs")
    found, _ = _walked(f"{tmp_path}/*/logs/*.log")
    assert f"{tmp_path}/m/logs/x.log" in found


def _walked(pattern):
    made = Walk(pattern)
    questions, found = made.questions(0.0), None
    try:
        while True:
            found = questions.send(found).put()
    except StopIteration:
        return made.matches()[0], made.closed()


# What that means for the logs -------------------------------------------------------------------


def test_logs_in_a_dead_directory_wait_and_others_are_read(bench: Bench, disk):
    """They are down, not touched, and read on where they were when the directory is back."""
    sites(bench.directory, 3)
    logs = [bench.directory / f"site{n}" / "logs" / "access.log" for n in range(3)]
    tailer = bench.start(f"{bench.directory}/*/logs/access.log")
    tailer._survey.rounds = Rounds(tailer._patterns, disk=disk, aside=Aside())
    for log in logs:
        append(log, b"one\n")
    assert bench.look() == b"one\n" * 3
    disk.hangs = str(logs[1].parent)
    for log in logs:
        append(log, b"two\n")
    until(lambda: bench.scan() or tailer.rounds.aside.dead()[0])
    assert bench.look() == b"two\n" * 2
    assert {each.path: each.up for each in tailer.statuses()} == {
        str(logs[0]): True, str(logs[1]): False, str(logs[2]): True,
    }  # fmt: skip
    assert sum(each.lag_bytes for each in tailer.statuses()) == 0
    disk.mended.set()
    until(lambda: bench.scan() or not tailer.rounds.aside.dead()[0])
    assert bench.look() == b"two\n"
    assert all(each.up for each in tailer.statuses())


def test_a_new_log_is_found_while_another_directory_is_dead(bench: Bench, disk):
    """And the dead one's logs are met when it answers, from their beginning."""
    sites(bench.directory, 2)
    disk.hangs = f"{bench.directory}/site0/logs"
    append(bench.directory / "site0" / "logs" / "access.log", b"hidden\n")
    tailer = bench.start(f"{bench.directory}/*/logs/access.log")
    tailer._survey.rounds = Rounds(tailer._patterns, disk=disk, aside=Aside())
    assert bench.look() == b""
    (bench.directory / "new" / "logs").mkdir(parents=True)
    append(bench.directory / "new" / "logs" / "access.log", b"one\n")
    assert bench.look() == b"one\n"
    disk.mended.set()
    until(lambda: bench.scan() or not tailer.rounds.aside.dead()[0])
    until(lambda: bench.scan() or len(tailer.generations) == 3)
    assert bench.drain() == b"hidden\n"


def test_a_log_that_is_left_for_the_next_look_is_looked_for_at_once(tmp_path, monkeypatch):
    """While the first walk is not complete, the poll is not waited for."""
    monkeypatch.setattr(rounds, "LOOK_ENTRIES", 5)
    sites(tmp_path, 12)
    for log in tmp_path.glob("*/logs/access.log"):
        append(log, b"one\n")
    found = b""

    async def scenario():
        nonlocal found
        made = FileTailer([f"{tmp_path}/*/logs/*.log"], start_of=from_the_start, poll=1e6)
        try:
            async with asyncio.timeout(20):
                while found != b"one\n" * 12:
                    await made.wait()
                    for log in made.ready():
                        block = await log.read()
                        found += block.data if block else b""
        finally:
            made.close()

    asyncio.run(scenario())
