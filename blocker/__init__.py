"""xmlrpc-blocker: from a line in an access log to a packet dropped by the kernel.

::

            blocks of whole lines          hits                 bans
    tail ───────────────────────▶ match ───────────▶ judge ───────────────▶ firewall
     ▲   log, inode, offset, bytes                     │                      │
     │                                                 └──────────┬───────────┘
     └───── positions ◀──── store ◀── one transaction: positions + windows + bans
                               │
               metrics ◀── snapshot ──▶ control socket ──▶ command line

The head is pure (no clock, no I/O, no logging): ``model``, ``errors``, ``config``, ``friends``,
``lines``, ``match``, ``judge``, ``merge``, ``ruleset``, ``netlink``, ``report``.  The hands touch
the world: ``tail``, ``inotify``, ``logfile``, ``firewall``, ``store``, ``metrics``, ``control``.
``daemon`` wires them, and ``cli`` stands in front.
"""

__version__ = "0.1.0"
