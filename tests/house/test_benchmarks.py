"""The benchmarks' own arithmetic: what is said about a figure is what was measured."""

from benchmarks.figures import BEGIN, END, Row, into, page, plain, ratio, verdict
from benchmarks.generate import as_json, head, repeated, write
from blocker.analysis.reading import Reader
from blocker.analysis.replay import replay
from blocker.config.schema import Config


def test_a_median_is_held_against_what_is_asked():
    """At most, or at least; nothing measured is neither met nor missed."""
    assert Row("a", "s", [1, 2, 9], asked=2).met
    assert not Row("a", "s", [1, 2.1, 9], asked=2).met
    assert Row("a", "s", [3, 4], asked=3.5, at_least=True).met
    assert Row("a", "s", [], asked=2).met is None
    assert verdict(Row("a", "s", [3], asked=2)) == "≤ 2.00: **missed**"


def test_ratios_are_taken_round_by_round():
    """Noise that slows a whole round cancels out."""
    assert ratio("r", [10, 40], [1, 4]).values == [10, 10]


def test_the_page_names_the_machine_and_what_is_missed():
    """Between its marks the page is written again; the text around them stays."""
    row = Row("slow", "ms", [5.0], asked=1.0)._asdict()
    section = {
        "title": "T", "how": "H.", "date": "2026-01-02", "load": "0.1", "rounds": 1, "rows": [row],
    }  # fmt: skip
    made = page({"machine": {"": "2 cores of X", "Linux": "6.1"}, "sections": {"t": section}})
    text = into(f"before\n{BEGIN}\nold\n{END}\nafter\n", made)
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "Machine: 2 cores of X, Linux 6.1." in text
    assert "missed: slow" in text
    assert "| slow, ms | 5.00 | 5.00 | 5.00 | ≤ 1.00: **missed** |" in text


def test_a_terminal_sees_what_is_not_installed():
    """A tool that is missing is a row that says so."""
    assert "not installed" in plain([Row("x", "", [], note="x: not installed")])


def test_a_log_is_repeated_on_the_fly_a_day_later_each_time(tmp_path):
    """As many lines as asked for, each as it was, but for its day."""
    log = write(tmp_path / "log", "mixed", 1000, 10)
    text = b"".join(repeated(log, 3))
    assert text.count(b"\n") == 3000
    assert text.startswith(log.read_bytes())
    assert [text.count(f"[{day}/Mar/2026:".encode()) for day in (10, 11, 12)] == [1000] * 3
    assert head(log, 10).read_text().count("\n") == 10


def test_a_log_in_json_says_what_the_log_says(tmp_path):
    """The same hits of the same addresses: only the way they are written differs."""
    log = write(tmp_path / "log", "flood", 2000, 100)
    usual, in_json = (replay([str(each)], Config(), Reader()) for each in (log, as_json(log)))
    assert usual["hits"] > 1000
    for name in ("hits", "blocked", "unparsed"):
        assert usual[name] == in_json[name]
    for name in ("bans", "attackers"):
        assert list(usual[name]) == list(in_json[name])
