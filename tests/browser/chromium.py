"""Drives one headless Chromium through its DevTools pipe: no socket, no library, nothing listens."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find() -> str:
    """The path of a Chromium, or nothing."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )


class Chromium:
    """A browser with one page. Every answer is awaited for at most ``timeout_s`` seconds."""

    def __init__(self, profile: Path, *, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        self._number = 0
        self._buffer = b""
        self.requests: list[str] = []
        their_in, self._out = os.pipe()
        self._in, their_out = os.pipe()
        # Chromium reads commands from its descriptor 3 and answers on 4.
        command = f'exec "$0" "$@" 3<&{their_in} 4>&{their_out}'
        arguments = [find(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, *arguments],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(their_in)
        os.close(their_out)
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Make one call on the page."""
        return self._send(method, params, session=self._session)

    def open(self, page: Path, *, width: int, height: int = 800, dark: bool = False) -> None:
        """Open a file and wait until it has loaded; ``requests`` then holds every address that was asked for."""
        self.requests.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done(1) "
            ": addEventListener('load', () => done(1)))"
        )
        # Two frames: layout is done, and an image or script that would be fetched has been asked for.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def evaluate(self, script: str) -> Any:
        """Evaluate an expression in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def screenshot(self, target: Path, *, full: bool = False) -> None:
        """Write what is seen as a PNG."""
        target.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=full)["data"]))

    def close(self) -> None:
        """End the browser and every process that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        os.close(self._in)
        os.close(self._out)

    def _send(self, method: str, params: dict[str, Any], *, session: str = "") -> dict[str, Any]:
        self._number += 1
        message = {
            "id": self._number,
            "method": method,
            "params": params,
            **({"sessionId": session} if session else {}),
        }
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._timeout_s
        while True:
            answer = self._receive(deadline, method)
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0))
            chunk = os.read(self._in, 1 << 20) if ready else b""
            assert chunk, f"Chromium gave no answer to {method} within {self._timeout_s:g} s"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found
