"""Writes the dashboards: ``generate.py DIRECTORY``."""

import sys
from pathlib import Path

import fleet
import host


def main(directory: Path) -> None:
    """Write each dashboard into the directory."""
    for board in (host.build(), fleet.build()):
        (directory / f"{board.uid}.json").write_text(board.render())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
