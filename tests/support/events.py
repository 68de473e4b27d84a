"""What WordPress reports, as plugins write it."""

import subprocess
import time
from datetime import UTC, datetime

from support.journal import Journal

WEB_SERVER = 33
"""The user www-data in Debian."""
STRANGER = 54321
"""A user that no host has."""


def login(address: str, guess: int | None = 0, failures: int = 1) -> str:
    """Return a failed login; the same ``guess`` is the same wrong password, None has no number."""
    attempt = "-" if guess is None else f"{guess & 255:02x}"
    return (
        f"xmlrpc-blocker: addr={address} n={failures} event=login via=xmlrpc try={attempt} user=-"
    )


def pingback(address: str, code: int = 16) -> str:
    """Return a failed pingback."""
    return f"xmlrpc-blocker: addr={address} n=1 event=pingback via=xmlrpc code={code}"


def in_auth_log(message: str, identifier: str = "wordpress") -> str:
    """Return a line of now, as rsyslog writes it."""
    stamp = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="microseconds")
    return f"{stamp} www {identifier}[17619]: {message}\n"


def report(
    diary: Journal, *messages: str, user: int = WEB_SERVER, identifier: str = "wordpress"
) -> None:
    """Send messages to a journal by syslog, as a user does."""
    who = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    what = ("logger", "--tag", identifier, "--priority", "authpriv.notice")
    where = ("--socket", "/run/systemd/journal/dev-log")
    text = "".join(f"{each}\n" for each in messages)
    subprocess.run(diary.inside(*who, *what, *where), input=text, text=True, check=True)
