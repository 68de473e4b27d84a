"""What a million attackers cost: peak memory of the judge, and of the whole daemon.

``memory.py judge`` feeds the real judge floods of a million addresses that nobody has seen before,
half of them IPv6, each with one or two pending hits.  ``memory.py daemon`` (as root) writes such
floods into a log of a real daemon in a network namespace of its own.  Ten floods in a row must
stay below 300 MB, with the ceiling max_tracked at its default.  ``memory.py reloads`` (as root)
reloads a real daemon 600 times, which must cost less than 2 MB.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from blocker.config.schema import Config  # noqa: E402
from blocker.friends.friends import Friends  # noqa: E402
from blocker.friends.shipped import shipped_lists  # noqa: E402
from blocker.judging.judge import Judge  # noqa: E402
from blocker.judging.limits import Limits  # noqa: E402
from blocker.model import Hit  # noqa: E402
from blocker.times import SECOND  # noqa: E402

ATTACKERS = 1_000_000
LIMIT = 300
RELOADS, GROWTH = 600, 2
"""Reloads, and the megabytes that a daemon may grow by."""
SHOWN = {1, 2, 5, 10, 30, 100, 200, 400, RELOADS}
BATCH = 20_000
START = 1_773_144_000 * SECOND


def megabytes(pid, name):
    """Return VmHWM (the peak) or VmRSS of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


def attackers(flood):
    """Yield a million addresses that no other flood has, half of them IPv6."""
    for n in range(ATTACKERS // 2):
        value = flood * ATTACKERS // 2 + n
        yield (0x20000000 + value * 5).to_bytes(4)
        yield bytes.fromhex("2001") + value.to_bytes(6) + bytes(8)


def ledger(flood, start):
    """Yield batches of hits: one each, and a second from every other."""
    dice = random.Random(flood)
    hits = []
    for n, address in enumerate(attackers(flood)):
        now = start + n * 100
        hits.append(Hit(now, address, 0, 200, 0))
        if dice.random() < 0.5:
            hits.append(Hit(now + 50, address, 0, 200, 0))
        if len(hits) >= BATCH:
            yield hits
            hits = []
    yield hits


def judge_weight():
    """Return the bytes that the judge grows by for each of a million addresses."""
    made = new_judge()
    before = megabytes(os.getpid(), "VmRSS")
    for hits in ledger(0, START):
        made.judge(hits)
        made.windows.take_changed()
    return (megabytes(os.getpid(), "VmRSS") - before) * 1024 * 1024 / len(made.windows)


def new_judge():
    """Return a judge as the daemon has it."""
    config = Config()
    limits = Limits(config.remember, config.max_tracked, config.ipv6_prefix)
    friends = Friends.build(lists=shipped_lists())
    return Judge(list(config.traps.items()), limits, friends.why)


def judge(floods):
    """Feed the judge alone."""
    made = new_judge()
    before = megabytes(os.getpid(), "VmRSS")
    for flood in range(floods):
        for hits in ledger(flood, START + flood * 200 * SECOND):
            made.judge(hits)
            made.windows.take_changed()
            made.windows.take_forgotten(2 * BATCH)
        now, peak = (megabytes(os.getpid(), name) for name in ("VmRSS", "VmHWM"))
        tracked = len(made.windows)
        each = (now - before) * 1024 * 1024 / max(tracked, 1)
        print(
            f"judge  flood {flood + 1:2}: {now:4.0f} MB, peak {peak:4.0f} MB, "
            f"{tracked} tracked, {each:.0f} bytes each, {made.windows.evicted} forgotten",
            flush=True,
        )
    return megabytes(os.getpid(), "VmHWM")


def text_of(address):
    if len(address) == 4:
        return ".".join(map(str, address))
    return f"2001:{address[2:4].hex()}:{address[4:6].hex()}:{address[6:8].hex()}::1"


def write_flood(log, flood):
    """Append a flood to a log, as a web server would, only faster."""
    dice = random.Random(flood)
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    rest = f' - - [{stamp}] "POST /xmlrpc.php HTTP/1.1" 200 370 "-" "-"\n'
    lines = 0
    with log.open("a", buffering=1 << 20) as file:
        for address in attackers(flood):
            count = 2 if dice.random() < 0.5 else 1
            file.write((text_of(address) + rest) * count)
            lines += count
    return lines


def daemon(floods):
    """Flood a real daemon."""
    from support.daemons import daemon as a_daemon  # noqa: PLC0415
    from support.daemons import line, write  # noqa: PLC0415
    from support.namespaces import namespace  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory() as name,
        namespace() as home,
        a_daemon(home, Path(name)) as service,
    ):
        service.log.touch()
        service.start()
        pid, lines = service.process.pid, 0
        for flood in range(floods):
            started = time.monotonic()
            lines += write_flood(service.log, flood)
            while service.status()["lines"] < lines:
                time.sleep(0.5)
            took = time.monotonic() - started
            now, peak = (megabytes(pid, each) for each in ("VmRSS", "VmHWM"))
            print(
                f"daemon flood {flood + 1:2}: {now:4.0f} MB, peak {peak:4.0f} MB, "
                f"{took:.0f} s, state {service.state.stat().st_size >> 20} MiB",
                flush=True,
            )
            # Still catching the heaviest: three hits of one address, and it is banned.
            heavy = f"198.18.0.{flood + 1}"
            write(service.log, *[line(heavy)] * 3)
            lines += 3
            service.until_blocked(heavy)
        return megabytes(pid, "VmHWM")


def reloads():
    """Reload a real daemon again and again; return the megabytes that it grew by."""
    from support.daemons import daemon as a_daemon  # noqa: PLC0415
    from support.namespaces import namespace  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory() as name,
        namespace() as home,
        a_daemon(home, Path(name)) as service,
    ):
        service.log.touch()
        service.start()
        time.sleep(2)  # the start's own garbage
        pid = service.process.pid
        before = megabytes(pid, "VmRSS")
        print(f"before: {before:.2f} MB", flush=True)
        for number in range(1, RELOADS + 1):
            service.reload(" started: ")
            if number in SHOWN:
                time.sleep(1)
                print(f"{number} reloads: {megabytes(pid, 'VmRSS') - before:+.2f} MB", flush=True)
        return megabytes(pid, "VmRSS") - before


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the daemon ends with it
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("judge", "daemon", "reloads"))
    parser.add_argument("floods", type=int, nargs="?", default=10)
    arguments = parser.parse_args()
    what, floods = arguments.what, arguments.floods
    if what == "reloads":
        grown = reloads()
        print(f"{grown:.2f} MB, {'below' if grown < GROWTH else 'ABOVE'} {GROWTH} MB")
        sys.exit(grown >= GROWTH)
    peak = {"judge": judge, "daemon": daemon}[what](floods)
    verdict = "below" if peak < LIMIT else "ABOVE"
    print(f"{what}: peak {peak:.0f} MB after {floods} floods, {verdict} {LIMIT} MB")
    sys.exit(peak >= LIMIT)


if __name__ == "__main__":
    main()
