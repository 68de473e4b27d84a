"""What the patterns of ``logs`` match, and what keeps them from matching.

``glob`` says nothing of a directory that can't be listed; here it is named.
"""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from blocker.escape import printable

MAX_CLOSED = 100
"""Directories named that can't be listed."""
MAX_DIRECTORIES = 20_000
"""Directories walked for one pattern."""


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
    """Look at what a pattern matches now."""
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - of any root
    files = [path for path in found if not Path(path).is_dir()]
    closed = list(_closed(pattern))[:MAX_CLOSED]
    doubt = missing = ""
    if not files:
        doubt = why_never(pattern) or ("it matches directories only" if found else "")
        missing = _missing(pattern)
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


# What can't be listed --------------------------------------------------------------------------


def _closed(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the directories on the way of a pattern that can't be listed or searched."""
    parts = pattern.strip("/").split("/")
    places, walked = ["/"], 0
    for index, part in enumerate(parts):
        if not glob.has_magic(part):
            places = [os.path.join(place, part) for place in places]  # noqa: PTH118 - as glob does
            continue
        following: list[str] = []
        for place in places:
            walked += 1
            if walked > MAX_DIRECTORIES:
                return
            try:
                names = _directories(place, part) if index + 1 < len(parts) else _listed(place)
            except PermissionError as error:
                yield place, error.strerror or "Permission denied"
            except OSError:
                pass  # not there (yet): the pattern matches nothing below it
            else:
                following += names
        places = following
    yield from _behind(places) if not glob.has_magic(parts[-1]) else ()


def _directories(place: str, part: str) -> list[str]:
    """Return the directories of a place whose names match; of ``**``, all below."""
    if part == "**":
        return [place, *_below(place)]
    hidden = part.startswith(".")
    with os.scandir(place) as entries:
        names = [e.name for e in entries if (hidden or e.name[0] != ".") and _is_directory(e)]
    return [os.path.join(place, name) for name in fnmatch.filter(names, part)]  # noqa: PTH118


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return True  # whatever it is: looking at it will say so


def _below(place: str) -> list[str]:
    found: list[str] = []
    for root, names, _ in os.walk(place):
        found += [os.path.join(root, name) for name in names if name[0] != "."]  # noqa: PTH118
        if len(found) > MAX_DIRECTORIES:
            break
    return found


def _listed(place: str) -> list[str]:
    """List a directory only to see whether it can be."""
    with os.scandir(place):
        return []


def _behind(places: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the directories of files that may be there, but can't be looked at."""
    for place in places:
        try:
            os.lstat(place)
        except PermissionError as error:
            yield os.path.dirname(place), error.strerror or "Permission denied"  # noqa: PTH120
        except OSError:
            pass


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
