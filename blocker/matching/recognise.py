"""Which of the known formats a line has, in words for people.  Pure.

The matcher never asks: it reads a line by its grammar, and the name of that does not matter there.
"""

from collections.abc import Callable

from blocker.matching.candidates import BLANK
from blocker.matching.formats import NAMED, OTHERS
from blocker.matching.grammar import LineFormat
from blocker.matching.line_parser import DEPTH, LineParser
from blocker.matching.wrappers import inner_text
from blocker.model import Address

WRAPPED = ", wrapped"
"""Behind the name of a format: a collector wrote something around each line."""
_NAMES = ("auto", *OTHERS)
"""In the order in which ``auto`` tries them."""
_QUOTES_OF_COMBINED = 6


class Recogniser:
    """Names the format of lines that ``auto`` understands."""

    def __init__(self, is_proxy: Callable[[Address], bool] = lambda _: False) -> None:
        self._parser = LineParser("auto", is_proxy)
        self._formats = {name: LineFormat(NAMED[name]) for name in _NAMES}
        self._common = LineFormat(NAMED["common"])

    def name(self, line: bytes) -> str:
        """Return the name of a line's format, or "" if the line is not understood."""
        if self._parser.parse(line) is None:
            return ""
        text: bytes | None = line.lstrip(BLANK)
        for depth in range(DEPTH + 1):
            if text is None:
                break
            if name := self._plain(text):
                return name + (WRAPPED if depth else "")
            text = inner_text(text)
        return "json"  # with the time in front of the object, as Caddy's console writes it

    def _plain(self, text: bytes) -> str:
        """Return the name of the format of a line that nothing stands around."""
        if text.startswith(b"{"):
            return "json" if inner_text(text) is None else ""
        name = next((name for name, each in self._formats.items() if each.parse(text)), "")
        if name != "auto":
            return name
        if self._common.parse(text) is None:
            return "vhost_combined"
        return "combined" if text.count(b'"') >= _QUOTES_OF_COMBINED else "common"
