"""Escapes text, so that it is safe to print.  Pure.

Names of logs, lines of logs and messages of other programs may hold control sequences of a
terminal.  All text that is printed, logged or exported is escaped here first.
"""


def printable(text: str) -> str:
    r"""Return the text with control characters, bidi marks and lone surrogates escaped.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def printable_lines(text: str) -> str:
    """Return the text escaped as by ``printable``, but with its newlines."""
    return "\n".join(map(printable, text.split("\n")))


def json_escaped(text: str) -> str:
    r"""Return JSON text with unprintable characters as ``\uXXXX``; its value is the same."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _unicode_escape(char) for char in text)


def _unicode_escape(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
