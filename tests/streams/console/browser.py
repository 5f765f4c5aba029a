"""Drives the real Chromium over its DevTools protocol: open, evaluate, press keys, resize, photograph."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = [
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
    "--remote-debugging-port=0",
]
PATIENCE_S = 60.0
CODES = {"Escape": {"windowsVirtualKeyCode": 27}, "Enter": {"windowsVirtualKeyCode": 13}}


class PageGoneError(Exception):
    """The page went away while it was asked: a click has taken the tab to the next one."""


class Tab:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0

    async def call(self, method: str, **params: Any) -> Any:
        """Send one DevTools command and return its result; events in between are dropped."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        while True:
            answer = await asyncio.wait_for(self._socket.receive_json(), PATIENCE_S)
            if answer.get("id") == self._last:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise PageGoneError(method)
                assert "error" not in answer, answer
                return answer["result"]

    async def open(self, url: str, *, width: int = 1280, height: int = 900, scheme: str = "dark") -> None:
        """Go to ``url`` at that size and wait until the page is ready."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.call("Page.navigate", url=url)
        await self.until("document.body?.dataset.ready === 'yes'")

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until the expression is true."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(PageGoneError):  # it is what is waited for: the next page answers
                    if await self.value(f"Boolean({expression})"):
                        return
                await asyncio.sleep(0.05)

    async def press(self, text: str, *, key: str = "") -> None:
        """Press and release one key, named by the text it writes unless ``key`` says otherwise."""
        written = {"text": text} if len(text) == 1 else {}
        await self.call(
            "Input.dispatchKeyEvent", type="keyDown", key=key or text, **CODES.get(key or text, {}), **written
        )
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key or text, **CODES.get(key or text, {}))

    async def photograph(self, path: Path) -> None:
        """Write the whole page as PNG."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(picture["data"]))


async def _debug_port(profile: Path) -> int:
    marker = profile / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE_S):
        while not (marker.exists() and marker.read_text().strip()):
            await asyncio.sleep(0.05)
    return int(marker.read_text().splitlines()[0])


@contextlib.asynccontextmanager
async def open_browser(chromium: str, profile: Path) -> AsyncIterator[Tab]:
    """A browser with an empty profile and one tab, gone when the block ends."""
    process = await asyncio.create_subprocess_exec(
        chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        port = await _debug_port(profile)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                targets = await answer.json()
            address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
