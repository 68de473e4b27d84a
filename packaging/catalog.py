"""Writes what ``journalctl -x`` says of each event: catalog.py DIRECTORY.

What it says is what the program knows: words, meaning and advice come from its table of events.
"""

import re
import sys
import textwrap
from pathlib import Path

from blocker.events import EVENTS, Event


def explanation(event: Event) -> str:
    """Return the entry of an event, its fields marked as the journal fills them in."""
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
