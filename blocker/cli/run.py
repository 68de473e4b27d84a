"""The command run."""

import argparse

from blocker.service import daemon


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon."""
    daemon.run(arguments.config, dry_run=arguments.dry_run)
    return 0
