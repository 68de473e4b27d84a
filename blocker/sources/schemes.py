"""Which kind of source a log of the configuration is, by its name.  Pure.

ADD A KIND OF SOURCE HERE: its scheme and how the rest of the name is read; then open it in
``service/log_sources.py``.
"""

import re
from collections.abc import Callable, Mapping
from posixpath import isabs

FILE, JOURNAL = "file", "journal"

_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,240}"
    r"\.(?:service|scope|socket|mount|swap|timer|slice|target|path|device|automount)"
)
_IDENTIFIER = re.compile(r"identifier=[^\x00-\x1f\x7f]{1,255}")


def _journal(rest: str) -> None:
    """Check the rest of a journal's name.

    Raises:
        ValueError: it is none.
    """
    if not (_UNIT.fullmatch(rest) or _IDENTIFIER.fullmatch(rest)):
        raise ValueError(
            'write a unit with its ending, such as "journal:nginx.service", or a program by its'
            ' syslog identifier, such as "journal:identifier=nginx"'
        )


SCHEMES: Mapping[str, Callable[[str], None]] = {JOURNAL: _journal}
"""By scheme: what checks the rest of the name."""


def scheme_of(log: str) -> str:
    """Return the kind of source that a log is read from; a path or a pattern is a file's.

    >>> scheme_of("/var/log/nginx/*access*.log"), scheme_of("journal:nginx.service")
    ('file', 'journal')
    """
    scheme, colon, _ = log.partition(":")
    return scheme if colon and scheme in SCHEMES and not isabs(log) else FILE


def check_name(log: str) -> None:
    """Check the name of a log that is no file.

    Raises:
        ValueError: with what to write instead.
    """
    scheme, _, rest = log.partition(":")
    SCHEMES[scheme](rest)
