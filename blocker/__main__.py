"""``python -m blocker`` is ``xmlrpc-blocker``."""

from blocker.cli import main

main()
