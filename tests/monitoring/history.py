"""Blocks of Prometheus from old logs, by the real command and Debian's promtool."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from monitoring.scene import INSTANCE, JOB

RETENTION = "--storage.tsdb.retention.time=10y"
BLOCKS = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h")


def command(*words: str) -> str:
    """Return what the real command says."""
    words = (sys.executable, "-m", "blocker", "--config", "/dev/null", *words)
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def fill(directory: Path, logs: Sequence[str], *words: str, instance: str = INSTANCE) -> None:
    """Make blocks of logs where a Prometheus of that directory looks for them."""
    text = directory / "om.txt"
    text.write_text(command("backfill", "--instance", instance, "--job", JOB, *words, *logs))
    made = subprocess.run(
        (*BLOCKS, str(text), str(directory / "data")), capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
