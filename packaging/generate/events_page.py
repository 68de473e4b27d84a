"""Writes docs/events.md from the table of events: events_page.py DIRECTORY."""

import sys
from pathlib import Path

from blocker.telemetry.events import FIELDS, GROUPS, Event

_HEAD = """\
# Events

What the daemon logs. Under systemd each event is an entry of the journal with fields, so no text \
has to be parsed; elsewhere it is a line on standard error. This page is generated (`make docs`) \
from the table of messages in the program.

```console
# journalctl -u xmlrpc-blocker EVENT=ban CLIENT_IP=203.0.113.7
# journalctl -u xmlrpc-blocker EVENT=ban EVENT=unban EVENT=renewal --since today
# journalctl -u xmlrpc-blocker MESSAGE_ID=32db093eda2749bdabf3891fbda1a11a
# journalctl -u xmlrpc-blocker EVENT=ban -o json | jq -r '[.CLIENT_IP, .BAN_UNTIL, .HITS] | @tsv'
# journalctl -u xmlrpc-blocker -F CLIENT_IP
# journalctl -u xmlrpc-blocker -x
```

The last command explains each entry with the text of this page, if the package is installed.

Every entry has `MESSAGE`, `PRIORITY` (6 for info, 4 for warning, 3 for error) and \
`SYSLOG_IDENTIFIER=xmlrpc-blocker`; every event has `EVENT`, `MESSAGE_ID` and the fields listed \
below. Names and ids never change.

The daemon never waits for the journal. What the journal does not accept at once, because too many \
entries wait, goes to standard error as a line without fields, which the journal reads later; what \
does not fit there either is dropped and counted (`xmlrpc_blocker_log_messages_dropped_total`).
"""

_SAFETY = """\
## What an attacker can write there

Only their address. `CLIENT_IP` is parsed and formatted again, `TRAP` and `LOG` come from the \
configuration, numbers and times from the program. Paths, user names, user agents and referers of \
requests are in no event, with one exception: the `REASON` of `log_not_understood` quotes up to \
200 characters of a line that could not be parsed. Control characters are escaped in every text. A \
value with a newline in it is sent with its length, so that it can't begin another field.
"""


def page() -> str:
    """Return docs/events.md."""
    tables = (_table(title, group) for title, group in GROUPS.items())
    return "\n".join([_HEAD, *tables, _fields(), _SAFETY])


def _table(title: str, group: tuple[Event, ...]) -> str:
    rows = "\n".join(map(_row, group))
    return f"## {title}\n\n| event | level | means | fields | id |\n|---|---|---|---|---|\n{rows}\n"


def _row(event: Event) -> str:
    fields = " ".join(f"`{field}`" for field in event.fields)
    return f"| `{event.name}` | {event.level} | {event.about} | {fields} | `{event.message_id}` |"


def _fields() -> str:
    rows = "\n".join(f"| `{name}` | {about} |" for name, about in FIELDS.items())
    return f"## Fields\n\n| field | holds |\n|---|---|\n{rows}\n"


def main() -> None:
    (Path(sys.argv[1]) / "events.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
