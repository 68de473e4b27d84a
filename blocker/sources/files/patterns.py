"""What the patterns of ``logs`` match, and what keeps them from matching."""

import glob
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from blocker.escape import printable
from blocker.sources.files.questions import Listing
from blocker.sources.files.walk import Walk

MAX_ASKED = 1_000_000
"""Directories walked for one pattern by a command."""


class Match(NamedTuple):
    """What one pattern matches.

    Attributes:
        pattern: as configured.
        files: paths that match, without directories.
        closed: directories that could not be listed, with the error.
        doubt: why it matches no file, or empty.
        missing: the first directory on its way that does not exist, or empty.
    """

    pattern: str
    files: Sequence[str]
    closed: Sequence[tuple[str, str]]
    doubt: str
    missing: str = ""


def match(pattern: str) -> Match:
    """Look at what a pattern matches now, without a limit of time."""
    walk = Walk(pattern)
    questions = walk.questions(0.0)
    found: Listing | None = None
    with suppress(StopIteration):
        for _ in range(MAX_ASKED):
            found = questions.send(found).put()
    return judged(pattern, *walk.matches(), walk.closed())


def judged(
    pattern: str,
    files: Sequence[str],
    directories: Sequence[str],
    closed: Sequence[tuple[str, str]],
    *,
    asks: bool = True,
) -> Match:
    """Return what a pattern matches, and what is to be said of it.

    ``asks`` says whether the disk may be asked what is missing.
    """
    doubt = missing = ""
    if not files:
        doubt = why_never(pattern) or ("it matches directories only" if directories else "")
        missing = _missing(pattern) if asks else ""
    return Match(pattern, files, closed, doubt, missing)


def _missing(pattern: str) -> str:
    """Return the first directory before any wildcard that does not exist, or nothing."""
    fixed = Path(re.split(r"/[^/]*[*?[]", pattern, maxsplit=1)[0] + "/")
    directory = fixed if glob.has_magic(pattern) else fixed.parent
    places = [*reversed(directory.parents), directory]
    return next((str(place) for place in places if not os.path.lexists(place)), "")


# What can never match --------------------------------------------------------------------------

_NEVER: Sequence[tuple[str, str]] = (
    (r"^\s|\s$", "the spaces around it are taken as part of the name: remove them"),
    (r"/$", "it ends in a slash, so it names a directory: write which files, such as *.log"),
    (r"\{[^{}]*,[^{}]*\}", "braces are not expanded: write a pattern for each alternative"),
    (r"/~", "~ is not expanded: write the directory"),
    (r"\$\{?[A-Za-z_]", "variables are not expanded: write the path"),
    (r"%[-_0^#]?[A-Za-z]", "dates such as %Y are not expanded: write * in their place"),
    (r"[@!?+*]\([^()]*\)", "extended patterns are not understood: write a pattern for each"),
    (r"\\", "a backslash stands for itself: a wildcard is made literal by brackets, as in [*]"),
    (r"//|/\.\.?/", "write the path without //, /./ and /../"),
)


def why_never(pattern: str) -> str:
    """Return why a pattern that matches nothing is unlikely ever to match, or nothing.

    >>> why_never("/var/log/{nginx,apache2}/access.log")
    'braces are not expanded: write a pattern for each alternative'
    """
    return next((why for form, why in _NEVER if re.search(form, pattern)), "")


def place(pattern: str) -> str:
    """Return the directory of the files of a pattern, wildcards and all; above any ``**``."""
    directory = pattern.rpartition("/")[0] or "/"
    return directory.partition("/**")[0] or "/"


def words(found: Match) -> str:
    """Return one sentence for a pattern that matches no file, or nothing."""
    if found.files:
        return ""
    name = printable(found.pattern)
    if found.doubt:
        return f"{name} can never match: {found.doubt}"
    if found.closed:
        return ""  # its own sentence says more
    fact = "matches no file" if glob.has_magic(found.pattern) else "does not exist"
    where = f", since there is no {printable(found.missing)}" if found.missing else ""
    return f"{name} {fact}{where}: correct it, or take it out of `logs`; {_LATER}"


_LATER = "if it stands for a log that is still to come, that log will be followed"
