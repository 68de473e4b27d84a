"""xmlrpc-blocker: from a line in an access log to a packet dropped by the kernel.

docs/architecture.md has the path of a line, the rooms, and where a change belongs.
"""

__version__ = "0.1.0"
