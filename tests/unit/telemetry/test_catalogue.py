"""The catalogue, the exposition and the documentation: one table, three shapes."""

import asyncio
import re
from pathlib import Path

import pytest
from metrics_page import page
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from blocker.firewall.facts import OPERATIONS
from blocker.model import MANUAL
from blocker.service.snapshot import _folded
from blocker.store.counter_names import GONE, OFFENCES
from blocker.telemetry.catalogue import ALL, CATALOGUE, LABELS, PREFIX, Entry
from blocker.telemetry.exposition import Durations, Metrics

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
HOSTILE = '/var/log/"a"\\b\nc.log'
VALUES = {"log": ("/var/log/nginx/access.log", HOSTILE), "family": ("ipv4", "ipv6")}


class Truth:
    """Every metric of the catalogue, each sample with a value of its own."""

    def snapshot(self):
        return {
            name: {
                labels: 1 if entry.kind == "info" else number + n
                for n, labels in enumerate(self.children(entry.labels))
            }
            for number, (name, entry) in enumerate(CATALOGUE.items())
            if entry.kind != "histogram"
        }

    @staticmethod
    def children(labels):
        most = max((len(VALUES.get(label, "x")) for label in labels), default=1)
        rows = [[VALUES.get(label, (label, label))[n % 2] for label in labels] for n in range(most)]
        return [tuple(row) for row in rows]


def exposition():
    """Return the whole text for the fixed snapshot."""
    durations = Durations(OPERATIONS)
    for seconds in (0.0007, 0.02, 90.0):
        durations.observe_latency(seconds, 1)
        durations.observe_operation("ban", seconds)
    return without_process(Metrics(Truth(), durations))


def without_process(metrics):
    """Return the whole text, without what the library exports of the process."""
    text, kind = asyncio.run(metrics.exposition("text/plain"))
    assert kind.startswith("text/plain; version=")
    whose = re.compile(rf"(# \w+ )?{PREFIX}")
    return "".join(line + "\n" for line in text.decode().split("\n") if whose.match(line))


def test_the_exposition_is_the_golden_one():
    """A fixed snapshot gives exactly this text: names, types, labels, order and escapes."""
    golden = HERE / "exposition.txt"
    assert exposition() == golden.read_text(), f"if that was meant, write it to {golden}"


def test_bans_of_one_moment_are_counted_as_if_one_by_one():
    """Each in the bucket of its bound, and all in the sum."""
    together, alone = Durations(OPERATIONS), Durations(OPERATIONS)
    for seconds, count in ((0.001, 3), (0.0011, 2), (99.5, 4), (0.0, 1)):
        together.observe_latency(seconds, count)
        for _ in range(count):
            alone.observe_latency(seconds, 1)
    found = without_process(Metrics(Truth(), together))
    assert found == without_process(Metrics(Truth(), alone))
    assert f'{PREFIX}ban_latency_seconds_bucket{{le="0.001"}} 4.0' in found
    assert f'{PREFIX}ban_latency_seconds_bucket{{le="+Inf"}} 10.0' in found
    assert f"{PREFIX}ban_latency_seconds_sum 398.0052" in found


def test_openmetrics_ends_once():
    """Written in turns, it is one text all the same, and other readers take it."""
    metrics = Metrics(Truth(), Durations(OPERATIONS))
    text, kind = asyncio.run(metrics.exposition("application/openmetrics-text; version=1.0.0"))
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert text.count(b"# EOF") == 1
    names = {family.name for family in text_string_to_metric_families(text.decode())}
    assert {PREFIX + name for name in CATALOGUE} <= names


def test_a_long_exposition_lets_others_take_their_turn():
    """While that of a thousand logs is written, the loop goes on."""

    class Many:
        def snapshot(self):
            logs = {(f"/var/log/{n}.log",): n for n in range(1000)}
            return {name: logs for name, entry in CATALOGUE.items() if entry.labels == ("log",)}

    async def scenario():
        metrics = Metrics(Many(), Durations(OPERATIONS))
        writing = asyncio.create_task(metrics.exposition("text/plain"))
        turns = 0
        while not writing.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 3
        text, _ = await writing
        assert text.count(b"/var/log/999.log") == len(Many().snapshot())

    asyncio.run(scenario())


def test_every_metric_is_in_the_golden_exposition():
    """Nothing of the catalogue is left out, and nothing else is there."""
    message = set(re.findall(r"(?m)^# TYPE (\S+)", (HERE / "exposition.txt").read_text()))
    assert message == {entry.series for entry in CATALOGUE.values()}


def test_the_page_is_written_by_the_program():
    """docs/metrics.md is what ``make docs`` writes."""
    assert (DOCS / "metrics.md").read_text() == page()


def test_names_keep_to_the_customs_of_prometheus():
    """Counters end in _total, units are base units, and no label clashes with one of a target."""
    for entry in CATALOGUE.values():
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", entry.name)
        assert not entry.name.endswith(("_total", "_count", "_sum", "_info", "_ms", "_percent"))
        assert set(entry.labels) <= set(LABELS)
        assert not {"type", "job", "instance", "le", "quantile"} & set(entry.labels)
        assert entry.text.endswith(".")
        assert not entry.stored or entry.kind == "counter"
        assert entry.odd != entry.text


def test_every_label_is_of_use():
    """What is documented is there."""
    assert set(LABELS) == {label for entry in CATALOGUE.values() for label in entry.labels}


def test_many_logs_are_put_together_by_what_each_figure_means():
    """Sums, the greatest or the least of all logs, and the other labels stay apart."""
    samples = {("a", "x"): 1, ("a", "y"): 2, ("b", "x"): 4, ("b", "y"): 8}
    assert _folded(samples, "sum") == {("all", "x"): 5, ("all", "y"): 10}
    assert _folded(samples, "max") == {("all", "x"): 4, ("all", "y"): 8}
    assert _folded(samples, "min") == {("all", "x"): 1, ("all", "y"): 2}
    assert _folded({}, "sum") == {}


def test_each_figure_of_a_log_is_folded_as_it_is_meant():
    """All logs are up if the least of them is, and lag as the worst; most figures add up."""
    folds = {name: entry.fold for name, entry in CATALOGUE.items() if "log" in entry.labels}
    assert {name: fold for name, fold in folds.items() if fold != "sum"} == {
        "log_up": "min",
        "log_lag_seconds": "max",
        "log_last_line_timestamp_seconds": "max",
        "log_last_hit_timestamp_seconds": "max",
    }


def test_values_of_labels_are_those_that_are_documented():
    """Queries and alerts name them."""
    assert f"; `{ALL}` where" in LABELS["log"][0]
    assert f"; `{GONE}` of" in LABELS["log"][0]
    *first, last = (f"`{offence}`" for offence in OFFENCES)
    assert LABELS["offence"][0] == f"{', '.join(first)} or {last}"
    assert LABELS["trap"][0].endswith(f"`{MANUAL}` for bans by hand")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("log_lag_bytes", "bytes"), ("bytes_read", "bytes"), ("lag_seconds_now", "seconds"),
        ("log_last_line_timestamp_seconds", "seconds since 1970"), ("packets", "packets"),
        ("hits", ""), ("kilobytes", ""), ("bytesread", ""),
    ],
)  # fmt: skip
def test_the_unit_is_the_word_in_the_name(name, unit):
    """A whole word, wherever it stands."""
    assert Entry(name, "gauge", (), "A figure.").unit == unit
