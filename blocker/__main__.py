"""``python -m blocker`` is ``xmlrpc-blocker``."""

from blocker.cli.main import main

main()
