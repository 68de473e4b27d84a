"""A month of old logs, written to a real Prometheus: the chart's daily values are ``replay``'s."""

import gzip
import json
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from monitoring.history import RETENTION, command, fill
from monitoring.scene import DAY, prometheus
from support.daemons import ATTACKER4, daemon, line, street, write
from support.namespaces import WHY_NOT, permitted

P = "xmlrpc_blocker_"
DAYS = 31
TODAY = time.time() // DAY * DAY
COUNTERS = ("log_lines", "requests", "hits", "bans", "offences")


def month(directory, seed=1):
    """Write a month of logs, up to the end of yesterday, rotated and packed each night.

    Visitors all day; bots in some nights, more and more of them; some come back each day.
    """
    random = Random(seed)
    bots = [f"198.18.{n}.{n * 7 % 250 + 1}" for n in range(40)]
    for back in range(DAYS, 0, -1):
        day = TODAY - back * DAY
        lines = [
            (random.randrange(86_400), "203.0.113.7", "GET /2026/ HTTP/1.1")
            for _ in range(random.randint(400, 900))
        ]
        for bot in random.sample(bots, (DAYS - back) // 2 + 1):
            start = random.randrange(80_000)
            for number in range(random.randint(1, 30)):
                who = (start + number * random.randint(5, 90), bot, "POST /xmlrpc.php HTTP/1.1")
                lines.append(who)
        # To the day's end, and no further: a day's log alone must be the day.
        lines = [each for each in sorted(lines) if each[0] < DAY]
        text = "".join(stamped(day + second, who, what) for second, who, what in lines).encode()
        packed = directory / f"access.log.{back - 1}.gz"
        if back > 1:
            packed.write_bytes(gzip.compress(text))
        else:
            (directory / "access.log").write_bytes(text)
    return sorted(map(str, directory.iterdir()))


def stamped(second, who, request):
    stamp = datetime.fromtimestamp(second, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{who} - - [{stamp}] "{request}" 200 370 "-" "-"\n'


def replayed(logs):
    """Return what happened on each day, by its number before today: its log alone, replayed."""
    figures = {}
    for path in logs:
        back = int(path.split(".")[-2]) + 1 if path.endswith(".gz") else 1
        report = json.loads(command("replay", "-o", "json", path))
        figures[back] = Counter(
            log_lines=report["lines"], requests=report["requests"], hits=report["hits"]
        )
    # A ban is the whole story's: who came back is known only by what was before.
    for ban in json.loads(command("replay", "-o", "json", *logs))["bans"]:
        start = datetime.fromisoformat(ban["start"]).timestamp()
        for name in ("bans", "offences"):
            figures[int((TODAY + DAY - 1 - start) // DAY)][name] += 1
    return figures


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Paths of a month's logs."""
    return month(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def history(old, tmp_path_factory):
    """A Prometheus that knows the month."""
    if not permitted():
        pytest.skip(WHY_NOT)
    directory = tmp_path_factory.mktemp("history")
    fill(directory, old)
    with street() as network, prometheus(network.server, directory, options=(RETENTION,)) as made:
        yield made


@pytest.fixture(scope="module")
def days(old):
    """What replay says of each day."""
    return replayed(old)


def daily(history, expression):
    """Return the values of an expression at the end of each whole day, by days before today."""
    (series,) = history.query_range(expression, TODAY - (DAYS - 1) * DAY, TODAY, DAY)
    return {round((TODAY + DAY - float(t)) / DAY): float(v) for t, v in series["values"]}


@pytest.mark.parametrize("name", COUNTERS)
def test_the_increase_of_each_day_is_what_replay_says(history, days, name):
    """Lines, requests, hits and bans, day by day, without a difference."""
    message = daily(history, f"sum(increase({P}{name}_total[1d]))")
    assert message == {back: days[back][name] for back in range(1, DAYS + 1)}


@pytest.mark.parametrize("offset", [0, 1])
def test_the_daily_share_is_what_replay_says(history, days, offset):
    """The chart: attacks among all requests, at the end of each day, or at its beginning."""
    window = "[1d] offset -1d" if offset else "[1d]"
    share = f"sum(increase({P}hits_total{window})) / sum(increase({P}requests_total{window}))"
    (series,) = history.query_range(
        share, TODAY - (DAYS - 1 + offset) * DAY, TODAY - offset * DAY, DAY
    )
    message = {round((TODAY - float(t)) / DAY) + 1 - offset: float(v) for t, v in series["values"]}
    assert set(message) == set(range(1, DAYS + 1))
    for back, value in message.items():
        assert value == pytest.approx(days[back]["hits"] / days[back]["requests"], rel=1e-12)
    assert max(message.values()) > 0.2


def test_without_its_left_edge_a_day_is_still_exact(history, days):
    """As Prometheus 3 cuts windows: what lies a millisecond behind the edge is enough."""
    message = daily(history, f"sum(increase({P}hits_total[86399999ms]))")
    assert message == {
        back: pytest.approx(days[back]["hits"], rel=1e-7) for back in range(1, DAYS + 1)
    }


def test_what_the_daemon_counts_goes_on_from_there(old, days, tmp_path):
    """Backfilled until the daemon began: together they make the sum, and nothing jumps."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with street() as network, daemon(network.server, tmp_path) as service:
        until = int(time.time())
        moment = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        directory = tmp_path / "prometheus"
        directory.mkdir()
        fill(directory, old, "--until", moment, "--log-label", service.logs[0])
        Path(service.log).touch()
        service.start()
        with prometheus(network.server, directory, options=(RETENTION,)) as watcher:
            watcher.until_scraped()
            for _ in range(2):
                write(service.log, *[line(ATTACKER4)] * 4, *[line("203.0.113.9")] * 4)
                service.until_blocked(ATTACKER4)
                watcher.until_scraped()
            hits = f"sum({P}hits_total)"
            (seen,) = watcher.query(f"max(timestamp({P}hits_total))")
            window = round((seen.value - (TODAY - 3 * DAY)) * 1000)
            (whole,) = watcher.query(f"sum(increase({P}hits_total[{window}ms]))", time=seen.value)
            (live,) = watcher.query(hits, time=seen.value)
            assert live.value == 16
            assert len(watcher.query(f"{P}hits_total", time=seen.value)) == 1, "one curve"
            expected = sum(days[back]["hits"] for back in (1, 2, 3)) + live.value
            assert whole.value == pytest.approx(expected, rel=1e-6)
