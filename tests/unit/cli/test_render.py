"""Tables as a terminal shows them."""

import time

from blocker.cli import render


def table(capsys, rows, columns):
    render.as_table(rows, columns)
    return capsys.readouterr().out.splitlines()


def test_a_table_of_many_bans_takes_no_longer_than_asking_for_them(capsys):
    """65,800 rows in seconds of processor time; rich alone takes a minute and more."""
    row = {"address": "203.0.113.7", "trap": "xmlrpc", "hits": 3, "enforced": True, "reason": ""}
    begun = time.process_time()
    drawn = table(capsys, [row] * 65_800, list(row))
    assert time.process_time() - begun < 8, "one second on an idle machine"
    assert len(drawn) == 65_800 + 4


def test_columns_are_as_wide_as_their_widest_cell(capsys):
    """Numbers stand at the right, and a character that fills two cells counts as two."""
    rows = [{"name": "名前", "hit_count": 3}, {"name": "x", "hit_count": 1_234_567_890}]
    _, head, rule, *lines, end = table(capsys, rows, ["name", "hit_count"])
    assert head.split() == ["name", "hit", "count"]
    assert set(rule.strip()) == {"─"}
    assert [*lines, end] == ["  名前            3", "  x      1234567890", ""]


def test_a_cell_has_no_control_characters(capsys):
    """Control characters are escaped, so that no row looks like two."""
    lines = table(capsys, [{"reason": "a\x1b[2J\nb"}], ["reason"])
    assert lines[3] == "  a\\x1b[2J\\nb"


def test_a_table_without_rows_is_its_head(capsys):
    """As wide as the names of its columns."""
    assert table(capsys, [], ["a"])[1].strip() == "a"
