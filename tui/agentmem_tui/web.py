"""The chat in a browser on this machine: `agentmem chat --web`, through textual-serve.

textual-serve asks nobody who they are, and any page that a browser shows can open a connection to this machine. So the
address has a key in it, which the browser keeps as a cookie; without it nothing is served. The page loads nothing from
elsewhere. One process runs for each visit; all go on with the same session, so that a reload loses nothing.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentmem.errors import PluginError
from agentmem.ids import new_id
from agentmem.namespaces import format_namespace
from agentmem.types import Namespace

if TYPE_CHECKING:
    from agentmem.config import Settings

_HOST = "127.0.0.1"
_COOKIE = "agentmem"
_ELSEWHERE = re.compile(rf"<link[^>]*https?://(?!{re.escape(_HOST)}[:/])[^>]*>")
"""A font that textual-serve's page would have the browser fetch; its own style sheet has a whole address, too."""


def command(settings: Settings, namespace: Namespace, session: str | None, *, private: bool) -> list[str]:
    """What runs for a visit, but for the store: its address may hold a password, and a process list shows arguments."""
    given = {
        "--namespace": format_namespace(namespace),
        "--session": session or new_id(),
        "--model": settings.model,
        "--base-url": settings.base_url,
    }
    options = [part for name, value in given.items() if value is not None for part in (name, value)]
    return [sys.executable, "-m", "agentmem", "chat", *options, *(["--private"] if private else [])]


def serve(words: Sequence[str], store: str, port: int) -> int:
    """Serve the chat on loopback until Ctrl+C; return the exit code. Raises PluginError without textual-serve."""
    os.environ["AGENTMEM_STORE"] = store
    try:
        import textual_serve.server
        from aiohttp import web
    except ImportError as error:
        raise PluginError("the chat in a browser needs textual-serve: pip install 'agentmem[web]'") from error

    key = secrets.token_urlsafe(24)
    own = {f"{_HOST}:{port}", f"localhost:{port}"}

    class Server(textual_serve.server.Server):
        def initialize_logging(self) -> None:
            """What is logged stays as the command line has set it up."""

        async def on_startup(self, app: Any) -> None:
            del app
            print(f"The chat is at http://{_HOST}:{port}/?key={key}\nCtrl+C ends it.", flush=True)

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(guard)
            return app

        async def handle_index(self, request: web.Request) -> Any:
            page: Any = await super().handle_index(request)
            page.text = _ELSEWHERE.sub("", page.text)
            return page

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        """Only who has the key, by this machine's own name, and from this page."""
        given = request.query.get("key") or request.cookies.get(_COOKIE, "")
        origin = request.headers.get("Origin", f"http://{request.host}")
        known = secrets.compare_digest(given.encode(), key.encode())
        if not known or request.host not in own or origin.removeprefix("http://") != request.host:
            raise web.HTTPForbidden(text="This chat is somebody else's: open the address that it was started with.")
        if "key" in request.query:
            found = web.HTTPFound("/")
            found.set_cookie(_COOKIE, key, httponly=True, samesite="Strict")
            raise found
        answer: web.StreamResponse = await handler(request)
        return answer

    Server(shlex.join(words), host=_HOST, port=port, title="agentmem").serve()
    return 0
