"""Debian's Chromium, driven through its debugging pipe: no driver, no library, no port."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_CHROMIUM = "Chromium is not installed; install it with: apt-get install chromium"
TIMEOUT_S = 30.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class LeftPage(Exception):
    """The browser went to another page while a script waited."""


def chromium_binary() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab. `log` holds what its console and its security said, `requests` every address that it asked for."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._buffer, self._number = to_browser, from_browser, b"", 0
        self.log: list[str] = []
        self.requests: list[str] = []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def another(self) -> Page:
        """Another tab of the same browser, to be used in turn with this one."""
        return Page(self._to, self._from)

    def to_front(self) -> None:
        self.send("Page.bringToFront")

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of one command.

        Raises:
            LeftPage: the page that it was for is gone.
        """
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._number:
                if "navigated" in told.get("error", {}).get("message", ""):
                    raise LeftPage(told["error"]["message"])
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self._note(told)

    def open(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False, language: str = "en") -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self.send("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=language)
        self.send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, condition: str) -> Any:
        """Waits, frame by frame and across pages, until the expression is true, and returns its value."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return self._until(condition)
            except LeftPage:
                assert time.monotonic() < end

    def _until(self, condition: str) -> Any:
        return self.run(
            f"new Promise((done, failed) => {{ const end = Date.now() + {TIMEOUT_S * 1000};"
            f"(function look() {{ const value = {condition}; if (value) done(value);"
            f" else if (Date.now() > end) failed(new Error('never true: ' + {json.dumps(condition)}"
            " + ' ' + document.body.innerText)); else requestAnimationFrame(look); })(); })"
        )

    def click(self, selector: str) -> None:
        self.until(f"document.querySelector({json.dumps(selector)})")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        code = {"Enter": 13, "Escape": 27, "Tab": 9}[key]
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": "\r" if key == "Enter" else ""}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, **named)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._from, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError("Chromium does not answer")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told

    def _note(self, told: dict[str, Any]) -> None:
        match told.get("method"):
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.log.append(json.dumps(told["params"]))
            case "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])


@contextmanager
def chromium(binary: str) -> Iterator[Page]:
    """A tab of a browser with an empty profile, stopped by its process id."""
    with tempfile.TemporaryDirectory(prefix="kustos-chromium-", ignore_cleanup_errors=True) as profile:
        (commands, to_browser), (from_browser, results) = _pipe(), _pipe()
        nothing = os.open(os.devnull, os.O_RDWR)
        # Chromium reads commands from descriptor 3 and writes results to 4; the shell cannot rearrange high ones.
        places = [(nothing, 1), (nothing, 2), (commands, 3), (results, 4)]
        process = os.posix_spawn(
            binary,
            [binary, *FLAGS, f"--user-data-dir={profile}"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, own, its) for own, its in places],
        )
        for descriptor in (nothing, commands, results):
            os.close(descriptor)
        try:
            yield Page(to_browser, from_browser)
        finally:
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)
            os.close(to_browser)
            os.close(from_browser)


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are out of the way of 3 and 4."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in ends)
    for each in ends:
        os.close(each)
    return moved[0], moved[1]
