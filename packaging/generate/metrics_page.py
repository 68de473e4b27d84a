"""Writes docs/metrics.md from the catalogue of metrics: metrics_page.py DIRECTORY."""

import sys
from pathlib import Path

from blocker.telemetry.catalogue import GROUPS, LABELS, PREFIX, Entry

_HEAD = """\
# Metrics

Served at `[metrics] listen`, by default `http://127.0.0.1:9947/metrics`. This page is generated \
(`make docs`) from the program's own table.

All names have the prefix `xmlrpc_blocker_`. Counters marked *stored* are committed with the \
positions of the logs and continue after a restart or a reload; the others begin at zero, which \
`rate()` and `increase()` handle. Label values that are known beforehand are exported from the \
start, with 0. No scrape iterates over all addresses or lists the kernel's sets. The client \
library adds `process_*` and `python_gc_*`.
"""

_LOGS = """\
## Many logs

A scrape returns some 30 kB with one log, and about 1.6 kB more for each further one: beyond 20 \
logs it exceeds 64 kB; a thousand make 1.6 MB and take 0.1 seconds, during which the loop goes on. \
With hundreds of virtual hosts, each with its own log, set `[metrics] per_log = false`: all logs \
are aggregated as `log="all"` (sums; of `log_up` the least, of times and seconds the greatest). \
`status` still shows each log.
"""

_PRIVACY = """\
## Top offenders, and privacy

`top_offender_*` name addresses of clients, which are personal data in many countries: all who \
may read the metrics, or Prometheus, may read them, and Prometheus keeps them for its whole \
retention. `[metrics] top_offenders = 0` turns them off; the default is 20, the maximum 100. The \
list is updated at most once a minute, and a newcomer has to exceed the last member by a tenth, so \
that few series come and go, and an attacker with ever new addresses creates at most that many a \
minute. Friends never appear. Hits are counted in a sketch of fixed size: for the addresses with \
the most hits the count is right, for others it may be too low. Of a batch of more than 2,048 \
hits, as in a flood, every n-th counts n times. The counts survive a reload or restart, and are \
lost if the daemon is killed.
"""


def page() -> str:
    """Return docs/metrics.md."""
    parts = [_HEAD, *(_table(title, group) for title, group in GROUPS.items())]
    return "\n".join([*parts, _labels(), _LOGS, _PRIVACY])


def _table(title: str, group: tuple[Entry, ...]) -> str:
    rows = "\n".join(map(_row, group))
    head = "| metric | type | labels | unit | meaning | when it is odd |\n|---|---|---|---|---|---|"
    return f"## {title}\n\n{head}\n{rows}\n"


def _row(entry: Entry) -> str:
    name = entry.series.removeprefix(PREFIX)
    labels = " ".join(f"`{label}`" for label in entry.labels)
    kind = f"{entry.kind}, stored" if entry.stored else entry.kind
    return f"| `{name}` | {kind} | {labels} | {entry.unit} | {entry.text} | {entry.odd} |"


def _labels() -> str:
    rows = "\n".join(f"| `{name}` | {what} | {bound} |" for name, (what, bound) in LABELS.items())
    return f"## Labels\n\n| label | is | bounded by |\n|---|---|---|\n{rows}\n"


def main() -> None:
    (Path(sys.argv[1]) / "metrics.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
