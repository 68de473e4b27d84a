"""Writes the explanation of each event for ``journalctl -x``: catalog.py DIRECTORY.

Message, meaning and advice come from the program's table of events.
"""

import re
import sys
import textwrap
from pathlib import Path

from blocker.telemetry.events import EVENTS, Event


def explanation(event: Event) -> str:
    """Return the entry of an event, with the fields in the form that the journal fills in."""
    words = re.sub(r"%\((\w+)\)s", r"@\1@", event.text)
    about = textwrap.fill(event.about.replace("`", ""), 78, break_on_hyphens=False)
    return (
        f"-- {event.message_id}\nSubject: {words}\nDefined-By: xmlrpc-blocker\n"
        f"Documentation: man:xmlrpc-blocker(8)\n\n{about}\n"
    )


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(explanation, EVENTS.values()))
    (directory / "xmlrpc-blocker.catalog").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
