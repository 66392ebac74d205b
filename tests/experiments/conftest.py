"""A browser without a window, spoken to in the protocol of its developer tools."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 60.0
ENDS = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Becomes the program of its arguments, with two pipes where the protocol has its ends."""


class Browser:
    """One page of Chromium; what it says on its console, and asks of the network, is kept."""

    def __init__(self, program: str, profile: Path):
        down, self._up = os.pipe()
        self._down, up = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]
        command = [sys.executable, "-c", ENDS, str(down), str(up), program, *flags, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(command, pass_fds=(down, up), stderr=subprocess.DEVNULL)
        os.close(down)
        os.close(up)
        self._numbers, self._read, self._session = itertools.count(1), b"", None
        self.said, self.asked = [], []

    def start(self):
        """Make the page."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters):
        """The result of a command; events on the way are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._up, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._keep(answer)

    def _next(self):
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._down], [], [], PATIENCE_S)
            part = os.read(self._down, 2**20) if ready else b""
            assert part, "the browser has gone, or is silent"
            self._read += part
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _keep(self, event):
        method, told = event.get("method"), event.get("params", {})
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.said.append(json.dumps(told))
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def open(self, path: Path, width: int, height: int, *, dark: bool = False):
        """Open a file, and wait until it has drawn its charts."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.drawn === 'true'")

    def evaluate(self, expression: str):
        """The value of an expression, or of the promise that it is."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str):
        """Until a condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"waited in vain for {condition}"
            time.sleep(0.05)

    def click(self, element: str):
        """Click into the middle of an element."""
        self.evaluate(f"({element}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        place = self.evaluate(f"({element}).getBoundingClientRect().toJSON()")
        x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path):
        """The whole page, as a PNG."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        return path.read_bytes()

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.wait()
        os.close(self._up)
        os.close(self._down)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = os.environ.get("PARLEY_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and PARLEY_BROWSER names none")
    found = Browser(program, tmp_path_factory.mktemp("browser"))
    try:
        found.start()
    except (AssertionError, OSError) as error:
        found.close()
        pytest.skip(f"{program} does not start: {error}")
    try:
        yield found
    finally:
        found.close()
