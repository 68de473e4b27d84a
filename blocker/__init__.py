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
``lines``, ``logformat``, ``match``, ``judge``, ``merge``, ``book``, ``notices``, ``ruleset``,
``netlink``, ``report``, ``catalogue``, ``events``, ``hours``.  The hands touch the world: ``tail``
(with ``generations``, ``directories``, ``inotify``, ``logfile``), ``firewall`` (with ``channel``,
``monitor``), ``store``, ``metrics``, ``control``.  ``enforce`` keeps the kernel in step with the
book, ``engine`` (with ``intake``) drives the stages, ``desk`` answers questions about them,
``life`` is one configuration at work.  ``daemon`` wires them, and ``cli`` stands in front.
"""

__version__ = "0.1.0"
