"""Measures everything, beside its peers, and writes the page: ``make bench``.

    make bench                                everything but what takes long: about 25 minutes
    make bench LONG=1                         that as well: about an hour
    make bench ONLY="latency burst" ROUNDS=3  some of it
    make bench PAGE=1                         and puts the figures into docs/performance.md

The figures of each run are kept in build/bench.json; a part that is measured again replaces its
figures there.  Nothing else should run meanwhile: the load before each part is noted.  Needs root;
everything happens in network namespaces of its own.
"""

import argparse
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import figures, machine
from benchmarks.rig import Options, say

PARTS = ("replay", "growth", "latency", "burst", "restart", "idle", "flood", "scrape")
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"


def measured(name: str, rounds: int, *, long: bool) -> dict[str, Any]:
    """Run one part and return its figures."""
    before = machine.load()
    with tempfile.TemporaryDirectory(prefix="xmlrpc-blocker-bench-") as directory:
        options = Options(Path(directory), rounds, long)
        section = importlib.import_module(f"benchmarks.{name}").measure(options)
    gc.collect()
    print(f"\n{section.title}\n\n{figures.plain(section.rows)}\n", flush=True)
    return {
        "title": section.title,
        "how": section.how,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": before,
        "rounds": rounds,
        "long": long,
        "rows": [row._asdict() for row in section.rows],
    }


def kept(path: Path) -> dict[str, Any]:
    """Return what earlier runs on this machine found."""
    if path.exists():
        found = json.loads(path.read_text())
        if found["machine"] == machine.named():
            return found["sections"]
    return {}


def arguments_of() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=PARTS, default=[], metavar="PART")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", action="store_true", help="also what takes long")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name}")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and keep."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends with it
    arguments = arguments_of()
    if os.geteuid() != 0:
        sys.exit("needs root: network namespaces and nftables")
    sections = kept(arguments.json)
    for name in arguments.only or PARTS:
        say(f"{name}:")
        sections[name] = measured(name, arguments.rounds, long=arguments.long)
        found = {
            "machine": machine.named(),
            "sections": {part: sections[part] for part in PARTS if part in sections},
        }
        arguments.json.parent.mkdir(exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page:
        PAGE.write_text(figures.into(PAGE.read_text(), figures.page(found)))


if __name__ == "__main__":
    main()
