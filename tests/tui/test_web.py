"""The chat in a browser: served on loopback to who has the key, and to nobody else."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem_tui import web


def test_a_visit_goes_on_with_the_same_session() -> None:
    settings = Settings(store="postgresql://ada:secret@db/a", model="m", base_url="http://localhost:1/v1")
    words = web.command(settings, ("a", "b"), None, private=True)
    assert words[1:4] == ["-m", "agentmem", "chat"]
    assert "secret" not in " ".join(words)
    assert words[words.index("--namespace") + 1] == "a/b"
    assert len(words[words.index("--session") + 1]) == 36
    assert words[-1] == "--private"
    assert web.command(settings, ("a",), "mine", private=False)[-1] == "http://localhost:1/v1"


def _wait_until_it_listens(port: int) -> None:
    """It prints the address a moment before that."""
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def served(own_home: Path) -> Iterator[str]:
    """The address of a chat, as it is printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {**os.environ, "HOME": str(own_home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-m", "agentmem", "chat", "--web", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=known) as process:
        assert process.stdout is not None
        found = None
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                break
        assert found is not None
        _wait_until_it_listens(port)
        yield found[0]
        process.terminate()


async def test_who_has_the_key_talks_and_nobody_else_is_let_in(served: str) -> None:
    root = served.split("?")[0]
    async with aiohttp.ClientSession() as stranger:
        for path in ("", "ws", "static/js/textual.js", "?key=wrong"):
            async with stranger.get(root + path) as answer:
                assert answer.status == 403
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as owner:
        async with owner.get(served) as answer:
            page = await answer.text()
            assert answer.status == 200
            assert "key=" not in str(answer.url)
            assert "googleapis" not in page
            assert "/static/css/xterm.css" in page
        async with owner.get(root + "ws", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        async with owner.get(root, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
        async with owner.ws_connect(root + "ws?width=100&height=40") as socket_:
            shown = b""
            async for message in socket_:
                shown += message.data if isinstance(message.data, bytes) else b""
                if b"Three things to try" in shown:
                    break
            assert b"Welcome to agentmem" in shown


def _listening(port: int) -> set[str]:
    """The addresses that are listened at on this port, as the kernel has them (proc(5))."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text("ascii").splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where without a tool")
def test_it_listens_on_loopback_alone(served: str) -> None:
    assert _listening(int(re.findall(r":(\d+)/", served)[0])) == {"0100007F"}


async def _shown(visit: aiohttp.ClientWebSocketResponse, words: bytes) -> None:
    """Wait until a visit has been shown these words."""
    shown = b""
    async with asyncio.timeout(120):
        while words not in shown:
            message = await visit.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), f"it ended: {shown[-500:]!r}"
            shown += message.data if isinstance(message.data, bytes) else b""


async def test_a_reload_finds_its_session_again(served: str, own_home: Path) -> None:
    root = served.split("?")[0]
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as owner:
        async with owner.get(served) as answer:
            assert answer.status == 200
        async with owner.ws_connect(root + "ws?width=100&height=40") as visit:
            await _shown(visit, b"Three things to try")
            await visit.send_json(["stdin", "The kiln is cold.\r"])
            await _shown(visit, b"nothing recalled")
        async with owner.ws_connect(root + "ws?width=100&height=40") as visit:
            await _shown(visit, b"The kiln is cold.")
            await visit.send_json(["stdin", "And now it is warm.\r"])
            await _shown(visit, b"1 recalled")
    (store,) = own_home.rglob("memory.db")
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        (namespace,) = memory.namespaces()
        assert [info.turns for info in memory.sessions(namespace=namespace)] == [4]
