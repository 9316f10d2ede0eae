"""A real browser for the tests: Chromium without a window, drawing in software.

It is told what to do by the Chrome DevTools Protocol: JSON messages, a zero byte after each,
through two pipes. Mouse, fingers and keys are the browser's own, and pictures are what it shows.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# What the software driver says of its own speed when a picture is taken.
REMARK = "GL Driver Message (OpenGL, Performance"
PATIENCE_S = 120


def chromium() -> str:
    """The browser; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no Chromium on this machine")
    return found


@contextmanager
def opened(file: Path, size: tuple[int, int], *, webgl: bool = True) -> Iterator["Page"]:
    """A page of so many pixels in a browser of its own; closed again, whatever happens."""
    ours, theirs = os.pipe(), os.pipe()
    drawing = WEBGL if webgl else ["--disable-3d-apis"]
    profile = f"--user-data-dir={file.parent / 'profile'}"
    # The browser reads from its descriptor 3 and answers on 4.
    redirect = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
    browser = subprocess.Popen(
        ["bash", "-c", redirect, "bash", chromium(), *FLAGS, *drawing, profile],
        pass_fds=(ours[0], theirs[1]),
        stderr=subprocess.DEVNULL,
    )
    os.close(ours[0])
    os.close(theirs[1])
    try:
        page = Page(ours[1], theirs[0])
        page.open(file, size)
        yield page
        page.send("Browser.close")
    finally:
        os.close(ours[1])
        os.close(theirs[0])
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


class Page:
    """One page, and what it wrote to the console."""

    def __init__(self, write: int, read: int) -> None:
        self.console: list[str] = []
        self._write, self._read, self._buffer = write, read, b""
        self._number, self._session = 0, ""

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give one order and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], PATIENCE_S)[0], "the browser is silent"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has gone"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def _note(self, message: dict[str, Any]) -> None:
        told = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        text = json.dumps(message.get("params"))
        if message.get("method") in told and REMARK not in text:
            self.console.append(text)

    def open(self, file: Path, size: tuple[int, int]) -> None:
        """Show a file and wait until it is loaded and still."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for room in ("Page", "Runtime", "Log"):
            self.send(f"{room}.enable")
        self.resize(size)
        self.send("Page.navigate", url=file.as_uri())
        self.wait("document.readyState === 'complete'")

    def resize(self, size: tuple[int, int], phone: bool = False) -> None:
        """Show the page in so many pixels, as on a phone that has three physical ones for each."""
        ratio = 3 if phone else 1
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=ratio,
            mobile=phone,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone, maxTouchPoints=5)

    def run(self, script: str) -> Any:
        """The value of an expression; promises are waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true, two pictures from now at the earliest."""
        two = "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))"
        self.run(f"{two}.then(() => 0)")
        end = time.monotonic() + PATIENCE_S
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """A key of the keyboard."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One event of the mouse: mousePressed, mouseMoved, mouseReleased, mouseWheel."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float, times: int = 1) -> None:
        """Press and release the left button, once or several times in a row."""
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.mouse(kind, x, y, button="left", clickCount=count)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Move with the left button held."""
        self.mouse("mousePressed", *start, button="left", clickCount=1)
        self.mouse("mouseMoved", *end, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)

    def touch(self, *stages: list[tuple[float, float]]) -> None:
        """Fingers at each stage of a gesture."""
        for i, points in enumerate([*stages, []]):
            kind = "touchEnd" if not points else "touchMove" if i else "touchStart"
            fingers = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def box(self, element: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in pixels of the page."""
        corners = f"(r => [r.x, r.y, r.width, r.height])({element}.getBoundingClientRect())"
        left, top, width, height = self.run(corners)
        return left, top, width, height

    def picture(self, box: tuple[float, float, float, float]) -> np.ndarray:
        """(y, x, 3) what is shown in a part of the page, 0 to 255, a pixel of the page each."""
        ratio = self.run("window.devicePixelRatio")
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True))
        shot = self.send("Page.captureScreenshot", clip={**clip, "scale": 1 / ratio})
        image = matplotlib.image.imread(BytesIO(base64.b64decode(shot["data"])))
        return np.rint(255 * image[..., :3]).astype(int)
