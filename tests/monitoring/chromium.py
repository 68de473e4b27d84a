"""A headless Chromium in a namespace, controlled through a pair of pipes.

Chromium's own protocol, one message each way at a time: a command has a number, and its answer has
the same; its events are dropped unless a caller waits for them.
"""

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.namespaces import Namespace

PATIENCE = 60.0
COMMAND = "chromium-headless-shell"
FLAGS = (
    "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--hide-scrollbars", "--force-color-profile=srgb", "about:blank",
)  # fmt: skip
# It reads commands from 3 and answers to 4: these are its standard input and output here.
PIPED = 'exec "$@" 3<&0 4>&1 </dev/null >&2'


class Page:
    """A page of a running Chromium."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._in, self._out = process.stdin, process.stdout
        self._buffer = b""
        self._number = 0
        self._session = ""
        target = self._page()
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")

    def _page(self) -> str:
        return self.call("Target.createTarget", url="about:blank")["targetId"]

    def call(self, method: str, **parameters: Any) -> dict:
        """Give a command and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        words = {"id": self._number, "method": method, "params": parameters, **session}
        self._in.write(json.dumps(words).encode() + b"\0")
        self._in.flush()
        answer = self._until(lambda said: said.get("id") == self._number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _until(self, wanted: Any) -> dict:
        deadline = time.monotonic() + PATIENCE
        while not wanted(said := self._next(deadline)):
            pass
        return said

    def _next(self, deadline: float) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._out], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"nothing from Chromium within {PATIENCE:.0f} s"
            more = os.read(self._out.fileno(), 1 << 20)
            assert more, "Chromium has ended"
            self._buffer += more
        said, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(said)

    def open(self, page: Path, width: int, height: int) -> None:
        """Open a file, in a window of this size."""
        self.call("Emulation.setDeviceMetricsOverride",
                  width=width, height=height, deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._until(lambda said: said.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Return what an expression comes to, awaited if it is a promise."""
        how = {"awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", expression=expression, **how)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, x: float, y: float, width: float, height: float) -> bytes:
        """Return a PNG of a part of the page."""
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", clip=clip,
                          captureBeyondViewport=True)  # fmt: skip
        return base64.b64decode(taken["data"])


@contextlib.contextmanager
def chromium(home: Namespace, directory: Path) -> Iterator[Page]:
    """Run a Chromium inside, with its profile and its messages in a directory."""
    command = home.command("sh", "-c", PIPED, "sh", COMMAND, f"--user-data-dir={directory}", *FLAGS)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "said").open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
    try:
        yield Page(process)
    finally:
        process.kill()
        process.wait(PATIENCE)
