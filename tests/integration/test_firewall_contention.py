"""Another program holds the kernel's lock for long: the event loop goes on."""

import asyncio
import time

from support.namespaces import opened

from blocker.firewall.facts import Element

FOUR = bytes([192, 0, 2, 1])


async def beat(lags):
    """Note how late each turn of the loop comes."""
    while True:
        begun = time.monotonic()
        await asyncio.sleep(0.005)
        lags.append(time.monotonic() - begun - 0.005)


async def repeat(slowest, job):
    """Do a job over and over, and note how long the slowest took."""
    while True:
        begun = time.monotonic()
        await job()
        slowest.append(time.monotonic() - begun)


def test_the_loop_runs_on_while_another_process_holds_the_lock(netns, tmp_path):
    """A huge foreign transaction delays bans, and neither the loop nor questions."""
    big = tmp_path / "big.nft"
    elements = ",".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(600_000))
    big.write_text(f"table ip big {{ set s {{ type ipv4_addr; elements = {{ {elements} }}\n}}\n}}")

    async def scenario():
        async with opened() as firewall:
            lags, bans, questions = [], [], []
            tasks = [
                asyncio.create_task(beat(lags)),
                asyncio.create_task(repeat(bans, lambda: firewall.ban([Element(FOUR, 600_000)]))),
                asyncio.create_task(repeat(questions, firewall.drops)),
            ]
            nft = await asyncio.create_subprocess_exec(*netns.command("nft", "-f", str(big)))
            assert await nft.wait() == 0
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return max(lags), max(bans), max(questions)

    lag, ban, question = asyncio.run(scenario())
    assert ban > 0.3, "the lock was not held long enough to tell anything"
    assert lag < ban / 3
    assert question < ban / 3
