"""Text that is safe to print: what a terminal would obey is written out."""

import json

import pytest

from blocker.escape import json_escaped, printable, printable_lines

HOSTILE = "a\\\x1b[2J\n\x85\u202e\ud800\U000e0001'\"ä"


def test_what_a_terminal_would_obey_is_written_out():
    """Control characters, bidi marks, lone surrogates; everything else stays as it is."""
    assert printable(HOSTILE) == r"""a\\x1b[2J\n\x85\u202e\ud800\U000e0001'"ä"""
    assert printable(r"a\b") == r"a\b"


def test_a_message_of_several_lines_keeps_them():
    """Each line is made safe for itself."""
    assert printable_lines("a\n\x1b\nä") == "a\n\\x1b\nä"


@pytest.mark.parametrize("code", [0x7F, 0xFFF9, 0xFFFF, 0x10000, 0x1FFFF, 0xE0001, 0x10FFFF])
def test_json_is_escaped_and_says_the_same(code):
    """In the way of JSON itself, pairs of surrogates above 16 bits (RFC 8259, section 7)."""
    text = json.dumps(f"ä {chr(code)}", ensure_ascii=False)
    expected = json.dumps(chr(code))[1:-1] if not chr(code).isprintable() else chr(code)
    assert json_escaped(text) == f'"ä {expected}"'.replace("\x7f", "\\u007f")
    assert json.loads(json_escaped(text)) == f"ä {chr(code)}"


def test_json_without_such_characters_stays_as_it_is():
    """In any script."""
    assert json_escaped('{"ä": "€"}') == '{"ä": "€"}'
