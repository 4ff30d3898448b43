"""A headless browser, driven over a pipe by the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_PATIENCE_SECONDS = 60.0
_CHUNK_BYTES = 2**16


@dataclass
class Opened:
    """A page that was loaded: how long that took, what the browser complained of, and which addresses were asked."""

    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


class Browser:
    """One browser with one page. `profile` is an empty directory for what it keeps."""

    def __init__(self, executable: str, profile: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        # It reads commands from descriptor 3 and answers on 4.
        shell = f'exec "$@" 3<&{read} 4>&{write}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", executable, *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(read, write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._pending = b""
        self._number = 0
        self._session: str | None = None
        self._opened = Opened()
        self._is_loaded = False
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network"):
            self.ask(f"{domain}.enable")

    def show(self, width: int, height: int, *, scheme: str = "light", media: str = "screen") -> None:
        """How pages are shown from now on."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, path: Path) -> Opened:
        """Load a file, until its load event is over."""
        self._opened, self._is_loaded = Opened(), False
        self.ask("Page.navigate", url=path.absolute().as_uri())
        while not self._is_loaded:
            self._take(self._receive())
        loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        while not (milliseconds := self.evaluate(loaded)):
            time.sleep(0.01)
        self._opened.seconds = milliseconds / 1000
        return self._opened

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, path: Path, *, is_whole: bool = False) -> Path:
        """Take a picture of what the window shows, or of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def ask(self, method: str, **parameters: Any) -> Any:
        """Give a command, and wait for its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while (message := self._receive()).get("id") != self._number:
            self._take(message)
        assert "error" not in message, (method, message["error"])
        return message["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._read], [], [], _PATIENCE_SECONDS)
            assert ready, "the browser says nothing"
            chunk = os.read(self._read, _CHUNK_BYTES)
            assert chunk, f"the browser went away: {self._process.wait()}"
            self._pending += chunk
        text, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _take(self, message: dict[str, Any]) -> None:
        """Keep what an event tells."""
        facts = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Log.entryAdded":
                self._opened.complaints.append(facts["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self._opened.complaints.append(json.dumps(facts))
            case "Network.requestWillBeSent":
                self._opened.addresses.append(facts["request"]["url"])

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
