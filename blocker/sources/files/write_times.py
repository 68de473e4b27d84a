"""When files were written last, asked of very many paths."""

import os
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from typing import TypeAlias

MANY = 5000
"""Beyond so many logs that are not followed, as too many match, …"""
SHARE = 6
"""… one in so many is asked at each look when it was written."""

Written: TypeAlias = dict[str, tuple[tuple[int, int], int]]
"""Device and inode, and time of modification in ns, by path."""


class WriteTimes:
    """Finds which of too many files were written last.

    Args:
        at: is called with each path before the disk is asked about it.
    """

    def __init__(self, at: Callable[[str], None]) -> None:
        self._at = at
        self._files: Written = {}
        self._turn = 0

    def beyond(self, paths: Sequence[str], followed: Container[str], limit: int) -> set[str]:
        """Return the paths of the files that are too many: all but those written last."""
        files = self._of(paths, followed)
        written: dict[tuple[int, int], tuple[int, bool, str]] = {}
        for path, (identity, modified) in files.items():
            standing = modified, path in followed, path
            written[identity] = max(standing, written.get(identity, standing))
        kept = set(sorted(written, key=written.__getitem__)[-limit:])
        return {path for path, (identity, _) in files.items() if identity not in kept}

    def _of(self, paths: Sequence[str], followed: Container[str]) -> Written:
        """Return what the disk says of the files that are there.

        Of those that are not followed, and may be tens of thousands, a share is asked about at
        each look.
        """
        known, self._files = self._files if len(paths) > MANY else {}, {}
        self._turn += 1
        for number, path in enumerate(paths, self._turn):
            if path in known and path not in followed and number % SHARE:
                self._files[path] = known[path]
                continue
            self._at(path)
            with suppress(OSError):
                info = os.stat(path)  # noqa: PTH116 - of very many paths
                self._files[path] = (info.st_dev, info.st_ino), info.st_mtime_ns
        self._at("")
        return self._files
