"""Runs each fuzz target for a while, and prints runs a second and what was found.

``run.py SECONDS [TARGET…]``; ``run.py total:60`` shares the time among all targets.  The corpus is
kept in a directory, so that the next run goes on where this one ended; so is what was found.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE.parent.parent / "build" / "fuzz"
TARGETS = ("match", "events", "logformat", "config", "control", "netlink", "lists")
WORDS = (
    "POST", "GET", "/xmlrpc.php", "HTTP/1.1", " - - [", '] "', '" 200 ', "\\\\x22", '\\\\\\"',
    "203.0.113.7", "2001:db8::1", "::ffff:", "10/Mar/2026:12:00:00 +0000", "%h", "%t", "%r", "%>s",
    "$remote_addr", "$time_local", "$request", "%{", "}i", "[trap.x]", "path = ", '\\"1h\\"',
    '{\\"command\\": ', '\\"ban\\"', '\\"address\\": ', '\\"for\\": ', "client_ip", "request",
    "xmlrpc-blocker: addr=", " from ", "wordpress", "wp(", " n=", " event=", " try=",
)  # fmt: skip


def dictionary():
    path = CORPUS / "words"
    quoted = (word if "\\" in word else word.replace('"', '\\"') for word in WORDS)
    path.write_text("".join(f'"{word}"\n' for word in quoted))
    return path


def fuzz(target, seconds):
    """Run one target; return how often it ran, how fast, and the files of what it found."""
    corpus, found = CORPUS / target, CORPUS / f"{target}-found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "targets.py"), target]
    subprocess.run([*command, "seeds", str(corpus)], check=True, stderr=subprocess.DEVNULL)
    words = (
        f"-max_total_time={seconds}", "-seed=1", "-timeout=10", "-rss_limit_mb=2048",
        "-max_len=8192", "-print_final_stats=1", f"-dict={dictionary()}",
        f"-artifact_prefix={found}/", str(corpus),
    )  # fmt: skip
    started = time.monotonic()
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    took = time.monotonic() - started
    count = re.search(r"number_of_executed_units: *([0-9]+)", done.stderr)
    runs = int(count[1]) if count else 0
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-1000:])
    return runs, runs / took, done.returncode != 0, sorted(found.iterdir())


def main():
    which = sys.argv[2:] or TARGETS
    total, _, share = sys.argv[1].partition("total:")
    seconds = max(1, int(share) // len(which)) if share else int(total)
    findings = 0
    for target in which:
        runs, speed, failed, files = fuzz(target, seconds)
        findings += failed
        verdict = "FOUND: " + ", ".join(map(str, files)) if failed else "nothing found"
        print(f"{target:10} {runs:>10} runs {speed:>8.0f}/s  {verdict}", flush=True)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
