"""`agentmem chat --web` in a real browser: headless Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentmem.config import Settings
from agentmem.memory import Memory
from tests.tui.test_web import served

__all__ = ["served"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
_PATIENCE = 60.0


class Page:
    """A page of the browser. `got` is what the chat has sent to it over its socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.got = b""

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            told = await self._read()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return dict(told["result"])

    async def _read(self) -> dict[str, Any]:
        told: dict[str, Any] = await self._socket.receive_json()
        if told.get("method") == "Network.webSocketFrameReceived":
            frame = told["params"]["response"]
            self.got += base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else b""
        return told

    async def shows(self, words: bytes) -> None:
        async with asyncio.timeout(_PATIENCE):
            while words not in self.got:
                await self._read()

    async def say(self, text: str) -> None:
        await self.do("Runtime.evaluate", expression="document.querySelector('.xterm-helper-textarea').focus()")
        for letter in text:
            await self.do("Input.dispatchKeyEvent", type="char", text=letter)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        await self.do("Input.dispatchKeyEvent", type="keyDown", **enter)

    async def is_true(self, script: str) -> bool:
        return bool((await self.do("Runtime.evaluate", expression=script))["result"]["value"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    command = [CHROMIUM, *options, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            async with aiohttp.ClientSession() as client:
                address = await _page_of(client, folder / "DevToolsActivePort")
                async with client.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.terminate()


async def _page_of(client: aiohttp.ClientSession, told: Path) -> str:
    """The address of the browser's page, once it is up."""
    async with asyncio.timeout(_PATIENCE):
        while not (told.exists() and told.read_text().strip()):
            await asyncio.sleep(0.05)
        port = told.read_text().split()[0]
        while True:
            async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [tab for tab in json.loads(await answer.text()) if tab["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)


async def test_it_is_talked_with_and_found_again_after_a_reload(served: str, own_home: Path, tmp_path: Path) -> None:
    async with browser(tmp_path) as page:
        await page.do("Network.enable")
        await page.do("Emulation.setFocusEmulationEnabled", enabled=True)
        await page.do("Page.navigate", url=served)
        await page.shows(b"Three things to try")
        assert await page.is_true("document.querySelectorAll('.xterm canvas').length > 0")
        assert await page.is_true("document.documentElement.scrollHeight <= window.innerHeight")
        await page.say("The kiln is cold.")
        await page.shows(b"nothing recalled")
        page.got = b""
        await page.do("Page.reload")
        await page.shows(b"The kiln is cold.")
        await page.say("And now it is warm.")
        await page.shows(b"1 recalled")
    (store,) = own_home.rglob("memory.db")
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        (namespace,) = memory.namespaces()
        assert [info.turns for info in memory.sessions(namespace=namespace)] == [4]
