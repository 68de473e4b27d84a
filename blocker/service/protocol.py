"""Limits and texts that server and client of the control socket share.

A request is one line of JSON, ``{"command": NAME, …}``, an answer is one line, ``{"ok": true, …}``
or ``{"ok": false, "code": N, "error": TEXT}`` with the exit code of the command line.
"""

MAX_REQUEST = 64 << 10
"""Ceiling of a request, bytes: thousands of addresses.  Up to twice as much is buffered for each
client."""

NOT_FOR_THIS_USER = "not for this user; try as root"
SAME_VERSION = "is it the daemon's socket, and the daemon of the same version?"
